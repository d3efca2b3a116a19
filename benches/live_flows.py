"""What a packet costs against the number of live flows: live_flows.py [FLOWS...]

Two captures for each number of flows: one in which they begin, one in which PACKETS more packets of all
in turn follow. The difference in CPU time is that of these packets: beginnings, ends, start and stop of
the program are in both.
"""

import os
import sys
import tempfile

from measure import Ours, machine, median, report, run

ROUNDS = int(os.environ.get("ROUNDS", "3"))
CORE = int(os.environ.get("CORE", str(min(1, os.cpu_count() - 1))))
PACKETS = int(os.environ.get("PACKETS", "8000000"))
TARGET = os.environ.get("CARGO_TARGET_DIR", "target")


def trace(folder, flows, packets):
    path = f"{folder}/{flows}-{packets}.pcap"
    run([f"{TARGET}/release/examples/trace", "live", path, str(flows), str(packets)])
    return path


def measure(flows, ours, scratch):
    """CPU seconds of the packets by round, and peak memory in MiB with and without the flows' packets."""
    files = [trace(scratch, flows, 0), trace(scratch, flows, PACKETS)]
    differences, peaks = [], []
    for _ in range(ROUNDS):
        begun, all_of_it = (run(ours.command(file), CORE) for file in files)
        differences.append(all_of_it.cpu_s - begun.cpu_s)
        peaks.append(all_of_it.peak_mib)
        counted = report(all_of_it.output)
        if counted.get("packets") != 5 * flows + PACKETS:
            print(f"WARNING: {counted.get('packets')} packets counted of {5 * flows + PACKETS}")
        if counted.get("flows") != flows:
            print(f"WARNING: {counted.get('flows')} flows counted of {flows}")
    for file in files:
        os.remove(file)
    return differences, max(peaks)


def main():
    print(machine())
    print(f"{PACKETS:,} packets to all flows in turn, {ROUNDS} rounds on core {CORE}, medians")
    print(f"{'live flows':>10} {'ns/packet':>10} {'(least-most)':>16} {'to the first':>13} {'peak MiB':>9}")
    first = None
    # The captures of four million flows take 3 GiB, so they stay where builds do.
    with tempfile.TemporaryDirectory(dir=TARGET) as scratch:
        ours = Ours(scratch)
        for flows in [int(a) for a in sys.argv[1:]] or [1_000, 100_000, 1_000_000, 4_000_000]:
            differences, peak = measure(flows, ours, scratch)
            costs = sorted(seconds / PACKETS * 1e9 for seconds in differences)
            cost = median(costs)
            first = first or cost
            spread = f"({costs[0]:.0f}-{costs[-1]:.0f})"
            print(f"{flows:10,} {cost:10.1f} {spread:>16} {cost / first:13.2f} {peak:9.0f}")


main()
