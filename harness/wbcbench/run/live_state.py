"""From the events of a run to what a display shows, and sentences on the way to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Channel, Kind
from wbcbench.core.window import Clock
from wbcbench.energy.account import RunEvents
from wbcbench.power.sampler import Sampler
from wbcbench.run.display import Now

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


class LiveProgress:
    """Follows one headline channel while the run goes on; the record is worked out elsewhere."""

    def __init__(
        self, run_id: str, spec: RunSpec, channel: Channel | None, sampler: Sampler, clock: Clock
    ) -> None:
        """Follow ``channel``; ``None`` when no channel can be a headline."""
        self._run_id, self._spec, self._channel = run_id, spec, channel
        self._sampler, self._clock = sampler, clock
        self._energy_j = 0.0
        self._last: tuple[float, float] | None = None

    def now(self, events: RunEvents, phase: str) -> Now:
        """This moment."""
        readings = self._readings()
        self._add(readings)
        progress = events.progress
        last = events.epochs[-1] if events.epochs else None
        left_s = self._left_s(events)
        power_w = _powers(self._channel, readings)
        return Now(
            run_id=self._run_id,
            variant=self._spec.variant,
            phase=phase,
            epoch=int(progress.get("epoch") or len(events.epochs)),
            epochs=self._spec.epochs,
            step=int(progress.get("step") or 0),
            steps=int(progress.get("steps") or 0),
            loss=progress.get("loss") or (last.loss if last else None),
            accuracy=progress.get("accuracy") or (last.accuracy if last else None),
            val_accuracy=last.val_accuracy if last else None,
            power_w=power_w,
            energy_j=self._energy_j if self._last else None,
            channel=self._channel.name if self._channel else "",
            origin=self._channel.origin if self._channel else None,
            age_s=self._clock.now_s() - readings[-1][0] if readings else None,
            left_s=left_s,
            left_j=left_s * power_w[-1] if left_s is not None and power_w else None,
        )

    def _readings(self) -> list[tuple[float, float]]:
        recent = self._sampler.recent(self._channel) if self._channel else []
        return [(t_s, value) for t_s, value in recent if value is not None]

    def _add(self, readings: Sequence[tuple[float, float]]) -> None:
        """Add the joules of readings not seen yet."""
        counts = self._channel is not None and self._channel.kind is Kind.COUNTER
        for t_s, value in readings:
            if self._last and t_s > self._last[0]:
                step = value - self._last[1] if counts else value * (t_s - self._last[0])
                self._energy_j += max(step, 0.0)
            if self._last is None or t_s > self._last[0]:
                self._last = (t_s, value)

    def _left_s(self, events: RunEvents) -> float | None:
        """Epochs still to come × the mean epoch with its validation."""
        if not events.epochs:
            return None
        first, last = events.epochs[0], events.epochs[-1]
        mean_s = (last.evaluate_end_s - first.start_s) / len(events.epochs)
        since_s = self._clock.now_s() - last.evaluate_end_s
        return max((self._spec.epochs - len(events.epochs)) * mean_s - since_s, 0.0)


def _powers(channel: Channel | None, readings: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Watts of recent readings; a counter's are the slopes between its moves."""
    if channel is None or channel.kind is Kind.SAMPLED:
        return tuple(value for _, value in readings)
    moves = [readings[0]] if readings else []
    for t_s, value in readings:
        if value != moves[-1][1]:
            moves.append((t_s, value))
    return tuple(
        (after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(moves)
    )


def print_progress(text: str) -> None:
    """Say one sentence."""
    print(text, file=sys.stderr, flush=True)


def silent(_: str) -> None:
    """``--quiet`` and ``--json``: say nothing on the way."""


@contextmanager
def preparing(say: Say) -> Iterator[Progress]:
    """Follow the preparation of images: a bar on a terminal, tenths in a file or a pipe."""
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if say is silent or not is_terminal:
        yield _tenths(say)
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True, refresh_per_second=2) as bar:
        task = bar.add_task("preparing images", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _tenths(say: Say) -> Progress:
    told = 0

    def on_progress(done: int, total: int) -> None:
        nonlocal told
        tenth = 10 * done // max(total, 1)
        if tenth > told:
            told = tenth
            say(f"preparing images: {done} of {total}")

    return on_progress
