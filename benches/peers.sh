#!/usr/bin/env bash
# Our packet path beside other flow collectors, on the same generated captures, in one run:
#   peers.sh [mixed|manyflows|both]
# Environment: ROUNDS (3), CORE (1) to pin everything to, MIXED_PACKETS (2000000), MANYFLOWS_PACKETS
# (5000000), FLOWHOOK (the program to measure).
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
PATH="$PATH:/usr/sbin:/sbin"

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=()
for pair in ndpiReader:libndpi-bin softflowd:softflowd nfpcapd:nfdump argus:argus-server racount:argus-client \
  capinfos:wireshark-common taskset:util-linux python3:python3; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]} with apt-get" >&2
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

case "${1:-both}" in
  both) kinds=(mixed manyflows) ;;
  mixed | manyflows) kinds=("$1") ;;
  *)
    echo "usage: peers.sh [mixed|manyflows|both]" >&2
    exit 2
    ;;
esac

mkdir -p "$target/traces"
traces=()
for kind in "${kinds[@]}"; do
  if [ "$kind" = mixed ]; then
    packets=${MIXED_PACKETS:-2000000}
    if [ ! -d ../shared/captures ]; then
      echo "SKIPPED: mixed is made of ../shared/captures, which is not there" >&2
      continue
    fi
  else
    packets=${MANYFLOWS_PACKETS:-5000000}
  fi
  trace="$target/traces/$kind-$packets.pcap"
  # Another generator may have written other bytes.
  if [ ! -f "$trace" ] || [ -n "$(find examples/trace -newer "$trace")" ]; then
    "$target/release/examples/trace" "$kind" "$trace.part" "$packets"
    mv "$trace.part" "$trace"
  fi
  traces+=("$kind=$trace")
done
[ ${#traces[@]} -gt 0 ] || exit 0
exec python3 -B benches/peers.py "${traces[@]}"
