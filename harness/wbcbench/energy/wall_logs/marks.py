"""What a column beside the readings marks: of which meter a row is, and which readings are bad."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise
from operator import ne

from wbcbench.energy.wall_logs.vocabulary import WORDS, ColumnName

_MOST_METERS = 64
_SECONDS = 60  # numbers of seconds come round, too
_NEARLY_ALL = 0.9
_OFTEN, _SMOOTHER = 0.4, 0.2  # of the rows change; of the way that all readings go up and down
_FRACTION = re.compile(r"[+-]?\d*[.,]\d*[1-9]\d*")


def is_of_meters(
    cells: Sequence[str],
    utc_s: Sequence[float],
    value: Sequence[float | None],
    *,
    is_label: bool,
) -> bool:
    """Whether rows are of several meters by this column: the rows tell, whatever its name.

    Its values come round, differ in the rows of one time, begin anew where the time falls back,
    or change often between readings that are far smoother value by value.

    Args:
        cells: Of the column, shape ``[n]``.
        utc_s: Times of the rows, shape ``[n]``.
        value: Their readings, shape ``[n]``.
        is_label: Whether its values are no quantity, with which readings go up and down.
    """
    meters = {*cells}
    if not 2 <= len(meters) <= min(_MOST_METERS, len(cells) / 2) or "" in meters:
        return False
    if any(map(_FRACTION.fullmatch, meters)):  # a measurement
        return False
    return (
        _is_by_turns(cells, len(meters))
        or _is_by_time(cells, utc_s)
        or (is_label and _is_by_reading(cells, value))
    )


def _is_by_turns(cells: Sequence[str], count: int) -> bool:
    turns = Counter(pairwise(cells))
    usual = dict(pair for pair, _ in reversed(turns.most_common()))
    is_round = len({*usual.values()}) == count and all(a != b for a, b in usual.items())
    in_turn = sum(turns[pair] for pair in usual.items())
    return is_round and in_turn >= _NEARLY_ALL * (len(cells) - 1) and count != _SECONDS


def _is_by_time(cells: Sequence[str], utc_s: Sequence[float]) -> bool:
    shared = [[*rows] for _, rows in groupby(range(len(cells)), lambda i: utc_s[i])]
    shared = [rows for rows in shared if len(rows) > 1]
    is_apart = _are_nearly_all([len({cells[i] for i in rows}) == len(rows) for rows in shared])
    if is_apart and 2 * sum(map(len, shared)) >= len(cells):
        return True
    falls = [b < a for a, b in pairwise(utc_s)]
    changes = [*map(ne, cells, cells[1:])]
    is_anew = all(change for change, fall in zip(changes, falls, strict=True) if fall)
    return any(falls) and is_anew and sum(changes) <= 2 * sum(falls)


def _is_by_reading(cells: Sequence[str], value: Sequence[float | None]) -> bool:
    meters, changes = {*cells}, sum(map(ne, cells, cells[1:]))
    apart = sum(_measure_way(value, cells, meter) for meter in meters)
    is_often = len(cells) > 4 * len(meters) and changes >= _OFTEN * len(cells)
    return is_often and apart < _SMOOTHER * _measure_way(value)


def _are_nearly_all(tests: Sequence[bool]) -> bool:
    return bool(tests) and sum(tests) >= _NEARLY_ALL * len(tests)


def _measure_way(
    value: Sequence[float | None], cells: Sequence[str] = (), meter: str = ""
) -> float:
    """By how much readings go up and down in all, of one meter or of all."""
    mine = [v for i, v in enumerate(value) if v is not None and (not cells or cells[i] == meter)]
    return sum(abs(b - a) for a, b in pairwise(mine))


def read_flag(cell: str) -> str:
    """A cell of a column of flags in one spelling: ``False`` and ``false``, ``1`` and ``1.0``."""
    return cell.lower().removesuffix(".0")


def find_bad(name: ColumnName, cells: Sequence[str]) -> tuple[set[str], bool]:
    """The flags of a column that mark a reading as bad, and whether others are not understood."""
    values = {read_flag(cell) for cell in cells if cell}
    is_flag = name.has("validity") or name.has("flags")
    no, yes = set(WORDS["no"]), set(WORDS["yes"])
    if is_flag and values <= no | yes:
        is_turned = not name.words.isdisjoint((*WORDS["bad"], "not"))
        denied = yes if is_turned else no if name.has("validity") else set[str]()
    else:
        denied = set[str]()
    bad = values & (denied | set(WORDS["bad"]))
    is_plain = bool(bad) or values <= set(WORDS["fine"]) or bool(denied)
    return bad, is_flag and len(values) > 1 and not is_plain
