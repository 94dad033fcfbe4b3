# SPDX-License-Identifier: GPL-2.0-only
"""cases: what is measured, against what, and which bar it has to reach.  Data, and no doing."""

from dataclasses import dataclass, field
from typing import Callable, Optional

import movecli

GIB_PAGES = 1 << 18

# name: (populated pages, pages in a run, untouched pages after each run, huge pages)
IMAGES = {
    "flat-1g": (GIB_PAGES, GIB_PAGES, 0, False),
    "huge-1g": (GIB_PAGES, GIB_PAGES, 0, True),
    "huge-64m": (GIB_PAGES >> 4, GIB_PAGES >> 4, 0, True),
    "frag-131072": (131072, 1, 1, False),
    "frag-16384": (16384, 1, 1, False),
    "frag-4g": (4 * GIB_PAGES, 8, 8, False),  # 131072 extents of 32 KiB
}


TOUCHES = 3000
TOUCH_EVERY_NS = 150000
READS = 4 << 20


def ms(key):
    return lambda r: getattr(r, key) / 1e6


def storm_ms(r):
    return (r.report["end"] - r.report["resumed"]) / 1e6


def touch_us(key):
    """Figures of the touches of more than 4 us; none when no touch was that slow."""
    return lambda r: r.report[key] / 1e3 if r.report["slow"] else None


def share(r):
    """Of the memory that was in huge pages, what is so again."""
    return r.report["huge"] / r.image.bytes


def moved(r):
    """Of the memory, what came by whole huge moves, as the pager itself counts."""
    return r.progress["moved_huge_bytes"] / r.image.bytes


def touch_count(r):
    return r.report["slow"]


@dataclass
class Arm:
    """One of the things that take turns in a round."""
    side: str  # "ours" or "peer"
    image: str
    job: str = "idle"  # "touch", "storm", "reads"
    how: str = "listen"  # see session.Round
    rss: bool = False
    prewarm: bool = True
    cold: bool = False
    rounds_cap: tuple = (99, 99)  # full, quick
    program: bool = False  # image is one of replay.py's
    options: list = field(default_factory=list)  # of our pager


@dataclass
class Figure:
    metric: str
    unit: str
    bar: Optional[float]  # None: only reported
    ours: str  # arm
    peer: Optional[str]
    value: Callable
    value_peer: Optional[Callable] = None  # default: the same
    # "ratio" ours/peer, "ours", "diff" ours - peer: not above; "floor": ours, not below
    bar_on: str = "ratio"
    against: str = "criu lazy-pages"
    suffix: str = ""
    counts: Optional[Callable] = None


@dataclass
class Case:
    name: str
    arms: dict
    figures: list
    needs_plugin: bool = False
    needs_mib: int = 3 << 10
    measure: Optional[Callable] = None  # in the place of restores: (runner, case) -> arm -> results
    labels: dict = field(default_factory=dict)


def replay_case(program):
    """A program restored by a trace: faults against the same without it, time against stock."""
    def arm(side, *options):
        return Arm(side, program, program=True, options=list(options))

    return Case("replay-" + program,
                {"plain": arm("ours", "--no-drain", "--no-trace"),
                 "demand": arm("ours", "--no-drain"), "ours": arm("ours"), "peer": arm("peer")},
                [Figure("faults", "", 0.03, "demand", "plain", lambda r: r.faults,
                        against="ours without a trace, both on demand only"),
                 Figure("time", "ms", 0.6, "ours", "peer", ms("time"))],
                needs_plugin=True)


