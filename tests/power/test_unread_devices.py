"""Devices that are there and cannot be read: absent by name, never left out without a word."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.amdsmi_plugin import AMD_GPU, SECOND_AMD_GPU, ScriptedAmd
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import UNSUPPORTED, Counter, FakeGpu, Fault, Scenario
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.trace import Domain
from wbcbench.power import codecarbon, nvml
from wbcbench.power.meter import MeterRequest, MeterSet, find_meters, open_meters

NO_READING = {
    "instant": UNSUPPORTED,
    "average": UNSUPPORTED,
    "usage": UNSUPPORTED,
    "counter": Counter(supported=False),
}
LOST = (Fault("lost"),)
UNREADABLE: dict[str, dict[str, object]] = {
    "lost": {"faults": LOST},
    "without identity": {"faults": (Fault("lost", on="identity"),)},
    "without readings": NO_READING,
    "divided by MIG": {"mig": 1},
}


def board(index: int, **changes: object) -> FakeGpu:
    return FakeGpu(uuid=f"GPU-{index}{index}", bus=f"00000000:{index + 16:02X}:00.0", **changes)  # type: ignore[arg-type]


def machine(nvml: ScriptedNvml, **changes: object) -> None:
    """Three boards, of which the second has ``changes``."""
    nvml.play(Scenario((board(0), board(1, **changes), board(2))))


def opened(*names: str, **request: object) -> MeterSet:
    with ExitStack() as stack:
        return open_meters(names, MeterRequest(**request), stack)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_board_that_cannot_be_read_is_absent_by_name_and_the_others_are_measured(
    case: str, scripted_nvml: ScriptedNvml
) -> None:
    machine(scripted_nvml, **UNREADABLE[case])
    found = opened("auto")
    boards = [meter.name for meter in found.meters if meter.device]
    [absent] = [meter for meter in found.absent if meter.domain is Domain.GPU]
    assert boards == ["nvml/gpu0", "nvml/gpu2"]
    assert absent.meter == "nvml/gpu1"
    assert absent.reason.startswith("GPU 1")
    assert absent.reason.endswith("--gpus 0,2.")


@pytest.mark.parametrize("case", UNREADABLE)
def test_asked_for_by_name_nvml_refuses_with_the_board_and_the_way_out(
    case: str, scripted_nvml: ScriptedNvml
) -> None:
    machine(scripted_nvml, **UNREADABLE[case])
    with pytest.raises(CannotMeasureError, match=r"GPU 1.*--gpus 0,2"):
        opened("nvml")
    assert not opened("nvml", gpus=("0", "2")).absent


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_board_that_is_hidden_or_not_named_is_not_missed(
    case: str, scripted_nvml: ScriptedNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(scripted_nvml, **UNREADABLE[case])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-22")
    found = opened("nvml")
    assert [meter.name for meter in found.meters] == ["nvml/gpu2"]
    assert found.absent == []


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_run_takes_the_first_gpu_that_can_be_read(case: str, scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((board(0, **UNREADABLE[case]), board(1))))
    found = opened("nvml", one_gpu=True)
    assert [meter.name for meter in found.meters] == ["nvml/gpu1"]
    assert found.absent == []


@pytest.mark.parametrize(
    ("code", "domain"), [(9, None), (4, None), (18, None), (15, Domain.GPU), (999, Domain.GPU)]
)
def test_only_a_driver_that_is_there_and_fails_has_gpus_that_are_unread(
    code: int,
    domain: Domain | None,
    scripted_nvml: ScriptedNvml,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nvml, "_DEVICE_FILES", tmp_path)
    scripted_nvml.play(Scenario(init_error=code))
    absences = find_meters(("auto",), MeterRequest()).absent
    [absent] = [meter for meter in absences if meter.meter == "nvml"]
    assert absent.domain is domain


@pytest.mark.parametrize(
    ("visible", "domain"), [(None, Domain.GPU), ("0", Domain.GPU), ("", None), ("-1", None)]
)
def test_a_gpu_that_the_system_shows_is_unread_where_its_library_does_not_start(
    visible: str | None,
    domain: Domain | None,
    scripted_nvml: ScriptedNvml,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(nvml, "_DEVICE_FILES", tmp_path)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    scripted_nvml.play(Scenario(init_error=18))
    absences = find_meters(("auto",), MeterRequest()).absent
    [absent] = [meter for meter in absences if meter.meter == "nvml"]
    assert absent.domain is domain


def test_a_hidden_gpu_is_nobodys(
    scripted_nvml: ScriptedNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(scripted_nvml)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = opened("auto")
    assert not [c for meter in found.meters for c in meter.channels if c.domain is Domain.GPU]
    assert not [meter for meter in found.absent if meter.domain is Domain.GPU]


@pytest.mark.parametrize("case", UNREADABLE)
def test_codecarbon_reads_no_board_that_nvml_refuses_and_says_so(
    case: str, scripted_nvml: ScriptedNvml
) -> None:
    machine(scripted_nvml, **UNREADABLE[case])
    [meter] = codecarbon.open_meters(MeterRequest())
    assert [(part.meter, part.domain) for part in meter.unread] == [("nvml/gpu1", Domain.GPU)]
    if case not in ("lost", "without identity"):  # CodeCarbon needs every board's handle
        with meter:
            [gpu] = [channel for channel in meter.channels if channel.domain is Domain.GPU]
            assert gpu.device == "GPU-00+GPU-22"
            assert meter.describe()["gpu_ids"] == [0, 2]


def test_an_amd_board_that_does_not_say_who_it_is_is_named_as_well(
    scripted_amd: ScriptedAmd,
) -> None:
    silent = replace(SECOND_AMD_GPU, faults=(Fault("lost", on="identity"),))
    scripted_amd.play(Scenario((AMD_GPU, silent)))
    with pytest.raises(CannotMeasureError, match=r"GPU 1 does not answer.*--gpus 0"):
        opened("amd")
    assert [meter.name for meter in opened("amd", gpus=("0",)).meters] == ["amd/gpu0"]
