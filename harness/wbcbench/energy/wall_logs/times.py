"""Times of a log → epoch seconds: form, order of day and month, and zone decided once a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wbcbench.core.errors import UsageError
from wbcbench.energy.wall_logs.log_table import quote
from wbcbench.energy.wall_logs.numbers import decide_styles

ORDERS = ("ymd", "dmy", "mdy")
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
# The seconds of one unit, and between which epoch seconds a time of any log lies: 2000 to 2100.
_EPOCH_UNITS = (1.0, 1e-3, 1e-6, 1e-9)
_FIRST_S, _LAST_S = 946_684_800.0, 4_102_444_800.0
_DAY_S, _HOUR_S, _QUARTER_S = 86_400.0, 3600.0, 900
_SAMPLE = 200  # cells that show what a column is
_CONTINUOUS_S = 900.0  # a log that goes on after so long has not lost an hour

_DATE = (
    r"(?P<y1>\d{4})(?P<s1>[-/.])(?P<m1>\d{1,2})(?P=s1)(?P<d1>\d{1,2})"
    r"|(?P<y2>(?:19|20)\d\d)(?P<m2>[01]\d)(?P<d2>[0-3]\d)"
    r"|(?P<a>\d{1,2})(?P<s3>[-/.])(?P<b>\d{1,2})(?P=s3)(?P<c>\d{4}|\d{2})"
    r"|(?P<d4>\d{1,2})[-/ .]{1,2}(?P<n4>[A-Za-z]{3})[a-z]*[-/ .,]{1,2}(?P<y4>\d{4})"
    r"|(?P<n5>[A-Za-z]{3})[a-z]*\.? {1,2}(?P<d5>\d{1,2}),? (?P<y5>\d{4})"
)
_TIME = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,:](?P<part>\d{1,9}))?)?"
    r"(?: ?(?P<half>[AaPp])\.? ?[Mm]\.?)?"
)
_COMPACT = r"(?P<h2>\d{2})(?P<i2>\d{2})(?P<z2>\d{2})"
_ZONE = r"(?: ?(?P<zone>Z|z|UTC|GMT|(?:UTC|GMT)? ?[+-]\d{1,2}(?::?\d{2})?|[A-Z]{2,5}))?"
_WEEKDAY = r"(?:[A-Z][a-z]{2,8},? )?"
_FORM = re.compile(rf"{_WEEKDAY}(?:{_DATE})(?:(?:[Tt _;-]|, ?|  )?(?:{_TIME}|{_COMPACT}){_ZONE})?")
_CLOCK = re.compile(rf"{_TIME}{_ZONE}")
_C_TIME = re.compile(
    r"([A-Z][a-z]{2} )?([A-Z][a-z]{2} {1,2}\d{1,2}) ([\d:.]+)( [A-Z]{3,4})? (\d{4})"
)


@dataclass(frozen=True, slots=True)
class LogTimes:
    """The times of a log.

    Attributes:
        utc_s: Epoch seconds, or seconds since the log's own start; shape ``[n]``.
        zone: In which zone they were read; empty where they are relative.
        is_relative: Whether they count from the log's own start or from midnight.
        has_zone: Whether the log itself, or the user, says which zone.
        notes: What had to be assumed, as whole sentences.
    """

    utc_s: list[float]
    zone: str
    is_relative: bool
    has_zone: bool
    notes: tuple[str, ...] = ()


def is_moment(cell: str) -> bool:
    """Whether a cell is a date with its time of day, or epoch seconds of any unit."""
    return classify(cell) == "moment"


@lru_cache(4096)
def classify(cell: str) -> str:
    """What a cell is as a time: ``moment``, ``date``, ``clock``, ``number`` or nothing."""
    text = _tidy(cell)
    if match := _FORM.fullmatch(text):
        return "date" if match["hour"] is None and match["h2"] is None else "moment"
    if _CLOCK.fullmatch(text):
        return "clock"
    if re.fullmatch(r"\d+([.,]\d*)?([eE][+]?\d+)?", text):
        value = float(text.replace(",", "."))
        is_epoch = any(_FIRST_S <= value * unit_s < _LAST_S for unit_s in _EPOCH_UNITS)
        return "moment" if is_epoch else "number"
    return ""


def classify_all(cells: Sequence[str]) -> str:
    """What most cells of a column are; numbers of both kinds are ``number``, or ``moment``."""
    kinds = Counter(map(classify, cells))
    if kinds["number"] and kinds["moment"]:
        kinds["number"] += kinds.pop("moment")
    kind, count = max(kinds.items(), key=lambda pair: pair[1], default=("", 0))
    return kind if count > 0.5 * len(cells) else ""


def parse_zone(text: str) -> tzinfo:
    """A zone by its IANA name, ``UTC``, or its distance from UTC such as ``+02:00``.

    Raises:
        UsageError: It is none of them.
    """
    word = text.strip()
    if re.fullmatch(r"Z|z|UTC|GMT|utc", word):
        return UTC
    if match := re.fullmatch(r"(?:UTC|GMT)? ?([+-])(\d{1,2}):?(\d{2})?", word):
        distance = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        if distance <= timedelta(hours=14) and int(match[3] or 0) < 60:
            return timezone(-distance if match[1] == "-" else distance)
    try:
        return ZoneInfo(word)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f"The time zone {quote(text)} is not known. Use --zone with a name such as "
            "Europe/Berlin, UTC, or a distance within 14 hours such as +02:00."
        ) from error


def parse_times(
    cells: Sequence[str],
    zone: str | None,
    order: str | None,
    around: tuple[float, float] | None,
    unit: str = "",
) -> LogTimes:
    """The times of all rows.

    Args:
        cells: As written.
        zone: Of times that name none; ``None`` takes them for UTC.
        order: Of day, month and year, if it is known: ``dmy``, ``mdy`` or ``ymd``.
        around: Epoch seconds of the run's start and end, which may settle that order.
        unit: Of seconds since the log's start, as its column names it.

    Raises:
        ValueError: A cell is no time, or what a cell means stays open.
        UsageError: The zone is not known.
    """
    kind = classify_all(cells[:_SAMPLE])
    texts = [_tidy(cell) for cell in cells]
    if kind in {"number", "moment"} and not any(map(_FORM.fullmatch, texts[:_SAMPLE])):
        return _parse_numbers(texts, unit)
    if kind == "clock":
        clocks = [_read_clock(_match(_CLOCK, text, i)) for i, text in enumerate(texts)]
        return LogTimes(_add_midnights(clocks), "", is_relative=True, has_zone=False)
    matches = [_match(_FORM, text, i) for i, text in enumerate(texts)]
    zones = {match["zone"] for match in matches}
    orders = ([order] if order else ORDERS) if any(match["a"] for match in matches) else ["ymd"]
    fits = {name: local_s for name in orders if (local_s := _read_dates(matches, name))}
    local_s, notes = _choose_order(fits, around)
    if None in zones and len(zones) > 1:
        raise ValueError("some of its times name a zone and others none; write all of them alike")
    if None not in zones:
        shifts = {word: _fixed_shift_s(word, zone) for word in zones}
        if None not in shifts.values():
            utc_s = [t - (shifts[m["zone"]] or 0.0) for t, m in zip(local_s, matches, strict=True)]
            return LogTimes(utc_s, " and ".join(sorted(zones)[:2]), False, True, notes)
    utc_s, more = _from_local(local_s, parse_zone(zone or "UTC"))
    return LogTimes(utc_s, zone or "UTC", False, zone is not None, (*notes, *more))


def _tidy(cell: str) -> str:
    text = " ".join(cell.strip().lstrip("'").split())
    if match := _C_TIME.fullmatch(text):
        return f"{match[2]} {match[5]} {match[3]}{match[4] or ''}"
    return text


def _match(form: re.Pattern[str], text: str, place: int) -> re.Match[str]:
    if (match := form.fullmatch(text)) is None:
        raise ValueError(
            f"reading {place + 1} has the time {quote(text)}, neither epoch seconds nor a date "
            "and time of a known form"
        )
    return match


def _parse_numbers(texts: Sequence[str], unit: str) -> LogTimes:
    style = decide_styles(texts)[0]
    values = list[float]()
    for place, text in enumerate(texts):
        if (value := style.parse(text)) is None:
            raise ValueError(f"reading {place + 1} has the time {quote(text)}, which is no number")
        values.append(value)
    for unit_s in _EPOCH_UNITS:
        if all(_FIRST_S <= value * unit_s < _LAST_S for value in values):
            return LogTimes([value * unit_s for value in values], "UTC", False, True)
    if max(values) >= _FIRST_S:
        raise ValueError("its times are not all in epoch seconds of the years 2000 to 2100")
    unit_s = {"ms": 1e-3, "min": 60.0, "h": _HOUR_S}.get(unit, 1.0)
    return LogTimes([value * unit_s for value in values], "", is_relative=True, has_zone=False)


def _read_clock(match: re.Match[str]) -> float:
    """Seconds since midnight."""
    found = match.groupdict()
    if found.get("h2"):
        hour, minute, second = (int(found[name]) for name in ("h2", "i2", "z2"))
    else:
        hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    if half := found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(f"the time {quote(match[0])} has AM or PM and the hour {hour}")
        hour = hour % 12 + 12 * (half in "Pp")
    if hour > 23 + (match.re is _CLOCK) * 976 or minute > 59 or second > 60:
        raise ValueError(f"the time {quote(match[0])} is not one of a day")
    return hour * _HOUR_S + minute * 60.0 + second + float(f"0.{found['part'] or 0}")


def _add_midnights(clocks: Sequence[float]) -> list[float]:
    """Times of day without dates: those that fall by hours are of the next day."""
    times, day_s = list[float](), 0.0
    for before_s, clock_s in zip((clocks[0], *clocks), clocks, strict=False):
        day_s += _DAY_S * (before_s - clock_s > _DAY_S / 2)
        times.append(day_s + clock_s)
    return times


def _read_dates(matches: Sequence[re.Match[str]], order: str) -> list[float] | None:
    """Seconds of the local clock since 1970 in this order; ``None`` if a date is impossible."""
    try:
        return [
            _day_s(match, order) + _read_clock(match)
            if match["hour"] or match["h2"]
            else _day_s(match, order)
            for match in matches
        ]
    except OverflowError:
        return None


def _day_s(match: re.Match[str], order: str) -> float:
    found = match.groupdict()
    if found["a"]:
        parts = dict(zip(order, (found["a"], found["b"], found["c"]), strict=True))
        is_odd = order == {".": "mdy"}.get(found["s3"]) or (len(found["c"]) == 4 and order == "ymd")
        year, month, day = (int(parts[name]) for name in "ymd")
        year += 2000 * (year < 100)
        if is_odd:
            raise OverflowError
    else:
        i = next(i for i in "1245" if found.get(f"y{i}"))
        named = found.get(f"n{i}")
        month = _MONTHS.find(named.lower()) // 4 + 1 if named else int(found[f"m{i}"])
        year, day = int(found[f"y{i}"]), int(found[f"d{i}"])
    return _ordinal_s(year, month, day)


@cache
def _ordinal_s(year: int, month: int, day: int) -> float:
    try:
        return (date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()) * _DAY_S
    except ValueError as error:
        raise OverflowError(str(error)) from error


def _choose_order(
    fits: dict[str, list[float]], around: tuple[float, float] | None
) -> tuple[list[float], tuple[str, ...]]:
    """The times in the one order of day and month that is possible."""
    if not fits:
        raise ValueError("its dates do not exist in this order of day and month; see --date-order")
    rising = {name: t for name, t in fits.items() if all(b > a - 7200 for a, b in pairwise(t))}
    fits = rising or fits
    first = next(iter(fits.values()))
    if all(times == first for times in fits.values()):
        return first, ()
    start_s, end_s = around or (0.0, 0.0)
    near = {
        name: times
        for name, times in fits.items()
        if min(times) < end_s + 14 * _HOUR_S and max(times) > start_s - 14 * _HOUR_S
    }
    if len(near) == 1:
        (name,) = near
        return near[name], (f"Its dates were read as {name}: in another order they miss the run.",)
    raise ValueError(f"its dates may be {' or '.join(fits)}; say which with --date-order")


def _fixed_shift_s(word: str, zone: str | None) -> float | None:
    """Seconds east of UTC of a zone in a cell; ``None`` if the user's zone says."""
    if re.fullmatch(r"[A-Z]{2,5}", word) and word not in {"UTC", "GMT"}:
        if zone is None:
            raise ValueError(
                f"its times are in {quote(word)}, which several places use; name it with --zone"
            )
        return None
    shift = parse_zone(word).utcoffset(None)
    return shift.total_seconds() if shift else 0.0


