"""The surface figures are drawn on: colours, labels, and files that are always the same."""

from __future__ import annotations

import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import FigureCanvasBase
    from matplotlib.figure import Figure as Canvas

    from wbcbench.report import Figure

_TAG = re.compile(r"<(?:path|use|text)\b[^>]*>")
_STYLE = re.compile(r'(<[a-z]+\b[^<>]*?) style="([^"]*)"')
_OFTEN = 3

# A path of straight lines alone, as matplotlib writes them.
_LINES = re.compile(r' d="((?:[ML] -?[\d.]+ -?[\d.]+ |z ?)+)"')
_STEP = re.compile(r"([ML]) (\S+) (\S+) |z")
_MARKS = re.compile(r'<g((?: clip-path="[^"]*")?)>((?:<use [^<>]* class="([^"]*)"/>)+)</g>')

# Okabe and Ito (2008), told apart by people with colour-blindness; those with 3:1 on both white
# and near-black first. Shape, dashes and label say the same once more.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SHAPES = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
Dash = str | tuple[int, tuple[int, ...]]

# What is not measured is not drawn as a plain surface.
HATCHES: Mapping[str, str] = {
    "measured": "",
    "estimated": "xx",
    "simulated": "..",
}

# Stands for the reader's own text colour; replaced when the picture is set into a page.
INK = "#1b1b1f"

# In inches: narrow, so that text stays legible when a phone shrinks the picture to its width.
WIDTH_IN = 5.6
SIZE_IN = (WIDTH_IN, 4.2)

_SETTINGS = {
    "svg.hashsalt": "wbcbench",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
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
    "hatch.linewidth": 0.8,
}

# Points: what both formats are always saved at.
_DPI = 72

# One figure stands in the page and beside it: drawn once, however often it is asked for.
_KEPT = 64

Named = tuple[str, float, float]
"""A name and the point it belongs to, in the axes' own units."""

LABEL_LENGTH = 26
_LABEL_TAIL = 10
# A label is this share of a plot of the usual height high, with a little air.
_LABEL_SHARE = 0.065


# The same picture in half the bytes: a page of many figures has to stay small. Only tags are
# changed, never a text: what looks like a number or a style in a text is a text.
def lighten_svg(svg: str, name: str) -> str:
    """Round coordinates, and say once what is said again and again.

    Args:
        svg: A file as matplotlib writes it.
        name: The figure's; classes are named after it, so that those of two pictures in one page
            are told apart.
    """
    svg = _TAG.sub(lambda tag: _rounded(tag[0]), svg)
    svg = re.sub(r'(<text\b[^>]*?) transform="rotate\(-0 [^)]*\)"', r"\1", svg)
    svg = re.sub(r'<g id="text_\d+">\s*(<text\b[^<]*</text>)\s*</g>', r"\1", svg)
    svg = re.sub(r'<g id="(?:line2d|xtick|ytick)_\d+">', "<g>", svg)
    svg = re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", svg))
    svg = _LINES.sub(lambda path: f' d="{_lines(path[1])}"', svg)
    return _with_classes(_with_short_ids(_without_empty_groups(svg)), name)


def _rounded(tag: str) -> str:
    """Coordinates to a tenth of a point: no screen shows a millionth."""
    return re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.1f}", tag)


def _without_empty_groups(svg: str) -> str:
    """Groups that hold one thing and say nothing of it; those around them may then be such too."""
    one = re.compile(r"<g>(<(?:path|use)\b[^>]*/>|<text\b[^<]*</text>)?</g>")
    count = 1
    while count:
        svg, count = one.subn(lambda group: group[1] or "", svg)
    return svg


def _lines(path: str) -> str:
    """Straight lines, with one number for each that runs across or upright."""
    made, x, y = list[str](), "", ""
    for step in _STEP.finditer(path):
        if not step[1]:
            made.append("z")
        elif step[1] == "L" and step[2] == x:
            made.append(f"V{step[3]}")
        elif step[1] == "L" and step[3] == y:
            made.append(f"H{step[2]}")
        else:
            made.append(f"{step[1]}{step[2]} {step[3]}")
        x, y = (step[2], step[3]) if step[1] else ("", "")
    return "".join(made)


def _of_one_class(group: re.Match[str]) -> str:
    """Marks that all look the same say so once."""
    own = f' class="{group[3]}"'
    if group[2].count(own) != group[2].count("<use "):
        return group[0]
    return f"<g{group[1]}{own}>{group[2].replace(own, '')}</g>"


