"""A run begins when the GPU is cool enough, or after a while, and says which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders.evidence import counter, evidence, find_warnings, healthy_board, power
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Fault, Scenario
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.quality import Severity
from wbcbench.core.spec import RunSpec
from wbcbench.power.nvml import NvmlDevice, list_gpus, session
from wbcbench.power.telemetry import LONGEST_COOLDOWN_S, Cooldown, cool_down

COOLING = ((0.0, 80.0), (100.0, 40.0))  # 0.4 °C a second


def waited(nvml: ScriptedNvml, gpu: FakeGpu, target_c: float, *, stop: bool = False) -> Cooldown:
    clock = nvml.clock()
    nvml.play(Scenario((gpu,), clock=clock.path))
    with session():
        [identity] = list_gpus()
    with NvmlDevice(identity) as device:
        return cool_down([device], target_c, clock, lambda: not stop)


def test_it_waits_until_the_board_is_cool_enough(scripted_nvml: ScriptedNvml) -> None:
    found = waited(scripted_nvml, FakeGpu(temperatures=COOLING), 50.0)
    assert found.is_reached
    assert found.reached_c == 50.0
    assert found.waited_s == pytest.approx(74.0, abs=1.5)


def test_a_cool_board_does_not_wait(scripted_nvml: ScriptedNvml) -> None:
    assert waited(scripted_nvml, FakeGpu(), 50.0) == Cooldown(50.0, 40.0, 0.0, is_reached=True)


def test_a_board_that_never_gets_there_is_not_waited_for_for_ever(
    scripted_nvml: ScriptedNvml,
) -> None:
    found = waited(scripted_nvml, FakeGpu(), 30.0)
    assert not found.is_reached
    assert LONGEST_COOLDOWN_S <= found.waited_s <= LONGEST_COOLDOWN_S + 2


def test_ctrl_c_ends_the_wait(scripted_nvml: ScriptedNvml) -> None:
    assert waited(scripted_nvml, FakeGpu(), 30.0, stop=True).waited_s == 0.0


def test_a_board_without_a_temperature_cannot_be_waited_for(scripted_nvml: ScriptedNvml) -> None:
    gpu = FakeGpu(faults=(Fault("unsupported", on="temperature"),))
    with pytest.raises(CannotMeasureError, match="--cooldown 50"):
        waited(scripted_nvml, gpu, 50.0)


@pytest.mark.parametrize(("target_c", "is_doubt"), [(None, False), (50.0, True), (54.0, False)])
def test_a_run_that_began_warmer_than_asked_is_suspect(
    target_c: float | None, *, is_doubt: bool
) -> None:
    states = (healthy_board("idle_cold", temperature_start_c=55.0), healthy_board())
    made = evidence(counter(), power(), telemetry=states)
    spec = replace(RunSpec("relu-dropout"), cooldown_c=target_c)
    found = find_warnings(replace(made, spec=spec)).get("warm-start")
    assert (found is not None) is is_doubt
    if found is not None:
        assert found.severity is Severity.SUSPECT
        assert found.window == "idle_cold"
