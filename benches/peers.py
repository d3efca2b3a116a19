"""Measures our packet path and other flow collectors in turn: peers.py KIND=CAPTURE..."""

import os
import shutil
import subprocess
import sys
import tempfile

from measure import Ours, machine, median, number, report, run

ROUNDS = int(os.environ.get("ROUNDS", "3"))
CORE = int(os.environ.get("CORE", str(min(1, os.cpu_count() - 1))))

# Ours at most this share of softflowd's CPU time, at least so many times ndpiReader's packets per CPU
# second, in at most so many MiB.
GOALS = {"mixed": (0.5, 8, 300), "manyflows": (0.25, 15, 300)}


class Softflowd:
    name, package = "softflowd (no L7)", "softflowd"

    def command(self, file, _):
        return ["softflowd", "-6", "-r", file, "-d", "-m", "4000000", "-c", "none"]

    def totals(self, text, *_):
        ignored = number(r"Ignored packets: (\d+)", text)
        if ignored:
            print(f"note: softflowd read and left out {ignored:,} packets that are no IP to it")
        return number(r"Packets processed: (\d+)", text) + ignored, number(r"Flows expired: (\d+)", text)


class Nfpcapd:
    name, package = "nfpcapd (no L7, one-way)", "nfdump"

    def command(self, file, scratch):
        folder = f"{scratch}/nfpcapd"
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        return ["nfpcapd", "-r", file, "-w", folder, "-t", "3600"]

    def totals(self, text, *_):
        flows = [int(part.split(",")[0]) for part in text.split(" Flows: ")[1:]]
        return number(r"Total: Processed: (\d+)", text), sum(flows)


class Argus:
    name, package = "argus (no L7)", "argus-server"

    def command(self, file, scratch):
        self.records = f"{scratch}/argus"
        # It appends to what is there.
        if os.path.exists(self.records):
            os.remove(self.records)
        return ["argus", "-F", "/dev/null", "-r", file, "-w", self.records]

    def totals(self, *_):
        if not shutil.which("racount"):
            return None, None
        # A flow has a record every minute, so their number is not that of flows.
        text = subprocess.run(["racount", "-r", self.records], capture_output=True, text=True, check=False).stdout
        return number(r"sum\s+\d+\s+(\d+)", text), None


class NdpiReader:
    name, package = "ndpiReader", "libndpi-bin"

    def command(self, file, _):
        return ["ndpiReader", "-q", "-i", file]

    def totals(self, _, file):
        # Quiet, as measured, it says nothing; what it counts is asked once, apart.
        text = run(["ndpiReader", "-i", file]).output
        return number(r"of (\d+) packets total", text), number(r"Unique flows:\s+(\d+)", text)


class Flowhook:
    name, package = "flowhook (L7)", None

    def __init__(self, scratch):
        self.ours = Ours(scratch)

    def command(self, file, _):
        return self.ours.command(file)

    def totals(self, text, *_):
        found = report(text)
        return found.get("packets"), found.get("flows")


class WithSummaries(Flowhook):
    """What a node does besides: the counters of every host each second, for the aggregator."""

    name = "flowhook, summaries of hosts too"

    def command(self, file, _):
        return [*self.ours.command(file), "--summaries"]


def version(package):
    if package is None:
        return ""
    query = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout or "not Debian's"


def measure(kind, file, tools, scratch):
    counted = subprocess.run(["capinfos", "-c", "-M", "-T", "-r", file], capture_output=True, text=True, check=True)
    packets = int(counted.stdout.split("\t")[1])
    size_mib = os.path.getsize(file) / 2**20
    print(f"\n{kind}: {packets:,} packets, {size_mib:,.0f} MiB, {ROUNDS} rounds in turn on core {CORE}, medians")
    with open(file, "rb") as trace:
        # Everybody finds the file in the page cache.
        while trace.read(1 << 24):
            pass
    runs = {tool.name: [] for tool in tools}
    totals = {}
    for _ in range(ROUNDS):
        for tool in tools:
            used = run(tool.command(file, scratch), CORE)
            runs[tool.name].append(used)
            if tool.name not in totals:
                totals[tool.name] = tool.totals(used.output, file)

    ours = next(tool for tool in tools if type(tool) is Flowhook)

    def of(tool):
        used = runs[tool.name]
        return median([u.cpu_s for u in used]), median([u.wall_s for u in used]), max(u.peak_mib for u in used)

    head = f"{'':36} {'CPU s':>7} {'(least-most)':>14} {'wall s':>7} {'peak MiB':>9} {'packets/CPU s':>14} {'flows':>10}"
    print(head + f" {'CPU ours:it':>12} {'wall':>6} {'memory':>7}")
    ours_cpu, ours_wall, ours_peak = of(ours)
    for tool in tools:
        cpu, wall, peak = of(tool)
        spread = f"({min(u.cpu_s for u in runs[tool.name]):.2f}-{max(u.cpu_s for u in runs[tool.name]):.2f})"
        flows = totals[tool.name][1]
        shown = f"{flows:,}" if flows is not None else "-"
        label = f"{tool.name} {version(tool.package)}".strip()
        row = f"{label[:36]:36} {cpu:7.2f} {spread:>14} {wall:7.2f} {peak:9.0f} {packets / cpu:14,.0f} {shown:>10}"
        print(row + f" {ours_cpu / cpu:12.3f} {ours_wall / wall:6.2f} {ours_peak / peak:7.2f}")
    for tool in tools:
        seen = totals[tool.name][0]
        if seen is None:
            print(f"note: {tool.name} does not say how many packets it counted")
        elif seen != packets:
            print(f"WARNING: {tool.name} counted {seen:,} packets of {packets:,}")
    if os.path.exists(ours.ours.records):
        print(f"flow records written by us: {os.path.getsize(ours.ours.records) / 2**20:.1f} MiB")
    goals(kind, tools, of)


def goals(kind, tools, of):
    share, times, most_mib = GOALS[kind]
    by_type = {type(tool): of(tool) for tool in tools}
    cpu, _, peak = by_type[Flowhook]

    def verdict(holds):
        return "met" if holds else "MISSED"

    softflowd = cpu / by_type[Softflowd][0]
    ndpi = by_type[NdpiReader][0] / cpu
    print(f"goal: at most {share} of softflowd's CPU time: {softflowd:.2f} {verdict(softflowd <= share)}")
    print(f"goal: at least {times} times ndpiReader's packets per CPU second: {ndpi:.1f} {verdict(ndpi >= times)}")
    print(f"goal: less than {most_mib} MiB: {peak:.0f} {verdict(peak < most_mib)}")


def main():
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        tools = [Flowhook(scratch), WithSummaries(scratch), Softflowd(), Nfpcapd(), Argus(), NdpiReader()]
        for argument in sys.argv[1:]:
            kind, file = argument.split("=", 1)
            measure(kind, file, tools, scratch)


main()