def _with_short_ids(svg: str) -> str:
    """Marks and clips are named by digests, each of which is repeated at every mark."""
    digests = dict.fromkeys(re.findall(r'<(?:path|clipPath) id="([mp][0-9a-f]{10})"', svg))
    for i, digest in enumerate(digests):
        svg = re.sub(rf'(id="|"#|url\(#){digest}\b', rf"\g<1>{digest[0]}{i}", svg)
    return svg


def _with_classes(svg: str, name: str) -> str:
    """Styles that stand at many elements become classes."""
    counts = Counter(style for _, style in _STYLE.findall(svg))
    often = [style for style, count in counts.items() if count >= _OFTEN]
    # A digest is shorter than the name and stands at every tick.
    prefix = f"c{zlib.crc32(name.encode()):08x}"[:6]
    classes = {style: f"{prefix}-{i}" for i, style in enumerate(often)}
    svg = _STYLE.sub(
        lambda tag: f'{tag[1]} class="{classes[tag[2]]}"' if tag[2] in classes else tag[0], svg
    )
    svg = _MARKS.sub(_of_one_class, svg)
    rules = "".join(f".{each}{{{style}}}" for style, each in classes.items())
    start = svg.index(">", svg.index("<svg")) + 1
    return f"{svg[:start]}<style>{rules}</style>{svg[start:]}" if rules else svg


@dataclass(frozen=True, slots=True)
class Style:
    """How one variant looks in every figure."""

    colour: str
    shape: str
    dash: Dash


