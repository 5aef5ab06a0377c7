"""The interval of a share of runs, exact: Clopper and Pearson (1934)."""

from __future__ import annotations

from scipy import special


def share_interval(hits: int, runs: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a share of which ``hits`` of ``runs`` were seen, runs ≥ 1."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, runs - hits + 1, tail))
    high = 1.0 if hits == runs else float(special.betaincinv(hits + 1, runs - hits, 1 - tail))
    return low, high
