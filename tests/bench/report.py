# SPDX-License-Identifier: GPL-2.0-only
"""report: from the rounds of a case to its figures, and how they are printed."""

import json


def median(values):
    ordered = sorted(values)
    half = len(ordered) // 2
    if not ordered:
        return None
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def spread(values):
    return [round(min(values), 3), round(max(values), 3)] if values else None


def figure(case, fig, rounds):
    """One figure as the object that --json prints.  rounds: arm name -> list of Rounds."""
    def values(arm, value):
        return [v for v in map(value, rounds[arm]) if v is not None] if arm else []

    ours = values(fig.ours, fig.value)
    peer = values(fig.peer, fig.value_peer or fig.value)
    mid_ours, mid_peer = median(ours), median(peer)
    both = mid_ours is not None and mid_peer is not None
    ratio = mid_ours / mid_peer if both and mid_peer > 0 else None
    measured = {"ratio": ratio, "ours": mid_ours, "floor": mid_ours,
                "diff": mid_ours - mid_peer if both else None}[fig.bar_on]
    out = {"case": case.name + fig.suffix, "metric": fig.metric, "unit": fig.unit,
           "ours": mid_ours, "peer": mid_peer, "ratio": ratio, "rounds": len(ours),
           "rounds_peer": len(peer), "spread_ours": spread(ours), "spread_peer": spread(peer),
           "bar": fig.bar, "bar_on": fig.bar_on, "against": fig.against,
           "ok": measured is not None and
                 (fig.bar is None or
                  (measured >= fig.bar if fig.bar_on == "floor" else measured <= fig.bar))}
    if fig.counts:
        out["touches_ours"] = median([fig.counts(r) for r in rounds[fig.ours]])
        out["touches_peer"] = median([fig.counts(r) for r in rounds[fig.peer]])
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in out.items()}


def number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def header():
    return (f"{'case':<26} {'metric':<6} {'unit':<4} {'ours':>8} {'min..max':>15} {'peer':>8} "
            f"{'min..max':>15} {'ratio':>6}  {'bar':<13} {'rounds':<6} ok")


def row(out):
    def span(pair):
        return f"{number(pair[0])}..{number(pair[1])}" if pair else "-"

    bar = {"ratio": "ratio<=", "ours": "ours<=", "diff": "diff<=", "floor": "ours>="}[out["bar_on"]]
    bar = "none" if out["bar"] is None else bar + number(out["bar"])
    line = (f"{out['case']:<26} {out['metric']:<6} {out['unit']:<4} {number(out['ours']):>8} "
            f"{span(out['spread_ours']):>15} {number(out['peer']):>8} "
            f"{span(out['spread_peer']):>15} {number(out['ratio']):>6}  "
            f"{bar:<13} {out['rounds']:>2}/{out['rounds_peer']:<3} "
            f"{'yes' if out['ok'] else 'NO'}")
    if out["against"] != "criu lazy-pages":
        line += f"  (against {out['against']})"
    if "touches_ours" in out:
        line += f"  (slow touches: {number(out['touches_ours'])}, {number(out['touches_peer'])})"
    return line


def dumps(out):
    return json.dumps(out, separators=(", ", ": "))


def summary(figures, failed, skipped):
    figures = [f for f in figures if f["bar"] is not None]
    held = [f for f in figures if f["ok"]]
    missed = [f"{f['case']} {f['metric']}" for f in figures if not f["ok"]]
    text = f"bars: {len(held)} of {len(figures)} hold"
    if missed:
        text += "; missed: " + ", ".join(missed)
    if failed:
        text += "; FAILED: " + ", ".join(failed)
    if skipped:
        text += "; skipped: " + ", ".join(skipped)
    return text