def variant_style(variants: Sequence[str], variant: str) -> Style:
    """The look of a variant among the sorted ``variants`` of the study."""
    i = list(variants).index(variant)
    n = len(COLOURS)
    # Beyond six the shapes shift against the colours, so that no two variants look the same.
    return Style(COLOURS[i % n], SHAPES[(i + i // n) % n], DASHES[(i + i // n) % n])


# Matplotlib's object interface alone: no window system is asked for, and what is set is set only
# while a figure is drawn and saved. A figure holds how it is drawn, not the drawing. Text stays
# text, so that it can be read, searched and scaled.
def new_plot(size_in: tuple[float, float] = SIZE_IN) -> tuple[Canvas, Axes]:
    """One plot, ready to draw on; to be called while a figure is being drawn."""
    canvas, grid = new_plots(1, 1, size_in)
    return canvas, grid[0][0]


def new_plots(
    rows: int,
    columns: int,
    size_in: tuple[float, float] = SIZE_IN,
    *,
    share_x: bool = False,
    share_y: bool = False,
    heights: Sequence[float] | None = None,
) -> tuple[Canvas, list[list[Axes]]]:
    """Several plots, ``[rows][columns]``; to be called while a figure is being drawn.

    Args:
        rows: Plots below each other.
        columns: Plots beside each other.
        size_in: Width and height of the whole, in inches.
        share_x: Whether plots below each other share their horizontal axis.
        share_y: Whether plots beside each other share their vertical axis.
        heights: Relative heights of the rows.
    """
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=size_in, layout="constrained")
    grid = canvas.subplots(
        rows,
        columns,
        sharex="col" if share_x else False,
        sharey="row" if share_y else False,
        squeeze=False,
        height_ratios=heights,
    )
    for plot in grid.flat:
        plot.spines[["top", "right"]].set_visible(False)
        plot.grid(visible=True, color="#808080", alpha=0.25, linewidth=0.6)
        plot.set_axisbelow(True)
    return canvas, [list(row) for row in grid]


def draw_cross(
    plot: Axes,
    at: tuple[float, float],
    half: tuple[float | None, float | None],
    colour: str,
) -> None:
    """An interval in both directions around a mean; an unknown half-width draws nothing."""
    (x, y), (half_x, half_y) = at, half
    bar = {"color": colour, "linewidth": 1.6, "capsize": 3.5, "zorder": 2.5}
    if half_x is not None:
        plot.errorbar([x], [y], xerr=[half_x], fmt="none", **bar)  # type: ignore[arg-type]
    if half_y is not None:
        plot.errorbar([x], [y], yerr=[half_y], fmt="none", **bar)  # type: ignore[arg-type]


@lru_cache(maxsize=_KEPT)
def to_svg(figure: Figure) -> str:
    """The figure as a file: ids prefixed by its name, title and description inside, no date."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _settings():
        _save(figure.draw(), FigureCanvasSVG, out, nothing)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", out.getvalue(), flags=re.DOTALL)
    return _spoken(_prefixed(lighten_svg(text, figure.name), figure.name), figure)


@lru_cache(maxsize=_KEPT)
def to_pdf(figure: Figure) -> bytes:
    """The figure as a page of its own size with its fonts inside, no date."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    out = io.BytesIO()
    words = {
        "Title": one_line(figure.title),
        "CreationDate": None,
        "Creator": None,
        "Producer": None,
    }
    with _settings():
        _save(figure.draw(), FigureCanvasPdf, out, words)
    return out.getvalue()


def inline_svg(svg: str) -> str:
    """The same picture for a page: no prologue, no ground, ink in the reader's text colour."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r' (width|height)="[\d.]+pt"', "", body, count=2)
    body = re.sub(r'<g id="[^"]*patch_1">.*?</g>\s*', "", body, count=1, flags=re.DOTALL)
    # The plots' own grounds.
    body = body.replace("fill: #ffffff", "fill: none")
    return body.replace(INK, "currentColor")


def _save(
    canvas: Canvas, surface: type[FigureCanvasBase], out: IO[Any], words: Mapping[str, str | None]
) -> None:
    """Find room for everything, then save: saving alone would draw it all twice to find room.

    Room is found on the surface and at the scale that it is saved with.
    """
    engine = canvas.get_layout_engine()
    on = surface(canvas)
    canvas.dpi = _DPI
    if engine is not None:
        engine.execute(canvas)
    canvas.set_layout_engine(None)
    on.print_figure(out, format=on.get_default_filetype(), metadata=words)


@contextmanager
def _settings() -> Iterator[None]:
    """This project's settings and nobody else's, while a figure is drawn and saved."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
        yield


def _prefixed(svg: str, name: str) -> str:
    """Every id made the picture's own; two pictures of one page may not share one."""
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    return re.sub(r'href="#', f'href="#{name}-', svg)


def _spoken(svg: str, figure: Figure) -> str:
    name = figure.name
    start, end = svg.index("<svg"), svg.index(">", svg.index("<svg"))
    words = f' role="img" aria-labelledby="{name}-title {name}-desc">'
    spoken = (
        f'\n <title id="{name}-title">{escape(one_line(figure.title))}</title>'
        f'\n <desc id="{name}-desc">{escape(one_line(figure.description))}</desc>'
    )
    return svg[:start] + svg[start:end] + words + spoken + svg[end + 1 :]


def one_line(text: str) -> str:
    """The text on one line, without signs that no picture can hold or that turn its direction."""
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())


def shorten_label(name: str, length: int = LABEL_LENGTH) -> str:
    """A label that fits into a picture: its middle gives way, for names often differ at the end."""
    flat = one_line(name)
    if len(flat) <= length:
        return flat
    return f"{flat[: length - _LABEL_TAIL - 1]}…{flat[-_LABEL_TAIL:]}"


def short_labels(names: Iterable[str]) -> dict[str, str]:
    """A short label for each name; names that look alike when cut are numbered."""
    given: dict[str, str] = {}
    alike: Counter[str] = Counter()
    for name in sorted(set(names)):
        label = shorten_label(name)
        alike[label] += 1
        number = f" ({alike[label]})" if alike[label] > 1 else ""
        given[name] = label[: LABEL_LENGTH - len(number)] + number
    return given


def in_margin(plot: Axes, named: Sequence[Named], share: float = _LABEL_SHARE) -> None:
    """Write names in the right margin, joined to their points, so that none hides a point.

    Args:
        plot: With its limits already set; they do not change any more.
        named: Labels and their points.
        share: Least distance of two labels, as a share of the height of the plot.
    """
    low, high = plot.get_ylim()
    left, right = plot.get_xlim()
    gap = share * (high - low)
    places = keep_within(
        spread_out([y for _, _, y in named], gap), gap, low + gap / 2, high - gap / 2
    )
    for (name, x, y), place in zip(named, places, strict=True):
        plot.annotate(
            name,
            (x, y),
            xytext=(right + 0.03 * (right - left), place),
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.6, "alpha": 0.6},
        )


def spread_out(wanted: Sequence[float], gap: float) -> list[float]:
    """Places for labels near the wanted ones and at least ``gap`` apart, in the same order.

    Neighbours that are too close become a group that is centred on its members' mean.
    """
    groups: list[list[tuple[float, int]]] = []
    for value, i in sorted((value, i) for i, value in enumerate(wanted)):
        groups.append([(value, i)])
        while len(groups) > 1 and _lowest(groups[-1], gap) - _highest(groups[-2], gap) < gap:
            last = groups.pop()
            groups[-1] += last
    places = [0.0] * len(wanted)
    for group in groups:
        for rank, (_, i) in enumerate(group):
            places[i] = _lowest(group, gap) + rank * gap
    return places


def keep_within(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
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


def _lowest(group: list[tuple[float, int]], gap: float) -> float:
    centre = sum(value for value, _ in group) / len(group)
    return centre - gap * (len(group) - 1) / 2


def _highest(group: list[tuple[float, int]], gap: float) -> float:
    return _lowest(group, gap) + gap * (len(group) - 1)
