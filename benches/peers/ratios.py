"""What a comparison says: ratios of runs that were made one right after the other.

A machine is never equally fast for long. Two runs side by side see the same machine, so their ratio is steadier than
either figure.
"""

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """Latchkey's CPU time divided by a peer's, over all pairs of runs; below 1 Latchkey needs less."""

    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Row:
    """One workload against one peer; `void` tells why there is no ratio."""

    workload: str
    peer: str
    pairs: list
    void: str = ""

    def ratio(self):
        """The ratio of the pairs (Latchkey's, the peer's)."""
        return ratio_of([[run.cpu_microseconds_per_request for run in pair] for pair in self.pairs])


def ratio_of(pairs):
    """Median, least and most of ours divided by theirs."""
    ratios = [ours / theirs for ours, theirs in pairs]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def as_table(rows):
    """The rows as lines of text for people."""
    lines = [f"{'workload':<32}{'peer':<10}{'Latchkey µs':>12}{'peer µs':>10}{'ratio':>8}{'min':>8}{'max':>8}"]
    for row in rows:
        start = f"{row.workload:<32}{row.peer:<10}"
        if row.void:
            lines.append(f"{start}  void: {row.void}")
            continue
        ours, theirs = _medians(row)
        ratio = row.ratio()
        figures = f"{ours:>12.2f}{theirs:>10.2f}{ratio.median:>8.3f}{ratio.least:>8.3f}{ratio.most:>8.3f}"
        lines.append(start + figures)
    return "\n".join(lines)


def as_json(rows):
    """The rows as a JSON value, with every single run."""
    values = []
    for row in rows:
        value = {"workload": row.workload, "peer": row.peer}
        if row.void:
            values.append({**value, "void": row.void})
            continue
        ours, theirs = _medians(row)
        value["cpu_microseconds_per_request"] = {"latchkey": ours, "peer": theirs}
        value["ratio"] = vars(row.ratio())
        value["runs"] = [{"latchkey": vars(ours), "peer": vars(theirs)} for ours, theirs in row.pairs]
        values.append(value)
    return values


def _medians(row):
    sides = zip(*row.pairs, strict=True)
    return [statistics.median(run.cpu_microseconds_per_request for run in side) for side in sides]
