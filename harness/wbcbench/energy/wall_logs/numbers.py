"""How a column writes its numbers: the style in which every cell is a number, or none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from wbcbench.energy.wall_logs.vocabulary import NO_READING, is_unit, quote

_SPACES = " \u00a0\u2009\u202f"
_GROUPINGS = (",", ".", "'’", "_", _SPACES)
_NUMBER = re.compile(
    rf"([+-]?)\s*((?:\d(?:[\d,.'’_{_SPACES}]*\d)?[.,]?|[.,]\d+)(?:[eE][+-]?\d+)?)\s*"
    r"([^\W\d_][\w·/]*)?"
)


@dataclass(frozen=True, slots=True)
class NumberStyle:
    """How numbers are written.

    Attributes:
        decimal: The decimal mark.
        grouping: Marks between thousands, then between all of them; empty where there is none.
    """

    decimal: str
    grouping: str

    def matches(self, text: str) -> bool:
        """Whether a text is a number in this style."""
        return _compile_style(self.decimal, self.grouping).fullmatch(text) is not None

    def parse(self, text: str) -> float:
        """The number of a text that matches."""
        plain = text.translate(dict.fromkeys(map(ord, self.grouping)))
        return float(plain.replace(self.decimal, "."))


@lru_cache
def _compile_style(decimal: str, grouping: str) -> re.Pattern[str]:
    part = rf"(?:[{decimal}]\d*)?"
    if grouping:
        return re.compile(rf"[+-]?(?:[1-9]\d{{0,2}}(?:[{grouping}]\d{{3}})+|\d{{1,3}}){part}")
    return re.compile(rf"[+-]?(?:\d+{part}|[{decimal}]\d+)(?:[eE][+-]?\d+)?")


@lru_cache(65536)
def split_unit(cell: str) -> tuple[str, str] | None:
    """A cell as number and unit, both as written; ``None`` if it is no number."""
    match = _NUMBER.fullmatch(cell)
    if match is None or (match[3] and not is_unit(match[3])):
        return None
    return match[1] + match[2], match[3] or ""


def is_blank(cell: str) -> bool:
    """Whether a cell says that there is no reading."""
    return cell.strip().lower() in NO_READING


def find_styles(cells: Sequence[str], decimal: str | None = None) -> list[NumberStyle]:
    """The styles in which all cells are numbers, one for each thing that they may mean.

    Args:
        cells: As written, without units; blank where there is no reading.
        decimal: The decimal mark, if it is known.

    Raises:
        ValueError: No style has all of them.
    """
    written = [cell for cell in dict.fromkeys(cells) if not is_blank(cell)]
    marks = set().union(*written)
    groupings = ["", *(group for group in _GROUPINGS if not marks.isdisjoint(group))]
    styles = [NumberStyle(d, g) for g in groupings for d in decimal or ".," if d not in g]
    fits = [style for style in styles if all(map(style.matches, written))]
    if not fits:
        for cell in written:
            if not any(style.matches(cell) for style in styles):
                place = cells.index(cell) + 1
                raise ValueError(f"reading {place} has {quote(cell)}, which is no number")
        raise ValueError(
            "its numbers use their marks in more than one way; write all of them alike"
        )
    meanings = {tuple(map(style.parse, written)): style for style in reversed(fits)}
    return [*meanings.values()][::-1]
