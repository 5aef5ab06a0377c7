"""Channels and traces: what was read of the machine, poll by poll."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, overload

from wbcbench.core.arrays import as_array, np, to_floats


class Kind(StrEnum):
    """What one reading of a channel is."""

    COUNTER = "counter"  # cumulative joules
    SAMPLED = "sampled"  # watts, to be integrated


class Origin(StrEnum):
    """How far a number is from a sensor of that component; in order of trust, the nearest first."""

    MEASURED = "measured"  # a sensor of that component
    ESTIMATED = "estimated"  # a model without a sensor, e.g. TDP × load
    SIMULATED = "simulated"  # a known signal, for demonstrations and tests

    @property
    def rank(self) -> int:
        """Place in the order of trust, 0 for the most trusted."""
        return _RANKS[self]

    @property
    def is_estimated(self) -> bool:
        """Whether nothing of that component was read; the error is then not known."""
        return self is Origin.ESTIMATED


_RANKS = {origin: place for place, origin in enumerate(Origin)}


class Domain(StrEnum):
    """Which part of the machine a channel measures."""

    GPU = "gpu"
    CPU = "cpu"
    DRAM = "dram"
    SYSTEM = "system"  # the whole machine; never added to the others


@dataclass(frozen=True, slots=True)
class Channel:
    """One quantity that is read again and again.

    Attributes:
        name: ``meter/part/reading``, e.g. ``nvml/gpu0/counter``; unique in a run.
        kind: Whether readings are cumulative joules or watts.
        origin: Measured, estimated or simulated.
        domain: The part of the machine.
        reading: Which reading exactly, e.g. ``power_instant``, ``tdp_load``.
        wrap_j: Joules at which a counter starts again at zero; ``None`` if it does not wrap.
        update_s: How often the sensor renews its value; ``None`` if unknown.
        gain_error: Relative systematic error of the sensor, e.g. ``0.05``; ``None`` if unknown.
        limit_w: Power limit or TDP of the part, for sanity bounds; ``None`` if unknown.
        device: Stable identity of the part, e.g. a GPU's UUID, of several parts that are read
            together all of them joined by ``+``; ``None`` if there is none.
        averaging_s: The time one power reading is the mean of: shorter than ``update_s`` for a
            sensor that measures only part of the time; ``None`` if unknown.
        delay_s: How long before a renewal that time ended; ``None`` if unknown.
        repeat_share: Share of successive values that were equal in a probe; ``None`` if unknown.
        sparse: Whether it is read at the edges of what is measured only: a window that begins or
            ends at another time has none of its joules.
    """

    name: str
    kind: Kind
    origin: Origin
    domain: Domain
    reading: str = ""
    wrap_j: float | None = None
    update_s: float | None = None
    gain_error: float | None = None
    limit_w: float | None = None
    device: str | None = None
    averaging_s: float | None = None
    repeat_share: float | None = None
    sparse: bool = False
    delay_s: float | None = None

    @property
    def is_known_mean(self) -> bool:
        """Whether known loads showed that it is the mean of all the time between two renewals."""
        return self.delay_s is not None and self.averaging_s == self.update_s

    @property
    def part(self) -> str:
        """The meter and the part that it reads; a counter and the power beside it share one."""
        return self.name.rpartition("/")[0]


class PollValues(Sequence[float | None]):
    """What polls gave, eight bytes each: not-a-number in ``floats``, ``None`` for who reads it."""

    __slots__ = ("floats",)

    def __init__(self, floats: array[float]) -> None:
        """Take the numbers as they are."""
        self.floats = floats

    def __len__(self) -> int:
        """How many polls there were."""
        return len(self.floats)

    @overload
    def __getitem__(self, place: int) -> float | None: ...

    @overload
    def __getitem__(self, place: slice) -> list[float | None]: ...

    def __getitem__(self, place: int | slice) -> float | list[float | None] | None:
        """One of them, or some."""
        if isinstance(place, slice):
            return list(PollValues(self.floats[place]))
        value = self.floats[place]
        return value if math.isfinite(value) else None

    def __iter__(self) -> Iterator[float | None]:
        """Each in turn."""
        return (value if math.isfinite(value) else None for value in self.floats)

    def __eq__(self, other: object) -> bool:
        """Whether another sequence gives the same."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __array__(self, *_: Any, **__: Any) -> Any:
        """The numbers, for ``numpy``."""
        return as_array(self.floats)


@dataclass(frozen=True, eq=False)
class Trace:
    """Every poll of one channel, failed ones included.

    Attributes:
        channel: What was read.
        t_s: Monotonic seconds of each poll, strictly increasing, shape ``[n]``.
        value: Joules (counter) or watts (sampled) of each poll; ``None`` where the read failed.

    Two traces are the same only if they are one object: what is worked out from one is cached.
    """

    channel: Channel
    t_s: Sequence[float]
    value: Sequence[float | None]

    @cached_property
    def good(self) -> tuple[Sequence[float], Sequence[float]]:
        """Times and values of the readings that succeeded; not-a-number is no reading."""
        if isinstance(self.value, PollValues):
            values = as_array(self.value)
            is_good = np.isfinite(values)
            if is_good.all():
                return self.t_s, self.value.floats
            return to_floats(as_array(self.t_s)[is_good]), to_floats(values[is_good])
        pairs = [
            (t, v)
            for t, v in zip(self.t_s, self.value, strict=True)
            if v is not None and math.isfinite(v)
        ]
        return [t for t, _ in pairs], [v for _, v in pairs]
