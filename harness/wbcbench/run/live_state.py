"""What a run does at the moment, from its events and the last polls of its primary channel."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Channel, Kind, Origin
from wbcbench.core.window import INFERENCE_BATCHES, TRAIN, VALIDATION_PHASE, Clock
from wbcbench.energy.account import RunEvents
from wbcbench.energy.source import name_channel
from wbcbench.power.sampler import Sampler
from wbcbench.power.session import EDGE_S
from wbcbench.power.telemetry import OtherLoad, TelemetryRecorder

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


FINISHING = "finishing"  # what follows the last window


@dataclass(frozen=True, slots=True)
class LiveState:
    """One moment of a run.

    Attributes:
        run_id: Which run.
        phase: ``idle_cold``, ``startup``, ``warmup``, ``train``, ``evaluate``, ``inference`` …
        time_s: Seconds since measuring began.
        epoch, epochs: One-based place in training; 0 before it.
        loop, loops: One-based place among trainings from the same start.
        step, steps: Place in the epoch; 0 if unknown.
        loss, accuracy, val_accuracy: Last known; ``None`` before.
        power_w: Last power readings of the primary channel, oldest first.
        energy_j: Joules since the run began on that channel; ``None`` if unknown.
        channel, origin: Which channel that is, and whether a sensor measures it.
        source: The same in words, ``GPU counter``.
        age_s: Age of the last reading.
        left_s, left_j: What is left of the run, test and idle included; ``None`` before the first
            epoch ended.
        others: What other programs take of the machine.
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
    loop: int = 1
    loops: int = 1
    loss: float | None = None
    accuracy: float | None = None
    val_accuracy: float | None = None
    power_w: tuple[float, ...] = ()
    energy_j: float | None = None
    channel: str = ""
    origin: Origin | None = None
    source: str = ""
    age_s: float | None = None
    left_s: float | None = None
    left_j: float | None = None
    others: OtherLoad = field(default_factory=OtherLoad)
    place: str = ""
    study_left_s: float | None = None
    study_left_j: float | None = None


class LiveProgress:
    """Follows the primary channel while a run goes on; its record is computed elsewhere."""

    def __init__(
        self,
        run_id: str,
        channel: Channel | None,
        sampler: Sampler,
        clock: Clock,
        spec: RunSpec | None = None,
        telemetry: TelemetryRecorder | None = None,
    ) -> None:
        """Follow ``channel``; ``None`` when no channel can be the primary one.

        Args:
            run_id: Whose progress it is.
            channel: What is read.
            sampler: Who reads it.
            clock: Source of time, the sampler's.
            spec: Of a training; ``None`` for anything else, of which nothing is foreseen.
            telemetry: Who knows of other programs.
        """
        self._run_id, self._channel, self._spec = run_id, channel, spec
        self._sampler, self._telemetry = sampler, telemetry
        self._clock, self._start_s = clock, clock.now_s()
        self._energy_j = 0.0
        self._last: tuple[float, float] | None = None
        self._before = self._trained = (0.0, 0.0)  # seconds and joules: before training, and in it

    def now(self, events: RunEvents, phase: str) -> LiveState:
        """The state at this moment."""
        channel, progress = self._channel, events.progress
        readings: list[tuple[float, float]] = []
        if channel is not None:
            recent = self._sampler.recent(channel)
            readings = [(t_s, value) for t_s, value in recent if value is not None]
            self._add_energy(readings, channel.kind)
        self._sort_energy(events, phase)
        last = events.epochs[-1] if events.epochs else None
        left_s, left_j = self._foresee(events)
        return LiveState(
            run_id=self._run_id,
            phase=phase,
            epoch=int(progress.get("epoch") or len(events.epochs)),
            epochs=self._spec.epochs if self._spec else 0,
            time_s=self._clock.now_s() - self._start_s,
            step=int(progress.get("step") or 0),
            steps=int(progress.get("steps") or 0),
            loop=int(progress.get("loop") or 1),
            loops=events.planned_loops,
            loss=progress.get("loss") or (last.loss if last else None),
            accuracy=progress.get("accuracy") or (last.accuracy if last else None),
            val_accuracy=last.val_accuracy if last else None,
            power_w=_recent_power_w(channel, readings),
            energy_j=self._energy_j if self._last else None,
            channel=channel.name if channel else "",
            origin=channel.origin if channel else None,
            source=name_channel(channel) if channel else "",
            age_s=self._clock.now_s() - readings[-1][0] if readings else None,
            left_s=left_s,
            left_j=left_j,
            others=self._telemetry.read_others() if self._telemetry else OtherLoad(),
        )

    def _sort_energy(self, events: RunEvents, phase: str) -> None:
        """Tell what was used before training from what is used in it."""
        time_s = self._clock.now_s() - self._start_s
        if phase in (TRAIN, VALIDATION_PHASE):
            self._trained = (time_s - self._before[0], self._energy_j - self._before[1])
        elif not events.epochs:
            self._before = (time_s, self._energy_j)

    def _foresee(self, events: RunEvents) -> tuple[float | None, float | None]:
        """Seconds and joules that are left, at the mean power of training and of idling so far.

        Epochs to come × the mean epoch with its validation, the steps of further loops, one pass
        over TEST as long as a validation, the windows of inference, idle time and the last edge.
        """
        if not events.epochs or self._spec is None:
            return None, None
        epochs, spec = events.epochs, self._spec
        first, last = epochs[0], epochs[-1]
        mean_s = (last.evaluate_end_s - first.start_s) / len(epochs)
        validation_s = sum(each.evaluate_end_s - each.end_s for each in epochs) / len(epochs)
        loops_s = (events.planned_loops - 1) * spec.epochs * (mean_s - validation_s)
        train_left_s = (spec.epochs - len(epochs)) * mean_s + loops_s
        since_s = self._clock.now_s() - last.evaluate_end_s
        inference_s = len(INFERENCE_BATCHES) * spec.inference_s
        # Whatever takes longer than foreseen is at its end, not ahead of the next.
        busy_s = max(train_left_s + validation_s + inference_s - since_s, 0.0)
        late_s = max(since_s - train_left_s - validation_s - inference_s, 0.0)
        idle_s = max(spec.idle_s + EDGE_S - late_s, 0.0)
        train_s, train_j = self._trained
        before_s, before_j = self._before
        if self._last is None or train_s <= 0 or before_s <= 0:
            return busy_s + idle_s, None
        return busy_s + idle_s, busy_s * train_j / train_s + idle_s * before_j / before_s

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
