# SPDX-License-Identifier: GPL-2.0-only
"""program.py DIR OBJECTS PART: an interpreter full of objects that, once told to go on, checks every
PARTth thousand of them and ends, with status 0 if all were as they should be."""
import os
import sys


def text(number):
    seed = (number * 2654435761 + 40503) & 0xFFFFFFFF
    return "%d:%08x" % (number, seed) + chr(97 + seed % 26) * (seed % 200)


class Thing:
    def __init__(self, number):
        self.number = number
        self.text = text(number)
        self.words = self.text.split(":")


def main():
    base, count, part = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    go = os.open(base + "/go", os.O_RDWR)
    things = [Thing(i) for i in range(count)]
    with open(base + "/ready", "w", encoding="ascii"):
        pass
    os.read(go, 1)
    for start in range(0, count, 1000 * part):
        for thing in things[start:start + 1000]:
            if thing.text != text(thing.number) or thing.words != thing.text.split(":"):
                os._exit(1)
    # Not by way of a teardown that touches everything.
    os._exit(0)


main()
