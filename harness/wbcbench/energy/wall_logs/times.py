"""Times of a log → epoch seconds: form, order of day and month, and zone decided once a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta, timezone, tzinfo
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wbcbench.core.errors import UsageError
from wbcbench.energy.wall_logs.log_table import quote
from wbcbench.energy.wall_logs.numbers import decide_styles

ORDERS = ("dmy", "mdy", "ymd")
OWN_START, MIDNIGHT = "its own start", "midnight"
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
# The seconds of one unit, and between which epoch seconds the times of a log lie: 2000 to 2100.
_EPOCH_UNITS = (1.0, 1e-3, 1e-6, 1e-9)
_FIRST_S, _LAST_S = 946_684_800.0, 4_102_444_800.0
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "min": 60.0, "h": 3600.0}
_DAY_S, _MOST_ZONE_S = 86_400.0, 50_400.0
_SAMPLE = 200  # cells that show what a column is

_DATE = (
    r"(?:[A-Z][a-z]{2,8},? )?(?P<date>"
    r"(?:\d{4}|\d{1,2}|[A-Z][a-z]{2,8})(?P<mark>[-/. ])(?:\d{1,2}|[A-Za-z]{3,9})\.?(?:(?P=mark)|, )"
    r"(?:\d{4}|\d{1,2})|(?:19|20)\d{2}[01]\d[0-3]\d)"
)
_CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,:](?P<part>\d{1,9}))?)?"
    r"(?: ?(?P<half>[AaPp])\.? ?[Mm]\.?)?|(?P<h>\d{2})(?P<m>\d{2})(?P<s>\d{2})"
)
_ZONE = r"(?: ?(?P<zone>Z|z|UTC|GMT|(?:UTC|GMT)? ?[+-]\d{1,2}(?::?\d{2})?|[A-Z]{2,5}))?"
_FORM = re.compile(rf"(?:{_DATE})?(?:(?:[Tt_;-]|,? )?(?:{_CLOCK}){_ZONE})?")
_C_TIME = re.compile(r"([A-Z][a-z]{2} )?([A-Z][a-z]{2} \d{1,2}) ([\d:.]+)( [A-Z]{3,4})? (\d{4})")


@dataclass(frozen=True, slots=True)
class LogTimes:
    """The times of a log.

    Attributes:
        utc_s: Epoch seconds, or seconds since ``relative_to``; shape ``[n]``.
        zone: In which zone they were read; empty where they are relative.
        has_zone: Whether the log itself, or the user, says which zone.
        relative_to: ``its own start`` or ``midnight`` for times without a date, else empty.
        notes: What had to be assumed, as whole sentences.
    """

    utc_s: list[float]
    zone: str = ""
    has_zone: bool = False
    relative_to: str = ""
    notes: tuple[str, ...] = ()


@lru_cache(4096)
def classify(cell: str) -> str:
    """What a cell is as a time: ``moment``, ``date``, ``clock``, ``number`` or nothing."""
    text = _tidy(cell)
    if re.fullmatch(r"\d+([.,]\d*)?([eE]\+?\d+)?", text) and not re.fullmatch(r"20\d{12}", text):
        value = float(text.replace(",", "."))
        is_epoch = any(_FIRST_S <= value * unit_s < _LAST_S for unit_s in _EPOCH_UNITS)
        return "moment" if is_epoch else "number"
    if not text or (match := _FORM.fullmatch(text)) is None:
        return ""
    has_clock = bool(match["hour"] or match["h"])
    return "clock" if not match["date"] else "moment" if has_clock else "date"


def classify_all(cells: Sequence[str]) -> str:
    """What most cells of a column are; of small and large numbers ``number``."""
    kinds = Counter(map(classify, cells[:_SAMPLE]))
    if kinds["number"]:
        kinds["number"] += kinds.pop("moment", 0)
    kind, count = max(kinds.items(), key=lambda pair: pair[1], default=("", 0))
    return kind if count > 0.5 * len(cells[:_SAMPLE]) else ""


def parse_zone(text: str) -> tzinfo:
    """A zone by its IANA name, ``UTC``, or its distance from UTC such as ``+02:00``.

    Raises:
        UsageError: It is none of them.
    """
    if re.fullmatch(r"Z|UTC|GMT", text.strip(), re.IGNORECASE):
        return UTC
    try:
        if match := re.fullmatch(r"(?:UTC|GMT)? ?([+-])(\d{1,2}):?([0-5]\d)?", text.strip()):
            minutes = 60 * int(match[2]) + int(match[3] or 0)
            if 60 * minutes <= _MOST_ZONE_S:
                return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))
        return ZoneInfo(text.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f"The time zone {quote(text)} is not known. Use --zone with a name such as "
            "Europe/Berlin, UTC, or a distance within 14 hours such as +02:00."
        ) from error


def parse_times(
    cells: Sequence[str],
    zone: str | None,
    order: str | None = None,
    around: tuple[float, float] | None = None,
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
    texts = [_tidy(cell) for cell in cells]
    kind = classify_all(texts)
    example = next((text for text in texts if classify(text) == kind), "")
    if kind in {"number", "moment"} and not _FORM.fullmatch(example):
        return _parse_numbers(texts, unit)
    matches = list[re.Match[str]]()
    for place, text in enumerate(texts, start=1):
        if (match := _FORM.fullmatch(text)) is None or bool(match["date"]) is (kind == "clock"):
            raise ValueError(
                f"reading {place} has the time {quote(text)}, neither epoch seconds nor a date and "
                "time of a known form"
            )
        matches.append(match)
    clocks_s = [_read_clock(match) for match in matches]
    if kind == "clock":
        falls = [a - b > _DAY_S / 2 for a, b in pairwise(clocks_s)]
        days = [sum(falls[:i]) for i in range(len(clocks_s))] if any(falls) else [0] * len(clocks_s)
        utc_s = [_DAY_S * day + clock_s for day, clock_s in zip(days, clocks_s, strict=True)]
        return LogTimes(utc_s, relative_to=MIDNIGHT)
    local_s, notes = _choose_order(matches, clocks_s, order, around)
    zones = {match["zone"] for match in matches}
    shifts_s = {word: _find_shift_s(word, zone) for word in zones}
    if None not in shifts_s.values():
        utc_s = [t - (shifts_s[m["zone"]] or 0.0) for t, m in zip(local_s, matches, strict=True)]
        return LogTimes(utc_s, " and ".join(sorted(zones)[:2]), has_zone=True, notes=notes)
    if len(zones) > 1:
        raise ValueError("its times name several zones, or some none; write all of them alike")
    return LogTimes(_from_local(local_s, zone or "UTC"), zone or "UTC", zone is not None, "", notes)


def _tidy(cell: str) -> str:
    text = " ".join(re.sub(r"\[[\w/]+\]$", "", cell.strip().lstrip("'")).split())
    text = re.sub(r" (\d{1,3})msec$", lambda match: f".{int(match[1]):03d}", text)  # Fluke
    if match := _C_TIME.fullmatch(text):
        return f"{match[2]} {match[5]} {match[3]}{match[4] or ''}"
    return text


def _parse_numbers(texts: Sequence[str], unit: str) -> LogTimes:
    style = decide_styles(texts)[0]
    values = list[float]()
    for place, text in enumerate(texts, start=1):
        if (value := style.parse(text)) is None:
            raise ValueError(f"reading {place} has the time {quote(text)}, which is no number")
        values.append(value)
    for unit_s in _EPOCH_UNITS:
        if all(_FIRST_S <= value * unit_s < _LAST_S for value in values):
            return LogTimes([value * unit_s for value in values], "UTC", has_zone=True)
    if max(values) >= _FIRST_S:
        raise ValueError("its times are not all in epoch seconds of the years 2000 to 2100")
    utc_s = [value * _UNITS_S.get(unit, 1.0) for value in values]
    return LogTimes(utc_s, relative_to=OWN_START)


def _read_clock(match: re.Match[str]) -> float:
    """Seconds since midnight."""
    names = ("h", "m", "s") if match["h"] else ("hour", "minute", "second")
    hour, minute, second = (int(match[name] or 0) for name in names)
    is_odd = match["half"] is not None and not 1 <= hour <= 12
    if match["half"]:
        hour = hour % 12 + 12 * (match["half"] in "Pp")
    if is_odd or minute > 59 or second > 60 or (match["date"] and hour > 23):
        raise ValueError(f"the time {quote(match[0])} is not one of a day")
    return (hour * 60 + minute) * 60.0 + second + float(f"0.{match['part'] or 0}")


def _choose_order(
    matches: Sequence[re.Match[str]],
    clocks_s: Sequence[float],
    order: str | None,
    around: tuple[float, float] | None,
) -> tuple[list[float], tuple[str, ...]]:
    """Local times in the one order of day, month and year that is possible."""
    dates = {match["date"] for match in matches}
    fits = dict[str, list[float]]()
    for name in [order] if order else ORDERS:
        if (days_s := _read_days(dates, name)) is not None:
            fits[name] = [days_s[m["date"]] + t for m, t in zip(matches, clocks_s, strict=True)]
    if not fits:
        raise ValueError("its dates do not exist in this order of day and month; see --date-order")
    # A clock may be set back by summer time, and a log may begin with its last reading.
    rising = {name: t for name, t in fits.items() if all(b > a - 7200 for a, b in pairwise(t))}
    fits = rising or fits
    first = next(iter(fits.values()))
    if all(times == first for times in fits.values()):
        return first, ()
    start_s, end_s = around or (0.0, 0.0)
    near = [
        name
        for name, t in fits.items()
        if min(t) < end_s + _MOST_ZONE_S and max(t) > start_s - _MOST_ZONE_S
    ]
    if len(near) != 1:
        raise ValueError(f"its dates may be {' or '.join(fits)}; say which with --date-order")
    return fits[near[0]], (
        f"Its dates were read as {near[0]}: in another order they miss the run.",
    )


def _read_days(dates: set[str], order: str) -> Mapping[str, float] | None:
    """Seconds since 1970 of the midnight of each date; ``None`` if one is none in this order."""
    days_s = dict[str, float]()
    for text in dates:
        parts = re.findall(r"\w+", text)
        if len(parts) == 1:
            parts = [text[:4], text[4:6], text[6:]]
        is_fixed = len(parts[0]) == 4 or "." in text
        wanted = "ymd" if len(parts[0]) == 4 else "dmy"
        if is_fixed and not text[:1].isalpha():
            parts = [parts[wanted.index(letter)] for letter in order]
        by_letter = dict(zip(order, parts, strict=True))
        try:
            month = by_letter["m"][:3].lower()
            number = _MONTHS.index(month) // 4 + 1 if month.isalpha() else int(month)
            year = int(by_letter["y"]) + 2000 * (len(by_letter["y"]) == 2)
            day = date(year, number, int(by_letter["d"]))
        except ValueError:
            return None
        if len(parts[2]) == 4 and order == "ymd" and not is_fixed:
            return None
        days_s[text] = (day - date(1970, 1, 1)).days * _DAY_S
    return days_s


def _find_shift_s(word: str | None, zone: str | None) -> float | None:
    """Seconds east of UTC of a zone in a cell; ``None`` if the user's zone says."""
    if word is None or (word.isalpha() and word.upper() not in {"Z", "UTC", "GMT"}):
        if word and zone is None:
            raise ValueError(
                f"its times are in {quote(word)}, which several places use; name it with --zone"
            )
        return None
    shift = parse_zone(word).utcoffset(None)
    return shift.total_seconds() if shift else 0.0


def _from_local(local_s: Sequence[float], zone: str) -> list[float]:
    """Local times as epoch seconds; the hour that summer time repeats by the order of the rows."""
    import pandas as pd

    local = pd.to_datetime(pd.Series(local_s), unit="s")
    try:
        zoned = local.dt.tz_localize(parse_zone(zone), ambiguous="infer", nonexistent="raise")
    except ValueError as error:
        raise ValueError(
            f"{zone} skips or repeats an hour of its times, and nothing says which is meant; name "
            "the distance from UTC, e.g. --zone +02:00"
        ) from error
    shifts_s = (local - zoned.dt.tz_convert("UTC").dt.tz_localize(None)).dt.total_seconds()
    return [t - shift_s for t, shift_s in zip(local_s, shifts_s, strict=True)]
