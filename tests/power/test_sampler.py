"""The sampler: every poll on disk, a hanging meter alone, errors that reach the run."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from fakes.clocks import FileClock
from fakes.scripted_meter import POWER, ScriptedMeter, hanging_once
from program import wait_for
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.window import MonotonicClock
from wbcbench.power.sampler import Sampler

OTHER = Channel("other/power", Kind.SAMPLED, Origin.SIMULATED, Domain.CPU)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    folder = RunDir(tmp_path / "runs" / "one")
    folder.create(RunSpec(variant="leaky-dropout"), Local())
    return folder


def sampled(run: RunDir, meters: list[ScriptedMeter], for_s: float) -> Sampler:
    run.write_channels([channel for meter in meters for channel in meter.channels])
    sampler = Sampler(meters, run, 0.02, MonotonicClock())
    sampler.start()
    time.sleep(for_s)
    sampler.stop()
    return sampler


def test_every_poll_is_kept_even_when_the_reading_never_changes(run: RunDir) -> None:
    sampler = sampled(run, [ScriptedMeter(lambda _: 100.0)], 0.5)
    (trace,) = run.read_traces()
    assert len(trace.t_s) == sampler.summaries()[0].samples >= 10
    assert set(trace.value) == {100.0}


def test_polls_lie_on_a_grid_that_does_not_drift(run: RunDir) -> None:
    sampled(run, [ScriptedMeter(lambda _: 1.0)], 0.6)
    (trace,) = run.read_traces()
    # Each tick may jitter by JITTER of the period plus scheduling, but the ticks do not add it up.
    ticks = [(t - trace.t_s[0]) / 0.02 for t in trace.t_s[1:]]
    late = sorted(tick - round(tick) for tick in ticks)
    assert abs(late[len(late) // 2]) < 0.5


def test_a_failed_read_is_an_empty_cell_and_never_a_zero(run: RunDir) -> None:
    sampler = sampled(run, [ScriptedMeter(lambda n: None if n % 2 else 5.0)], 0.3)
    (trace,) = run.read_traces()
    assert None in trace.value
    assert 0.0 not in trace.value
    assert sampler.summaries()[0].failed == trace.value.count(None)


def test_a_call_that_took_long_is_made_again_for_it_does_not_say_when_it_read(run: RunDir) -> None:
    readings: list[float] = []

    def read(count: int) -> float:
        if count == 5:
            time.sleep(0.05)
        readings.append(time.monotonic())
        return float(count)

    sampled(run, [ScriptedMeter(read)], 0.5)
    (trace,) = run.read_traces()
    kept = dict(zip(trace.value, trace.t_s, strict=True))
    assert 5.0 not in kept
    assert abs(kept[6.0] - readings[5]) < 0.02


def test_a_hanging_meter_leaves_the_others_on_their_grid(run: RunDir) -> None:
    stuck = ScriptedMeter(hanging_once(at_read=5, for_s=0.6), "stuck")
    free = ScriptedMeter(lambda _: 1.0, "free", (OTHER,))
    sampler = sampled(run, [stuck, free], 1.0)
    stuck_sum, free_sum = sampler.summaries()
    assert stuck_sum.max_gap_s is not None
    assert stuck_sum.max_gap_s >= 0.25
    assert stuck_sum.missed >= 10
    assert free_sum.missed <= stuck_sum.missed / 2


def test_a_line_torn_by_a_kill_is_left_out(run: RunDir) -> None:
    sampled(run, [ScriptedMeter(lambda _: 2.0)], 0.2)
    path = run.trace_path("scripted")
    whole = len(run.read_traces()[0].t_s)
    with path.open("a") as stream:
        stream.write("99999.1")
    assert len(run.read_traces()[0].t_s) == whole


def test_a_channel_that_has_learnt_more_of_its_sensor_is_still_the_same(run: RunDir) -> None:
    sampler = sampled(run, [ScriptedMeter(lambda _: 7.0)], 0.2)
    assert {value for _, value in sampler.recent(replace(POWER, update_s=0.05))} == {7.0}
    assert sampler.recent(OTHER) == []


def test_polls_lie_anywhere_in_a_stratum_of_their_own(run: RunDir, tmp_path: Path) -> None:
    clock = FileClock(tmp_path / "clock", 5.0)
    meter = ScriptedMeter(lambda _: 1.0)
    run.write_channels(meter.channels)
    sampler = Sampler([meter], run, 0.1, clock)
    sampler.start()
    wait_for(lambda: clock.now_s() > 105.0, "a thousand polls")
    sampler.stop()
    (trace,) = run.read_traces()
    ticks = [(t - 5.0) / 0.1 for t in trace.t_s]
    assert [math.floor(tick + 0.5) for tick in ticks] == list(range(len(ticks)))
    assert all(a < b for a, b in pairwise(trace.t_s))
    assert sampler.summaries()[0].missed == 0
    # Every tenth of a stratum is looked at, about equally often.
    tenths = Counter(int(10 * ((tick + 0.5) % 1)) for tick in ticks)
    assert all(0.06 < tenths[tenth] / len(ticks) < 0.14 for tenth in range(10))


def test_a_disk_that_cannot_be_written_reaches_the_run(run: RunDir) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full is not on this system")
    run.trace_path("scripted").symlink_to(full)
    run.write_channels([POWER])
    with pytest.raises(OSError, match="No space left"):
        Sampler([ScriptedMeter(lambda _: 1.0)], run, 0.02, MonotonicClock())


def test_polls_before_a_hang_at_the_end_are_kept_and_later_ones_are_not(run: RunDir) -> None:
    may_return = threading.Event()

    def read(count: int) -> float:
        if count == 20:
            may_return.wait(30.0)
        return float(count)

    meter = ScriptedMeter(read)
    run.write_channels(meter.channels)
    sampler = Sampler([meter], run, 0.02, MonotonicClock())
    sampler.start()
    wait_for(lambda: meter.reads == 20, "the call that hangs")
    sampler.stop()
    sampler.stop()  # as at the end of a session that failed
    (trace,) = run.read_traces()
    assert trace.value == [float(count) for count in range(1, 20)]
    assert sampler.error is None
    before = threading.active_count()
    may_return.set()
    wait_for(lambda: threading.active_count() < before, "the end of its thread")
    assert run.read_traces()[0].value == trace.value
    assert sampler.error is None


def test_who_asks_for_few_polls_gets_one_at_the_end(run: RunDir) -> None:
    meter = ScriptedMeter(float)
    run.write_channels(meter.channels)
    sampler = Sampler([meter], run, 60.0, MonotonicClock())
    sampler.start()
    stopped_s = time.monotonic()
    sampler.stop()
    (trace,) = run.read_traces()
    assert trace.value[0] == 1.0
    assert trace.t_s[-1] >= stopped_s


def test_the_last_readings_are_known_before_they_are_written(run: RunDir) -> None:
    meter = ScriptedMeter(float)
    sampler = Sampler([meter], run, 0.1, MonotonicClock())
    sampler.start()
    wait_for(lambda: meter.reads >= 4, "some polls")
    reads, (known, *_) = meter.reads, reversed(sampler.recent(POWER))
    sampler.stop()
    assert known[1] in {reads - 1, reads, reads + 1}
