"""A meter whose readings are written down beforehand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Self

from wbcbench.core.trace import Channel, Domain, Kind, Origin

POWER = Channel("scripted/power", Kind.SAMPLED, Origin.SIMULATED, Domain.GPU)


class ScriptedMeter:
    """Reads what ``value`` says; ``value`` may sleep, as a hanging driver does."""

    interval_s: float | None = None
    device = None

    def __init__(
        self,
        value: Callable[[int], float | None],
        name: str = "scripted",
        channels: tuple[Channel, ...] = (POWER,),
    ) -> None:
        self.name = name
        self.channels = channels
        self._value = value
        self.reads = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self) -> Sequence[float | None]:
        self.reads += 1
        return [self._value(self.reads) for _ in self.channels]

    def describe(self) -> dict[str, object]:
        return {}


def hanging_once(at_read: int, for_s: float, value: float = 100.0) -> Callable[[int], float]:
    """Reads ``value`` and hangs once."""

    def read(count: int) -> float:
        if count == at_read:
            time.sleep(for_s)
        return value

    return read
