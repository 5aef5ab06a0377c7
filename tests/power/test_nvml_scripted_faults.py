"""The scripted driver fails when and how it is told to, across processes and clocks."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pynvml
import pytest

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import (
    Counter,
    FakeGpu,
    Fault,
    Scenario,
)
from fakes.nvml_session import first, opened, still
from fakes.power_shapes import Constant

ENERGY = pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION
INSTANT = pynvml.NVML_FI_DEV_POWER_INSTANT
AVERAGE = pynvml.NVML_FI_DEV_POWER_AVERAGE


def test_a_power_limit_that_was_set_is_seen_by_another_process(
    scripted_nvml: ScriptedNvml,
) -> None:
    scripted_nvml.play(Scenario((FakeGpu(limit_settable=True),)))
    program = (
        "import pynvml as n; n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(0);"
        "print(n.nvmlDeviceGetEnforcedPowerLimit(h), n.nvmlDeviceGetPowerManagementLimit(h),"
        "n.nvmlDeviceGetPowerManagementDefaultLimit(h))"
    )
    with opened():
        pynvml.nvmlDeviceSetPowerManagementLimit(first(), 180_000)
        told = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        with pytest.raises(pynvml.NVMLError_InvalidArgument):
            pynvml.nvmlDeviceSetPowerManagementLimit(first(), 90_000)
    assert told.stdout.split() == ["180000", "180000", "300000"]


def test_a_power_limit_may_not_be_permitted(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario())
    with opened(), pytest.raises(pynvml.NVMLError_NoPermission):
        pynvml.nvmlDeviceSetPowerManagementLimit(first(), 180_000)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("lost", pynvml.NVMLError_GpuIsLost),
        ("unknown", pynvml.NVMLError_Unknown),
        ("unsupported", pynvml.NVMLError_NotSupported),
    ],
)
def test_a_call_fails_only_while_its_fault_holds(
    kind: str, error: type[Exception], scripted_nvml: ScriptedNvml
) -> None:
    clock = scripted_nvml.clock()
    gpu = FakeGpu(faults=(Fault(kind, at_s=2.0, until_s=3.0),))
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    with opened():
        pynvml.nvmlDeviceGetPowerUsage(first())
        clock.set_s(2.5)
        with pytest.raises(error):
            pynvml.nvmlDeviceGetPowerUsage(first())
        with pytest.raises(error):
            pynvml.nvmlDeviceGetFieldValues(first(), [ENERGY])
        clock.set_s(3.0)
        assert pynvml.nvmlDeviceGetPowerUsage(first()) == 200_000


def test_a_fault_can_strike_the_nth_call_of_one_reading(scripted_nvml: ScriptedNvml) -> None:
    gpu = FakeGpu(faults=(Fault("unknown", on="energy", nth=3, count=2),))
    still(scripted_nvml, gpu)
    with opened():
        pairs = [pynvml.nvmlDeviceGetFieldValues(first(), [ENERGY, INSTANT]) for _ in range(6)]
    assert [pair[0].nvmlReturn for pair in pairs] == [0, 0, 999, 999, 0, 0]
    assert [pair[1].nvmlReturn for pair in pairs] == [0] * 6


def test_zero_and_spike_replace_a_value_and_not_the_call(scripted_nvml: ScriptedNvml) -> None:
    clock = scripted_nvml.clock()
    gpu = FakeGpu(
        faults=(
            Fault("zero", on="power", at_s=1.0, until_s=2.0),
            Fault("spike", on="instant", at_s=3.0, until_s=4.0, value=9000.0),
        )
    )
    scripted_nvml.play(Scenario((gpu,), clock=clock.path))
    seen = []
    with opened():
        for now_s in (0.5, 1.5, 2.5, 3.5):
            clock.set_s(now_s)
            values = pynvml.nvmlDeviceGetFieldValues(first(), [INSTANT, AVERAGE])
            seen.append(tuple(value.value.uiVal // 1000 for value in values))
    assert seen == [(200, 200), (0, 0), (200, 200), (9000, 200)]


def test_a_hanging_call_on_one_gpu_does_not_hold_up_another(scripted_nvml: ScriptedNvml) -> None:
    hanging = FakeGpu(uuid="GPU-a", faults=(Fault("hang", on="fields", nth=1, value=0.5),))
    scripted_nvml.play(Scenario((hanging, FakeGpu(uuid="GPU-b"))))
    order: list[int] = []
    calls_before = scripted_nvml.calls()

    def poll(index: int) -> None:
        pynvml.nvmlDeviceGetFieldValues(pynvml.nvmlDeviceGetHandleByIndex(index), [ENERGY])
        order.append(index)

    with opened():
        slow = threading.Thread(target=poll, args=(0,))
        slow.start()
        while scripted_nvml.calls() == calls_before:
            time.sleep(0.001)
        poll(1)
        slow.join()
    assert order == [1, 0]


def test_time_is_shared_with_children_and_can_run_faster(scripted_nvml: ScriptedNvml) -> None:
    gpu = FakeGpu(power=Constant(1000.0), counter=Counter(step_s=0.0, start_j=0.0))
    epoch_s = time.monotonic()
    scripted_nvml.play(Scenario((gpu,), epoch_s=epoch_s, scale=50.0))
    program = (
        "import pynvml as n, time; n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(0);"
        "print(time.monotonic(), n.nvmlDeviceGetTotalEnergyConsumption(h), time.monotonic())"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    before_s, energy_mj, after_s = (float(word) for word in told.stdout.split())
    scenario_s = energy_mj / 1e6
    assert (before_s - epoch_s) * 50 - 1e-3 <= scenario_s <= (after_s - epoch_s) * 50 + 1e-3


def test_without_a_scenario_the_driver_is_not_loaded(scripted_nvml: ScriptedNvml) -> None:
    assert "WBCBENCH_FAKE_NVML" not in os.environ
    with pytest.raises(pynvml.NVMLError_DriverNotLoaded):
        pynvml.nvmlInit()


def test_a_scenario_line_that_is_not_understood_is_an_error(
    scripted_nvml: ScriptedNvml, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = scripted_nvml.play(Scenario())
    path.write_text(path.read_text() + "nonsense here=1\n")
    with pytest.raises(pynvml.NVMLError_Unknown):
        pynvml.nvmlInit()
    assert "is not understood" in capfd.readouterr().err
