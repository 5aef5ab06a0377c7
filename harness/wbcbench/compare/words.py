"""Differences and their intervals as people read them."""

from __future__ import annotations

import math

from wbcbench.compare.metric import Metric
from wbcbench.compare.result import Effect, GateResult, Level
from wbcbench.core.text import UNKNOWN, human_duration, human_energy
from wbcbench.stats.intervals import Interval

_MOST_DIGITS = 4


def difference(value: float | None, found: Interval | None, metric: Metric) -> str:
    """``-6.91 % [-7.31, -6.51]``; two digits of the half-width, for more would be noise."""
    if value is None:
        return UNKNOWN
    digits = decimals(found)
    unit = f" {metric.unit}" if metric.unit else ""
    told = f"{_signed(value, digits)}{unit}"
    return told if found is None else f"{told} {bounds(found, digits)}"


def bounds(found: Interval, digits: int | None = None) -> str:
    """``[-7.31, -6.51]``."""
    places = decimals(found) if digits is None else digits
    return f"[{_signed(found.low, places)}, {_signed(found.high, places)}]"


def effect_words(effect: Effect) -> str:
    """Estimate, interval, finding, and what kind of joules if they are not measured."""
    finding = "" if effect.finding == "estimate only" else f" {effect.finding.value}"
    return (
        difference(effect.estimate, effect.interval, effect.metric)
        + finding
        + status_words(effect.status)
    )


def status_words(status: str) -> str:
    """`` (modelled)``; nothing for what is measured or is no joule."""
    return "" if status in {"", "measured"} else f" ({status})"


def level_words(level: Level, metric: Metric, status: str) -> str:
    """``41.2 kJ ± 0.6 kJ (runs) ± 2.1 kJ (meter)``, shares in per cent."""
    told = quantity(level.mean, metric)
    if level.runs is not None:
        told += f" ± {quantity(level.runs, metric)} (runs)"
    if level.meter is not None:
        told += f" ± {quantity(level.meter, metric)} (meter)"
    return told + status_words(status)


def quantity(value: float | None, metric: Metric) -> str:
    """A value of a column with its unit."""
    if value is None:
        return UNKNOWN
    if metric.scale == "share":
        return f"{100 * value:.2f} %"
    if metric.name.endswith("_j"):
        return human_energy(value)
    return human_duration(value) if metric.name.endswith("_s") else f"{value:.4g}"


def p_words(p: float | None) -> str:
    """``0.0078``; two digits."""
    return UNKNOWN if p is None else f"{p:.2g}"


def gate_words(judged: GateResult) -> str:
    """Where the interval lies and what it would take to settle an open gate."""
    if judged.interval is None:
        told = "no interval: too few complete blocks"
    else:
        told = bounds(judged.interval)
    if judged.outcome == "cannot tell":
        told += (
            "; no number of blocks up to 1,000 would settle it at this estimate"
            if judged.more_blocks is None and judged.interval is not None
            else f"; about {_blocks(judged.more_blocks)} would settle it"
            if judged.more_blocks is not None
            else ""
        )
    return told + status_words(judged.status)


def _signed(value: float, digits: int) -> str:
    """With its sign, but for what rounds to zero."""
    told = f"{value:+.{digits}f}"
    return told if told.strip("+-0.") else told[1:]


def _blocks(count: int) -> str:
    return "1 more block" if count == 1 else f"{count} more blocks"


def decimals(found: Interval | None) -> int:
    """How many decimals show two digits of the half-width; two without an interval."""
    half = (found.high - found.low) / 2 if found else 0.0
    if half <= 0:
        return 2
    return min(max(1 - math.floor(math.log10(half)), 0), _MOST_DIGITS)
