#!/bin/sh
# Fuzzes one target for some seconds: tests/fuzz/run.sh TARGET SECONDS [DISSECTOR]
# Findings go to tests/fuzz/artifacts; the corpus, grown, to target/fuzz-corpus/TARGET.
set -eu
cd "$(dirname "$0")"
target=$1 seconds=$2
[ $# -lt 3 ] || export FLOWHOOK_DISSECTOR=$3
root=$(cd ../.. && pwd)
# libFuzzer's instrumentation with a stable compiler; a target triple keeps it out of build scripts.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-pc-table"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-trace-compares"
triple=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="$coverage --cfg fuzzing -Ccodegen-units=1" \
    cargo build --release --target "$triple" --target-dir "$root/target/fuzz" --bin "$target"
grown="$root/target/fuzz-corpus/$target${3:+-$3}"
mkdir -p "$grown" artifacts "corpus/$target"
exec "$root/target/fuzz/$triple/release/$target" "$grown" "corpus/$target" \
    -max_total_time="$seconds" -artifact_prefix="artifacts/$target${3:+-$3}-" \
    -max_len=8192 -timeout=5 -rss_limit_mb=2048 -print_final_stats=1
