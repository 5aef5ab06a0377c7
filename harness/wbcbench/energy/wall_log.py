"""The log of an external power meter: a CSV file → times and watts or joules, in SI.

Meters write what they like, so the columns are found by their names and the unit by the name's
end: ``power_w``, ``Power (kW)``, ``energy_kwh``, ``Total energy [Wh]``, ``watts``. Times are epoch
seconds or ISO 8601; without a zone they are taken for UTC. What is ambiguous is refused with its
line: a guess would become joules.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wbcbench.core import units
from wbcbench.core.errors import UsageError
from wbcbench.core.trace import Kind

MOST_BYTES = 500_000_000  # a year at one reading a second
LATEST_S = 1e11  # the year 5138: larger numbers are milliseconds

DELIMITERS = (",", ";", "\t")
NO_READING = frozenset({"", "nan", "na", "n/a", "null", "none", "-", "--"})

TIME_NAMES = frozenset(
    {"time", "timestamp", "datetime", "date time", "utc", "time utc", "utc time", "t", "epoch",
     "unix", "unix time", "unixtime", "utc s", "time s", "timestamp s", "epoch s", "unix s", "t s",
     "date"}
)  # fmt: skip
VALUE_NAMES = {
    Kind.SAMPLED: frozenset({"", "power", "active power", "real power", "p", "mean power"}),
    Kind.COUNTER: frozenset(
        {"", "energy", "total energy", "active energy", "e", "consumption", "cumulative energy"}
    ),
}

# A name and its unit: ``Power (kW)``, ``Power [kW]``, ``power_kw``.
_NAME_AND_UNIT = re.compile(
    r"^(?P<name>.*?)[\s_]*(?:[\[(](?P<given>[^\])]*)[\])]|(?<![A-Za-z])(?P<bare>[A-Za-z]+))\s*$"
)

_Unit = tuple[Kind, Callable[[float], float]]  # what it measures, and how it becomes SI

# Milliwatts and megawatts differ by case alone, so this table is compared with case first.
UNITS: dict[str, _Unit] = {
    **dict.fromkeys(("W", "watt", "watts"), (Kind.SAMPLED, float)),
    "mW": (Kind.SAMPLED, units.w_from_mw),
    "kW": (Kind.SAMPLED, units.w_from_kw),
    **dict.fromkeys(("J", "joule", "joules"), (Kind.COUNTER, float)),
    "kJ": (Kind.COUNTER, units.j_from_kj),
    "Wh": (Kind.COUNTER, units.j_from_wh),
    "kWh": (Kind.COUNTER, units.j_from_kwh),
}
_LOWER_CASE = {name.lower(): unit for name, unit in UNITS.items() if name != "mW"}


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
            return _parse_log(path, stream, time_column, value_column)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8, so it is no CSV log.") from error
    except csv.Error as error:
        raise UsageError(f"{path} is not a CSV file: {error}.") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}. Nothing was attached.") from error


def _parse_log(
    path: Path, stream: Iterable[str], time_column: str | None, value_column: str | None
) -> WallLog:
    lines = (line for line in stream if line.strip() and not line.startswith("#"))
    header = next(lines, "")
    delimiter = max(DELIMITERS, key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    time_place = _find_column(path, names, time_column, _is_time, "--time-column")
    value_place = _find_value_column(path, names, value_column)
    (kind, to_si), assumed = _parse_unit(path, names[value_place])
    times, values = list[float](), list[float | None]()
    without_zone = repeated = 0
    for number, row in enumerate(csv.reader(lines, delimiter=delimiter), start=1):
        reading = f"reading {number} has"
        if len(row) != len(names):
            raise ValueError(f"{reading} {len(row)} cells where the header has {len(names)}")
        t_s, has_zone = _parse_time(row[time_place].strip(), reading)
        without_zone += not has_zone
        if times and t_s < times[-1]:
            raise ValueError(
                f"{reading} the time {_quote(row[time_place])}, {times[-1] - t_s:g} s before the "
                "row above. The clock was set, or it is the end of summer time: cut the log to the "
                "run, or log in UTC"
            )
        if times and t_s == times[-1]:
            repeated += 1  # a log that rounds to the second
            continue
        cell = row[value_place].strip()
        value = _parse_value(cell if delimiter == "," else cell.replace(",", "."), reading)
        times.append(t_s)
        values.append(None if value is None else to_si(value))
    if len(times) < 2:
        raise UsageError(f"{path} holds fewer than two readings.")
    notes = [assumed] if assumed else []
    if without_zone:
        notes.append("Its times name no zone and were taken for UTC.")
    if repeated:
        notes.append(f"{repeated} rows repeat the time of the row before; left out.")
    return WallLog(tuple(times), tuple(values), kind, names[value_place], tuple(notes))


def _parse_time(cell: str, reading: str) -> tuple[float, bool]:
    """Epoch seconds, and whether the cell says in which zone."""
    try:
        t_s = float(cell)
    except ValueError:
        try:
            moment = datetime.fromisoformat(cell)
            zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return zoned.timestamp(), moment.tzinfo is not None
        except (ValueError, OverflowError) as error:
            message = f"{reading} the time {_quote(cell)}, neither epoch seconds nor ISO 8601"
            raise ValueError(message) from error
    if not 0 <= t_s < LATEST_S:
        raise ValueError(f"{reading} the time {_quote(cell)}, which is not in epoch seconds")
    return t_s, True


def _parse_value(cell: str, reading: str) -> float | None:
    if cell.lower() in NO_READING:
        return None
    try:
        value = float(cell)
    except ValueError as error:
        raise ValueError(f"{reading} {_quote(cell)} where a number should be") from error
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{reading} {_quote(cell)}, which no machine draws")
    return value


def _find_value_column(path: Path, names: Sequence[str], wanted: str | None) -> int:
    if wanted is not None:
        return _find_column(path, names, wanted, bool, "--power-column")
    for kind in VALUE_NAMES:
        places = [i for i, name in enumerate(names) if _is_value(name, kind)]
        if len(places) > 1:
            columns = ", ".join(repr(names[i]) for i in places)
            raise UsageError(f"{path} has several columns to read: {columns}. Use --power-column.")
        if places:
            return places[0]
    raise UsageError(
        f"{path} has no column that is named like power or energy with its unit, e.g. power_w or "
        f"'energy (kWh)'. It has: {_list_names(names)}. Name one with --power-column."
    )


def _find_column(
    path: Path, names: Sequence[str], wanted: str | None, fits: Callable[[str], bool], option: str
) -> int:
    if wanted is not None:
        places = [i for i, name in enumerate(names) if name.lower() == wanted.strip().lower()]
    else:
        places = [i for i, name in enumerate(names) if fits(name)]
    if len(places) == 1:
        return places[0]
    what = f"no column {wanted!r}" if wanted else "no single column that is named like a time"
    raise UsageError(f"{path} has {what}. It has: {_list_names(names)}. Use {option}.")


def _is_time(name: str) -> bool:
    return _normalise(re.sub(r"[\[(].*", "", name)) in TIME_NAMES


def _is_value(name: str, kind: Kind) -> bool:
    word, unit = _split_name(name)
    word = _normalise(word)
    known = _find_unit(unit or "W")  # a power may lack its unit, but not its name too
    is_named = word in VALUE_NAMES[kind] and bool(word or unit)
    return is_named and known is not None and known[0] is kind


def _split_name(name: str) -> tuple[str, str]:
    """``Power (kW)`` → ``Power``, ``kW``; ``power`` → ``power`` and no unit."""
    match = _NAME_AND_UNIT.match(name)
    if match is None:
        return name, ""
    if match["given"] is not None:
        return match["name"], match["given"].strip()
    return (match["name"], match["bare"]) if _find_unit(match["bare"]) else (name, "")


def _find_unit(word: str) -> _Unit | None:
    return UNITS.get(word) or (_LOWER_CASE.get(word.lower()) if word != "MW" else None)


def _parse_unit(path: Path, name: str) -> tuple[_Unit, str]:
    """Unit of a column, and a sentence if it was assumed."""
    word = _split_name(name)[1]
    unit = _find_unit(word)
    if unit is not None:
        return unit, ""
    if word:
        raise UsageError(
            f"{path}: the unit {_quote(word)} of the column {_quote(name)} is neither power nor "
            f"energy. Known: {', '.join(UNITS)}. (Volt-amperes are not watts.)"
        )
    return UNITS["W"], f"The column {_quote(name)} names no unit and was taken for watts."


def _normalise(word: str) -> str:
    return re.sub(r"[\s_]+", " ", word).strip().lower()


def _quote(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:40] + "…")


def _list_names(names: Sequence[str]) -> str:
    return ", ".join(_quote(name) for name in names[:12]) or "nothing"
