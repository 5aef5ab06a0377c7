"""Stacked energy: which part of the machine drew the joules, idle and active, how well known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from wbcbench.core.text import energy_scale
from wbcbench.core.trace import Domain, Origin
from wbcbench.report import DataTable, Figure
from wbcbench.report.drawing import WIDTH_IN, axes
from wbcbench.report.evidence import ReportStudy
from wbcbench.report.labels import labels
from wbcbench.report.numbers import number
from wbcbench.report.palette import COLOURS, HATCHES, INK
from wbcbench.report.sections.parts import PARTS, Share, bars

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAME = "energy-parts"
TITLE = "Energy in training by part of the machine"
MOST_ARMS = 12

_COLOUR = dict(zip(PARTS, COLOURS, strict=False))
_IDLE, _UNDIVIDED, _ACTIVE = 0.4, 0.7, 1.0
_BAR_IN, _NAME_IN, _AROUND_IN = 0.56, 0.3, 1.0
_BAR_HEIGHT = 0.46

Segment = tuple[float, Domain, float]
"""Joules, part, and how solid its colour is."""


def figure(study: ReportStudy, found: Sequence[Share]) -> Figure:
    """The figure of these shares, of which there is at least one."""
    description = "; ".join(
        f"{each.arm}, {PARTS[each.domain]}: {each.energy_j:.4g} J, {each.status}" for each in found
    )
    caption = "".join(_caption(study, found))
    return Figure(NAME, lambda: _picture(found), TITLE, description, caption, _data(study, found))


def _caption(study: ReportStudy, found: Sequence[Share]) -> Iterator[str]:
    statuses = sorted({each.status for each in found}, key=lambda status: Origin(status).rank)
    yield "Mean joules of the runs that the summary counts, gross. "
    yield f"One bar for each status ({_and(statuses)}): "
    yield "joules that are known in different ways are not added up. "
    hatched = [status for status in statuses if HATCHES[status]]
    if hatched:
        yield f"Hatched: {_and(hatched)}, not measured. "
    if any(each.splits for each in found):
        yield "Faint: what the part would have drawn idle in the same time; strong: above that. "
    if not all(each.splits for each in found):
        yield (
            "Undivided: no idle power is known, or it was higher than the load (see the table). "
        )
    if any(each.domain is Domain.SYSTEM for each in found):
        yield "The whole machine holds the parts and is no part itself. "
    absent = [PARTS[d] for d in PARTS if not any(each.domain is d for each in found)]
    if absent:
        yield f"Not known, and so not drawn: {_and(absent)}. "
    arms = len({each.arm for each in found})
    if arms > MOST_ARMS:
        yield f"The first {MOST_ARMS} of {arms} variants are drawn. "
    yield study.stamp.strip()


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _picture(found: Sequence[Share]) -> Canvas:
    arms = list(dict.fromkeys(each.arm for each in found))[:MOST_ARMS]
    drawn = [each for each in found if each.arm in arms]
    stacked = bars(drawn)
    height_in = len(stacked) * _BAR_IN + len(arms) * _NAME_IN + _AROUND_IN
    canvas, plot = axes((WIDTH_IN, height_in))
    longest_j = max(sum(max(each.energy_j, 0.0) for each in bar) for bar in stacked)
    divisor, unit = energy_scale(longest_j)
    plot.set_xlim(0.0, 1.02 * longest_j / divisor or 1.0)
    bottom = _draw(plot, arms, stacked, divisor)
    plot.set_ylim(bottom, -_NAME_IN)
    plot.set_yticks([])
    plot.grid(visible=False, axis="y")
    plot.set_xlabel(f"energy in training ({unit})")
    return canvas


def _draw(plot: Axes, arms: Sequence[str], stacked: Sequence[list[Share]], divisor: float) -> float:
    """Arm by arm, its name above its bars; heights are inches. Returns where it ends."""
    names = labels(arms)
    y = 0.0
    for arm in arms:
        _write(plot, 0.0, y, names[arm])
        y += _NAME_IN
        for bar in stacked:
            if bar[0].arm == arm:
                _draw_bar(plot, y, bar, divisor)
                y += _BAR_IN
    return y


def _write(plot: Axes, x: float, y: float, words: str, size: str = "medium") -> None:
    plot.annotate(
        words,
        (x, y),
        (3, 0),
        textcoords="offset points",
        va="center",
        fontsize=size,
        annotation_clip=False,
    )


def _draw_bar(plot: Axes, y: float, bar: Sequence[Share], divisor: float) -> None:
    """The bar with its segments, and below it what they are, in order."""
    from matplotlib.colors import to_rgba

    left = 0.0
    for energy_j, domain, alpha in _segments(bar):
        plot.barh(
            y,
            energy_j / divisor,
            left=left,
            height=_BAR_HEIGHT * _BAR_IN,
            color=to_rgba(_COLOUR[domain], alpha),
            hatch=HATCHES[bar[0].status],
            edgecolor=INK,
            linewidth=0.7,
        )
        left += energy_j / divisor
    parts = [PARTS[each.domain] + ("" if each.splits else " (undivided)") for each in bar]
    _write(plot, 0.0, y + 0.46 * _BAR_IN, f"{bar[0].status}: {' | '.join(parts)}", "small")


def _segments(bar: Sequence[Share]) -> Iterator[Segment]:
    for each in bar:
        if each.splits and each.idle_j is not None and each.active_j is not None:
            yield each.idle_j, each.domain, _IDLE
            yield each.active_j, each.domain, _ACTIVE
        else:
            yield max(each.energy_j, 0.0), each.domain, _UNDIVIDED


def _data(study: ReportStudy, found: Sequence[Share]) -> DataTable:
    rows = tuple(
        (
            each.arm,
            PARTS[each.domain],
            each.status,
            each.method,
            str(each.runs),
            number(each.energy_j),
            number(each.idle_j),
            number(each.active_j),
        )
        for each in found
    )
    headings = (
        "variant",
        "part",
        "status",
        "read by",
        "runs",
        "energy in training (J)",
        "of that idle (J)",
        "above idle (J)",
    )
    caption = (
        "The joules of the figure, means over runs, gross. A negative number above idle says that "
        f"the idle power was read higher than the load.{study.stamp}"
    )
    return DataTable(caption, headings, rows, frozenset({0, 1, 2, 3}))
