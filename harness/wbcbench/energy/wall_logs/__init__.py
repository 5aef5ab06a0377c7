"""The log of an external power meter: what real meters write → times and watts or joules, in SI.

Bytes become text (``source``), text a table of cells under names (``formats``, ``table``), and
its columns one series: chosen by their names (``vocabulary``), with the way that numbers and times
are written decided once a file from all of its cells (``numbers``, ``times``, ``energies``). What
stays ambiguous is refused with the option that settles it: a guess would become joules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.core.text import count_of
from wbcbench.core.trace import Kind
from wbcbench.energy import thresholds
from wbcbench.energy.wall_logs import energies, times
from wbcbench.energy.wall_logs.columns import LogColumns
from wbcbench.energy.wall_logs.formats import LogTable, parse_json, parse_pattern, widen
from wbcbench.energy.wall_logs.numbers import NumberStyle, find_styles, is_blank, split_unit
from wbcbench.energy.wall_logs.source import read_text
from wbcbench.energy.wall_logs.table import parse_table
from wbcbench.energy.wall_logs.vocabulary import (
    UNITS,
    ColumnName,
    Unit,
    find_unit,
    list_names,
    quote,
)

_LEAST_W = 10.0  # a column without a unit that never holds more may be kilowatts
_STANDING_S = 5.0  # times that stand still for so long are not those of the readings


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What the user settles of a log; ``None`` leaves it to the log.

    Attributes:
        time_column: Name of the column of times.
        power_column: Name of the column of power or energy.
        unit: Of that column.
        decimal: The decimal mark, ``.`` or ``,``.
        zone: Of times that name none: IANA name, ``UTC`` or ``+02:00``.
        date_order: ``dmy``, ``mdy`` or ``ymd``.
        energy: ``total`` or ``interval``.
        start: Moment of the log's second 0, ISO 8601.
    """

    time_column: str | None = None
    power_column: str | None = None
    unit: str | None = None
    decimal: str | None = None
    zone: str | None = None
    date_order: str | None = None
    energy: str | None = None
    start: str | None = None

    def __post_init__(self) -> None:
        for option, value, choices in (
            ("--decimal", self.decimal, (".", ",")),
            ("--date-order", self.date_order, [*times.DATE_FORMS]),
            ("--energy", self.energy, (energies.TOTAL, energies.INTERVAL)),
            ("--unit", self.unit, UNITS),
        ):
            if value is not None and value not in choices:
                raise UsageError(f"{option} is {quote(value)}; use one of: {', '.join(choices)}.")
        if self.zone is not None:
            times.parse_zone(self.zone)
        if self.start is not None and times.classify(self.start) not in {"moment", "date"}:
            raise UsageError(
                f"--start is {quote(self.start)}; write it like 2026-11-26T17:56:55+01:00."
            )


@dataclass(frozen=True, slots=True)
class WallLog:
    """What a meter logged, and how its file was understood.

    Attributes:
        utc_s: Epoch seconds of each row, strictly increasing; since the log's own start where
            ``relative_to`` says so; shape ``[n]``.
        value: Watts or cumulative joules; ``None`` where the meter had no reading, shape ``[n]``.
        kind: ``sampled`` for watts, ``counter`` for joules.
        has_zone: Whether the log or the user named the zone of its times.
        relative_to: ``its own start`` or ``midnight``, from where times without a date count.
        read_as: What was decided, by the names of the options that would have it read so again.
        notes: What had to be assumed, as whole sentences.
        sha256: Digest of the bytes that were read.
    """

    utc_s: tuple[float, ...]
    value: tuple[float | None, ...]
    kind: Kind
    has_zone: bool
    relative_to: str
    read_as: dict[str, str]
    notes: tuple[str, ...]
    sha256: str = ""


def read_wall_log(
    path: Path, options: LogOptions | None = None, around: tuple[float, float] | None = None
) -> WallLog:
    """Read a meter's log.

    Args:
        path: The file or pipe, which is read once.
        options: What the log itself leaves open.
        around: Epoch seconds of the start and end of the run, which may settle the order of day
            and month.

    Raises:
        UsageError: The file, a column, a unit or a row cannot be understood; the message names it.
    """
    source = read_text(path)
    try:
        text = source.text
        table = parse_pattern(text) or parse_json(text) or parse_table(text)
        log = _LogReader(widen(table), options or LogOptions(), around).read()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{path}: {error}.") from error
    read_as = {"encoding": source.encoding, **log.read_as}
    return replace(log, read_as=read_as, sha256=source.sha256)


