#!/usr/bin/env bash
# Packets per CPU second and peak memory of a replay of a generated trace: replay.sh PACKETS
set -euo pipefail
cd "$(dirname "$0")/.."
packets=${1:-2000000}
target=${CARGO_TARGET_DIR:-target}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$target/release/examples/trace" manyflows "$scratch/trace.pcap" "$packets"
cat >"$scratch/config.toml" <<TOML
[telemetry]
log = "error"
TOML
echo "trace: $packets packets, $(du -m "$scratch/trace.pcap" | cut -f1) MiB"
for run in 1 2 3; do
  python3 - "$target" "$scratch" "$packets" "$run" <<'PYTHON'
import json, resource, subprocess, sys
target, scratch, packets, run = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
command = [f"{target}/release/flowhook", "-c", f"{scratch}/config.toml", "-O", "json", "replay", f"{scratch}/trace.pcap"]
report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = used.ru_utime + used.ru_stime
print(f"run {run}: {packets / cpu:,.0f} packets per CPU second, {report['packets'] / report['elapsed_s']:,.0f} packets/s, "
      f"{report['flows']:,} flows, peak {used.ru_maxrss / 1024:.0f} MiB")
PYTHON
done
