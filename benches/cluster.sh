#!/usr/bin/env bash
# A whole cluster on this machine under load: nats-server, PostgreSQL, two aggregators, two notifiers and
# collectors, each a process of its own, as `just cluster` starts them.
#   cluster.sh
# Environment: PACKETS (5000000), ROUNDS (100: alerts whose way is timed), FLOWHOOK (the program to
# measure), GOALS=no (print, and do not fail).
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
packets=${PACKETS:-5000000}
mkdir -p "$target/traces"
trace="$target/traces/manyflows-$packets.pcap"
if [ ! -f "$trace" ] || [ -n "$(find examples/trace -newer "$trace")" ]; then
  "$target/release/examples/trace" manyflows "$trace.part" "$packets"
  mv "$trace.part" "$trace"
fi
exec python3 -B benches/cluster.py "${FLOWHOOK:-$target/release/flowhook}" "$(realpath "$trace")"
