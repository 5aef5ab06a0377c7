"""What a run does at the moment, from its events and the last polls of its primary channel."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from wbcbench.core.trace import Channel, Kind, Origin
from wbcbench.core.window import Clock
from wbcbench.energy.account import RunEvents
from wbcbench.power.sampler import Sampler

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class LiveState:
    """One moment of a run.

    Attributes:
        run_id: Which run.
        phase: ``idle``, ``startup``, ``warmup``, ``train``, ``evaluate``, ``inference`` …
        time_s: Seconds since measuring began.
        epoch, epochs: One-based place in training; 0 before it.
        step, steps: Place in the epoch; 0 if unknown.
        loss, accuracy, val_accuracy: Last known; ``None`` before.
        power_w: Last power readings of the primary channel, oldest first.
        energy_j: Joules since the run began on that channel; ``None`` if unknown.
        channel, origin: Which channel that is, and whether a sensor measures it.
        age_s: Age of the last reading.
        left_s, left_j: What is left of the training; ``None`` before the first epoch ended.
        place: Place in a study, ``run 3/12, block 1/3``; empty for a single run.
        study_left_s, study_left_j: What is left of the study, this run included.
    """

    run_id: str
    phase: str
    epoch: int
    epochs: int
    time_s: float = 0.0
    step: int = 0
    steps: int = 0
    loss: float | None = None
    accuracy: float | None = None
    val_accuracy: float | None = None
    power_w: tuple[float, ...] = ()
    energy_j: float | None = None
    channel: str = ""
    origin: Origin | None = None
    age_s: float | None = None
    left_s: float | None = None
    left_j: float | None = None
    place: str = ""
    study_left_s: float | None = None
    study_left_j: float | None = None


class LiveProgress:
    """Follows the primary channel while a run goes on; its record is computed elsewhere."""

    def __init__(
        self, run_id: str, epochs: int, channel: Channel | None, sampler: Sampler, clock: Clock
    ) -> None:
        """Follow ``channel``; ``None`` when no channel can be the primary one."""
        self._run_id, self._epochs, self._channel = run_id, epochs, channel
        self._sampler, self._clock, self._start_s = sampler, clock, clock.now_s()
        self._energy_j = 0.0
        self._last: tuple[float, float] | None = None

    def now(self, events: RunEvents, phase: str) -> LiveState:
        """The state at this moment."""
        channel, progress = self._channel, events.progress
        readings: list[tuple[float, float]] = []
        if channel is not None:
            recent = self._sampler.recent(channel)
            readings = [(t_s, value) for t_s, value in recent if value is not None]
            self._add_energy(readings, channel.kind)
        last = events.epochs[-1] if events.epochs else None
        left_s = self._left_s(events)
        power_w = _recent_power_w(channel, readings)
        return LiveState(
            run_id=self._run_id,
            phase=phase,
            epoch=int(progress.get("epoch") or len(events.epochs)),
            epochs=self._epochs,
            time_s=self._clock.now_s() - self._start_s,
            step=int(progress.get("step") or 0),
            steps=int(progress.get("steps") or 0),
            loss=progress.get("loss") or (last.loss if last else None),
            accuracy=progress.get("accuracy") or (last.accuracy if last else None),
            val_accuracy=last.val_accuracy if last else None,
            power_w=power_w,
            energy_j=self._energy_j if self._last else None,
            channel=channel.name if channel else "",
            origin=channel.origin if channel else None,
            age_s=self._clock.now_s() - readings[-1][0] if readings else None,
            left_s=left_s,
            left_j=left_s * power_w[-1] if left_s is not None and power_w else None,
        )

    def _add_energy(self, readings: list[tuple[float, float]], kind: Kind) -> None:
        """Add the joules of readings that are new."""
        for t_s, value in readings:
            if self._last is None:
                self._last = (t_s, value)
            elif t_s > self._last[0]:
                last_s, last = self._last
                step_j = value - last if kind is Kind.COUNTER else value * (t_s - last_s)
                self._energy_j += max(step_j, 0.0)
                self._last = (t_s, value)

    def _left_s(self, events: RunEvents) -> float | None:
        """Epochs still to come × the mean epoch with its validation."""
        if not events.epochs:
            return None
        first, last = events.epochs[0], events.epochs[-1]
        mean_s = (last.evaluate_end_s - first.start_s) / len(events.epochs)
        since_s = self._clock.now_s() - last.evaluate_end_s
        return max((self._epochs - len(events.epochs)) * mean_s - since_s, 0.0)


def _recent_power_w(
    channel: Channel | None, readings: list[tuple[float, float]]
) -> tuple[float, ...]:
    """Watts of recent readings; a counter's are the slopes between its moves."""
    if channel is None or channel.kind is Kind.SAMPLED:
        return tuple(value for _, value in readings)
    moves = readings[:1]
    moves += [after for before, after in pairwise(readings) if after[1] != before[1]]
    return tuple((j - i) / (t - s) for (s, i), (t, j) in pairwise(moves))


def print_progress(text: str) -> None:
    """Print one sentence on standard error."""
    print(text, file=sys.stderr, flush=True)


def silent(_: str) -> None:
    """``--quiet`` and ``--json``: print nothing on the way."""


@contextmanager
def preparing(say: Say) -> Iterator[Progress]:
    """Show the preparation of images: a bar on a terminal, tenths in a file or a pipe."""
    if say is silent or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        printed = 0

        def print_tenths(done: int, total: int) -> None:
            nonlocal printed
            tenth = 10 * done // max(total, 1)
            if tenth > printed:
                printed = tenth
                say(f"preparing images: {done} of {total}")

        yield print_tenths
        return
    with show_bar("preparing images", per_second=2) as update:
        yield update


@contextmanager
def show_bar(what: str, per_second: float = 10) -> Iterator[Progress]:
    """Show a bar on a terminal's standard error, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console, is_hidden = Console(file=sys.__stderr__), not sys.stderr.isatty()
    with Bar(
        console=console, transient=True, refresh_per_second=per_second, disable=is_hidden
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