def _from_local(local_s: Sequence[float], zone: tzinfo) -> tuple[list[float], tuple[str, ...]]:
    """Local times as epoch seconds; the hour that summer time repeats by the order of the rows."""

    @cache
    def list_shifts(quarter: int) -> tuple[float, float]:
        moment = datetime(1970, 1, 1) + timedelta(seconds=quarter * _QUARTER_S)
        shifts = [moment.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)]
        return tuple(shift.total_seconds() if shift else 0.0 for shift in shifts)  # type: ignore[return-value]

    pairs = [list_shifts(int(t // _QUARTER_S)) for t in local_s]
    if any(first < second for first, second in pairs):
        raise ValueError(
            f"it has times that {zone} skips when summer time begins; use another --zone"
        )
    folds = list(_choose_folds(local_s, pairs))
    utc_s = [t - pair[fold] for t, pair, fold in zip(local_s, pairs, folds, strict=True)]
    is_repeated = any(first != second for first, second in pairs)
    note = "The hour that summer time repeats was read in the order of its rows."
    return utc_s, (note,) * is_repeated


def _choose_folds(local_s: Sequence[float], pairs: Sequence[tuple[float, float]]) -> Iterator[int]:
    """0 for the first passage of a repeated hour, 1 for the second."""
    has_step = any(b < a for a, b in pairwise(local_s))
    fold, before_s = 0, None
    for t, (first, second) in zip(local_s, pairs, strict=True):
        if first == second:
            fold = 0
        elif before_s is not None and t < before_s:
            fold = 1
        elif not has_step and fold == 0 and (before_s is None or t - before_s > _CONTINUOUS_S):
            raise ValueError(
                "it has times of the hour that summer time repeats, and nothing says which of the "
                "two; name the distance from UTC, e.g. --zone +02:00"
            )
        yield fold
        before_s = t
