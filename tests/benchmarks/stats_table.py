"""The tables of `make bench-stats`: cells, rows under titles, their place in STATISTICS.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "harness" / "STATISTICS.md"
BEGIN, END = "<!-- bench-stats: begin -->", "<!-- bench-stats: end -->"


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one kind.

    Attributes:
        title: What is counted.
        wanted: In words; empty where it is shown only.
        table: Groups of one number are one table.
    """

    title: str
    wanted: str = ""
    table: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """One cell.

    Attributes:
        group: Under whose title it stands.
        what: The row.
        column: A design, or how many blocks a stopping rule carries out.
        text: What was counted, in per cent.
        holds: Whether that is what is wanted.
        is_limit: Whether it is known, and said, that it does not hold.
    """

    group: Group
    what: str
    column: str
    text: str
    holds: bool
    is_limit: bool = False


def percent(share: float) -> str:
    """A share in per cent, without the sign."""
    return f"{100 * share:.1f}"


def make_tables(found: Sequence[Found]) -> str:
    """Every table in Markdown, its rows and columns in the order of the cells."""
    numbers = sorted({cell.group.table for cell in found})
    tables = ([cell for cell in found if cell.group.table == number] for number in numbers)
    return "\n\n".join(map(_make_table, tables))


def _make_table(found: Sequence[Found]) -> str:
    columns = list(dict.fromkeys(cell.column for cell in found))
    lines = [f"| | {' | '.join(columns)} | wanted | holds |", "|---" * (len(columns) + 3) + "|"]
    for group in dict.fromkeys(cell.group for cell in found):
        lines.append(f"| **{group.title}** |{' |' * len(columns)} {group.wanted} | |")
        for what in dict.fromkeys(cell.what for cell in found if cell.group == group):
            cells = [cell for cell in found if (cell.group, cell.what) == (group, what)]
            texts = {x.column: x.text if x.holds else f"**{x.text}**" for x in cells}
            row = " | ".join(texts.get(column, "") for column in columns)
            lines.append(f"| {what} | {row} | | {_say_holds(cells)} |")
    return "\n".join(lines)


def _say_holds(cells: Sequence[Found]) -> str:
    if not cells[0].group.wanted:
        return ""
    if all(cell.holds for cell in cells):
        return "yes"
    return "limit" if all(cell.holds or cell.is_limit for cell in cells) else "NO"


def write_page(text: str) -> None:
    """Put the tables into the page, in the place of those that are there."""
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
