#!/usr/bin/env python3
"""A SYN flood through our packet path: synflood.py SYNS [PROFILE]

The trace is made while it is read, so nothing large is written. Each of its 300 conversations says
something every other second, so that one which loses its flow comes back as another: as many flows as
requests and conversations means that all were kept.
"""

import os
import subprocess
import sys
import tempfile
import time

from measure import Ours, machine, report

CONVERSATIONS = 300
# MiB: a million flows of 224 bytes, their index and timers, and 30 for the program itself.
GOAL = 320


def main():
    syns = int(sys.argv[1])
    profile = sys.argv[2] if len(sys.argv) > 2 else "release"
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    os.environ.setdefault("FLOWHOOK", f"{target}/{profile}/flowhook")
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        ours = Ours(scratch)
        with open(ours.config, "w", encoding="utf-8") as file:
            file.write('[telemetry]\nlog = "error"\n')
        fifo = f"{scratch}/flood"
        os.mkfifo(fifo)
        maker = subprocess.Popen(
            [f"{target}/{profile}/examples/trace", "synflood", fifo, str(syns)], stdout=subprocess.DEVNULL
        )
        start = time.monotonic()
        with open(fifo, "rb") as flood:
            command = [ours.program, "-c", ours.config, "-O", "json", "flows", "-", "-w", "/dev/null"]
            reader = subprocess.Popen(command, stdin=flood, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = reader.stdout.read().decode(errors="replace")
        _, status, used = os.wait4(reader.pid, 0)
        wall_s = time.monotonic() - start
        reader.returncode = os.waitstatus_to_exitcode(status)
        if reader.returncode or maker.wait():
            sys.exit(f"failed: {output[-2000:]}")
    counted = report(output)
    cpu_s, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    packets, flows = counted["packets"], counted["flows"]
    print(f"{packets:,} packets in {wall_s:.1f} s (the trace's making included), {cpu_s:.1f} s of CPU: "
          f"{packets / cpu_s:,.0f} packets per CPU second")
    print(f"{flows:,} flows, {syns + CONVERSATIONS:,} when every conversation was kept")
    print(f"peak {peak:.0f} MiB, at most {GOAL} wanted")
    if flows != syns + CONVERSATIONS or peak > GOAL:
        sys.exit(1)


main()
