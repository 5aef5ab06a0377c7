"""Faults of a scripted GPU, read by the real meter and sampler, appraised and judged.

No fault ends valid, none becomes 0 J or a negative number, and whatever number is stated for the
headline holds the truth within its ±.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count

import pytest

from builders.evidence import EPOCHS
from fakes.clocks import FileClock
from fakes.nvml_scenario import Counter, FakeGpu, Fault, Scenario, Sensor
from fakes.power_shapes import Constant
from wbcbench.core.quality import Quality, worst_quality
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.window import Window
from wbcbench.energy.appraise import appraise
from wbcbench.energy.checks import Evidence, run_checks
from wbcbench.energy.source import primary_source, source_energy_j, source_uncertainty_j
from wbcbench.power.meter import MeterRequest
from wbcbench.power.nvml import open_meters
from wbcbench.power.sampler import Sampler

POWER_W = 213.0
TRAIN = Window("train", 5.0, 75.0)
WINDOWS = (TRAIN, Window("epoch-1", 5.0, 40.0), Window("epoch-2", 40.0, 75.0))
END_S = 77.0

GPU = FakeGpu(
    power=Constant(POWER_W),
    instant=Sensor(update_s=0.02, window_s=0.02, noise_w=0.8),
    counter=Counter(step_s=0.1),
)
NO_COUNTER = Counter(supported=False)


@pytest.fixture
def watched(scripted_nvml, tmp_path):
    """A function that samples a GPU from 3 s to 77 s and gathers the evidence."""
    numbers = count()

    def watch(gpu):
        run = RunDir(tmp_path / f"run{next(numbers)}")
        run.create(RunSpec("relu-dropout"), Local())
        clock = FileClock(tmp_path / "clock", 3.0)
        scripted_nvml.play(Scenario((gpu,), clock=clock.path))
        [meter] = open_meters(MeterRequest())
        with meter:
            run.write_channels(meter.channels)
            sampler = Sampler([meter], run, 0.1, clock)
            sampler.start()
            while clock.now_s() < END_S:  # which only the sampler's sleeping moves
                time.sleep(0.001)
            sampler.stop()
        return evidence(run, sampler)

    return watch


def evidence(run, sampler):
    traces = tuple(run.read_traces())
    found = appraise(traces, WINDOWS)
    return Evidence(
        spec=run.read_spec(),
        window_name="train",
        traces=found.traces,
        windows=WINDOWS,
        energies=found.energies,
        cut=(),
        sampling=sampler.summaries(),
        absent=(),
        meters={},
        trained=True,
        faults=found.faults,
        agreements=found.agreements,
        epochs=EPOCHS,
    )


def judged(made):
    doubts = run_checks(made)
    return worst_quality(doubts), {doubt.code for doubt in doubts}, replace(made, warnings=doubts)


@pytest.mark.parametrize("gpu", [GPU, replace(GPU, counter=NO_COUNTER)])
def test_a_sound_gpu_is_valid_with_or_without_a_counter(gpu, watched):
    result, codes, made = judged(watched(gpu))
    assert result is Quality.VALID, codes
    train_j = source_energy_j(made, primary_source(made), "train")
    assert train_j == pytest.approx(70 * POWER_W, rel=0.01)


FAULTS = {
    "counter frozen from the start": ({"counter": Counter(frozen_at_s=0.0)}, "counter-frozen"),
    "counter frozen midway": ({"counter": Counter(frozen_at_s=30.0)}, "counter-frozen"),
    "counter reset": ({"counter": Counter(reset_at_s=30.0)}, "counter-reset"),
    "counter jumps": ({"counter": Counter(jump_at_s=30.0, jump_j=90_000.0)}, "counter-jump"),
    "counter jumps back": ({"counter": Counter(jump_at_s=30.0, jump_j=-9_000.0)}, "counter-reset"),
    "counter off by a fifth": ({"counter": Counter(gain=1.2)}, "readings-disagree"),
    "counter off by a twentieth": ({"counter": Counter(gain=1.05)}, "readings-disagree"),
    "counter reads zero once": (
        {"faults": (Fault("zero", on="energy", at_s=30.0, until_s=30.11),)},
        "counter-outlier",
    ),
    "counter fails once": (
        {"faults": (Fault("unknown", on="energy", at_s=30.0, until_s=30.11),)},
        "reads-failed",
    ),
    "power is zero for ten seconds": (
        {"faults": (Fault("zero", on="power", at_s=30.0, until_s=40.0),)},
        "power-zero",
    ),
    "power is zero and there is no counter": (
        {"faults": (Fault("zero", on="power"),), "counter": NO_COUNTER},
        "power-zero",
    ),
    "power spikes": (
        {"faults": (Fault("spike", on="power", at_s=30.0, until_s=30.11, value=9000.0),)},
        "power-spike",
    ),
    "power not supported for a while": (
        {"faults": (Fault("unsupported", on="power", at_s=30.0, until_s=33.0),)},
        "reads-failed",
    ),
    "lost for a while": ({"faults": (Fault("lost", at_s=30.0, until_s=36.0),)}, "sampling-gap"),
    "lost for good": ({"faults": (Fault("lost", at_s=30.0),)}, "energy-unknown"),
    "lost for good, no counter": (
        {"faults": (Fault("lost", at_s=30.0),), "counter": NO_COUNTER},
        "energy-unknown",
    ),
    "frozen, and power lost": (
        {
            "counter": Counter(frozen_at_s=30.0),
            "faults": (Fault("unknown", on="power", at_s=10.0),),
        },
        "counter-frozen",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_ends_valid_or_states_a_wrong_number(fault, watched):
    change, code = FAULTS[fault]
    result, codes, made = judged(watched(replace(GPU, **change)))
    assert code in codes
    assert result is not Quality.VALID
    assert all(e.energy_j is None or e.energy_j > 0 for e in made.energies)
    assert all(e.reason for e in made.energies if e.energy_j is None)
    train_j = source_energy_j(made, primary_source(made), "train")
    width_j = source_uncertainty_j(made, primary_source(made), "train")
    if result is Quality.SUSPECT and code != "readings-disagree":
        assert abs(train_j - 70 * POWER_W) <= width_j + 0.001 * train_j
