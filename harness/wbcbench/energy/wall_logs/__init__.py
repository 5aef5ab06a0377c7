"""The log of an external power meter: what real meters write → times and watts or joules, in SI.

Bytes become text (``source``), text a table of cells under names (``formats``, ``table``), and
its columns one series: chosen by their names (``columns``, ``vocabulary``), with the way that
numbers and times are written decided once a file from all of its cells (``numbers``, ``times``,
``energies``). What stays ambiguous is refused with the option that settles it: a guess would become
joules.
"""

from __future__ import annotations

import math
import re
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
    WORDS,
    Unit,
    find_unit,
    is_unit,
    list_names,
    quote,
    split_factor,
)

_LEAST_W = 10.0  # a column without a unit that never holds more may be kilowatts
_UNIT_LINE = re.compile(rf"(?i:(?:[^\W\d]+ )?(?:{'|'.join(WORDS['unit'])}))[\s:=,;]+(\S.*?)\W*")
_OFFSET_W, _OFFSET_SHARE = 1.0, 0.005  # so far below zero a sensor reads where nothing is drawn
_SAME_S, _QUARTER_HOUR_S = 2.0, 900.0  # two columns of the same times may be of two zones
_SCALE_LINE = re.compile(
    r"(?i)(?:multipl|scal(?:e|ing)|\b[cpv]t ratio|transformer ratio|wandler)"
    r"(?!.{0,20}\b1(?:[.:]0*)?1?$)"
)
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
            ("--unit", split_factor(self.unit)[1] if self.unit is not None else None, UNITS),
        ):
            if value is not None and value not in choices:
                raise UsageError(f"{option} is {quote(value)}; use one of: {', '.join(choices)}.")
        if self.zone is not None:
            times.parse_zone(self.zone)
        if self.start is not None and not self._is_start_a_date():
            raise UsageError(
                f"--start is {quote(self.start)}; write it like 2026-11-26T17:56:55+01:00."
            )

    def _is_start_a_date(self) -> bool:
        start = self.start or ""
        for order in times.DATE_FORMS if times.classify(start) in {"moment", "date"} else ():
            with suppress(ValueError):
                return bool(times.parse_times([start], self.zone or "UTC", order).utc_s)
        return False


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
        self.table = table
        self.options = options
        self.around = around
        self.columns = LogColumns(table)
        self.times_at = self.columns.find_times(options.time_column)
        self.value_at = self.columns.find_values(options.power_column, self.times_at, options.unit)
        self.name = self.columns.names[self.value_at]
        self.utc_s = list[float]()
        self.notes = [*table.notes, *self.columns.notes]
        self.notes += [
            f"The line {quote(line)} above its table was not applied. If it scales what was "
            "logged, say what one is with --unit, e.g. 0.1W."
            for line in table.preamble
            if _SCALE_LINE.search(line) and not options.unit
        ]

    def read(self) -> WallLog:
        """The series, as far as it is one."""
        columns, name, energy = self.columns, self.name, ""
        self.notes += columns.keep_readings(self.times_at, self.value_at)
        read = self._parse_times()
        self.utc_s = read.utc_s
        if read.utc_s[-1] < read.utc_s[0] and all(b <= a for a, b in pairwise(read.utc_s)):
            columns.keep_rows(range(len(self.utc_s))[::-1])
            self.utc_s = self.utc_s[::-1]
            self.notes.append("It begins with its last reading and was read backwards.")
        kind, unit, value, style = self._parse_values()
        columns.refuse_meters(self.times_at, self.value_at, self.utc_s, value)
        if kind is Kind.COUNTER:
            beside_w = self._read_power_beside(style)
            energy = self.options.energy or energies.decide_energy(
                name, self.utc_s, value, beside_w
            )
        if energy == energies.INTERVAL:
            value = energies.add_intervals(self.utc_s, value, columns.is_start(self.times_at))
            self.notes.append(f"{quote(name.text)} was read as the energy of each row's interval.")
        rows = self._drop_repeated(value)
        read_as = {
            "format": self.table.format,
            "delimiter": self.table.delimiter,
            "time-column": "+".join(columns.names[i].text for i in self.times_at),
            "power-column": name.text,
            "unit": unit,
            "energy": energy,
            "decimal": style.decimal,
            "zone": read.zone,
        }
        return WallLog(
            utc_s=tuple(self.utc_s[i] for i in rows),
            value=tuple(value[i] for i in rows),
            kind=kind,
            has_zone=read.has_zone,
            relative_to=read.relative_to,
            read_as={option: choice for option, choice in read_as.items() if choice},
            notes=(*self.notes, *read.notes),
        )

    def _parse_times(self) -> times.LogTimes:
        options, names = self.options, [self.columns.names[i] for i in self.times_at]
        zone = options.zone or self.columns.find_zone(self.times_at, self.table.preamble)
        order = self.table.date_order or options.date_order
        rows = zip(*(self.columns.cells[i] for i in self.times_at), strict=True)
        cells = [" ".join(filter(None, row)) for row in rows]
        read = times.parse_times(cells, zone, order, self.around, names[0])
        if options.start and read.relative_to:
            start = times.parse_times([options.start], zone, order, self.around)
            read = replace(start, utc_s=[start.utc_s[0] + t for t in read.utc_s])
        elif options.start:
            self.notes.append("Its times have dates, so --start was not used.")
        if not options.time_column and not read.relative_to:
            self._refuse_other_times(read.utc_s)
        if not read.has_zone and not read.relative_to:
            self.notes.append("Its times name no zone and were taken for UTC.")
        elif options.zone and read.zone != options.zone and not read.relative_to:
            self.notes.append("Its times name their zone themselves, so --zone was not used.")
        return read

    def _refuse_other_times(self, utc_s: Sequence[float]) -> None:
        """Raise ``ValueError`` if another column has other times, but for those of a start."""
        columns = self.columns
        for i in columns.list_other_times(self.times_at):
            with suppress(ValueError, UsageError):
                other_s = times.parse_times(columns.list_texts(i), None, None, self.around).utc_s
                apart_s = [b - a for a, b in zip(utc_s, other_s, strict=True)]
                zone_s = _QUARTER_HOUR_S * round(apart_s[0] / _QUARTER_HOUR_S)
                if all(abs(each_s - zone_s) <= _SAME_S for each_s in apart_s):
                    continue
            choices = list_names([columns.names[j].text for j in (*self.times_at, i)])
            raise ValueError(f"it has several columns of times: {choices}. Use --time-column")

    def _parse_values(self) -> tuple[Kind, str, list[float | None], NumberStyle]:
        """What it measures, the unit's name, watts or joules of each row, and their style."""
        name = self.name
        bodies, words = self._split_units()
        if not self.options.unit:
            self.columns.require_no_scale(self.value_at)
        used = {w for w, body in zip(words, bodies, strict=True) if not is_blank(body)}
        units = {word: self._find_unit(word) for word in sorted(used)}
        (kind, _), *others = units.values()
        if ("" in units and others) or any(other[0] is not kind for other in others):
            raise ValueError(f"its column {quote(name.text)} mixes units: {list_names([*units])}")
        factors = [units[word][1] if word in units else 1.0 for word in words]

        def parse(style: NumberStyle) -> list[float | None]:
            pairs = zip(bodies, factors, strict=True)
            return [None if is_blank(body) else style.parse(body) * k for body, k in pairs]

        styles = find_styles(bodies, self.options.decimal or self.table.decimal)
        style = self._settle_style(styles, parse, kind)
        value = parse(style)
        value = self._check_signs(value, bodies, kind)
        if "" in units and max(filter(None, value), default=0) < _LEAST_W:
            raise ValueError(
                f"the column {quote(name.text)} names no unit and may be in kilowatts. Use "
                "--unit W or --unit kW"
            )
        unit = units[min(units)]
        known = next((known for known in UNITS if UNITS[known] == unit), min(units))
        return kind, known, value, style

    def _check_signs(
        self, value: Sequence[float | None], bodies: Sequence[str], kind: Kind
    ) -> list[float | None]:
        """The readings, those just below zero as zero, for no machine draws less."""
        known = [number for number in value if number is not None]
        most = max(known, default=0.0)
        least_w = -max(_OFFSET_W, _OFFSET_SHARE * most) if kind is Kind.SAMPLED else 0.0
        if most <= 0 and any(known):
            raise ValueError(
                f"every reading of {quote(self.name.text)} is negative: its sensor is the wrong "
                "way round. Write the column without the signs if that is all that is wrong"
            )
        for place, number in enumerate(value, start=1):
            if number is not None and not least_w <= number < math.inf:
                why = "; a sensor may be the wrong way round" if number < 0 else ""
                raise ValueError(
                    f"reading {place} has {quote(bodies[place - 1])}, which no machine draws{why}"
                )
        if below := sum(number < 0 for number in known):
            self.notes.append(f"{count_of(below, 'reading')} just below zero taken for zero.")
        return [None if number is None else max(number, 0.0) for number in value]

    def _split_units(self) -> tuple[list[str], list[str]]:
        """The numbers of cells, and their units: the user's, their own, or the column's."""
        parts = [split_unit(cell) or (cell, "") for cell in self.columns.list_texts(self.value_at)]
        bodies, words = [body for body, _ in parts], [word for _, word in parts]
        beside = self.columns.find_unit_column(self.value_at, self.times_at)
        if beside is not None:
            words = [a or b for a, b in zip(words, self.columns.list_texts(beside), strict=True)]
        own = {*words} - {""}
        above = [match[1] for match in map(_UNIT_LINE.fullmatch, self.table.preamble) if match]
        own = own or {word for word in above if is_unit(word)}
        usual = self.options.unit or self.name.unit or "".join(own if len(own) == 1 else ())
        return bodies, [usual if self.options.unit else word or usual for word in words]

    def _find_unit(self, word: str) -> Unit:
        """The unit that a word is, or that a column has which names none."""
        name = self.name
        if (unit := find_unit(word)) is not None:
            return unit
        if word:
            raise ValueError(
                f"the column {quote(name.text)} names no known unit of power or energy"
                f"{f', but {quote(word)}' if word != name.text else ''}. (Volt-amperes are not "
                "watts.) Use --unit, e.g. W or 0.1W, or another --power-column"
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
        styles: list[NumberStyle],
        parse: Callable[[NumberStyle], list[float | None]],
        kind: Kind,
    ) -> NumberStyle:
        """Of the styles that fit, the one of other columns, or of what a machine can draw."""
        marks = set[str]()
        for i in [i for i in self.columns.numeric if i != self.value_at and len(styles) > 1]:
            parts = map(split_unit, self.columns.list_texts(i))
            texts = [part[0] for part in parts if part]
            with suppress(ValueError):
                found = find_styles(texts)
                is_shown = any(found[0].decimal in text for text in texts)
                marks |= {found[0].decimal} if len(found) == 1 and is_shown else set()
        styles = [style for style in styles if style.decimal in marks] or styles
        if len(styles) > 1:
            means_w = [_find_mean_power_w(self.utc_s, parse(style), kind) for style in styles]
            pairs = zip(styles, means_w, strict=True)
            styles = [style for style, mean_w in pairs if mean_w <= thresholds.CEILING_W] or styles
        if len(styles) > 1:
            raise ValueError(
                f"its numbers in {quote(self.name.text)} may have thousands or "
                "decimals. Use --decimal , or --decimal . to say which mark is the decimal one"
            )
        return styles[0]

    def _read_power_beside(self, style: NumberStyle) -> list[float | None]:
        """The one column of power in the same rows; empty if there is no single one."""
        places = [i for i, name in enumerate(self.columns.names) if name.kind is Kind.SAMPLED]
        if len(places) != 1:
            return []
        factor = (find_unit(self.columns.names[places[0]].unit) or UNITS["W"])[1]
        cells = self.columns.list_texts(places[0])
        return [style.parse(cell) * factor if style.matches(cell) else None for cell in cells]

    def _drop_repeated(self, value: Sequence[float | None]) -> list[int]:
        """The rows without those that repeat a time."""
        rows, utc_s = [0], self.utc_s
        for place, (before_s, t_s) in enumerate(pairwise(utc_s), start=1):
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
            rows_text = count_of(repeated, "row")
            self.notes.append(f"{rows_text} with the time of the row before left out.")
        return rows


def _find_mean_power_w(utc_s: Sequence[float], value: Sequence[float | None], kind: Kind) -> float:
    known = [number for number in value if number is not None]
    if kind is Kind.SAMPLED:
        return sum(known) / len(known)
    return (max(known) - min(known)) / (max(utc_s) - min(utc_s) or 1.0)
