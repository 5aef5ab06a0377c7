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
from itertools import islice, pairwise
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.core.text import count_of
from wbcbench.core.trace import Kind
from wbcbench.energy import thresholds
from wbcbench.energy.wall_logs import energies, numbers, times
from wbcbench.energy.wall_logs.ipmi_dcmi import parse_ipmi_dcmi
from wbcbench.energy.wall_logs.json_objects import parse_json
from wbcbench.energy.wall_logs.log_table import LogTable, list_names, quote, widen
from wbcbench.energy.wall_logs.ptdaemon import parse_ptdaemon
from wbcbench.energy.wall_logs.source import read_text
from wbcbench.energy.wall_logs.table import parse_table
from wbcbench.energy.wall_logs.vocabulary import UNITS, ColumnName, Unit, find_unit

_SAMPLE = 200  # cells that show what a column is
_LEAST_W = 10.0  # a column without a unit that never holds more may be kilowatts
_STANDING_S = 5.0  # times that stand still for so long are not those of the readings

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
        for option, value, choices in (
            ("--decimal", self.decimal, (".", ",")),
            ("--date-order", self.date_order, times.ORDERS),
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
        column: Name of the column the values come from.
        notes: What had to be assumed, as whole sentences.
        time_column: Names of the columns of time, joined by ``+``.
        unit: Of the column.
        energy: ``total`` or ``interval``, what a column of energy held; empty for power.
        zone: In which the times were read.
        has_zone: Whether the log or the user named it.
        relative_to: ``its own start`` or ``midnight``, from where times without a date count.
        format: ``table``, ``JSON`` or the like.
        delimiter: Between cells; empty where there is none.
        decimal: The decimal mark.
        encoding: Of the text.
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
    relative_to: str
    format: str
    delimiter: str
    decimal: str
    encoding: str = ""
    sha256: str = ""

    @property
    def decisions(self) -> dict[str, str]:
        """How it was read, by the names of the options that would have it read so again."""
        decisions = {
            "format": self.format,
            "encoding": self.encoding,
            "time-column": self.time_column,
            "power-column": self.column,
            "unit": self.unit,
            "energy": self.energy,
            "decimal": self.decimal,
            "zone": self.zone,
        }
        return {option: value for option, value in decisions.items() if value}


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
        log = _LogReader(widen(next(parsed)), options or LogOptions(), around).read()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{path}: {error}.") from error
    return replace(log, encoding=source.encoding, sha256=source.sha256)


class _LogReader:
    """One log's table on its way to a series; every method raises ``ValueError`` as it refuses."""

    def __init__(
        self, table: LogTable, options: LogOptions, around: tuple[float, float] | None
    ) -> None:
        self.table = table
        self.options = options
        self.around = around
        self.names = [ColumnName.from_text(name) for name in table.names]
        self.kinds = [
            times.classify_all([*islice(filter(None, cells), _SAMPLE)]) for cells in table.columns
        ]
        self.numeric = [_is_numeric(cells) for cells in table.columns]
        self.notes = list(table.notes)

    def read(self) -> WallLog:
        """The series, without what only the bytes say."""
        times_at = self._find_time_columns()
        value_at = self._find_value_column(times_at)
        name, cells = self.names[value_at], self.table.columns[value_at]
        columns = (self.table.columns[i] for i in times_at)
        moments = [" ".join(filter(None, row)) for row in zip(*columns, strict=True)]
        rows = [i for i, cell in enumerate(cells) if cell is not None and moments[i]]
        if len(rows) < 2:
            raise ValueError("it holds fewer than two readings")
        self._require_one_meter(rows)
        read = self._parse_times([moments[i] for i in rows], times_at)
        utc_s = read.utc_s
        if utc_s[-1] < utc_s[0] and all(b <= a for a, b in pairwise(utc_s)):
            rows.reverse()
            utc_s = utc_s[::-1]
            self.notes.append("It begins with its last reading and was read backwards.")
        unit_name, unit, value, style = self._parse_values(value_at, rows, utc_s)
        energy = ""
        if unit[0] is Kind.COUNTER:
            beside = self._read_power_beside(rows, style)
            energy = self.options.energy or energies.decide_energy(name, utc_s, value, beside)
        if energy == energies.INTERVAL:
            value = energies.add_intervals(utc_s, value, self._is_at_start(times_at))
            self.notes.append(f"{quote(name.text)} was read as the energy of each row's interval.")
        utc_s, value = self._drop_repeated(utc_s, value)
        return WallLog(
            utc_s=tuple(utc_s),
            value=tuple(value),
            kind=unit[0],
            column=name.text,
            notes=(*self.notes, *read.notes),
            time_column="+".join(self.names[i].text for i in times_at),
            unit=unit_name,
            energy=energy,
            zone=read.zone,
            has_zone=read.has_zone,
            relative_to=read.relative_to,
            format=self.table.format,
            delimiter=self.table.delimiter,
            decimal=style.decimal,
        )

    # --- columns ---------------------------------------------------------------------------------

    def _find_time_columns(self) -> list[int]:
        """The column of times, or that of dates and that of the times of day."""
        kinds, names = self.kinds, self.names
        candidates = [
            [i]
            for i, name in enumerate(names)
            if kinds[i] == "moment"
            and (name.is_time or not self.numeric[i] or name.text.startswith("column "))
        ]
        dates, clocks = (
            [i for i, k in enumerate(kinds) if k == kind] for kind in ("date", "clock")
        )
        candidates += [[i, j] for i in dates for j in clocks]
        if self.options.time_column is not None:
            wanted = self._find_named(self.options.time_column, "--time-column")
            candidates = [at for at in candidates if wanted in at] or [[wanted]]
        candidates = candidates or [
            [i] for i, name in enumerate(names) if name.is_time and kinds[i]
        ]
        for is_better in (
            lambda at: all(names[i].is_time for i in at),
            lambda at: any(names[i].is_time for i in at),
            lambda at: at[-1] - at[0] == len(at) - 1,
            self._is_moving,
            self._is_zoned,
            lambda at: not self._is_at_start(at),
        ):
            candidates = [at for at in candidates if is_better(at)] or candidates
        if len(candidates) == 1:
            return candidates[0]
        raise ValueError(
            "it has no single column that is named like a time. It has: "
            f"{list_names(self.table.names)}. Use --time-column"
        )

    def _is_moving(self, columns: Sequence[int]) -> bool:
        return any(len({cell for cell in self.table.columns[i] if cell}) > 1 for i in columns)

    def _is_zoned(self, columns: Sequence[int]) -> bool:
        name = self.names[columns[0]]
        says_zone = bool(name.zone) or not name.words.isdisjoint({"utc", "epoch", "unix"})
        return says_zone or self.numeric[columns[0]]

    def _is_at_start(self, columns: Sequence[int]) -> bool:
        """Whether the times are those at which something begins."""
        words = {word for i in columns for word in self.names[i].words}
        return not words.isdisjoint({"start", "begin", "from", "bucket"})

    def _find_named(self, wanted: str, option: str) -> int:
        places = [
            i
            for i, name in enumerate(self.names)
            if name.text.strip().lower() == wanted.strip().lower()
        ]
        if len(places) == 1:
            return places[0]
        names = list_names(self.table.names)
        raise ValueError(f"it has no column {quote(wanted)}. It has: {names}. Use {option}")

    def _find_value_column(self, times_at: Sequence[int]) -> int:
        """The column of power, or else of energy, that the user or its name points at."""
        if self.options.power_column is not None:
            return self._find_named(self.options.power_column, "--power-column")
        places = list[int]()
        for kind in (Kind.SAMPLED, Kind.COUNTER):
            of_kind = [i for i, name in enumerate(self.names) if name.kind is kind]
            places = places or [i for i in of_kind if i not in times_at]
        if not places and (self.options.unit or self.table.has_units):
            places = [i for i, is_number in enumerate(self.numeric) if is_number]
            places = [i for i in places if i not in times_at]
        columns = self.table.columns
        places = [
            i for i in places if any(map(numbers.split_unit, filter(None, columns[i])))
        ] or places
        places = [i for i in places if self.names[i].has("total")] or places
        places = [i for i in places if self.names[i].is_plain] or places
        places = [i for i in places if self.names[i].unit] or places
        places = [i for i in places if self.names[i].has("average")] or places
        if len(places) == 1:
            return places[0]
        if places:
            choices = list_names([self.names[i].text for i in places])
            raise ValueError(f"it has several columns to read: {choices}. Use --power-column")
        raise ValueError(
            "it has no column that is named like power or energy with its unit, e.g. power_w or "
            f"'energy (kWh)'. It has: {list_names(self.table.names)}. Use --power-column and --unit"
        )

    def _require_one_meter(self, rows: Sequence[int]) -> None:
        """Refuse rows of several meters, whose readings would be mixed."""
        for name, cells in zip(self.names, self.table.columns, strict=True):
            meters = list(dict.fromkeys(cell for i in rows if (cell := cells[i])))
            if name.is_meter and 1 < len(meters) <= len(rows) / 2:
                raise ValueError(
                    f"its rows are of several meters, by {quote(name.text)}: {list_names(meters)}. "
                    "Attach a log of one of them"
                )

    # --- times and values ------------------------------------------------------------------------

    def _parse_times(self, cells: Sequence[str], times_at: Sequence[int]) -> times.LogTimes:
        options, name = self.options, self.names[times_at[0]]
        zone = options.zone or next((n.zone for i in times_at if (n := self.names[i]).zone), None)
        order = self.table.date_order or options.date_order
        read = times.parse_times(cells, zone, order, self.around, name.unit)
        if options.start and read.relative_to:
            start = times.parse_times([options.start], zone, order, self.around)
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
    ) -> tuple[str, Unit, list[float | None], numbers.NumberStyle]:
        """Name of the unit, the unit, watts or joules of each row, and how they are written."""
        name = self.names[column]
        cells = [self.table.columns[column][i] or "" for i in rows]
        parts = [numbers.split_unit(cell) or (cell, "") for cell in cells]
        for i in [i for i, other in enumerate(self.names) if other.words & {"unit", "units"}]:
            beside = (self.table.columns[i][row] or "" for row in rows)
            pairs = zip(parts, beside, strict=True)
            parts = [(body, word or cell * bool(find_unit(cell))) for (body, word), cell in pairs]
        in_cells = {word for _, word in parts if word}
        word, unit = self._find_unit(name, in_cells)
        scales = {other: find_unit(other) or unit for other in in_cells}
        if self.options.unit:
            scales = {}
        if any(kind is not unit[0] for kind, _ in scales.values()):
            raise ValueError(
                f"its column {quote(name.text)} mixes units: {list_names([*in_cells])}"
            )
        factors = [scales.get(part[1], unit)[1] for part in parts]
        bodies = [body for body, _ in parts]

        def parse(style: numbers.NumberStyle) -> list[float | None]:
            values = numbers.parse_numbers(bodies, style)
            return [v if v is None else v * k for v, k in zip(values, factors, strict=True)]

        style = self._decide_style(column, bodies, parse, unit[0], utc_s)
        values = parse(style)
        for place, value in enumerate(values):
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(
                    f"reading {place + 1} has {quote(cells[place])}, which no machine draws; a "
                    "sensor may be the wrong way round"
                )
        if (
            not (self.options.unit or name.unit or in_cells)
            and max(filter(None, values), default=0) < _LEAST_W
        ):
            raise ValueError(
                f"the column {quote(name.text)} names no unit and may be in kilowatts. Use "
                "--unit W or --unit kW"
            )
        return word, unit, values, style

    def _find_unit(self, name: ColumnName, in_cells: set[str]) -> tuple[str, Unit]:
        """The unit of a column, by the user, its name or its cells."""
        word = self.options.unit or name.unit or min(in_cells, default="")
        unit = find_unit(word)
        if unit is not None:
            return next(known for known in UNITS if UNITS[known] == unit), unit
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
        return "W", UNITS["W"]

    def _decide_style(
        self,
        column: int,
        bodies: Sequence[str],
        parse: Callable[[numbers.NumberStyle], list[float | None]],
        kind: Kind,
        utc_s: Sequence[float],
    ) -> numbers.NumberStyle:
        """How the column's numbers are written: by themselves, by others, by what can be drawn."""
        written = [body for body in bodies if not numbers.is_blank(body)]
        styles = numbers.decide_styles(written, self.options.decimal or self.table.decimal)
        if len(styles) == 1:
            return styles[0]
        decimal, grouped = styles
        for i in [i for i, is_number in enumerate(self.numeric) if is_number and i != column]:
            parts = map(numbers.split_unit, filter(None, self.table.columns[i]))
            marks = numbers.find_decimal_marks(part[0] for part in parts if part)
            if len(marks) == 1:
                return decimal if decimal.decimal in marks else grouped
        known = [value for value in parse(grouped) if value is not None]
        power_w = sum(known) / len(known)
        if kind is Kind.COUNTER:
            power_w = (max(known) - min(known)) / (max(utc_s) - min(utc_s) or 1.0)
        if power_w > thresholds.CEILING_W:
            return decimal
        example = next(body for body in written if decimal.decimal in body)
        raise ValueError(
            f"its numbers such as {quote(example)} may have thousands or decimals. Use --decimal , "
            "or --decimal . to say which mark is the decimal one"
        )

    def _read_power_beside(
        self, rows: Sequence[int], style: numbers.NumberStyle
    ) -> list[float | None] | None:
        """The one column of power in the same rows; ``None`` if there is no single one."""
        places = [i for i, name in enumerate(self.names) if name.kind is Kind.SAMPLED]
        if len(places) != 1:
            return None
        factor = (find_unit(self.names[places[0]].unit) or UNITS["W"])[1]
        cells = [self.table.columns[places[0]][i] or "" for i in rows]
        return [None if (v := style.parse(cell)) is None else v * factor for cell in cells]

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


def _is_numeric(cells: Sequence[str | None]) -> bool:
    """Whether a column holds numbers, and nothing else but words for no reading."""
    written = [*islice((c for c in cells if c and not numbers.is_blank(c)), _SAMPLE)]
    return bool(written) and all(map(numbers.split_unit, written))
