"""How a file writes its numbers, decided once from all of them: decimal mark and thousands mark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from wbcbench.energy.wall_logs.log_table import quote
from wbcbench.energy.wall_logs.vocabulary import NO_READING, is_unit

SPACES = " \u00a0\u2009\u202f"
_MARKS = f",.'’_{SPACES}"
_NUMBER = re.compile(
    rf"([+-]?)\s*((?:\d(?:[\d{_MARKS}]*\d)?[.,]?|[.,]\d+)(?:[eE][+-]?\d+)?)\s*([^\W\d_][\w·/]*)?"
)


@dataclass(frozen=True, slots=True)
class NumberStyle:
    """How numbers are written.

    Attributes:
        decimal: The decimal mark.
        grouping: Marks of thousands; empty where none is used.
    """

    decimal: str = "."
    grouping: str = ""

    def parse(self, cell: str) -> float | None:
        """The number of a cell; ``None`` if it is none in this style."""
        match = _NUMBER.fullmatch(cell)
        if match is None:
            return None
        groups = re.escape(self.grouping)
        integer = rf"\d{{1,3}}(?:[{groups}]\d{{3}})+|\d+" if groups else r"\d+"
        shape = rf"(?:(?:{integer})(?:[{self.decimal}]\d*)?|[{self.decimal}]\d+)(?:[eE][+-]?\d+)?"
        if not re.fullmatch(shape, match[2]):
            return None
        plain = "".join(mark for mark in match[2] if mark not in self.grouping)
        return float(match[1] + plain.replace(self.decimal, "."))


@dataclass(slots=True)
class _Evidence:
    """What cells show: marks that are certain, and those that could be either."""

    decimal: set[str] = field(default_factory=set)
    grouping: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    has_long: bool = False  # four digits and more without a mark between thousands


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


def find_decimal_marks(cells: Iterable[str]) -> set[str]:
    """The marks that are certainly decimal in some of the cells."""
    return _collect_evidence(cells).decimal


def decide_styles(cells: Iterable[str], wanted: str | None = None) -> list[NumberStyle]:
    """The style of all of them, or the two that are possible.

    Args:
        cells: Numbers as written.
        wanted: The decimal mark, if the user named it.

    Raises:
        ValueError: They are written in more than one style.
    """
    evidence = _collect_evidence(cells)
    if wanted:
        groups = (evidence.decimal | evidence.grouping | evidence.unsure) - {wanted}
        return [NumberStyle(wanted, "".join(sorted(groups)))]
    if (
        not evidence.decimal
        and not evidence.grouping
        and len(evidence.unsure) == 1
        and not evidence.has_long
    ):
        (mark,) = evidence.unsure
        return [NumberStyle(mark), NumberStyle(",."[mark == ","], mark)]
    if evidence.has_long or evidence.grouping:  # thousands have no mark, or another one
        evidence.decimal |= evidence.unsure - evidence.grouping
    evidence.grouping |= evidence.unsure - evidence.decimal
    if (
        len(evidence.decimal) > 1
        or evidence.decimal & evidence.grouping
        or (evidence.has_long and evidence.grouping)
    ):
        marks = " and ".join(map(repr, sorted(evidence.decimal | evidence.grouping)))
        raise ValueError(f"its numbers use {marks} in more than one way; write all of them alike")
    return [NumberStyle("".join(evidence.decimal) or ".", "".join(sorted(evidence.grouping)))]


def _collect_evidence(cells: Iterable[str]) -> _Evidence:
    evidence = _Evidence()
    for cell in set(cells):
        match = _NUMBER.fullmatch(cell)
        body, *exponent = re.split("[eE]", match[2] if match else "")
        marks = re.findall(r"\D", body)
        evidence.has_long |= re.match(r"\d{4}", body) is not None
        if not marks:
            continue
        head, _, tail = body.rpartition(marks[-1])
        is_mixed = len({" " if mark in SPACES else mark for mark in marks}) > 1
        if is_mixed:
            evidence.decimal.add(marks[-1])
            evidence.grouping |= set(marks[:-1])
        elif len(marks) > 1 or marks[0] not in ",.":
            evidence.grouping |= set(marks)
        elif exponent or len(tail) != 3 or len(head) > 3 or not head.strip("0"):
            evidence.decimal.add(marks[0])
        else:
            evidence.unsure.add(marks[0])
    return evidence


def parse_numbers(cells: Sequence[str | None], style: NumberStyle) -> list[float | None]:
    """The cells as numbers; ``None`` where there is no reading.

    Raises:
        ValueError: A cell is no number in this style.
    """
    numbers = dict[str | None, float | None]()
    for cell in dict.fromkeys(cells):
        is_reading = cell is not None and not is_blank(cell)
        numbers[cell] = style.parse(cell) if is_reading and cell else None
        if is_reading and numbers[cell] is None:
            place = cells.index(cell) + 1
            raise ValueError(f"reading {place} has {quote(str(cell))} where a number should be")
    return [numbers[cell] for cell in cells]
