"""What fits a terminal: its width, paragraphs broken at spaces, tables whose columns may leave.

No word, run id or path is ever broken: what is wider than the terminal stays whole.
"""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from wbcbench.core.text import energy_scale, format_digits, one_line, power_scale, time_scale
from wbcbench.core.units import pct_from_share

NARROWEST = 50
ABSENT = "–"

_USUAL = (80, 24)
_GAPS = (3, 2)
_FEWEST_FOLDED = 24
_NO_BREAK = "\xa0"
# Between a number and its unit, and between ± and its number, no line ends.
_UNIT_SPACE = re.compile(
    r"(?<=\d) (?=(?:[GMkmµ]?[JWBsg]|kWh|min|h|%|pp|px|°C)(?!\w))|(?<=±) (?=\d)"
)


def terminal_width() -> int:
    """Columns of the terminal, those that COLUMNS names, or 80 in a file or a pipe."""
    return max(shutil.get_terminal_size(_USUAL).columns, NARROWEST)


def cell_width(text: str) -> int:
    """Columns that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fill(text: str, first: str = "", rest: str | None = None, width: int | None = None) -> str:
    """A paragraph whose first line begins with ``first`` and whose others with ``rest``."""
    text = "\n".join(
        textwrap.wrap(
            _UNIT_SPACE.sub(_NO_BREAK, text),
            width or terminal_width(),
            initial_indent=first,
            subsequent_indent=first if rest is None else rest,
            break_long_words=False,
            break_on_hyphens=False,
        )
        or [first.rstrip()]
    )
    return text.replace(_NO_BREAK, " ")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column of a table.

    Attributes:
        heading: Above it, with its unit.
        cells: One for each row.
        align: At which side; ``point`` puts decimal points below each other.
        leaves: The column with the highest number leaves first when the terminal is too narrow;
            one with 0 stays.
        folds: Whether its text may go on in further lines.
    """

    heading: str
    cells: Sequence[str]
    align: Literal["left", "right", "point"] = "left"
    leaves: int = 0
    folds: bool = False

    @property
    def padded(self) -> list[str]:
        """Its cells, those of numbers as wide as each other."""
        return align_points(self.cells) if self.align == "point" else [*self.cells]

    @property
    def width(self) -> int:
        """Columns of the terminal that it takes."""
        return max(map(cell_width, (self.heading, *self.padded)))

    @property
    def least_width(self) -> int:
        """The same where its text is folded as far as its longest word allows."""
        if not self.folds:
            return self.width
        words = (word for cell in self.cells for word in cell.split())
        longest = max(map(cell_width, (self.heading, *words)))
        return min(max(longest, _FEWEST_FOLDED), self.width)


def align_points(cells: Sequence[str]) -> list[str]:
    """Numbers padded so that their decimal points stand below each other; other texts as wide."""
    numbers = [cell for cell in cells if cell[-1:].isdigit()]
    after = max((len(cell) - len(cell.partition(".")[0]) for cell in numbers), default=0)
    lined = [
        cell + " " * (after - len(cell) + len(cell.partition(".")[0])) if cell in numbers else cell
        for cell in cells
    ]
    width = max(map(cell_width, lined), default=0)
    return [" " * (width - cell_width(cell)) + cell for cell in lined]


def format_table(
    columns: Sequence[TableColumn], *, indent: str = "", wide: bool | None = None
) -> list[str]:
    """The lines of a table that fits the terminal.

    Args:
        columns: In their order.
        indent: Before each line, where there is room for it.
        wide: Whether nothing leaves or folds, however long the lines become; ``None`` where the
            command has no ``--wide``.
    """
    width, kept = terminal_width(), [*columns]
    if wide:
        return _lay_out(kept, [column.width for column in kept], indent, _GAPS[-1])
    gap = next((gap for gap in _GAPS if _needed(kept, gap) + len(indent) <= width), _GAPS[-1])
    if _needed(kept, gap) + len(indent) > width:
        indent = ""
    while _needed(kept, gap) > width and any(column.leaves for column in kept):
        kept.remove(max(reversed(kept), key=lambda column: column.leaves))
    if _needed(kept, gap) > width and len(kept) > 1:
        lines = _lay_apart(kept, gap)
    else:
        lines = _lay_out(kept, _share_width(kept, width - len(indent), gap), indent, gap)
    if left_out := [column.heading for column in columns if column not in kept]:
        way = "a wider terminal or --json shows" if wide is None else "--wide shows"
        lines += fill(f"Left out: {', '.join(left_out)} ({way} all)", indent).splitlines()
    return lines


