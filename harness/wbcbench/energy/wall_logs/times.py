"""Times of a log → epoch seconds: form, order of day and month, and zone decided once a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wbcbench.core.errors import UsageError
from wbcbench.energy.wall_logs.numbers import find_styles
from wbcbench.energy.wall_logs.vocabulary import TIME_UNITS, ColumnName, quote

if TYPE_CHECKING:
    import pandas as pd

OWN_START, MIDNIGHT = "its own start", "midnight"
SAMPLE = 200  # cells that show what a column is
# The seconds of one unit, and between which epoch seconds the times of a log lie: 2000 to 2100.
_EPOCH_UNITS = (1.0, 1e-3, 1e-6, 1e-9)
_FIRST_S, _LAST_S = 946_684_800.0, 4_102_444_800.0
_FIRST_DAY, _LAST_DAY, _MOST_STEP_DAYS = 40_000.0, 60_000.0, 0.01
_UNNAMED = ColumnName("", frozenset(), "", "")
_DAY_S, _MOST_ZONE_S = 86_400.0, 50_400.0

# Forms of a date whose parts a "/" divides, or a "." as it was; of months the first three letters.
# Those of one meaning alone, whatever the order of others, and those of each order.
_FIXED_FORMS = ("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y/%b/%d", "%d.%m.%Y", "%d.%m.%y")
DATE_FORMS = {
    "dmy": ("%d/%m/%Y", "%d/%m/%y", "%d/%b/%Y", "%d/%b/%y"),
    "mdy": ("%m/%d/%Y", "%m/%d/%y", "%b/%d/%Y", "%b/%d/%y"),
    "ymd": ("%y/%m/%d", "%y/%b/%d"),
}
_CLOCK = ("hour", "minute", "second")
_NUMBER = re.compile(r"\d+([.,]\d*)?([eE]\+?\d+)?")
_FORM = re.compile(
    r"(?:(?:[A-Z][a-z]{2,8},? )?(?P<date>"
    r"(?:\d{4}|\d{1,2}|[A-Z][a-z]{2,8})(?P<mark>[-/. ])(?:\d{1,2}|[A-Za-z]{3,9})\.?(?:(?P=mark)|, )"
    r"(?:\d{4}|\d{1,2})|(?:19|20)\d{2}[01]\d[0-3]\d))?"
    r"(?:(?:[Tt_;-]|,? )?(?P<hour>\d{1,2}):(?P<minute>[0-5]\d)"
    r"(?::(?P<second>[0-5]\d|60)(?:[.,:](?P<part>\d{1,9}))?)?(?: ?(?P<half>[AaPp])\.? ?[Mm]\.?)?"
    r"(?: ?(?P<zone>Z|z|UTC|GMT|(?:UTC|GMT)? ?[+-]\d{1,2}(?::?\d{2})?|[A-Z]{2,5}))?)?"
)
_TIDY = (
    (
        re.compile(r"^\s*'|\[[\w/]+\]\s*$"),
        "",
    ),  # a spreadsheet's mark of text, Java's name of a zone
    (re.compile(r"\s+"), " "),
    (re.compile(r" (\d{1,3})msec$"), lambda match: f".{int(match[1]):03d}"),  # Fluke
    (re.compile(r"^(20\d{6})[Tt_ -]?(\d{2})(\d{2})(\d{2})(?!\d)"), r"\1 \2:\3:\4"),
    (  # C's asctime
        re.compile(r"^(?:[A-Z][a-z]{2} )?([A-Z][a-z]{2} \d{1,2}) ([\d:.]+)( [A-Z]{3,4})? (\d{4})$"),
        r"\1 \4 \2\3",
    ),
)


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
    if _NUMBER.fullmatch(text):
        value = float(text.replace(",", "."))
        is_epoch = any(_FIRST_S <= value * unit_s < _LAST_S for unit_s in _EPOCH_UNITS)
        return "moment" if is_epoch else "number"
    if not text or (match := _FORM.fullmatch(text)) is None:
        return ""
    return "clock" if not match["date"] else "moment" if match["hour"] else "date"


def classify_all(cells: Sequence[str]) -> str:
    """What most cells of a column are; of small and large numbers ``number``."""
    kinds = Counter(map(classify, cells[:SAMPLE]))
    if kinds["number"]:
        kinds["number"] += kinds.pop("moment", 0)
    kind, count = max(kinds.items(), key=lambda pair: pair[1], default=("", 0))
    return kind if count > 0.5 * len(cells[:SAMPLE]) else ""


def parse_zone(text: str) -> tzinfo:
    """A zone by its IANA name, ``UTC``, or its distance from UTC such as ``+02:00``.

    Raises:
        UsageError: It is none of them.
    """
    form = r"(?:Z|UTC|GMT)? ?(?:([+-]) ?(\d\d|\d(?!\d))(?::?([0-5]\d)|(\.\d+))?)?"
    plain = text.strip().replace("−", "-")
    try:
        if plain and (match := re.fullmatch(form, plain, re.IGNORECASE)):
            hours = int(match[2] or 0) + float(match[4] or 0)
            distance = timedelta(hours=hours, minutes=int(match[3] or 0))
            if distance.total_seconds() <= _MOST_ZONE_S:
                return timezone(-distance if match[1] == "-" else distance)
        return ZoneInfo(plain)
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
    name: ColumnName = _UNNAMED,
) -> LogTimes:
    """The times of all rows.

    Args:
        cells: As written.
        zone: Of times that name none; ``None`` takes them for UTC.
        order: Of day, month and year, if it is known: ``dmy``, ``mdy`` or ``ymd``.
        around: Epoch seconds of the run's start and end, which may settle that order.
        name: Of their column, which says the unit of times since the log's start.

    Raises:
        ValueError: A cell is no time, or what a cell means stays open.
        UsageError: The zone is not known.
    """
    import pandas as pd

    texts = [*map(_tidy, cells)]
    kind = classify_all(texts)
    if _NUMBER.fullmatch(next((text for text in texts if classify(text) == kind), "")):
        return _parse_numbers(texts, zone, name)
    parts = list[dict[str, str | None]]()
    for place, text in enumerate(texts, start=1):
        if (match := _FORM.fullmatch(text)) is None or bool(match["date"]) is (kind == "clock"):
            raise ValueError(
                f"reading {place} has the time {quote(text)}, neither epoch seconds nor a date and "
                "time of a known form"
            )
        parts.append(match.groupdict())
    frame = pd.DataFrame(parts)
    clock_s = _read_clocks(frame)
    if kind == "clock":
        if (frame["second"].isna() & frame["half"].isna()).any():
            clock_s /= _find_field_divisor(name)
        days = (clock_s.diff() < -_DAY_S / 2).cumsum()
        return LogTimes((_DAY_S * days + clock_s).tolist(), relative_to=MIDNIGHT)
    local_s, notes = _choose_order(frame["date"], clock_s, order, around)
    zones = {part["zone"] for part in parts}
    shifts_s = {word: _find_shift_s(word, zone) for word in zones}
    if None not in shifts_s.values():
        names = " and ".join(sorted(map(str, zones))[:2])
        return LogTimes((local_s - frame["zone"].map(shifts_s)).tolist(), names, True, "", notes)
    if len(zones) > 1:
        raise ValueError("its times name several zones, or some none; write all of them alike")
    return LogTimes(_from_local(local_s, zone or "UTC"), zone or "UTC", zone is not None, "", notes)


def _tidy(cell: str) -> str:
    for pattern, replacement in _TIDY:
        cell = pattern.sub(replacement, cell)
    return cell.strip()


def _find_field_divisor(name: ColumnName) -> float:
    """By how much two fields read as ``hh:mm`` are too large: 60 if they are ``mm:ss``."""
    is_hours = not name.words.isdisjoint({"hh mm", "h mm"})
    if is_hours is not name.words.isdisjoint({"mm ss", "m ss", "min sec"}):
        raise ValueError(
            f"its times in {quote(name.text)} may be mm:ss or hh:mm. Say which in the name of the "
            "column, e.g. 'elapsed (mm:ss)', or write hh:mm:ss"
        )
    return 1.0 if is_hours else 60.0


def _parse_numbers(texts: Sequence[str], zone: str | None, name: ColumnName) -> LogTimes:
    values = [*map(find_styles(texts)[0].parse, texts)]
    for unit_s in _EPOCH_UNITS:
        if all(_FIRST_S <= value * unit_s < _LAST_S for value in values):
            utc_s = [value * unit_s for value in values]
            if name.has("local"):
                import pandas as pd

                return LogTimes(_from_local(pd.Series(utc_s), zone or "local"), zone or "", True)
            return LogTimes(utc_s, "UTC", has_zone=True)
    if _FIRST_DAY <= min(values) <= max(values) < _LAST_DAY and any(v % 1 for v in values):
        step_days = (max(values) - min(values)) / len(values)
        if step_days < _MOST_STEP_DAYS:
            raise ValueError(
                "its times are a spreadsheet's days since 1899-12-30. Format that column as date "
                "and time with seconds, and save it again"
            )
    if max(values) >= _FIRST_S:
        raise ValueError("its times are not all in epoch seconds of the years 2000 to 2100")
    if (each_s := name.unit_s) is None:
        raise ValueError(
            f"the column {quote(name.text)} does not count a known unit of time. Use another "
            "--time-column, or name its unit in its head, e.g. 'elapsed (min)'"
        )
    is_named = name.unit or name.words & TIME_UNITS.keys()
    notes = () if is_named else ("Its times name no unit and were taken for seconds.",)
    utc_s = [value * each_s for value in values]
    return LogTimes(utc_s, relative_to=OWN_START, notes=notes)


def _read_clocks(frame: pd.DataFrame) -> pd.Series[float]:
    """Seconds since midnight."""
    hour, minute, second = (frame[name].astype(float).fillna(0) for name in _CLOCK)
    is_half = frame["half"].notna()
    odd = (frame["date"].notna() & (hour > 23)) | (is_half & ~hour.between(1, 12))
    if odd.any():
        clock = ":".join(frame.loc[odd, list(_CLOCK[:2])].iloc[0])
        raise ValueError(f"the time {quote(clock)} is not one of a day")
    hour = hour.where(~is_half, hour % 12 + 12.0 * frame["half"].isin(["P", "p"]))
    return (hour * 60 + minute) * 60.0 + second + ("0." + frame["part"].fillna("0")).astype(float)


def _choose_order(
    dates: pd.Series[str],
    clock_s: pd.Series[float],
    order: str | None,
    around: tuple[float, float] | None,
) -> tuple[pd.Series[float], tuple[str, ...]]:
    """Local times in the one order of day, month and year that is possible."""
    orders = [order] if order else [*DATE_FORMS]
    days = {name: days_s for name in orders if (days_s := _read_days(dates, name)) is not None}
    if not days:
        raise ValueError("its dates do not exist in this order of day and month; see --date-order")
    fits = {name: days_s + clock_s for name, days_s in days.items()}
    # A clock may be set back by summer time, and a log may begin with its last reading.
    fits = {name: t for name, t in fits.items() if not t.diff().min() <= -7200} or fits
    first = next(iter(fits.values()))
    if all(times.equals(first) for times in fits.values()):
        return first, ()
    start_s, end_s = around or (0.0, 0.0)
    near = [
        name
        for name, t in fits.items()
        if t.min() < end_s + _MOST_ZONE_S and t.max() > start_s - _MOST_ZONE_S
    ]
    if len(near) != 1:
        raise ValueError(f"its dates may be {' or '.join(fits)}; say which with --date-order")
    note = f"Its dates were read as {near[0]}: in another order they miss the run."
    return fits[near[0]], (note,)


def _read_days(dates: pd.Series[str], order: str) -> pd.Series[float] | None:
    """Seconds since 1970 of each date's midnight; ``None`` if one is none in this order."""
    import pandas as pd

    plain = dates.str.replace(r"\.?[-/, ]+", "/", regex=True)
    plain = plain.str.replace(r"([A-Za-z]{3})[a-z]*", r"\1", regex=True)
    for form in (*_FIXED_FORMS, *DATE_FORMS[order]):
        with suppress(ValueError):
            return (pd.to_datetime(plain, format=form) - pd.Timestamp(0)).dt.total_seconds()
    return None


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


def _from_local(local_s: pd.Series[float], zone: str) -> list[float]:
    """Local times as epoch seconds; the hour that summer time repeats by the order of the rows."""
    import pandas as pd

    local = pd.to_datetime(local_s, unit="s")
    try:
        zoned = local.dt.tz_localize(parse_zone(zone), ambiguous="infer", nonexistent="raise")
    except ValueError as error:
        raise ValueError(
            f"{zone} skips or repeats an hour of its times, and nothing says which is meant; name "
            "the distance from UTC, e.g. --zone +02:00"
        ) from error
    shift_s = (local - zoned.dt.tz_convert("UTC").dt.tz_localize(None)).dt.total_seconds()
    return (local_s - shift_s).tolist()
