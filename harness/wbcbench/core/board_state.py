"""What a board did besides drawing power: samples, their summary for one window, PCI bus ids.

What is too hot, or whose process is a foreign one, is for ``energy.checks`` to judge.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from statistics import fmean
from typing import Any

from wbcbench.core.text import parse_number
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
        samples: How many samples lie in the window.
        temperature_start_c, temperature_mean_c, temperature_max_c: Die temperature.
        clock_sm_hz, clock_memory_hz: Mean clocks.
        throttled_s: Reason → seconds in which the driver gave it.
        utilization: Mean share of time in which a kernel ran, in [0, 1].
        memory_peak_bytes: Most device memory in use.
        power_limit_w: Lowest limit in force.
        foreign_pids: Processes on the board that this run did not start.
        sees_own: Whether the trainer's own process was listed: without that, process ids of
            another namespace are shown and nothing is known of foreign ones. ``None`` if no
            sample listed processes.
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


COLUMNS = tuple(column.name for column in fields(BoardSample))


def sample_to_line(sample: BoardSample) -> str:
    """One line of the log: empty is unknown, ``-`` an empty list."""
    cells = []
    for name in COLUMNS:
        value = getattr(sample, name)
        if isinstance(value, tuple):
            cells.append(";".join(map(str, value)) or _NONE_LISTED)
        else:
            cells.append("" if value is None else repr(value))
    return ",".join(cells)


def sample_from_line(line: str) -> BoardSample | None:
    """The sample of one line; ``None`` for a header, a torn or a damaged line."""
    t_s, _, rest = line.partition(",")
    try:
        return BoardSample(parse_number(t_s), *_parse_state(rest))
    except ValueError:
        return None


# Most of what a board says, if not all, it has said a second before.
@lru_cache(maxsize=4096)
def _parse_state(line: str) -> tuple[Any, ...]:
    cells = line.split(",")
    if len(cells) != len(COLUMNS) - 1:
        raise ValueError("a line that is torn, or of another file")
    return tuple(map(_parse_cell, COLUMNS[1:], cells))


@lru_cache(maxsize=4096)
def _parse_cell(name: str, cell: str) -> Any:
    return _PARSERS.get(name, parse_number)(cell) if cell else None


def _parse_words(cell: str) -> tuple[str, ...]:
    return () if cell == _NONE_LISTED else tuple(cell.split(";"))


def _parse_ids(cell: str) -> tuple[int, ...]:
    return tuple(int(parse_number(word)) for word in _parse_words(cell))


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "reasons": _parse_words, "own": _parse_ids, "foreign": _parse_ids,
}  # fmt: skip


def summarise_window(
    device: str, samples: Sequence[BoardSample], window: Window
) -> Telemetry | None:
    """What a board did in one window; ``None`` without a sample in it.

    Args:
        device: The board's UUID.
        samples: In order of time.
        window: The span; the sample just before it counts as its start.
    """
    get_t_s = attrgetter("t_s")
    first = bisect_right(samples, window.start_s, key=get_t_s)
    last = bisect_right(samples, window.end_s, key=get_t_s)
    inside, before = samples[first:last], max(first - 1, 0)
    if not inside:
        return None

    def known(name: str, samples: Sequence[BoardSample] = inside) -> list[Any]:
        return [v for v in map(attrgetter(name), samples) if v is not None]

    def mean(name: str) -> float | None:
        return fmean(values) if (values := known(name)) else None

    memory = max(known("memory_used_bytes"), default=None)
    listed = [s for s in inside if s.own is not None and s.foreign is not None]
    processes = [len(s.own or ()) + len(s.foreign or ()) for s in listed]
    return Telemetry(
        window=window.name,
        device=device,
        samples=len(inside),
        temperature_start_c=next(iter(known("temperature_c", samples[before:last])), None),
        temperature_mean_c=mean("temperature_c"),
        temperature_max_c=max(known("temperature_c"), default=None),
        clock_sm_hz=mean("clock_sm_hz"),
        clock_memory_hz=mean("clock_memory_hz"),
        throttled_s=_throttled_s(samples[before : last + 1], window),
        utilization=mean("utilization"),
        memory_peak_bytes=None if memory is None else int(memory),
        power_limit_w=min(known("power_limit_w"), default=None),
        foreign_pids=tuple(sorted({pid for s in listed for pid in s.foreign or ()})),
        sees_own=any(s.own for s in listed) if listed else None,
        processes_most=max(processes, default=None),
    )


def _throttled_s(samples: Sequence[BoardSample], window: Window) -> dict[str, float]:
    """Seconds of each reason: what one sample has holds until the next."""
    seconds = defaultdict[str, float](float)
    for sample, following in pairwise(samples):
        for reason in sample.reasons or ():
            held_s = min(following.t_s, window.end_s) - max(sample.t_s, window.start_s)
            seconds[reason] += max(held_s, 0.0)
    return {reason: held_s for reason, held_s in sorted(seconds.items()) if held_s > 0}


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