def format_rows(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of which nothing may leave: where it is too wide, each row becomes a paragraph."""
    cells = list(zip(*rows, strict=True))
    columns = [text_column(name, own) for name, own in zip(headings, cells, strict=True)]
    if _needed(columns, _GAPS[-1]) <= terminal_width():
        return format_table(columns)
    most = terminal_width() // 2
    short = [heading for heading in headings[1:] if cell_width(heading) <= most]
    label, lines = max(map(cell_width, short), default=0), list[str]()
    for name, *rest in rows:
        lines.append(fill(f"{headings[0]}: {one_line(name)}", rest="  "))
        for heading, cell in zip(headings[1:], rest, strict=True):
            first = f"  {heading:<{label}}  "
            if heading not in short:
                lines.append(fill(heading, "  "))
                first = "    "
            lines += fill(one_line(cell) or ABSENT, first, " " * len(first)).splitlines()
    return lines


def _needed(columns: Sequence[TableColumn], gap: int) -> int:
    return sum(column.least_width for column in columns) + gap * (len(columns) - 1)


def _share_width(columns: Sequence[TableColumn], width: int, gap: int) -> list[int]:
    """Each column's width: what is to spare goes to those that fold, the first first."""
    widths = [column.least_width for column in columns]
    for place, column in enumerate(columns):
        spare = width - sum(widths) - gap * (len(columns) - 1)
        widths[place] += max(min(spare, column.width - widths[place]), 0)
    return widths


def _lay_out(
    columns: Sequence[TableColumn], widths: Sequence[int], indent: str, gap: int
) -> list[str]:
    lines = [_join([c.heading for c in columns], columns, widths, indent, gap)]
    for cells in zip(*(column.padded for column in columns), strict=True):
        folded = [
            fill(cell, width=width).splitlines() if column.folds else [cell]
            for column, cell, width in zip(columns, cells, widths, strict=True)
        ]
        for place in range(max(map(len, folded))):
            row = [parts[place] if place < len(parts) else "" for parts in folded]
            lines.append(_join(row, columns, widths, indent, gap))
    return lines


def _lay_apart(columns: Sequence[TableColumn], gap: int) -> list[str]:
    """Where no more may leave: a wide first column above its row, and wide others below it."""
    width, above = terminal_width(), list[TableColumn]()
    below = [column for column in columns if column.folds]
    rest = [column for column in columns if not column.folds]
    while len(rest) > 1 and _needed(rest, gap) > width:
        is_first = not above and rest[0].width > width // 2
        widest = rest[0] if is_first else max(rest[1:], key=lambda column: column.width)
        rest.remove(widest)
        (above if is_first else below).append(widest)
    indent = "  " * bool(above)
    heading, *rows = _lay_out(rest, [column.width for column in rest], indent, gap)
    lines = [*(column.heading for column in above), heading]
    for place, row in enumerate(rows):
        lines += [column.cells[place] for column in above]
        lines.append(row)
        for column in below:
            lines += fill(column.cells[place], "    ").splitlines()
    return lines


def _join(
    cells: Sequence[str],
    columns: Sequence[TableColumn],
    widths: Sequence[int],
    indent: str,
    gap: int,
) -> str:
    padded = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        space = " " * (width - cell_width(cell))
        padded.append(cell + space if column.align == "left" else space + cell)
    return (indent + (" " * gap).join(padded)).rstrip()


def text_column(
    heading: str, cells: Iterable[object], *, leaves: int = 0, folds: bool = False
) -> TableColumn:
    """A column of words; what a file holds cannot look like another row."""
    words = [one_line(str(cell)) if cell not in (None, "") else ABSENT for cell in cells]
    return TableColumn(heading, words, leaves=leaves, folds=folds)


def energy_column(
    heading: str, values_j: Sequence[float | None], *, leaves: int = 0
) -> TableColumn:
    """Joules in one unit, chosen from the values."""
    return _scaled_column(heading, values_j, energy_scale, leaves)


def power_column(heading: str, values_w: Sequence[float | None], *, leaves: int = 0) -> TableColumn:
    """Watts in one unit, chosen from the values."""
    return _scaled_column(heading, values_w, power_scale, leaves)


def time_column(heading: str, values_s: Sequence[float | None], *, leaves: int = 0) -> TableColumn:
    """Seconds in one unit, chosen from the values."""
    return _scaled_column(heading, values_s, time_scale, leaves)


def share_column(heading: str, shares: Sequence[float | None], *, leaves: int = 0) -> TableColumn:
    """Shares in per cent."""
    percents = map(pct_from_share, _replace_unknown(shares))
    cells = [ABSENT if math.isnan(percent) else f"{percent:.1f}" for percent in percents]
    return TableColumn(f"{heading} %", cells, "point", leaves)


def _scaled_column(
    heading: str,
    values: Sequence[float | None],
    scale: Callable[[float], tuple[float, str]],
    leaves: int,
) -> TableColumn:
    known = _replace_unknown(values)
    divisor, unit = scale(max((abs(v) for v in known if not math.isnan(v)), default=0.0))
    cells = [ABSENT if math.isnan(v) else format_digits(v / divisor) for v in known]
    return TableColumn(f"{heading} {unit}", cells, "point", leaves)


def _replace_unknown(values: Sequence[float | None]) -> list[float]:
    """What is unknown or not finite as not a number."""
    return [math.nan if value is None or not math.isfinite(value) else value for value in values]
