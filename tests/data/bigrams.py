#!/usr/bin/env python3
"""Makes the table of pairs of letters in collector/src/l7/dga.rs: bigrams.py TEXTS-FOLDER

Counts the pairs of letters in the words of every .md and .txt file below a folder and in the names of
config/applications.tsv, and prints 26 rows of 26 digits: 0 for a common pair, 9 for one that hardly exists.
"""

import math
import pathlib
import re
import sys

counts = [[1] * 26 for _ in range(26)]


def count(word):
    for a, b in zip(word, word[1:]):
        counts[ord(a) - 97][ord(b) - 97] += 1


words = set()
for kind in ("*.md", "*.txt"):
    for path in pathlib.Path(sys.argv[1]).rglob(kind):
        words.update(re.findall(r"\b[a-z]{3,16}\b", path.read_text(errors="ignore")))
table = pathlib.Path(__file__).resolve().parents[2] / "config/applications.tsv"
for line in table.read_text().splitlines():
    if not line.startswith("#"):
        words.update(re.findall(r"[a-z]{3,}", line.split("\t")[0].rsplit(".", 1)[0]))
for word in words:
    count(word)
total = sum(map(sum, counts))
print(f"{len(words)} words, {total} pairs", file=sys.stderr)
for row in counts:
    print("".join(str(max(0, min(9, round(-math.log2(n / total) - 6.5)))) for n in row))
