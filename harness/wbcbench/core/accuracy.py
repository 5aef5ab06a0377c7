"""How good a number is, as plain values: its budget, how two readings agree, what a probe saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Budget:
    """Where the uncertainty of one window's joules on one channel comes from.

    Attributes:
        window, channel: Which number.
        quantisation_j: The counter's steps, or the resolution of the power reading.
        edges_j: Polls, stamps and the sensor's lag at both edges of the window.
        sampling_j: What went on between readings: gaps and sensors that look part of the time.
        total_j: The three above in quadrature; ``None`` for a model, whose error nobody knows.
        gain_j: Systematic error of the sensor, not in ``total_j``; ``None`` if unknown.
        baseline_j: What subtracting the idle power would add; ``None`` without idle windows.
    """

    window: str
    channel: str
    quantisation_j: float
    edges_j: float
    sampling_j: float
    total_j: float | None
    gain_j: float | None = None
    baseline_j: float | None = None


AgreementStatus = Literal["ok", "suspect", "invalid", "cannot-tell", "cross-check"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two readings of one part lie apart in one window.

    Attributes:
        window: Which window.
        a, b: Channels; for a cross-check, the channels of one reading joined by ``+``.
        difference_pct: How far ``a`` lies above ``b``, in per cent of ``b``.
        status: ``ok``, ``suspect`` or ``invalid`` where a measured counter meets its measured
            integral; ``cannot-tell`` where their uncertainties explain the difference;
            ``cross-check`` where the other side is not a witness and nothing is judged.
    """

    window: str
    a: str
    b: str
    difference_pct: float
    status: AgreementStatus


KindGuess = Literal["counter", "held", "running_average", "part_time", "unknown"]


@dataclass(frozen=True, slots=True)
class SensorCard:
    """What a probe saw of one channel; ``None`` is unknown, with the reason.

    Attributes:
        channel: Name of the channel.
        update_s: How often the value is renewed.
        step_j: Joules a counter moves by at each renewal, at the power of the probe.
        resolution: Smallest move seen, in joules (counter) or watts (sampled).
        kind_guess: ``counter``; ``held`` follows the power at once; ``running_average`` creeps
            after it; ``part_time`` is known to look only part of the time; or ``unknown``.
        probed_s: Length of the probe.
        polls: Good readings in it.
        reason: What could not be told and why; empty when everything could.
    """

    channel: str
    update_s: float | None
    step_j: float | None
    resolution: float | None
    kind_guess: KindGuess
    probed_s: float
    polls: int
    reason: str = ""