class _LogReader:
    """One log's table on its way to a series; every method raises ``ValueError`` as it refuses."""

    def __init__(
        self, table: LogTable, options: LogOptions, around: tuple[float, float] | None
    ) -> None:
        self.options = options
        self.around = around
        self.columns = LogColumns(table)
        self.decimal = options.decimal or table.decimal
        self.date_order = table.date_order or options.date_order
        self.read_as = {"format": table.format, "delimiter": table.delimiter}
        self.notes = list(table.notes)

    def read(self) -> WallLog:
        """The series, as far as it is one."""
        columns, options = self.columns, self.options
        times_at = columns.find_times(options.time_column)
        value_at = columns.find_values(options.power_column, times_at, options.unit)
        rows, moments = self._list_rows(times_at, value_at)
        read = self._parse_times([moments[i] for i in rows], times_at)
        utc_s = read.utc_s
        if utc_s[-1] < utc_s[0] and all(b <= a for a, b in pairwise(utc_s)):
            rows.reverse()
            utc_s = utc_s[::-1]
            self.notes.append("It begins with its last reading and was read backwards.")
        kind, unit, value, style = self._parse_values(value_at, rows, utc_s)
        name, energy = columns.names[value_at], ""
        if kind is Kind.COUNTER:
            beside = self._read_power_beside(rows, style)
            energy = options.energy or energies.decide_energy(name, utc_s, value, beside)
        if energy == energies.INTERVAL:
            value = energies.add_intervals(utc_s, value, columns.is_start(times_at))
            self.notes.append(f"{quote(name.text)} was read as the energy of each row's interval.")
        utc_s, value = self._drop_repeated(utc_s, value)
        self.read_as |= {
            "time-column": "+".join(columns.names[i].text for i in times_at),
            "power-column": name.text,
            "unit": unit,
            "energy": energy,
            "decimal": style.decimal,
            "zone": read.zone,
        }
        read_as = {option: choice for option, choice in self.read_as.items() if choice}
        notes = (*self.notes, *read.notes)
        return WallLog(
            tuple(utc_s), tuple(value), kind, read.has_zone, read.relative_to, read_as, notes
        )

    def _list_rows(self, times_at: Sequence[int], value_at: int) -> tuple[list[int], list[str]]:
        """The rows that have a time and a cell of the column, and the time of every row."""
        cells = self.columns.cells[value_at]
        joined = zip(*(self.columns.cells[i] for i in times_at), strict=True)
        moments = [" ".join(filter(None, row)) for row in joined]
        rows = [i for i, cell in enumerate(cells) if cell is not None and moments[i]]
        if sum(not is_blank(cells[i] or "") for i in rows) < 2:
            raise ValueError("it holds fewer than two readings")
        self.columns.require_one_meter(rows)
        return rows, moments

    def _parse_times(self, cells: Sequence[str], times_at: Sequence[int]) -> times.LogTimes:
        options, names = self.options, [self.columns.names[i] for i in times_at]
        zone = options.zone or next((name.zone for name in names if name.zone), None)
        read = times.parse_times(cells, zone, self.date_order, self.around, names[0].unit)
        if options.start and read.relative_to:
            start = times.parse_times([options.start], zone, self.date_order, self.around)
            read = replace(start, utc_s=[start.utc_s[0] + t for t in read.utc_s])
        elif options.start:
            self.notes.append("Its times have dates, so --start was not used.")
        if not read.has_zone and not read.relative_to:
            self.notes.append("Its times name no zone and were taken for UTC.")
        elif options.zone and read.zone != options.zone and not read.relative_to:
            self.notes.append("Its times name their zone themselves, so --zone was not used.")
        return read

    def _parse_values(
        self, column: int, rows: Sequence[int], utc_s: Sequence[float]
    ) -> tuple[Kind, str, list[float | None], NumberStyle]:
        """What it measures, the unit's name, watts or joules of each row, and their style."""
        name = self.columns.names[column]
        cells = [self.columns.cells[column][i] or "" for i in rows]
        bodies, words = self._split_units(name, cells, rows)
        used = {w for w, body in zip(words, bodies, strict=True) if not is_blank(body)}
        units = {word: self._find_unit(name, word) for word in sorted(used)}
        (kind, _), *others = units.values()
        if ("" in units and others) or any(other[0] is not kind for other in others):
            raise ValueError(f"its column {quote(name.text)} mixes units: {list_names([*units])}")
        factors = [units[word][1] if word in units else 1.0 for word in words]

        def parse(style: NumberStyle) -> list[float | None]:
            pairs = zip(bodies, factors, strict=True)
            return [None if is_blank(body) else style.parse(body) * k for body, k in pairs]

        styles = find_styles(bodies, self.decimal)
        style = self._settle_style(column, styles, parse, kind, utc_s)
        value = parse(style)
        for place, (cell, number) in enumerate(zip(cells, value, strict=True), start=1):
            if number is not None and not 0 <= number < math.inf:
                raise ValueError(
                    f"reading {place} has {quote(cell)}, which no machine draws; a sensor may be "
                    "the wrong way round"
                )
        if "" in units and max(filter(None, value), default=0) < _LEAST_W:
            raise ValueError(
                f"the column {quote(name.text)} names no unit and may be in kilowatts. Use "
                "--unit W or --unit kW"
            )
        unit = units[min(units)]
        return kind, next(known for known in UNITS if UNITS[known] == unit), value, style

    def _split_units(
        self, name: ColumnName, cells: Sequence[str], rows: Sequence[int]
    ) -> tuple[list[str], list[str]]:
        """The numbers of cells, and their units: the user's, their own, or the column's."""
        parts = [split_unit(cell) or (cell, "") for cell in cells]
        bodies, words = [body for body, _ in parts], [word for _, word in parts]
        for other, beside in zip(self.columns.names, self.columns.cells, strict=True):
            if other.has("unit"):
                named = (beside[i] or "" for i in rows)
                words = [w or c * bool(find_unit(c)) for w, c in zip(words, named, strict=True)]
        own = {*words} - {""}
        usual = self.options.unit or name.unit or "".join(own if len(own) == 1 else ())
        return bodies, [usual if self.options.unit else word or usual for word in words]

    def _find_unit(self, name: ColumnName, word: str) -> Unit:
        """The unit that a word is, or that a column has which names none."""
        if (unit := find_unit(word)) is not None:
            return unit
        if word:
            raise ValueError(
                f"the unit {quote(word)} of the column {quote(name.text)} is neither power nor "
                "energy. (Volt-amperes are not watts.) Use another --power-column, or --unit"
            )
        if not name.has("power") and (name.has("energy") or name.has("running")):
            raise ValueError(
                f"the column {quote(name.text)} names no unit of energy. Use --unit, e.g. kWh, or "
                "Wmin for Shelly's first generation"
            )
        self.notes.append(f"The column {quote(name.text)} names no unit and was taken for watts.")
        return UNITS["W"]

    def _settle_style(
        self,
        column: int,
        styles: list[NumberStyle],
        parse: Callable[[NumberStyle], list[float | None]],
        kind: Kind,
        utc_s: Sequence[float],
    ) -> NumberStyle:
        """Of the styles that fit, the one of other columns, or of what a machine can draw."""
        marks = set[str]()
        for i in [i for i in self.columns.numeric if i != column and len(styles) > 1]:
            parts = [split_unit(cell) for cell in self.columns.cells[i] if cell]
            texts = [part[0] for part in parts if part]
            with suppress(ValueError):
                found = find_styles(texts)
                is_shown = any(found[0].decimal in text for text in texts)
                marks |= {found[0].decimal} if len(found) == 1 and is_shown else set()
        styles = [style for style in styles if style.decimal in marks] or styles
        if len(styles) > 1:
            means_w = [_find_mean_power_w(utc_s, parse(style), kind) for style in styles]
            pairs = zip(styles, means_w, strict=True)
            styles = [style for style, mean_w in pairs if mean_w <= thresholds.CEILING_W] or styles
        if len(styles) > 1:
            raise ValueError(
                f"its numbers in {quote(self.columns.names[column].text)} may have thousands or "
                "decimals. Use --decimal , or --decimal . to say which mark is the decimal one"
            )
        return styles[0]

    def _read_power_beside(
        self, rows: Sequence[int], style: NumberStyle
    ) -> list[float | None] | None:
        """The one column of power in the same rows; ``None`` if there is no single one."""
        places = [i for i, name in enumerate(self.columns.names) if name.kind is Kind.SAMPLED]
        if len(places) != 1:
            return None
        factor = (find_unit(self.columns.names[places[0]].unit) or UNITS["W"])[1]
        cells = [self.columns.cells[places[0]][i] or "" for i in rows]
        return [style.parse(cell) * factor if style.matches(cell) else None for cell in cells]

    def _drop_repeated(
        self, utc_s: Sequence[float], value: Sequence[float | None]
    ) -> tuple[list[float], list[float | None]]:
        """The rows without those that repeat a time."""
        rows = [0]
        for place, t_s in enumerate(utc_s[1:], start=1):
            before_s = utc_s[rows[-1]]
            if t_s < before_s:
                raise ValueError(
                    f"reading {place + 1} is {before_s - t_s:.0f} s before the row above. The "
                    "clock was set, or it is the end of summer time: use --zone, or cut the log"
                )
            rows += [place] * (t_s > before_s)
        if sum(value[i] is not None for i in rows) < 2:
            raise ValueError("it holds fewer than two readings")
        if repeated := len(utc_s) - len(rows):
            step_s = (utc_s[-1] - utc_s[0]) / (len(rows) - 1)
            if repeated > len(rows) and step_s >= _STANDING_S:
                raise ValueError(
                    f"its times stand still for up to {step_s:.0f} s at {repeated} of its "
                    "readings. Log the time of each reading, or use another --time-column"
                )
            self.notes.append(
                f"{count_of(repeated, 'row')} with the time of the row before left out."
            )
        return [utc_s[i] for i in rows], [value[i] for i in rows]


def _find_mean_power_w(utc_s: Sequence[float], value: Sequence[float | None], kind: Kind) -> float:
    known = [number for number in value if number is not None]
    if kind is Kind.SAMPLED:
        return sum(known) / len(known)
    return (max(known) - min(known)) / (max(utc_s) - min(utc_s) or 1.0)
