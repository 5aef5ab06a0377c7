"""A sampler that is held up, by its clock or by its meter, never contradicts its own counts."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from builders.machine import CPU_MODEL, RAPL_CHANNELS
from wbcbench.bundle.verify.sensors import _check_pace
from wbcbench.core.trace import Trace
from wbcbench.core.trace_file import Poll
from wbcbench.power.pacer import Pacer
from wbcbench.power.sampler import _MeterReader

pytestmark = pytest.mark.usefixtures("sketches")


@dataclass
class SlowMachine:
    """Clock, meter and trace at once: sleeps and calls now and then take seconds longer."""

    rng: random.Random
    held_up: float
    until_s: float
    name: str = "slow"
    device: None = None
    at_s: float = 100.0
    stop: threading.Event = field(default_factory=threading.Event)
    polls: list[Poll] = field(default_factory=list)

    def now_s(self) -> float:
        return self.at_s

    def sleep_until(self, deadline_s: float) -> None:
        self._spend(max(deadline_s - self.at_s, 0.0) + 1e-4)

    def read(self) -> Sequence[float]:
        self._spend(2e-4)
        if self.at_s > self.until_s:
            self.stop.set()
        return [self.at_s]

    def write(self, polls: Sequence[Poll]) -> None:
        self.polls += polls

    def _spend(self, length_s: float) -> None:
        is_held_up = self.rng.random() < self.held_up
        self.at_s += length_s + is_held_up * self.rng.expovariate(1.0) * self.rng.choice([0.1, 5])


@pytest.mark.parametrize("channel", [CPU_MODEL, RAPL_CHANNELS[0]], ids=["estimate", "RAPL"])
@pytest.mark.parametrize("held_up", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("interval_s", [0.01, 0.1, 0.25, 3.0])
def test_polls_that_come_late_are_counted_as_missed(interval_s, held_up, channel):
    for seed in range(8):
        machine = SlowMachine(random.Random(seed), held_up, 100.0 + 400 * interval_s)
        pacer = Pacer([channel], interval_s, machine.now_s())
        reader = _MeterReader(machine, machine, pacer, machine, machine.stop)  # type: ignore[arg-type]
        reader.run()
        times = [t_s for t_s, _ in machine.polls]
        trace = Trace(channel, times, [0.0] * len(times))
        if len(times) > 1:
            assert not [*_check_pace(trace, reader.summary())]
