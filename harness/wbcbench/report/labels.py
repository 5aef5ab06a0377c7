"""Names in pictures: short, told apart, and never on top of each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from wbcbench.report.palette import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Named = tuple[str, float, float]
"""A name and the point it belongs to, in the axes' own units."""

LENGTH = 26
_TAIL = 10
# A label is this share of a plot of the usual height high, with a little air.
_SHARE = 0.065


def plain(text: str) -> str:
    """The text on one line, without signs that no picture can hold or that turn its direction."""
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())


def short(name: str, length: int = LENGTH) -> str:
    """A label that fits into a picture: its middle gives way, for names often differ at the end."""
    flat = plain(name)
    if len(flat) <= length:
        return flat
    return f"{flat[: length - _TAIL - 1]}…{flat[-_TAIL:]}"


def labels(names: Iterable[str]) -> dict[str, str]:
    """A short label for each name; names that look alike when cut are numbered."""
    given: dict[str, str] = {}
    alike: Counter[str] = Counter()
    for name in sorted(set(names)):
        label = short(name)
        alike[label] += 1
        number = f" ({alike[label]})" if alike[label] > 1 else ""
        given[name] = label[: LENGTH - len(number)] + number
    return given


def in_margin(plot: Axes, named: Sequence[Named], share: float = _SHARE) -> None:
    """Write names in the right margin, joined to their points, so that none hides a point.

    Args:
        plot: With its limits already set; they do not change any more.
        named: Labels and their points.
        share: Least distance of two labels, as a share of the height of the plot.
    """
    low, high = plot.get_ylim()
    left, right = plot.get_xlim()
    gap = share * (high - low)
    places = within(spread([y for _, _, y in named], gap), gap, low + gap / 2, high - gap / 2)
    for (name, x, y), place in zip(named, places, strict=True):
        plot.annotate(
            name,
            (x, y),
            xytext=(right + 0.03 * (right - left), place),
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.6, "alpha": 0.6},
        )


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Places for labels near the wanted ones and at least ``gap`` apart, in the same order.

    Neighbours that are too close become a group that is centred on its members' mean.
    """
    groups: list[list[tuple[float, int]]] = []
    for value, i in sorted((value, i) for i, value in enumerate(wanted)):
        groups.append([(value, i)])
        while len(groups) > 1 and _first(groups[-1], gap) - _last(groups[-2], gap) < gap:
            last = groups.pop()
            groups[-1] += last
    places = [0.0] * len(wanted)
    for group in groups:
        for rank, (_, i) in enumerate(group):
            places[i] = _first(group, gap) + rank * gap
    return places


def within(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The same places moved between ``low`` and ``high``, as far as there is room for all."""
    moved = list(places)
    order = sorted(range(len(places)), key=lambda i: (places[i], i))
    floor = low
    for i in order:
        moved[i] = max(moved[i], floor)
        floor = moved[i] + gap
    ceiling = high
    for i in reversed(order):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - gap
    return moved


def _first(group: list[tuple[float, int]], gap: float) -> float:
    centre = sum(value for value, _ in group) / len(group)
    return centre - gap * (len(group) - 1) / 2


def _last(group: list[tuple[float, int]], gap: float) -> float:
    return _first(group, gap) + gap * (len(group) - 1)
