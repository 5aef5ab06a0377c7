"""Whose joules are stated: ``monitor`` and ``Meter`` in real time, on machines of unlike boards.

What holds for any mixture is shown in virtual time in ``test_sums_over_boards``; here are the worst
cases as a user meets them, with CodeCarbon beside, in processes of their own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fakes.faulty_machine import HEALTHY, Measured, measured
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Fault, Scenario
from fakes.power_shapes import Constant
from wbcbench.measure.meter import Meter

FIRST_W, SECOND_W = 250.0, 300.0
FIRST = replace(HEALTHY, power=Constant(FIRST_W), limit_default_w=350.0)
SECOND = replace(
    FIRST, uuid="GPU-2", bus="00000000:5E:00.0", power=Constant(SECOND_W),
    counter=replace(HEALTHY.counter, supported=False),
)  # fmt: skip
WITH_CODECARBON = ("--meters", "nvml,codecarbon")
AUTO = ("--meters", "auto")  # CodeCarbon among them


@dataclass(frozen=True)
class Machine:
    """Boards from the moment of the fault on, and how they are measured."""

    boards: Callable[[float], tuple[FakeGpu, ...]]
    words: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def with_fault(gpu: FakeGpu, kind: str, **when: object) -> FakeGpu:
    return replace(gpu, faults=(Fault(kind, **when),))  # type: ignore[arg-type]


MACHINES = {
    "unlike": Machine(lambda _: (FIRST, SECOND)),
    "lost at the end": Machine(
        lambda t: (FIRST, with_fault(SECOND, "lost", at_s=t)), WITH_CODECARBON
    ),
    "MIG": Machine(lambda _: (replace(FIRST, mig=1),), AUTO),
    "hidden": Machine(lambda _: (FIRST, SECOND), AUTO, {"CUDA_VISIBLE_DEVICES": ""}),
}


@pytest.fixture(scope="module")
def all_measured(
    nvml_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Future[Measured]]:
    folder, pool = tmp_path_factory.mktemp("whose"), ThreadPoolExecutor(len(MACHINES))
    path = os.pathsep.join([str(nvml_folder), os.environ["PATH"]])  # CodeCarbon asks nvidia-smi
    futures = {
        name: pool.submit(
            measured,
            nvml_folder,
            folder / name.replace(" ", "-"),
            lambda at_s, machine=machine: Scenario(machine.boards(at_s)),
            for_s=2.0,
            faults_at_s=(20.0, 60.0) if machine.words else (8.0, 20.0, 60.0),
            words=machine.words,
            more={"PATH": path, **machine.environment},
        )
        for name, machine in MACHINES.items()
    }
    pool.shutdown(wait=False)
    return futures


@pytest.fixture
def seen(request: pytest.FixtureRequest, all_measured: Mapping[str, Future[Measured]]) -> Measured:
    return all_measured[request.param].result()


def of(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("seen", names, indirect=True)


def details(seen: Measured) -> str:
    return " ".join(warning["detail"] for warning in seen.document["warnings"])


def is_within(energy_j: float, uncertainty_j: float, true_j: float) -> bool:
    """Whether a single real-time measurement agrees with the truth; see ``Measured``."""
    return abs(energy_j - true_j) <= 1.5 * uncertainty_j


@pytest.mark.usefixtures("all_measured")  # which goes on meanwhile
def test_a_meter_sums_boards_of_unlike_abilities(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((FIRST, SECOND)))
    with Meter("nvml", interval_s=0.05) as meter:
        time.sleep(2.0)
    energy, (window,) = meter.energy, meter.windows
    assert {name.split("/")[1] for name in energy.channel.split("+")} == {"gpu0", "gpu1"}
    assert energy.energy_j is not None
    assert energy.uncertainty_j is not None
    true_j = (FIRST_W + SECOND_W) * window.duration_s
    assert is_within(energy.energy_j, energy.uncertainty_j, true_j)


@of("unlike")
def test_boards_of_unlike_abilities_are_summed_each_by_its_own_reading(seen: Measured) -> None:
    energy = seen.primary
    assert energy["channel"].split("+") == ["nvml/gpu0/counter", "nvml/gpu1/power"]
    assert energy["method"] == "counter+integral_instant"
    true_j = (FIRST_W + SECOND_W) * seen.document["duration_s"]
    assert is_within(energy["energy_j"], energy["uncertainty_j"], true_j)


@of("lost at the end")
def test_without_the_joules_of_one_board_there_is_no_sum_and_it_is_named(seen: Measured) -> None:
    assert seen.primary["energy_j"] is None
    assert seen.quality == "invalid"
    assert "gpu1" in details(seen) or "GPU 1" in details(seen)


@of("lost at the end")
def test_codecarbon_stands_beside_the_board_that_was_lost(seen: Measured) -> None:
    channels = {channel["name"]: channel for channel in seen.document["channels"]}
    assert "codecarbon/gpu" in channels
    counter = channels["nvml/gpu0/counter"]
    true_j = FIRST_W * seen.document["duration_s"]
    assert is_within(counter["energy_j"], counter["uncertainty_j"], true_j)


@of("MIG")
def test_the_joules_of_a_mig_instance_are_nobodys(seen: Measured) -> None:
    assert seen.primary["energy_j"] is None
    assert "MIG" in details(seen)


@of("hidden")
def test_hidden_boards_are_charged_by_nobody(seen: Measured) -> None:
    gpu_j = [c["energy_j"] for c in seen.document["channels"] if "gpu" in c["name"]]
    assert not any(gpu_j)
