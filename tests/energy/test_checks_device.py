"""The GPU that was measured must be the one that trained."""

from __future__ import annotations

import pytest

from builders.evidence import counter, evidence, find_warnings, grade_run, power
from wbcbench.core.quality import Quality, Severity
from wbcbench.energy.source import primary_source

BOARD = {"nvml/gpu0": {"pci_bus_id": "00000000:3B:00.0"}}


def trained_on(device: str, bus: str | None, meters: object = BOARD):
    return evidence(counter(), power(), device=device, device_bus=bus, meters=meters)


@pytest.mark.parametrize("bus", ["00000000:3B:00.0", "0000:3b:00.0", None])
def test_the_same_board_in_any_spelling_or_untold_is_no_doubt(bus):
    assert not set(find_warnings(trained_on("GPU:0 NVIDIA", bus))) & {"wrong-gpu", "gpu-not-used"}


def test_training_on_another_board_is_invalid_and_names_both():
    made = trained_on("GPU:0 NVIDIA", "00000000:AF:00.0")
    found = find_warnings(made)["wrong-gpu"]
    assert found.severity is Severity.INVALID
    assert "AF:00.0" in found.detail
    assert "3B:00.0" in found.detail
    assert grade_run(made) is Quality.INVALID


def test_training_on_the_processor_makes_a_measured_gpu_no_answer():
    made = trained_on("CPU:0", None)
    assert find_warnings(made)["gpu-not-used"].severity is Severity.INVALID
    assert grade_run(made) is Quality.INVALID


def test_without_a_measured_gpu_the_processor_is_where_training_belongs():
    made = trained_on("CPU:0", None, meters={"rapl": {"zones": 2}})
    assert "gpu-not-used" not in find_warnings(made)
    assert primary_source(made) is not None
