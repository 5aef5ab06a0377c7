"""What a board did besides drawing power: samples, their summary for one window, PCI bus ids.

What is too hot, or whose process is a foreign one, is for ``energy.checks`` to judge.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from statistics import fmean
from typing import Any

from wbcbench.core.window import Window

_NONE_LISTED = "-"


@dataclass(frozen=True, slots=True)
class BoardSample:
    """The state of a board at ``t_s``; ``None`` where the driver did not say.

    ``reasons`` are the names of the throttle reasons in force; ``own`` and ``foreign`` are process
    ids on the board, ``None`` where the driver lists no processes at all.
    """

    t_s: float
    temperature_c: float | None = None
    clock_sm_hz: float | None = None
    clock_memory_hz: float | None = None
    utilization: float | None = None
    memory_used_bytes: float | None = None
    power_limit_w: float | None = None
    reasons: tuple[str, ...] | None = None
    own: tuple[int, ...] | None = None
    foreign: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a board did in one window besides drawing power; ``None`` where it did not say.

    Attributes:
        window, device: Which window of which board (its UUID).
        samples: How many looks lie in the window.
        temperature_start_c, temperature_mean_c, temperature_max_c: Die temperature.
        clock_sm_hz, clock_memory_hz: Mean clocks.
        throttled_s: Reason → seconds in which the driver gave it.
        utilization: Mean share of time in which a kernel ran, in [0, 1].
        memory_peak_bytes: Most device memory in use.
        power_limit_w: Lowest limit in force.
        foreign_pids: Processes on the board that this run did not start.
        sees_own: Whether the trainer's own process was listed: without that, process ids of
            another namespace are shown and nothing is known of foreign ones. ``None`` if no look
            listed processes.
        processes_most: Most processes listed at once.
    """

    window: str
    device: str
    samples: int
    temperature_start_c: float | None = None
    temperature_mean_c: float | None = None
    temperature_max_c: float | None = None
    clock_sm_hz: float | None = None
    clock_memory_hz: float | None = None
    throttled_s: Mapping[str, float] = field(default_factory=dict)
    utilization: float | None = None
    memory_peak_bytes: int | None = None
    power_limit_w: float | None = None
    foreign_pids: tuple[int, ...] = ()
    sees_own: bool | None = None
    processes_most: int | None = None


COLUMNS = tuple(each.name for each in fields(BoardSample))


def sample_to_line(look: BoardSample) -> str:
    """One line of the log: empty is unknown, ``-`` an empty list."""
    return ",".join(_cell(getattr(look, name)) for name in COLUMNS)


def sample_from_line(line: str) -> BoardSample | None:
    """The look of one line; ``None`` for a header, a torn or a damaged line."""
    cells = line.split(",")
    if len(cells) != len(COLUMNS) or not cells[0]:
        return None
    parsed: dict[str, Any] = {}
    try:
        for name, cell in zip(COLUMNS, cells, strict=True):
            parsed[name] = _PARSERS.get(name, float)(cell) if cell else None
    except ValueError:
        return None
    return BoardSample(**parsed)


def _cell(value: float | tuple[object, ...] | None) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ";".join(map(str, value)) or _NONE_LISTED
    return repr(value)


def _words(cell: str) -> tuple[str, ...]:
    return () if cell == _NONE_LISTED else tuple(cell.split(";"))


def _ids(cell: str) -> tuple[int, ...]:
    return tuple(int(word) for word in _words(cell))


_PARSERS: Mapping[str, Callable[[str], Any]] = {"reasons": _words, "own": _ids, "foreign": _ids}


def summarise_window(device: str, looks: Sequence[BoardSample], window: Window) -> Telemetry | None:
    """What a board did in one window; ``None`` if nobody looked.

    Args:
        device: The board's UUID.
        looks: In order of time.
        window: The span; the look just before it counts as its start.
    """
    times = [look.t_s for look in looks]
    first, last = bisect_right(times, window.start_s), bisect_right(times, window.end_s)
    inside = looks[first:last]
    if not inside:
        return None
    temperatures = _known(look.temperature_c for look in inside)
    listed = [look for look in inside if look.own is not None and look.foreign is not None]
    return Telemetry(
        window=window.name,
        device=device,
        samples=len(inside),
        temperature_start_c=_first(look.temperature_c for look in looks[max(first - 1, 0) : last]),
        temperature_mean_c=fmean(temperatures) if temperatures else None,
        temperature_max_c=max(temperatures, default=None),
        clock_sm_hz=_mean(look.clock_sm_hz for look in inside),
        clock_memory_hz=_mean(look.clock_memory_hz for look in inside),
        throttled_s=_throttled_s(looks[max(first - 1, 0) : last + 1], window),
        utilization=_mean(look.utilization for look in inside),
        memory_peak_bytes=_most(look.memory_used_bytes for look in inside),
        power_limit_w=min(_known(look.power_limit_w for look in inside), default=None),
        foreign_pids=tuple(sorted({pid for look in listed for pid in look.foreign or ()})),
        sees_own=any(look.own for look in listed) if listed else None,
        processes_most=_most(len(look.own or ()) + len(look.foreign or ()) for look in listed),
    )


def _throttled_s(looks: Sequence[BoardSample], window: Window) -> dict[str, float]:
    """Seconds of each reason: what one look says holds until the next."""
    found: dict[str, float] = {}
    for look, following in pairwise(looks):
        held_s = min(following.t_s, window.end_s) - max(look.t_s, window.start_s)
        for reason in look.reasons or ():
            found[reason] = found.get(reason, 0.0) + max(held_s, 0.0)
    return {reason: held_s for reason, held_s in sorted(found.items()) if held_s > 0}


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _first(values: Iterable[float | None]) -> float | None:
    return next(iter(_known(values)), None)


def _mean(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return fmean(known) if known else None


def _most(values: Iterable[float | None]) -> int | None:
    known = _known(values)
    return int(max(known)) if known else None


def same_bus(left: str, right: str) -> bool:
    """Whether two spellings mean one PCI device: NVML writes eight digits of domain, CUDA four."""
    return bus_key(left) == bus_key(right)


def bus_key(pci_bus_id: str) -> tuple[int, ...]:
    """A PCI bus id as numbers, for comparing and sorting; empty if it is not one."""
    words = pci_bus_id.replace(".", ":").split(":")
    try:
        return tuple(int(word, 16) for word in words)
    except ValueError:
        return ()
