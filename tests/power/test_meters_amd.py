"""AMD GPUs where ROCm's library leaves something out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fakes.amdsmi_plugin import AMD_GPU, ScriptedAmd
from fakes.nvml_scenario import Scenario
from wbcbench.power.amd import AmdDevice, AmdGpu, list_gpus, session


@pytest.fixture
def gpu(scripted_amd: ScriptedAmd) -> AmdGpu:
    scripted_amd.play(Scenario((AMD_GPU,)))
    with session():
        (gpu,) = list_gpus()
    return gpu


def answer(monkeypatch: pytest.MonkeyPatch, name: str, facts: dict[str, Any]) -> None:
    """Let another version of AMD's package answer."""
    import amdsmi

    monkeypatch.setattr(amdsmi, name, lambda handle: facts)


@pytest.mark.parametrize("missing", ["min_power_cap", "max_power_cap"])
def test_a_power_limit_that_is_not_available_is_unknown(
    missing: str, gpu: AmdGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    caps = {"power_cap": "N/A", "min_power_cap": 100_000_000, "max_power_cap": 300_000_000}
    answer(monkeypatch, "amdsmi_get_power_cap_info", caps)
    with AmdDevice(gpu) as device:
        assert device.power_limit_w() is None
        assert device.power_limit_range_w() == (100.0, 300.0)
        assert device.describe()["power_limit_default_w"] is None
    answer(monkeypatch, "amdsmi_get_power_cap_info", caps | {missing: "N/A"})
    with AmdDevice(gpu) as device:
        assert device.power_limit_range_w() is None


@pytest.mark.parametrize(
    ("facts", "reading"),
    [
        ({"socket_power": 90, "current_socket_power": 91}, ("current_socket_power", 91)),
        ({"socket_power": 90, "current_socket_power": "N/A"}, ("socket_power", 90)),
        ({"socket_power": 90, "average_socket_power": 92}, ("average_socket_power", 92)),
    ],
)
def test_the_power_is_read_under_any_name_that_the_package_has_for_it(
    facts: dict[str, Any],
    reading: tuple[str, float],
    gpu: AmdGpu,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer(monkeypatch, "amdsmi_get_power_info", facts)
    with AmdDevice(gpu) as device:
        assert (device.readings[-1], device.read()[-1]) == reading


def test_no_gpu_is_made_visible_by_an_empty_name_which_would_hide_them_all(gpu: AmdGpu) -> None:
    assert AmdDevice(gpu).visible_as == ("ROCR_VISIBLE_DEVICES", gpu.hip_uuid)
    nameless = replace(gpu, index=3, hip_uuid="")
    assert AmdDevice(nameless).visible_as[1] == "0"
    assert AmdDevice(replace(nameless, hip_id=None)).visible_as[1] == "3"


def test_text_that_is_not_utf_8_and_a_limit_of_nothing_are_unknown(
    scripted_amd: ScriptedAmd,
) -> None:
    board = replace(AMD_GPU, name="Test \udcff", limit_default_w=0.0, limit_min_w=0.0)
    scripted_amd.play(Scenario((board,), driver="\udcff"))
    with session():
        (gpu,) = list_gpus()
    with AmdDevice(gpu) as device:
        facts = device.describe()
        assert None not in device.read()
        assert device.power_limit_w() is None
        assert device.power_limit_range_w() == (0.0, 300.0)
    assert gpu.name == ""
    assert (facts["driver"], facts["power_limit_default_w"]) == (None, None)
