#!/usr/bin/env python3
"""What scripts that mean harm cost capture: hostile.py [ROUNDS] [PROFILE]

The same trace is read with the built-in scripts alone and with hostile flow scripts beside them,
by turns, on one core; the medians of the CPU time are compared.
"""

import os
import sys
import tempfile

from measure import Ours, machine, median, report, run

# At most so much more CPU time.
GOAL = 1.05

SCRIPTS = {
    "endless_loop": "loop { }",
    "endless_catch": "loop { try { throw 1; } catch { } }",
    "string_bomb": 'let s = "bomb"; loop { s += s; }',
    "replace_bomb": "let s = \"a\"; s.pad(1000000, 'a'); let t = s; s.replace(\"a\", t);",
    "array_bomb": "let a = [1]; loop { a += a; }",
    "nested_map": "let m = #{ a: 1 }; loop { m = #{ a: m, b: m }; }",
    "huge_map": "let m = #{}; let i = 0; loop { m[`key ${i}`] = i; i += 1; }",
    "captured": 'let a = []; a.pad(50000, 1); let f = Fn("f"); f = f.curry(a); let b = [f]; loop { b += b; }',
    "closures": "let a = []; a.pad(1000, 1); let all = []; loop { let mine = a; all.push(|| mine); }",
    "recursion": "dig(1);",
    "effects": 'loop { log_debug("x"); }',
    "errors": 'throw "no";',
    # These are programs, and do not fail.
    "counting": "let n = 0; for i in 0..400 { n += i; }",
    "large_texts": 'let s = "x"; for i in 0..11 { s += s; } for i in 0..10 { let t = s.to_upper(); }',
    "log_lines": 'for i in 0..900 { log_debug("x"); }',
    "alert_types": "for i in 0..900 { store_alert(#{ type: `t${i}` }); }",
}


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    profile = sys.argv[2] if len(sys.argv) > 2 else "release"
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    os.environ.setdefault("FLOWHOOK", f"{target}/{profile}/flowhook")
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        trace = f"{scratch}/mixed.pcap"
        run([f"{target}/{profile}/examples/trace", "mixed", trace, "4000000"])
        os.mkdir(f"{scratch}/scripts")
        for name, body in SCRIPTS.items():
            with open(f"{scratch}/scripts/{name}.rhai", "w", encoding="utf-8") as file:
                file.write("fn dig(n) { dig(n + 1) }\n"
                           f"#{{ hooks: #{{ all: |now, config| {{ {body} }} }}, kind: \"flow\" }}\n")
        ways = {}
        for way in ["alone", "hostile"]:
            ways[way] = Ours(scratch)
            ways[way].config = f"{scratch}/{way}.toml"
            with open(ways[way].config, "w", encoding="utf-8") as file:
                file.write('[telemetry]\nlog = "off"\n')
                if way == "hostile":
                    file.write(f'[scripts]\ndir = "{scratch}/scripts"\n')
        taken = {way: [] for way in ways}
        for _ in range(rounds):
            for way, ours in ways.items():
                used = run(ours.command(trace), core=1)
                packets = report(used.output)["packets"]
                taken[way].append((used.cpu_s * 1e9 / packets, used.peak_mib))
    cost = {way: median([ns for ns, _ in of]) for way, of in taken.items()}
    peak = {way: max(mib for _, mib in of) for way, of in taken.items()}
    for way in ways:
        print(f"{way}: {cost[way]:.1f} ns of CPU a packet, peak {peak[way]:.0f} MiB")
    more = cost["hostile"] / cost["alone"]
    print(f"{len(SCRIPTS)} hostile scripts: {(more - 1) * 100:+.1f} % CPU a packet, at most "
          f"{(GOAL - 1) * 100:.0f} % wanted; {peak['hostile'] - peak['alone']:+.0f} MiB")
    if more > GOAL:
        sys.exit(1)


main()
