"""Runs a program on one core and says what it used. For the other scripts of this folder."""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass


@dataclass
class Usage:
    """What one run took."""

    cpu_s: float
    wall_s: float
    peak_mib: float
    output: str


def run(command, core=None):
    """Runs `command` (a list) on `core`; its whole output is kept. A failure ends the script."""
    pinned = ["taskset", "-c", str(core), *command] if core is not None else command
    start = time.monotonic()
    process = subprocess.Popen(pinned, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read()
    # wait4 gives this child's own use, where getrusage would give the highest peak of all so far.
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    text = output.decode(errors="replace")
    if process.returncode != 0:
        sys.exit(f"failed with {process.returncode}: {' '.join(command)}\n{text[-2000:]}")
    return Usage(used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss / 1024, text)


def median(values):
    return statistics.median(values)


def number(pattern, text):
    """The first number that `pattern` finds, or None."""
    found = re.search(pattern, text)
    return int(found.group(1).replace(",", "")) if found else None


def report(text):
    """The JSON object that our program prints, among its log lines."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    return {}


class Ours:
    """Our program, reading capture files: `flows` where the program has it, else `replay`."""

    def __init__(self, scratch):
        target = os.environ.get("CARGO_TARGET_DIR", "target")
        self.program = os.environ.get("FLOWHOOK", f"{target}/release/flowhook")
        self.config = f"{scratch}/config.toml"
        self.records = f"{scratch}/flows.fhf"
        with open(self.config, "w", encoding="utf-8") as file:
            file.write('[telemetry]\nlog = "error"\n')
            # A table of four million live flows is part of what is measured.
            file.write("[collector]\nmax_flows = 8000000\n")
        help_text = subprocess.run([self.program, "--help"], capture_output=True, text=True, check=True).stdout
        self.has_flows = re.search(r"^\s+flows\b", help_text, re.M) is not None
        if not self.has_flows:
            print("NOTE: this program has no command 'flows'; 'replay' stands in, which is the whole "
                  "pipeline with its database")

    def command(self, file):
        head = [self.program, "-c", self.config, "-O", "json"]
        return [*head, "flows", file, "-w", self.records] if self.has_flows else [*head, "replay", file]


def machine():
    """One line about where this runs."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} x {model}, Linux {os.uname().release}, load {load:.1f} before"
