#!/bin/sh
# Fuzzes one target for some seconds: run.sh TARGET SECONDS [DISSECTOR]; `run.sh build` only builds.
# Findings go to tests/fuzz/artifacts; the corpus, grown, to target/fuzz-corpus/TARGET[-DISSECTOR].
set -eu
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
target_dir=${CARGO_TARGET_DIR:-$root/target}
if [ -z "${FLOWHOOK_FUZZ_BUILT:-}" ]; then
    # The same versions of everything as the program.
    cp ../../Cargo.lock Cargo.lock
    RUSTC_WRAPPER="$PWD/rustc.sh" cargo build --quiet --release --target-dir "$target_dir/fuzz"
fi
[ "$1" != build ] || exit 0
target=$1 seconds=$2
run="$target${3:+-$3}"
grown="$target_dir/fuzz-corpus/$run"
mkdir -p "$grown" artifacts
export FLOWHOOK_FUZZ="$target" FLOWHOOK_UNPACK="$grown"
[ $# -lt 3 ] || export FLOWHOOK_DISSECTOR="$3"
exec "$target_dir/fuzz/release/fuzz" "$grown" -max_total_time="$seconds" \
    -artifact_prefix="artifacts/$run-" -max_len=8192 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1
