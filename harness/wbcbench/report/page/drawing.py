"""The surface figures are drawn on: colours, shapes, labels, and an SVG that is always the same.

Matplotlib's object interface alone: nothing global is set, no window system is asked for. Text
stays text in the picture, so that it can be read, searched and scaled.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Okabe and Ito (2008), told apart by people with colour-blindness; those with 3:1 on both white
# and near-black first. Shape and label say the same once more.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SHAPES = ("o", "s", "^", "D", "v", "P")

# Stands for the reader's own text colour; replaced when the picture is set into a page.
INK = "#1b1b1f"

# In inches: narrow, so that text stays legible when a phone shrinks the picture to its width.
SIZE_IN = (5.6, 4.2)
_LABEL_LENGTH = 26

_SETTINGS = {
    "svg.hashsalt": "wbcbench",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,
    "axes.unicode_minus": False,
}


def style(variants: Sequence[str], variant: str) -> tuple[str, str]:
    """Colour and marker of a variant among the sorted ``variants`` of the study."""
    i = list(variants).index(variant)
    return COLOURS[i % len(COLOURS)], SHAPES[i % len(SHAPES)]


def short(name: str) -> str:
    """A label that fits into a picture, on one line."""
    flat = " ".join(name.split())
    return flat if len(flat) <= _LABEL_LENGTH else flat[: _LABEL_LENGTH - 1] + "…"


@contextmanager
def axes() -> Iterator[tuple[Canvas, Axes]]:
    """One pair of axes under this project's settings and nobody else's."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
        canvas = Canvas(figsize=SIZE_IN, layout="constrained")
        plot = canvas.add_subplot()
        plot.spines[["top", "right"]].set_visible(False)
        plot.grid(visible=True, color="#808080", alpha=0.25, linewidth=0.6)
        plot.set_axisbelow(True)
        yield canvas, plot


def to_svg(canvas: Canvas, name: str, title: str, description: str) -> str:
    """The picture as a file: ids prefixed by ``name``, title and description inside, no date."""
    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas.savefig(out, format="svg", metadata=nothing)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", out.getvalue(), flags=re.DOTALL)
    return _spoken(_prefixed(text, name), name, title, description)


def inline(svg: str) -> str:
    """The same picture for a page: no prologue, no ground, ink in the reader's text colour."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r' (width|height)="[\d.]+pt"', "", body, count=2)
    body = re.sub(r'<g id="[^"]*patch_1">.*?</g>\s*', "", body, count=1, flags=re.DOTALL)
    # The plot's own ground: the next white area.
    body = body.replace("fill: #ffffff", "fill: none")
    return body.replace(INK, "currentColor")


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


def _first(group: list[tuple[float, int]], gap: float) -> float:
    centre = sum(value for value, _ in group) / len(group)
    return centre - gap * (len(group) - 1) / 2


def _last(group: list[tuple[float, int]], gap: float) -> float:
    return _first(group, gap) + gap * (len(group) - 1)


def _prefixed(svg: str, name: str) -> str:
    """Every id made the picture's own; two pictures of one page may not share one."""
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    return re.sub(r'href="#', f'href="#{name}-', svg)


def _spoken(svg: str, name: str, title: str, description: str) -> str:
    start, end = svg.index("<svg"), svg.index(">", svg.index("<svg"))
    words = f' role="img" aria-labelledby="{name}-title {name}-desc"'
    spoken = (
        f'\n <title id="{name}-title">{escape(title)}</title>'
        f'\n <desc id="{name}-desc">{escape(description)}</desc>'
    )
    lines = itertools.chain([svg[:start] + svg[start:end] + words + ">" + spoken, svg[end + 1 :]])
    return "".join(lines)
