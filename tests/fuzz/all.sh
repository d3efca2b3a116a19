#!/bin/bash
# Fuzzes everything, as many targets at once as there are cores: all.sh LONG SHORT. Decoders and the
# hottest dissectors get LONG seconds each, everything else SHORT. Ends non-zero when anything was found;
# the inputs are in tests/fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")"
long=${1:-600} short=${2:-60}
hottest=(TLS QUIC HTTP DNS HTTP2 STUN RTP SIP SSH SMBv23)

./run.sh build
export FLOWHOOK_FUZZ_BUILT=1
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
mkdir -p artifacts
before=$(find artifacts -type f | wc -l)

# one SECONDS TARGET [DISSECTOR]: a line of result; the log where it failed.
one() {
  local seconds=$1 target=$2 dissector=${3:-}
  local log="$logs/$target-${dissector//\//_}"
  local status=0
  nice ./run.sh "$target" "$seconds" ${dissector:+"$dissector"} >"$log" 2>&1 || status=$?
  local runs
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  printf '%-16s %-28s %5s s %12s runs  %s\n' "$target" "$dissector" "$seconds" "${runs:-?}" \
    "$([ "$status" = 0 ] && echo clean || echo "FOUND SOMETHING")"
  [ "$status" = 0 ] || { grep -E -A12 'panicked|ERROR|SUMMARY' "$log" | head -40; touch "$logs/found"; }
}
export -f one
export logs

{
  for target in decode capture_file pipeline exports collected wire; do
    echo "$long" "$target"
  done
  for target in dissectors by_number config apps script; do
    echo "$short" "$target"
  done
  for dissector in "${hottest[@]}"; do
    echo "$long" dissectors "$dissector"
  done
  # A line of the corpus begins with the dissector's name.
  cut -d' ' -f1 corpus/dissectors.txt | sort -u | grep -vxF "$(printf '%s\n' "${hottest[@]}")" |
    sed "s/^/$short dissectors /"
} | xargs -P "$(nproc)" -L 1 bash -c 'one "$@"' fuzz

found=$(($(find artifacts -type f | wc -l) - before))
echo "$found findings"
[ ! -e "$logs/found" ] || exit 1
