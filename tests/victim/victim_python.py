# SPDX-License-Identifier: GPL-2.0-only
"""victim_python.py DIR [OBJECTS]: an interpreter full of objects that it can check.

Commands and answers are lines in the FIFOs DIR/cmd and DIR/ans, as with the other victims:
verify (all objects against what their numbers say), some N (an Nth of them), mutate, exit.
"""
import os
import sys


def text(number, generation):
    seed = (number * 2654435761 + generation * 40503) & 0xFFFFFFFF
    return "%d:%d:%08x" % (number, generation, seed) + chr(97 + seed % 26) * (seed % 200)


class Thing:
    def __init__(self, number):
        self.number = number
        self.generation = 1
        self.text = text(number, 1)
        self.words = self.text.split(":")
        self.other = None

    def wrong(self, things):
        want = text(self.number, self.generation)
        return (self.text != want or self.words != want.split(":")
                or self.other is not things[self.number * 7 % len(things)])


def main():
    base, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100000
    ans = os.open(base + "/ans", os.O_RDWR)
    cmd = os.open(base + "/cmd", os.O_RDWR)
    things = [Thing(i) for i in range(count)]
    for thing in things:
        thing.other = things[thing.number * 7 % count]
    index = {thing.text: thing for thing in things}

    def answer(line):
        os.write(ans, (line + "\n").encode())

    bad = 0
    answer("ready pid=%d objects=%d" % (os.getpid(), count))
    while True:
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(cmd, 1)
        word = line.decode().strip()
        if word == "verify":
            wrong = [t for t in things if t.wrong(things) or index.get(t.text) is not t]
            bad += len(wrong)
            for thing in wrong[:4]:
                answer("wrong: object %d: %.80r" % (thing.number, thing.text))
            answer("verify bad=%d objects=%d" % (len(wrong), len(index)))
        elif word.startswith("some "):
            part = things[:count // int(word[5:])]
            wrong = [t for t in part if t.text != text(t.number, t.generation)
                     or t.words != t.text.split(":")]
            bad += len(wrong)
            answer("some bad=%d objects=%d" % (len(wrong), len(part)))
        elif word == "mutate":
            for thing in things[::3]:
                del index[thing.text]
                thing.generation += 1
                thing.text = text(thing.number, thing.generation)
                thing.words = thing.text.split(":")
                index[thing.text] = thing
            answer("mutate")
        elif word == "spoil":
            things[5].text += "!"
            answer("spoil")
        elif word == "exit":
            answer("exit bad=%d" % bad)
            sys.exit(bad != 0)
        else:
            answer("unknown " + word)


main()
