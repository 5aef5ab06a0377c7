"""The log of an external power meter: a CSV file → times and watts or joules, in SI.

Meters write what they like, so the columns are found by their names and the unit by the name's
end: ``power_w``, ``Power (kW)``, ``energy_kwh``, ``Total energy [Wh]``, ``watts``. Times are epoch
seconds or ISO 8601; without a zone they are taken for UTC. What cannot be understood for certain
is refused with its line: a guess would become joules.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wbcbench.core import units
from wbcbench.core.errors import UsageError
from wbcbench.core.trace import Kind

MOST_BYTES = 500_000_000  # a year at one reading a second
_LATEST_S = 1e11  # the year 5138: larger numbers are milliseconds

_DELIMITERS = (",", ";", "\t")
_NO_READING = frozenset({"", "nan", "na", "n/a", "null", "none", "-", "--"})

_TIMES = frozenset(
    {"time", "timestamp", "datetime", "date time", "utc", "time utc", "utc time", "t", "epoch",
     "unix", "unix time", "unixtime", "utc s", "time s", "timestamp s", "epoch s", "unix s", "t s",
     "date"}
)  # fmt: skip
_NAMES = {
    Kind.SAMPLED: frozenset({"", "power", "active power", "real power", "p", "mean power"}),
    Kind.COUNTER: frozenset(
        {"", "energy", "total energy", "active energy", "e", "consumption", "cumulative energy"}
    ),
}

_SPLIT = re.compile(
    r"^(?P<name>.*?)[\s_]*(?:[\[(](?P<given>[^\])]*)[\])]|(?<![A-Za-z])(?P<bare>[A-Za-z]+))\s*$"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of a column: what it measures and how it becomes SI."""

    kind: Kind
    to_si: Callable[[float], float]


# Milliwatts and megawatts differ by case alone, so this table is compared with case first.
_UNITS: Mapping[str, Unit] = {
    "W": Unit(Kind.SAMPLED, float),
    "watt": Unit(Kind.SAMPLED, float),
    "watts": Unit(Kind.SAMPLED, float),
    "mW": Unit(Kind.SAMPLED, units.w_from_mw),
    "kW": Unit(Kind.SAMPLED, units.w_from_kw),
    "J": Unit(Kind.COUNTER, float),
    "joule": Unit(Kind.COUNTER, float),
    "joules": Unit(Kind.COUNTER, float),
    "kJ": Unit(Kind.COUNTER, units.j_from_kj),
    "Wh": Unit(Kind.COUNTER, units.j_from_wh),
    "kWh": Unit(Kind.COUNTER, units.j_from_kwh),
}
_FOLDED = {name.lower(): unit for name, unit in _UNITS.items() if name != "mW"}


@dataclass(frozen=True, slots=True)
class WallLog:
    """What a meter logged.

    Attributes:
        utc_s: Epoch seconds of each row, strictly increasing, shape ``[n]``.
        value: Watts or cumulative joules; ``None`` where the meter had no reading, shape ``[n]``.
        kind: ``sampled`` for watts, ``counter`` for joules.
        column: Name of the column the values come from.
        notes: What had to be assumed, as whole sentences.
    """

    utc_s: tuple[float, ...]
    value: tuple[float | None, ...]
    kind: Kind
    column: str
    notes: tuple[str, ...]


