"""Which columns of a log hold the times and the power or energy: by their names, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice, product
from typing import TypeVar

from wbcbench.core.text import count_of
from wbcbench.core.trace import Kind
from wbcbench.energy.wall_logs import marks, times
from wbcbench.energy.wall_logs.formats import LogTable
from wbcbench.energy.wall_logs.numbers import is_blank, split_unit
from wbcbench.energy.wall_logs.vocabulary import (
    TIME_UNITS,
    WORDS,
    ZONE,
    ColumnName,
    find_unit,
    is_unit,
    list_names,
    quote,
)

T = TypeVar("T")
_ZONE_LINE = re.compile(rf"(?i:{'|'.join(WORDS['zone'])})[\s:=,;]+(?=\S)(?:\([a-z]+\)[\s:=]*)?(.+)")


class LogColumns:
    """The columns of a table with what their names and first cells say.

    Attributes:
        names: Of each column, taken apart.
        cells: Of each column, as written; ``None`` in a row that has no such cell.
        notes: What had to be assumed of them, as whole sentences.
        numeric: Places of the columns that hold numbers, and nothing else but words for no reading.
    """

    def __init__(self, table: LogTable) -> None:
        self.names = [ColumnName.from_text(name) for name in table.names]
        self.cells = table.columns
        self.notes = list[str]()
        self._kinds = [
            times.classify_all([*islice(filter(None, cells), times.SAMPLE)]) for cells in self.cells
        ]
        self.numeric = [i for i, cells in enumerate(self.cells) if _is_numeric(cells)]

    def find_times(self, wanted: str | None) -> list[int]:
        """The column of times, or that of dates and that of the times of day.

        Args:
            wanted: The name of one of them, if the user says.

        Raises:
            ValueError: There is none, or no single one.
        """
        names, kinds = self.names, self._kinds
        dates, clocks = ([i for i, k in enumerate(kinds) if k == c] for c in ("date", "clock"))
        candidates = [
            [i]
            for i, name in enumerate(names)
            if kinds[i] == "moment"
            and (name.is_time or i not in self.numeric or name.text.startswith("column "))
        ]
        candidates += [[i, j] for i, j in product(dates, clocks)]
        if wanted is not None:
            place = self._find_named(wanted, "--time-column")
            candidates = [at for at in candidates if place in at] or [[place]]
        candidates = candidates or [[i] for i, n in enumerate(names) if n.is_time and kinds[i]]
        candidates = _narrow(
            candidates,
            lambda at: all(names[i].is_time for i in at),
            lambda at: any(names[i].is_time for i in at),
            lambda at: at[-1] - at[0] == len(at) - 1,
            lambda at: any(len({*filter(None, self.cells[i])}) > 1 for i in at),
            lambda at: at[0] in self.numeric or names[at[0]].says_zone,
            lambda at: not self.is_start(at),
        )
        if len(candidates) == 1:
            return candidates[0]
        raise ValueError(
            "it has no single column that is named like a time. It has: "
            f"{self.list_all()}. Use --time-column; write times like 2026-11-28 21:40:00"
        )

    def list_other_times(self, times_at: Sequence[int]) -> list[int]:
        """Places of the columns that go on with the rows as the times do, but for starts."""
        most = len({*zip(*(self.cells[i] for i in times_at), strict=True)})
        return [
            i
            for i, name in enumerate(self.names)
            if self._kinds[i] == "moment" and i not in times_at and not self.is_start([i])
            if "minute ts" not in name.words and name.kind is None
            if 2 * len({*self.cells[i]}) > most
        ]

    def find_values(self, wanted: str | None, times_at: Sequence[int], unit: str | None) -> int:
        """The column of power, or else of energy.

        Args:
            wanted: Its name, if the user says.
            times_at: The columns of times.
            unit: That the user names, so that any numbers may be meant.

        Raises:
            ValueError: There is none, or no single one.
        """
        if wanted is not None:
            return self._find_named(wanted, "--power-column")
        others = [i for i in range(len(self.names)) if i not in times_at]
        places = [i for i in others if self.names[i].kind is Kind.SAMPLED]
        places = places or [i for i in others if self.names[i].kind is Kind.COUNTER]
        first = (cells[0] or "" for cells in self.cells if cells)
        has_unit = unit or any(find_unit(cell.lstrip("0123456789., ")) for cell in first)
        places = places or [i for i in others if i in self.numeric and has_unit]
        places = self._choose_value(places, others)
        if len(places) == 1:
            return places[0]
        if places:
            choices = list_names([self.names[i].text for i in places])
            raise ValueError(f"it has several columns to read: {choices}. Use --power-column")
        raise ValueError(
            "it has no column that is named like power or energy with its unit, e.g. power_w or "
            f"'energy (kWh)'. It has: {self.list_all()}. Use --power-column and --unit"
        )

    def _choose_value(self, places: Sequence[int], others: Sequence[int]) -> list[int]:
        """Of the columns of power or energy the total or the one that has no like; else all."""
        beside = {i for i in others if i not in self.numeric}  # of units: of euros is no energy
        candidates = _narrow(
            [*places],
            lambda i: any(map(split_unit, filter(None, self.cells[i]))),
            lambda i: i + 1 in beside and all(map(find_unit, self.list_texts(i + 1))),
            lambda i: self.names[i].has("total"),
        )
        places = _narrow(
            candidates,
            lambda i: not self.names[i].has("average"),
            lambda i: self.names[i].is_plain,
            lambda i: find_unit(self.names[i].unit) is not None,
        )
        if len(places) == 1 and not self.names[places[0]].has("total"):
            candidates = [i for i in others if i in candidates or self._is_part(i, places[0])]
            parts = [self.names[i] for i in candidates if i not in places]
            if any(name.is_numbered and not name.has("average") for name in parts):
                return candidates
            if parts:
                unread, name = list_names([part.text for part in parts]), self.names[places[0]]
                self.notes.append(f"{quote(name.text)} was read, not {unread}.")
        return places

    def _is_part(self, place: int, chosen: int) -> bool:
        """Whether a column may be of the same quantity: ``PSU2`` beside ``PSU1 (W)``."""
        name, known = self.names[place], self.names[chosen]
        is_shorter = bool(name.stem) and name.stem < known.stem and name.is_numbered
        is_alike = name.stem == known.stem or is_shorter  # ``Phase 2`` beside ``Phase 1 Power``
        is_foreign = name.has("other") or (name.unit and name.kind is not known.kind)
        return is_alike and place in self.numeric and not is_foreign

    def find_unit_column(self, value_at: int, times_at: Sequence[int]) -> int | None:
        """The column of the units of the values: by its name, to their right, or the only one.

        It is that of another quantity where such a column of numbers lies between.
        """
        places = [i for i, n in enumerate(self.names) if n.has("unit") and not n.has("no_unit")]
        places = [i for i in places if not any(map(str.isdecimal, self.list_texts(i)))]
        named = [i for i in places if self.names[i].words & self.names[value_at].words]
        if len(named) == 1:
            return named[0]
        others = {i for i in self.numeric if i not in times_at and i != value_at}
        if len(places) == 1:
            kinds = ("power", "energy")
            others = {i for i in others if self.names[i].kind or any(map(self.names[i].has, kinds))}
        right = [i for i in places if i > value_at and others.isdisjoint(range(value_at, i))]
        left = [i for i in places if others.isdisjoint(range(i))] if len(places) == 1 else []
        place = next(iter(right + left), None)
        if place is None or place == value_at + 1 or any(map(find_unit, self.list_texts(place))):
            return place
        is_foreign = all(map(is_unit, self.list_texts(place)))  # volts of a column between
        return None if is_foreign else place

    def find_zone(self, times_at: Sequence[int], preamble: Sequence[str]) -> str | None:
        """The zone that a column, the name of the times or a line above the table names.

        Raises:
            ValueError: A column names several.
        """
        zones = [name.zone for name in (self.names[i] for i in times_at) if name.zone]
        for name, cells in zip(self.names, self.cells, strict=True):
            if name.has("zone") and (named := sorted({*filter(None, cells)})):
                if len(named) > 1:
                    raise ValueError(
                        f"its times are in several zones: {list_names(named)}. Use --zone"
                    )
                zones[:0] = named
        lines = filter(None, map(_ZONE_LINE.fullmatch, preamble))
        zones[1:1] = [match[1] for match in lines]
        zones.sort(key=lambda zone: zone.lower() in WORDS["local"])
        if not zones:
            return None
        zone = match[0] if (match := ZONE.search(zones[0])) else zones[0]
        return f"+{zone}" if re.fullmatch(r"\d{1,2}(\.\d+)?", zone) else zone

    def require_no_scale(self, value_at: int) -> None:
        """Refuse a column that scales others.

        Raises:
            ValueError: There is one.
        """
        for i, (name, cells) in enumerate(zip(self.names, self.cells, strict=True)):
            is_scale = name.has("scale") and name.unit != "%" and i != value_at
            neutral = {"0"} if name.has("exponent") else {"1", "1.0"}
            if is_scale and {*filter(None, cells)} - neutral:
                raise ValueError(
                    f"its column {quote(name.text)} may scale its readings, e.g. by "
                    f"{quote(next(filter(None, cells)))}. Say what one is with --unit, e.g. 0.1W"
                )

    def is_start(self, times_at: Sequence[int]) -> bool:
        """Whether the times are those at which something begins."""
        return any(self.names[i].has("start") for i in times_at)

    def list_texts(self, place: int) -> list[str]:
        """The cells of a column; empty where a row has no such cell."""
        return [cell or "" for cell in self.cells[place]]

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Leave out all rows but these, in their order."""
        self.cells = tuple([cells[i] for i in rows] for cells in self.cells)

    def keep_readings(self, times_at: Sequence[int], value_at: int) -> list[str]:
        """Leave out the rows without a time or a cell of the values, and readings marked as bad.

        Returns:
            What was left out as bad, as whole sentences.

        Raises:
            ValueError: There are fewer than two readings.
        """
        moments, values = zip(*(self.cells[i] for i in times_at), strict=True), self.cells[value_at]
        pairs = enumerate(zip(moments, values, strict=True))
        self.keep_rows([i for i, (row, value) in pairs if any(row) and value is not None])
        if sum(not is_blank(cell) for cell in self.list_texts(value_at)) < 2:
            raise ValueError("it holds fewer than two readings")
        return self._drop_bad(times_at, value_at)

    def _drop_bad(self, times_at: Sequence[int], value_at: int) -> list[str]:
        """Leave out the readings that a column beside them marks as bad, and say so in notes.

        Raises:
            ValueError: All of them are.
        """
        notes, values = list[str](), self.list_texts(value_at)
        for i in self._list_beside(times_at, value_at):
            name, cells = quote(self.names[i].text), self.list_texts(i)
            bad, is_unknown = marks.find_bad(self.names[i], cells)
            rows = [row for row, cell in enumerate(cells) if marks.read_flag(cell) in bad]
            if len(rows) == len(cells):
                raise ValueError(
                    f"its column {name} marks every reading as bad: {list_names(sorted(bad))}. To "
                    "use them all the same, leave that column out"
                )
            for row in rows:
                values[row] = ""
            if rows:
                marked = f"that {name} marks as {list_names(sorted(bad))}"
                notes.append(f"{count_of(len(rows), 'reading')} {marked} left out.")
            elif is_unknown:
                notes.append(f"What {name} says of readings is not known; all of them were used.")
        self.cells = (*self.cells[:value_at], [*values], *self.cells[value_at + 1 :])
        return notes

    def refuse_meters(
        self,
        times_at: Sequence[int],
        value_at: int,
        utc_s: Sequence[float],
        value: Sequence[float | None],
    ) -> None:
        """Raise ``ValueError`` if the rows are of several meters, by a column beside them."""
        for i in self._list_beside(times_at, value_at):
            name, cells = self.names[i], self.list_texts(i)
            meters = list(dict.fromkeys(filter(None, cells)))
            is_named = name.is_meter and 1 < len(meters) <= len(cells) / 2
            if is_named or marks.is_of_meters(cells, utc_s, value, is_label=self._is_label(i)):
                raise ValueError(
                    f"its rows are of several meters, by {quote(name.text)}: {list_names(meters)}. "
                    "Attach a log of one of them, or one without that column if it names no meter"
                )

    def _is_label(self, place: int) -> bool:
        """Whether a column holds words, or numbers that measure nothing by its name."""
        name = self.names[place]
        return place not in self.numeric or name.has("identity") or name.has("meter")

    def _list_beside(self, times_at: Sequence[int], value_at: int) -> list[int]:
        """Places of the columns that are neither times nor measurements."""
        return [
            i
            for i, name in enumerate(self.names)
            if i not in {*times_at, value_at}
            and not (is_unit(name.unit) or name.is_time or name.words & TIME_UNITS.keys())
            and not (name.has("unit") and any(map(find_unit, self.list_texts(i))))
            and not (name.kind and i in self.numeric and not self._is_label(i))
        ]

    def list_all(self) -> str:
        """Their names, for a message."""
        return list_names([name.text for name in self.names])

    def _find_named(self, wanted: str, option: str) -> int:
        lower = [name.text.strip().lower() for name in self.names]
        if lower.count(wanted.strip().lower()) == 1:
            return lower.index(wanted.strip().lower())
        raise ValueError(
            f"it has no column {quote(wanted)}. It has: {self.list_all()}. Use {option}"
        )


def _narrow(candidates: list[T], *tests: Callable[[T], bool]) -> list[T]:
    """Those that pass test by test, each of which counts only where some pass it."""
    for is_better in tests:
        candidates = [each for each in candidates if is_better(each)] or candidates
    return candidates


def _is_numeric(cells: Sequence[str | None]) -> bool:
    written = [*islice((c for c in cells if c and not is_blank(c)), times.SAMPLE)]
    return bool(written) and all(map(split_unit, written))
