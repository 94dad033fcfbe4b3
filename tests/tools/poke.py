# SPDX-License-Identifier: GPL-2.0-only
"""poke.py PID OFFSET: flip one bit that far into the largest anonymous mapping of a process."""
import sys

pid, offset = sys.argv[1], int(sys.argv[2], 0)
maps = [line.split() for line in open(f"/proc/{pid}/maps")]
spans = [m[0].split("-") for m in maps if len(m) == 5 and m[1].startswith("rw")]
_, at = max((int(end, 16) - int(start, 16), int(start, 16)) for start, end in spans)
with open(f"/proc/{pid}/mem", "r+b", 0) as mem:
    mem.seek(at + offset)
    old = mem.read(1)
    mem.seek(at + offset)
    mem.write(bytes([old[0] ^ 1]))