def read_wall_log(
    path: Path, *, time_column: str | None = None, value_column: str | None = None
) -> WallLog:
    """Read a meter's log.

    Args:
        path: A CSV file with a header; commas, semicolons (then decimal commas, too) or tabs.
        time_column: Name of the column with times; ``None`` = the one that is named like one.
        value_column: Name of the column with power or energy; ``None`` likewise, power first.

    Raises:
        UsageError: The file, a column, a unit or a row cannot be understood; the message names it.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} is larger than a meter's log of a year; cut out the run.")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _LogReader(path, stream, time_column, value_column).read()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8, so it is no CSV log.") from error
    except csv.Error as error:
        raise UsageError(f"{path} is not a CSV file: {error}.") from error


class _LogReader:
    """One file on its way to a log."""

    def __init__(
        self, path: Path, stream: Iterator[str], time_column: str | None, value_column: str | None
    ) -> None:
        self._path = path
        lines = (line for line in stream if line.strip() and not line.startswith("#"))
        header = next(lines, "")
        self._delimiter = max(_DELIMITERS, key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=self._delimiter), [])]
        self._rows = csv.reader(lines, delimiter=self._delimiter)
        self._width = len(names)
        self._time = _named(path, names, time_column, _is_time, "--time-column")
        self._value, self._unit, assumed = _value_column(path, names, value_column)
        self._column = names[self._value]
        self._notes = [assumed] if assumed else []

    def read(self) -> WallLog:
        times: list[float] = []
        values: list[float | None] = []
        naive = repeated = 0
        for number, row in enumerate(self._rows, start=1):
            cell = self._cell(row, self._time, number)
            t_s, has_zone = self._when(cell, number)
            naive += not has_zone
            if times and t_s == times[-1]:
                repeated += 1  # a log that rounds to the second
                continue
            self._refuse_backwards(times, t_s, cell, number)
            times.append(t_s)
            values.append(self._number(self._cell(row, self._value, number), number))
        if len(times) < 2:
            raise UsageError(f"{self._path} holds fewer than two readings.")
        self._note(naive, repeated)
        return WallLog(
            tuple(times), tuple(values), self._unit.kind, self._column, tuple(self._notes)
        )

    def _note(self, naive: int, repeated: int) -> None:
        if naive:
            self._notes.append("Its times name no zone and were taken for UTC.")
        if repeated:
            self._notes.append(f"{repeated} rows repeat the time of the row before; left out.")

    def _cell(self, row: Sequence[str], place: int, number: int) -> str:
        if len(row) != self._width:
            raise self._bad(number, f"has {len(row)} cells where the header has {self._width}")
        return row[place].strip()

    def _when(self, cell: str, number: int) -> tuple[float, bool]:
        """Epoch seconds, and whether the cell says in which zone."""
        try:
            t_s = float(cell)
        except ValueError:
            try:
                when = datetime.fromisoformat(cell)
                zoned = when if when.tzinfo else when.replace(tzinfo=UTC)
                return zoned.timestamp(), when.tzinfo is not None
            except (ValueError, OverflowError) as error:
                words = f"has the time {_shown(cell)}, which is neither epoch seconds nor ISO 8601"
                raise self._bad(number, words) from error
        if not 0 <= t_s < _LATEST_S:
            raise self._bad(number, f"has the time {_shown(cell)}, which is not in epoch seconds")
        return t_s, True

    def _refuse_backwards(self, times: list[float], t_s: float, cell: str, number: int) -> None:
        if times and t_s < times[-1]:
            raise self._bad(
                number,
                f"has the time {_shown(cell)}, {times[-1] - t_s:g} s before the row above. A "
                "clock that was set, or an hour repeated at the end of summer time, cannot be "
                "told apart: cut the log to the run, or log in UTC",
            )

    def _number(self, cell: str, number: int) -> float | None:
        if cell.lower() in _NO_READING:
            return None
        try:
            value = float(cell if self._delimiter == "," else cell.replace(",", "."))
        except ValueError as error:
            raise self._bad(number, f"has {_shown(cell)} where a number should be") from error
        if not math.isfinite(value) or value < 0:
            raise self._bad(number, f"has {_shown(cell)}, which no machine draws")
        return self._unit.to_si(value)

    def _bad(self, number: int, what: str) -> UsageError:
        return UsageError(f"{self._path}: reading {number} {what}. Nothing was attached.")


def _value_column(
    path: Path, names: Sequence[str], wanted: str | None
) -> tuple[int, Unit, str | None]:
    """Place and unit of the values, and a sentence if the unit was assumed."""
    if wanted is not None:
        place = _named(path, names, wanted, bool, "--power-column")
        return place, *_unit_of(path, names[place])
    for kind in (Kind.SAMPLED, Kind.COUNTER):
        found = [i for i, name in enumerate(names) if _is_value(name, kind)]
        if len(found) > 1:
            both = ", ".join(repr(names[i]) for i in found)
            raise UsageError(f"{path} has several columns to read: {both}. Use --power-column.")
        if found:
            return found[0], *_unit_of(path, names[found[0]])
    raise UsageError(
        f"{path} has no column that is named like power or energy with its unit, e.g. power_w or "
        f"'energy (kWh)'. It has: {_listed(names)}. Name one with --power-column."
    )


def _named(
    path: Path, names: Sequence[str], wanted: str | None, fits: Callable[[str], bool], option: str
) -> int:
    if wanted is not None:
        found = [i for i, name in enumerate(names) if name.lower() == wanted.strip().lower()]
    else:
        found = [i for i, name in enumerate(names) if fits(name)]
    if len(found) == 1:
        return found[0]
    what = f"no column {wanted!r}" if wanted else "no single column that is named like a time"
    raise UsageError(f"{path} has {what}. It has: {_listed(names)}. Use {option}.")


def _is_time(name: str) -> bool:
    return _folded(re.sub(r"[\[(].*", "", name)) in _TIMES


def _is_value(name: str, kind: Kind) -> bool:
    word, unit = _parted(name)
    known = _known_unit(unit)
    if known is None:
        return unit == "" and kind is Kind.SAMPLED and _folded(word) in _NAMES[kind] - {""}
    return known.kind is kind and _folded(word) in _NAMES[kind]


def _parted(name: str) -> tuple[str, str]:
    """``Power (kW)`` → ``Power``, ``kW``; ``power`` → ``power`` and no unit."""
    match = _SPLIT.match(name)
    if match is None:
        return name, ""
    if match["given"] is not None:
        return match["name"], match["given"].strip()
    return (match["name"], match["bare"]) if _known_unit(match["bare"]) else (name, "")


def _known_unit(word: str) -> Unit | None:
    return _UNITS.get(word) or (_FOLDED.get(word.lower()) if word != "MW" else None)


def _unit_of(path: Path, name: str) -> tuple[Unit, str | None]:
    unit = _parted(name)[1]
    known = _known_unit(unit)
    if known is not None:
        return known, None
    if unit:
        raise UsageError(
            f"{path}: the unit {_shown(unit)} of the column {_shown(name)} is neither power nor "
            f"energy. Known: {', '.join(_UNITS)}. (Volt-amperes are not watts.)"
        )
    assumed = f"The column {_shown(name)} names no unit and was taken for watts."
    return _UNITS["W"], assumed


def _folded(word: str) -> str:
    return re.sub(r"[\s_]+", " ", word).strip().lower()


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:40] + "…")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(_shown(name) for name in names[:12]) or "nothing"
