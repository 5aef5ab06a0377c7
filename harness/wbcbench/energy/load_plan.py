"""The loads that find a sensor out: the processor's, steps, pulses, square waves and duties.

All of it is one minute. Periods are no multiples of those at which sensors are renewed (10, 20, 25,
50, 100 ms), and pulses come at the golden ratio's places of them, so that a sensor that looks at a
part of the time meets every part of the load. Between two loads the board is idle until an average
over one second has forgotten the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from wbcbench.energy.renewals import Span

Where = Literal["board", "processor"]

PROCESSOR, DUTY = "processor", "duty-"
"""Names of bouts: the one of the processor, and how those of a duty begin."""

IDLE_S = 2.5
SETTLE_S = 1.5  # a one-second average, and some
STEPS, STEP_S = 2, 1.6
PULSES_S = (0.021, 0.034, 0.055, 0.089, 0.144, 0.027, 0.042, 0.070, 0.113, 0.031)
PULSE_EVERY_S, GOLDEN = 0.4, 0.6180339887
SQUARES_S = (0.0211, 0.0523, 0.1031, 0.2087, 1.0197)
SQUARE_S = 2.2
LEAST_PERIODS = 3
DUTIES = (0.2, 0.4, 0.6, 0.8, 1.0)
# Periods in golden ratio to one of 100 ms; 34 of these, a Fibonacci number, leave least to chance.
DUTY_PERIOD_S, DUTY_S = 0.1 * GOLDEN, 3.4
PROCESSOR_S = 2.5


@dataclass(frozen=True, slots=True)
class Bout:
    """A load between two idle times.

    Attributes:
        name: Unique in a plan; ``duty-0.4``.
        spans: Start and length of each time on, in seconds from its beginning.
        length_s: Of the whole, with the idle time at its end.
        where: What computes.
    """

    name: str
    spans: tuple[Span, ...]
    length_s: float
    where: Where = "board"

    @property
    def loaded_s(self) -> float:
        """From its beginning to the end of the last time on."""
        return max((start_s + on_s for start_s, on_s in self.spans), default=0.0)


@dataclass(frozen=True, slots=True)
class Played:
    """A load as it was.

    Attributes:
        name: Of its bout.
        where: What computed.
        start_s, end_s: Of the whole, in monotonic seconds.
        spans: Start and end of each time on, as the program that computed stamped them.
    """

    name: str
    where: Where
    start_s: float
    end_s: float
    spans: tuple[Span, ...]

    @property
    def on_s(self) -> float:
        """How long it was on."""
        return sum(end_s - start_s for start_s, end_s in self.spans)


def make_square(name: str, period_s: float, duty: float, length_s: float) -> Bout:
    """On for ``duty`` of each period; always, if that is 1."""
    periods = max(round(length_s / period_s), LEAST_PERIODS)
    starts_s = [period_s * k for k in range(periods)]
    spans = [(start_s, duty * period_s) for start_s in starts_s]
    if duty >= 1.0:
        spans = [(0.0, periods * period_s)]
    return Bout(name, tuple(spans), periods * period_s + SETTLE_S)


def make_pulses(lengths_s: Sequence[float]) -> Bout:
    """Single pulses whose distances are those of the golden ratio's multiples."""
    gaps_s = [PULSE_EVERY_S * (0.75 + 0.5 * (k * GOLDEN % 1.0)) for k in range(len(lengths_s))]
    starts_s = accumulate(gaps_s[:-1], initial=0.0)
    spans = tuple(zip(starts_s, lengths_s, strict=True))
    return Bout("pulses", spans, spans[-1][0] + spans[-1][1] + SETTLE_S)


def list_bouts() -> tuple[Bout, ...]:
    """The whole plan, in order."""
    steps = (Bout(f"step-{k + 1}", ((0.0, STEP_S),), 2 * STEP_S) for k in range(STEPS))
    squares = (make_square(f"square-{s:g}", s, 0.5, SQUARE_S) for s in SQUARES_S)
    duties = (make_square(f"{DUTY}{d:g}", DUTY_PERIOD_S, d, DUTY_S) for d in DUTIES)
    processor = Bout(PROCESSOR, ((0.0, PROCESSOR_S),), PROCESSOR_S + SETTLE_S, "processor")
    return processor, *steps, make_pulses(PULSES_S), *squares, *duties