def table(quick):
    """The table of cases; --quick takes a smaller image for the extents."""
    frag = "frag-16384" if quick else "frag-131072"
    frag_name = frag.replace("frag", "extents")
    return [
        Case("drain-1g",
             {"ours": Arm("ours", "flat-1g"), "peer": Arm("peer", "flat-1g")},
             [Figure("wall", "ms", 0.9, "ours", "peer", ms("drain")),
              Figure("cpu", "ms", 0.9, "ours", "peer", ms("cpu"))]),
        Case("fault-under-drain",
             {"ours": Arm("ours", "flat-1g", "touch"), "peer": Arm("peer", "flat-1g", "touch")},
             [Figure("p50", "us", 0.3, "ours", "peer", touch_us("p50"), counts=touch_count),
              Figure("p99", "us", 0.5, "ours", "peer", touch_us("p99"), counts=touch_count),
              Figure("drain", "ms", 1.0, "ours", "peer", ms("drain"))]),
        Case("drain-1g-huge",
             {"ours": Arm("ours", "huge-1g"), "peer": Arm("peer", "huge-1g")},
             [Figure("cpu", "ms", 0.9, "ours", "peer", ms("cpu")),
              Figure("wall", "ms", 1.1, "ours", "peer", ms("drain")),
              Figure("share", "", 0.99, "ours", "peer", share, bar_on="floor"),
              Figure("moved", "", 0.95, "ours", None, moved, bar_on="floor")]),
        Case("fault-under-drain-huge",
             {"ours": Arm("ours", "huge-1g", "touch"),
              "peer": Arm("peer", "huge-1g", "touch")},
             [Figure("share", "", 0.9, "ours", "peer", share, bar_on="floor"),
              Figure("p50", "us", 0.3, "ours", "peer", touch_us("p50"), counts=touch_count),
              Figure("p99", "us", 0.5, "ours", "peer", touch_us("p99"), counts=touch_count),
              Figure("drain", "ms", 1.1, "ours", "peer", ms("drain"))]),
        Case("after-drain",
             {"ours": Arm("ours", "huge-1g", "reads"), "peer": Arm("peer", "huge-1g", "reads")},
             [Figure("time", "ms", 0.8, "ours", "peer", lambda r: r.report["reads"] / 1e6)]),
        Case("limit",
             {"ours": Arm("ours", "huge-1g"), "peer": Arm("peer", "huge-1g", how="read")},
             [Figure("wall", "ms", 1.15, "ours", "peer", ms("drain"),
                     against="one thread's read() into huge memory")]),
        Case("drain-1g-cold",
             {"ours": Arm("ours", "huge-1g", cold=True),
              "peer": Arm("peer", "huge-1g", cold=True)},
             [Figure("cpu", "ms", 0.5, "ours", "peer", ms("cpu")),
              Figure("wall", "ms", 0.9, "ours", "peer", ms("drain"))]),
        Case("storm",
             {"ours": Arm("ours", "flat-1g", "storm"), "peer": Arm("peer", "flat-1g", "storm"),
              "idle": Arm("ours", "flat-1g")},
             [Figure("wall", "ms", 0.4, "ours", "peer", storm_ms),
              Figure("wall", "ms", 2.5, "ours", "idle", storm_ms, ms("drain"),
                     against="our idle drain", suffix="/own-drain")]),
        Case(frag_name,
             {"ours": Arm("ours", frag, "touch"), "peer": Arm("peer", frag, "touch"),
              "flat": Arm("ours", "flat-1g", "touch")},
             [Figure("p50", "us", 0.1, "ours", "peer", touch_us("p50"), counts=touch_count),
              Figure("drain", "ms", 0.1, "ours", "peer", ms("drain")),
              Figure("p50", "us", 1.3, "ours", "flat", touch_us("p50"), counts=touch_count,
                     against="our contiguous case", suffix="/own-flat")]),
        Case("restore-added",
             {"ours": Arm("ours", "flat-1g", how="plugin"), "peer": Arm("peer", "flat-1g"),
              "listening": Arm("ours", "flat-1g", how="listen+plugin")},
             [Figure("added", "ms", 0, "ours", "peer", ms("restore"),
                     lambda r: (r.start + r.restore) / 1e6, bar_on="diff",
                     against="start of criu lazy-pages to its status byte + criu restore"),
              Figure("added", "ms", 2, "ours", "listening", ms("restore"), bar_on="diff",
                     against="our plugin, pager already listening", suffix="/listening")],
             needs_plugin=True),
        # Nothing to compare with: what the task stands still for.
        Case("place-and-cure",
             {"ours": Arm("ours", "huge-64m", how="agent")},
             [Figure("time", "ms", 1, "ours", None, lambda r: r.hook_us / 1e3, bar_on="ours",
                     against="entering criu's hook to leaving it", suffix="/place"),
              Figure("time", "ms", 1, "ours", None, lambda r: r.cure_us / 1e3, bar_on="ours",
                     against="the cure, begin to end", suffix="/cure")],
             needs_plugin=True),
        # Peaks do not scatter and no bar hangs on the peer's, which takes half a minute a round.
        Case("memory",
             {"ours": Arm("ours", "frag-4g", rss=True, prewarm=False),
              "peer": Arm("peer", "frag-4g", rss=True, prewarm=False, rounds_cap=(3, 1))},
             [Figure("rss", "MiB", 64, "ours", "peer", lambda r: r.rss_kb / 1024, bar_on="ours"),
              Figure("rss", "MiB", 256, "ours", "peer", lambda r: r.rss_file_kb / 1024,
                     bar_on="ours", suffix="/file-window")],
             needs_mib=11 << 10),
        replay_case("redis"),
        replay_case("cpython"),
        Case("move-cli", {**movecli.BASE, **movecli.HUGE},
             [Figure("wall", "ms", 0.6, "move", "mremap-64k", ms("wall"),
                     against="mremap in pieces of 64 KiB", suffix="/64k"),
              Figure("wall", "ms", 0.4, "move", "mremap-4k", ms("wall"),
                     against="mremap in pieces of 4 KiB", suffix="/4k"),
              Figure("wall", "ms", 1.2, "move-huge", "mremap-2m", ms("wall"),
                     against="mremap in pieces of 2 MiB, huge pages", suffix="/huge"),
              Figure("wall", "ms", None, "move", "mremap-all", ms("wall"),
                     against="one mremap of all, for comparison", suffix="/all")],
             measure=movecli.rounds),
    ]


def job_text(arm, round_no, npages, pace):
    """What the victim reads upon resume; in one round all arms get the same pages in one order."""
    seed = round_no * 99991 % npages
    if arm.job == "touch":
        return f"touch {TOUCHES} {TOUCH_EVERY_NS} {seed} {pace}\n"
    if arm.job == "storm":
        return f"storm {seed}\n"
    if arm.job == "reads":
        return f"reads {READS} {seed}\n"
    return "idle\n"
