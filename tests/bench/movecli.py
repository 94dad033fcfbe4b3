# SPDX-License-Identifier: GPL-2.0-only
"""movecli: a gigabyte moved by `uffd-relocate move`, and the same by the process itself with mremap.

Needs no criu: a victim fills its memory, which then goes to and fro between two areas.  Both sides
are timed where the work is done, the agent around its ioctls, the victim around its mremaps; every
byte is checked at the end of a round.
"""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass

from session import RoundFailed

PAGES = 1 << 18
PAGE = 4096


@dataclass
class Timing:
    wall: int  # ns


class Victim:
    """tests/victim/victim_move, and the words between us."""

    def __init__(self, tools, timeout):
        self.dir = tempfile.mkdtemp(prefix="move-")
        self.timeout = timeout
        self.relocate = os.path.join(tools, "uffd-relocate")
        for name in ("cmd", "ans"):
            os.mkfifo(os.path.join(self.dir, name))
        self.cmd = os.open(os.path.join(self.dir, "cmd"), os.O_RDWR)
        self.ans = os.fdopen(os.open(os.path.join(self.dir, "ans"), os.O_RDWR), "r")
        self.proc = subprocess.Popen([os.path.join(tools, "victim_move"), self.dir],
                                     stdin=subprocess.DEVNULL)
        self.heard("ready")
        self.address = {}

    def heard(self, name):
        line = self.ans.readline().split()
        if line[0] != name:
            raise RoundFailed("victim: " + " ".join(line))
        return dict(word.split("=") for word in line[1:])

    def ask(self, *words):
        os.write(self.cmd, (" ".join(map(str, words)) + "\n").encode())
        return self.heard(words[0])

    def area(self, number, *flags):
        self.address[number] = self.ask("map", number, PAGES, *flags)["addr"]

    def move(self, src, dst):
        """Return: nanoseconds in the kernel, as the agent has measured them."""
        done = subprocess.run(
            [self.relocate, "move", "-p", str(self.proc.pid), self.address[src],
             self.address[dst], str(PAGES * PAGE), "--json"],
            capture_output=True, text=True, check=False, timeout=self.timeout)
        if done.returncode:
            raise RoundFailed("move: " + done.stderr.strip())
        self.ask("take", src, 0, dst, 0, PAGES)
        return Timing(json.loads(done.stdout.splitlines()[-1])["move_ns"])

    def remap(self, src, dst, step):
        return Timing(int(self.ask("remap", src, dst, step)["ns"]))

    def close(self):
        self.proc.kill()
        self.proc.wait()
        self.ans.close()
        os.close(self.cmd)
        for name in ("cmd", "ans"):
            os.unlink(os.path.join(self.dir, name))
        os.rmdir(self.dir)


def one_kind(victim, huge, arms, turn):
    """Moves the memory back and forth, one arm after the other.  Return: arm -> Timing."""
    flags = ["huge"] if huge else []
    victim.area(0, *flags)
    victim.area(1, *flags)
    victim.ask("fill", 0)
    if huge and int(victim.ask("hugekb", 0)["kb"]) < PAGES * PAGE >> 10:
        raise RoundFailed("the memory did not come in huge pages")
    out, here = {}, 0
    for name in arms if turn % 2 == 0 else reversed(arms):
        step = arms[name]
        there = 1 - here
        out[name] = victim.remap(here, there, step) if step else victim.move(here, there)
        here = there
    verdict = victim.ask("verify")
    if verdict != {"bad": "0", "pages": str(PAGES)}:
        raise RoundFailed(f"wrong bytes: {verdict}")
    victim.ask("drop", 0)
    victim.ask("drop", 1)
    return out


# Bytes a call of mremap; 0: by `uffd-relocate move`.
BASE = {"move": 0, "mremap-64k": 64 << 10, "mremap-4k": 4 << 10, "mremap-all": PAGES * PAGE}
HUGE = {"move-huge": 0, "mremap-2m": 2 << 20}


def rounds(runner, case):
    """What bench/run calls in the place of restores.  Return: arm -> Timings."""
    done = {name: [] for name in case.arms}
    for number in range(runner.opts.rounds):
        victim = Victim(runner.tools, runner.opts.timeout)
        try:
            timings = {**one_kind(victim, False, BASE, number),
                       **one_kind(victim, True, HUGE, number)}
        finally:
            victim.close()
        for name, timing in timings.items():
            done[name].append(timing)
        if runner.opts.verbose:
            print(f"bench: {case.name} {number}: " +
                  ", ".join(f"{name} {t.wall / 1e6:.2f} ms" for name, t in timings.items()),
                  flush=True)
    return done
