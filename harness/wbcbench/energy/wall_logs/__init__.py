"""The log of an external power meter: what real meters write → times and watts or joules, in SI.

Bytes become text (``source``), text a table of cells under names (``FORMATS``, one file each), and
its columns one series: chosen by their names (``vocabulary``), with the way that numbers and times
are written decided once a file from all of its cells (``numbers``, ``times``, ``energies``). What
stays ambiguous is refused with the option that settles it: a guess would become joules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.core.text import count_of
from wbcbench.core.trace import Kind
from wbcbench.energy import thresholds
from wbcbench.energy.wall_logs.energies import INTERVAL, TOTAL, add_intervals, decide_energy
from wbcbench.energy.wall_logs.ipmi_dcmi import parse_ipmi_dcmi
from wbcbench.energy.wall_logs.json_objects import parse_json
from wbcbench.energy.wall_logs.log_table import LogTable, list_names, parse_names, quote, widen
from wbcbench.energy.wall_logs.numbers import (
    NumberStyle,
    decide_styles,
    is_blank,
    parse_numbers,
    split_unit,
)
from wbcbench.energy.wall_logs.ptdaemon import parse_ptdaemon
from wbcbench.energy.wall_logs.source import read_text
from wbcbench.energy.wall_logs.table import parse_table
from wbcbench.energy.wall_logs.times import (
    ORDERS,
    LogTimes,
    classify,
    classify_all,
    parse_times,
    parse_zone,
)
from wbcbench.energy.wall_logs.vocabulary import UNITS, ColumnName, Unit, find_unit

_SAMPLE = 200  # cells that show what a column is
_LEAST_W = 10.0  # a column without a unit that never holds more may be kilowatts

FORMATS: tuple[Callable[[str], LogTable | None], ...] = (
    parse_ptdaemon,
    parse_ipmi_dcmi,
    parse_json,
    parse_table,
)


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
        allowed = {
            "--decimal": (self.decimal, (".", ",")),
            "--date-order": (self.date_order, ORDERS),
            "--energy": (self.energy, (TOTAL, INTERVAL)),
            "--unit": (self.unit, tuple(UNITS)),
        }
        for option, (value, choices) in allowed.items():
            if value is not None and value not in choices:
                some = ", ".join(choices[:24])
                raise UsageError(f"{option} is {quote(value)}; it must be one of: {some}.")
        if self.zone is not None:
            parse_zone(self.zone)
        if self.start is not None and classify(self.start) not in {"moment", "date"}:
            raise UsageError(
                f"--start is {quote(self.start)}; write it like 2026-11-26T17:56:55+01:00."
            )


@dataclass(frozen=True, slots=True)
class WallLog:
    """What a meter logged, and how its file was understood.

    Attributes:
        utc_s: Epoch seconds of each row, strictly increasing; since the log's own start where
            ``is_relative``; shape ``[n]``.
        value: Watts or cumulative joules; ``None`` where the meter had no reading, shape ``[n]``.
        kind: ``sampled`` for watts, ``counter`` for joules.
        column: Name of the column the values come from.
        notes: What had to be assumed, as whole sentences.
        time_column: Names of the columns of time, joined by ``+``.
        unit: Of the column.
        energy: ``total`` or ``interval``, what a column of energy held; empty for power.
        zone: In which the times were read.
        has_zone: Whether the log or the user named it.
        is_relative: Whether the times count from the log's own start.
        format: ``table``, ``JSON`` or the like.
        encoding: Of the text.
        delimiter: Between cells; empty where there is none.
        decimal: The decimal mark.
        sha256: Digest of the bytes that were read.
    """

    utc_s: tuple[float, ...]
    value: tuple[float | None, ...]
    kind: Kind
    column: str
    notes: tuple[str, ...]
    time_column: str
    unit: str
    energy: str
    zone: str
    has_zone: bool
    is_relative: bool
    format: str
    encoding: str
    delimiter: str
    decimal: str
    sha256: str

    @property
    def decisions(self) -> dict[str, str]:
        """How it was read, by the names of the options that would have it read so again."""
        found = {
            "format": self.format,
            "encoding": self.encoding,
            "time-column": self.time_column,
            "power-column": self.column,
            "unit": self.unit,
            "energy": self.energy,
            "decimal": self.decimal,
            "zone": self.zone,
        }
        return {name: value for name, value in found.items() if value}


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
        parsed = (table for parse in FORMATS if (table := parse(source.text)) is not None)
        table = widen(next(parsed))
        log = _LogReader(table, options or LogOptions(), around).read()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{path}: {error}.") from error
    return replace(log, encoding=source.encoding, sha256=source.sha256)


class _LogReader:
    """One log's table on its way to a series."""

    def __init__(
        self, table: LogTable, options: LogOptions, around: tuple[float, float] | None
    ) -> None:
        self.table = table
        self.options = options
        self.around = around
        self.names = parse_names(table)
        self.notes = list(table.notes)

    def read(self) -> WallLog:
        """The series; raises ``ValueError`` for what cannot be understood."""
        times_at = self._find_time_columns()
        value_at = self._find_value_column(times_at)
        cells = self.table.columns[value_at]
        joined = [
            " ".join(filter(None, row))
            for row in zip(*(self.table.columns[i] for i in times_at), strict=True)
        ]
        rows = [i for i, cell in enumerate(cells) if cell is not None and joined[i]]
        if len(rows) < 2:
            raise ValueError("it holds fewer than two readings")
        times = self._parse_times([joined[i] for i in rows], times_at)
        if times.utc_s[-1] < times.utc_s[0] and all(b <= a for a, b in pairwise(times.utc_s)):
            rows.reverse()
            times = replace(times, utc_s=times.utc_s[::-1])
            self.notes.append("It begins with its last reading and was read backwards.")
        (kind, unit), value, style = self._parse_values(value_at, rows, times)
        energy = ""
        if kind is Kind.COUNTER:
            energy = self._decide_energy(value_at, value, times, rows, style)
        if energy == INTERVAL:
            value = add_intervals(times.utc_s, value, self._is_at_start(times_at))
        utc_s, value = self._drop_repeated(times.utc_s, value)
        return WallLog(
            utc_s=tuple(utc_s),
            value=tuple(value),
            kind=kind,
            column=self.names[value_at].text,
            notes=(*self.notes, *times.notes),
            time_column="+".join(self.names[i].text for i in times_at),
            unit=unit,
            energy=energy,
            zone=times.zone,
            has_zone=times.has_zone,
            is_relative=times.is_relative,
            format=self.table.format,
            encoding="",
            delimiter=self.table.delimiter,
            decimal=style.decimal,
            sha256="",
        )

    # --- columns ---------------------------------------------------------------------------------

    def _find_time_columns(self) -> list[int]:
        """The column of times, or that of dates and that of the times of day."""
        kinds = [self._classify_column(i) for i in range(len(self.names))]
        named = [i for i, name in enumerate(self.names) if name.is_time and kinds[i]]
        if wanted := self.options.time_column:
            named = [self._find_named(wanted, "--time-column")]
        others = [i for i, kind in enumerate(kinds) if kind and i not in named]
        moments = [[i] for i in named if kinds[i] == "moment"]
        moments += self._pair_columns(kinds, named, named)
        if wanted and not moments:
            moments = self._pair_columns(kinds, named, others) or [named]
        moments = moments or [
            [i]
            for i in others
            if kinds[i] == "moment"
            and (not self._is_number(i) or self.names[i].text.startswith("column "))
        ]
        moments = moments or [[i] for i in named]
        moving = [at for at in moments if self._is_moving(at)] or moments
        zoned = [at for at in moving if self._is_zoned(at)]
        moving = zoned if len(zoned) == 1 else moving
        if len(moving) == 1:
            return moving[0]
        raise ValueError(
            "it has no single column that is named like a time. It has: "
            f"{list_names(self.table.names)}. Use --time-column"
        )

    def _classify_column(self, column: int) -> str:
        """What the first cells of a column are as times; empty if they are none."""
        return classify_all([cell for cell in self.table.columns[column][:_SAMPLE] if cell])

    def _pair_columns(
        self, kinds: Sequence[str], first: Sequence[int], second: Sequence[int]
    ) -> list[list[int]]:
        """Each column of dates with the next one of times of day, or the one before it."""
        pairs = list[list[int]]()
        for one in first:
            for other in sorted({*first, *second}, key=lambda i: (abs(i - one), -i)):
                if {kinds[one], kinds[other]} == {"date", "clock"}:
                    pair = [one, other] if kinds[one] == "date" else [other, one]
                    pairs += [pair] if pair not in pairs else []
                    break
        return [pair for pair in pairs if pair[1] - pair[0] == 1] or pairs

    def _is_number(self, column: int) -> bool:
        """Whether it holds numbers, and nothing else but words for no reading."""
        cells = [cell for cell in self.table.columns[column] if cell and not is_blank(cell)][
            :_SAMPLE
        ]
        return bool(cells) and all(map(split_unit, cells))

    def _is_moving(self, columns: Sequence[int]) -> bool:
        return any(len({cell for cell in self.table.columns[i] if cell}) > 1 for i in columns)

    def _is_zoned(self, columns: Sequence[int]) -> bool:
        name = self.names[columns[0]]
        return bool(
            name.zone or name.words & {"utc", "epoch", "unix"} or self._is_number(columns[0])
        )

    def _find_named(self, wanted: str, option: str) -> int:
        lower = [name.text.lower() for name in self.names]
        places = [i for i, name in enumerate(lower) if name == wanted.strip().lower()]
        if len(places) == 1:
            return places[0]
        raise ValueError(
            f"it has no column {quote(wanted)}. It has: {list_names(self.table.names)}. "
            f"Use {option}"
        )

    def _find_value_column(self, times_at: Sequence[int]) -> int:
        """The column of power, or else of energy, that the user or its name points at."""
        if self.options.power_column is not None:
            return self._find_named(self.options.power_column, "--power-column")
        for kind in (Kind.SAMPLED, Kind.COUNTER):
            places = [
                i for i, name in enumerate(self.names) if name.kind is kind and i not in times_at
            ]
            places = [i for i in places if self._is_number(i)] or places
            for narrow in (_is_total, _is_plain, _is_average):
                places = [i for i in places if narrow(self.names[i])] or places
            if len(places) > 1:
                columns = list_names([self.names[i].text for i in places])
                raise ValueError(f"it has several columns to read: {columns}. Use --power-column")
            if places:
                return places[0]
        others = [i for i in range(len(self.names)) if i not in times_at and self._is_number(i)]
        if self.options.unit and len(others) == 1:
            return others[0]
        raise ValueError(
            "it has no column that is named like power or energy with its unit, e.g. power_w or "
            f"'energy (kWh)'. It has: {list_names(self.table.names)}. Use --power-column and --unit"
        )

    def _is_at_start(self, times_at: Sequence[int]) -> bool:
        """Whether an interval is named by when it begins."""
        words = {word for i in times_at for word in self.names[i].words}
        return not words.isdisjoint({"start", "begin", "from", "bucket"})

    # --- times and values ------------------------------------------------------------------------

    def _parse_times(self, cells: Sequence[str], times_at: Sequence[int]) -> LogTimes:
        name = self.names[times_at[0]]
        options = self.options
        zone = options.zone or next(
            (self.names[i].zone for i in times_at if self.names[i].zone), None
        )
        order = self.table.date_order or options.date_order
        times = parse_times(cells, zone, order, self.around, name.unit)
        if times.is_relative and options.start:
            start = parse_times([options.start], options.zone, options.date_order, self.around)
            utc_s = [start.utc_s[0] + t for t in times.utc_s]
            return replace(start, utc_s=utc_s)
        if options.start:
            self.notes.append("Its times are dates already, so --start was not used.")
        if not times.has_zone and not times.is_relative:
            self.notes.append("Its times name no zone and were taken for UTC.")
        elif options.zone and times.zone != options.zone:
            self.notes.append("Its times name their zone themselves, so --zone was not used.")
        return times

    def _parse_values(
        self, column: int, rows: Sequence[int], times: LogTimes
    ) -> tuple[tuple[Kind, str], list[float | None], NumberStyle]:
        """Kind and unit, the values in watts or joules, and how they are written."""
        cells = [self.table.columns[column][i] or "" for i in rows]
        parts = [split_unit(cell) for cell in cells]
        found = {part[1] for part in parts if part and part[1]}
        name = self.names[column]
        word, unit = self._find_unit(name, found)
        factors = {other: (find_unit(other) or unit)[1] for other in found}
        if any((find_unit(other) or unit)[0] is not unit[0] for other in found):
            raise ValueError(f"its column {quote(name.text)} mixes units: {list_names([*found])}")
        bodies = [part[0] if part else cell for part, cell in zip(parts, cells, strict=True)]
        scale = [
            factors.get(part[1], unit[1]) if part and not self.options.unit else unit[1]
            for part in parts
        ]

        def parse(style: NumberStyle) -> list[float | None]:
            numbers = parse_numbers(bodies, style)
            return [n if n is None else n * k for n, k in zip(numbers, scale, strict=True)]

        style = self._decide_style(column, bodies, parse, unit[0], times)
        values = parse(style)
        for place, value in enumerate(values):
            if value is not None and (value < 0 or not math.isfinite(value)):
                raise ValueError(
                    f"reading {place + 1} has {quote(cells[place])}, which no machine draws"
                )
        has_unit = self.options.unit or name.unit or found
        if not has_unit and max((v for v in values if v is not None), default=0.0) < _LEAST_W:
            raise ValueError(
                f"the column {quote(name.text)} names no unit and may be in kilowatts. Use "
                "--unit W or --unit kW"
            )
        return (unit[0], word), values, style

    def _find_unit(self, name: ColumnName, in_cells: set[str]) -> tuple[str, Unit]:
        """The unit of a column, by the user, its cells or its name."""
        word = self.options.unit or name.unit or next(iter(sorted(in_cells)), "")
        unit = find_unit(word)
        if unit is not None:
            return next(name for name in UNITS if UNITS[name] == unit), unit
        if word:
            raise ValueError(
                f"the unit {quote(word)} of the column {quote(name.text)} is neither power nor "
                "energy. (Volt-amperes are not watts.) Use another --power-column, or --unit"
            )
        if name.has("energy") and not name.has("power"):
            raise ValueError(
                f"the column {quote(name.text)} names no unit of energy. Use --unit, e.g. kWh"
            )
        self.notes.append(f"The column {quote(name.text)} names no unit and was taken for watts.")
        return "W", UNITS["W"]

    def _decide_style(
        self,
        column: int,
        bodies: Sequence[str],
        parse: Callable[[NumberStyle], list[float | None]],
        kind: Kind,
        times: LogTimes,
    ) -> NumberStyle:
        """How the column's numbers are written: by themselves, by others, by what can be drawn."""
        wanted = self.options.decimal or self.table.decimal
        numbers = [body for body in bodies if not is_blank(body)]
        styles = decide_styles(numbers, wanted)
        if len(styles) == 1:
            return styles[0]
        decimal, grouped = styles
        for i, cells in enumerate(self.table.columns):
            parts = [part for cell in cells if i != column and cell and (part := split_unit(cell))]
            if len(parts) > 0.5 * len(cells):
                beside = decide_styles([body for body, _ in parts])
                if len(beside) == 1 and beside[0].decimal in "".join(body for body, _ in parts):
                    return decimal if beside[0].decimal == decimal.decimal else grouped
        is_fixed = all(decimal.decimal in body for body in numbers)
        if is_fixed and decimal.decimal == "." and self.table.delimiter == ",":
            return decimal  # who writes decimal commas does not separate by commas
        if _mean_power_w(parse(grouped), kind, times.utc_s) > thresholds.CEILING_W:
            return decimal
        example = next(body for body in numbers if decimal.decimal in body)
        raise ValueError(
            f"its numbers such as {quote(example)} may have thousands or decimals. Use --decimal , "
            "or --decimal . to say which mark is the decimal one"
        )

    def _decide_energy(
        self,
        column: int,
        value: list[float | None],
        times: LogTimes,
        rows: Sequence[int],
        style: NumberStyle,
    ) -> str:
        """Whether a column of energy holds a running total or that of each interval."""
        name = self.names[column]
        choice = self.options.energy or decide_energy(
            name, times.utc_s, value, self._read_power_beside(rows, style)
        )
        if choice == INTERVAL:
            self.notes.append(
                f"{quote(name.text)} was read as the energy of each row's interval, added up."
            )
        return choice

    def _read_power_beside(
        self, rows: Sequence[int], style: NumberStyle
    ) -> list[float | None] | None:
        """The one column of power in the same rows; ``None`` if there is no single one."""
        places = [i for i, name in enumerate(self.names) if name.kind is Kind.SAMPLED]
        if len(places) != 1:
            return None
        unit = find_unit(self.names[places[0]].unit) or UNITS["W"]
        numbers = [style.parse(self.table.columns[places[0]][i] or "") for i in rows]
        return [None if number is None else number * unit[1] for number in numbers]

    def _drop_repeated(
        self, utc_s: Sequence[float], value: Sequence[float | None]
    ) -> tuple[list[float], list[float | None]]:
        """The rows without those that repeat a time; raises ``ValueError`` where time falls."""
        times, values = [utc_s[0]], [value[0]]
        for place, t_s in enumerate(utc_s[1:], start=1):
            if t_s < times[-1]:
                raise ValueError(
                    f"reading {place + 1} is {times[-1] - t_s:.0f} s before the row above. "
                    "The clock was set, or it is the end of summer time: use --zone, or cut the "
                    "log to the run"
                )
            if t_s > times[-1]:
                times.append(t_s)
                values.append(value[place])
        if repeated := len(utc_s) - len(times):
            rows = count_of(repeated, "row")
            self.notes.append(f"{rows} with the time of the row before left out.")
        if sum(v is not None for v in values) < 2:
            raise ValueError("it holds fewer than two readings")
        return times, values


def _is_total(name: ColumnName) -> bool:
    return name.has("total")


def _is_plain(name: ColumnName) -> bool:
    return name.is_plain


def _is_average(name: ColumnName) -> bool:
    return name.has("average")


def _mean_power_w(value: Sequence[float | None], kind: Kind, utc_s: Sequence[float]) -> float:
    """Of watts their mean, of a running total what it rose by."""
    known = [v for v in value if v is not None]
    if kind is Kind.SAMPLED:
        return sum(known) / len(known)
    return (max(known) - min(known)) / (max(utc_s) - min(utc_s) or 1.0)
