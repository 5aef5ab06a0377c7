"""``monitor --record`` keeps what the driver answered, and the scripted library plays it again."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pynvml
import pytest

from fakes.faulty_machine import environment
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_replay import read_recording, read_start_s, replay
from fakes.nvml_scenario import (
    PART_TIME,
    RUNNING_AVERAGE,
    UNSUPPORTED,
    Counter,
    FakeGpu,
    Fault,
    Process,
    Scenario,
    Throttle,
)
from fakes.nvml_session import opened
from fakes.power_shapes import Square
from program import Ended, start, wbcbench
from wbcbench.power.recording import READINGS_S

TRAINING_S = "4"
OTHERS_PID = 4_000_001
HIDDEN = FakeGpu(
    power=Square(90.0, 280.0, 0.7),
    uuid="GPU-0f0f0f0f-1111-2222-3333-444444444444",
    serial="1320000000077",
    instant=PART_TIME,
    counter=Counter(step_s=0.1),
    processes=(Process(OTHERS_PID, memory_bytes=5 << 30),),
    temperatures=((0.0, 40.0), (12.0, 70.0)),
    throttles=(Throttle(4, at_s=5.0),),
    utilization=93,
)
# Without counter and instant power; it goes while it is recorded.
OTHER = FakeGpu(
    power=Square(60.0, 150.0, 1.3),
    uuid="GPU-0a0a0a0a-1111-2222-3333-444444444444",
    name="NVIDIA A100-SXM4-40GB",
    bus="00000000:4B:00.0",
    serial="",
    instant=UNSUPPORTED,
    usage=RUNNING_AVERAGE,
    counter=Counter(supported=False),
    mig=-1,
    faults=(Fault("lost", at_s=6.0), Fault("unsupported", on="modes")),
)


@dataclass(frozen=True)
class Recorded:
    """A recording of two boards, what was played, and what the command left."""

    path: Path
    scenario: Scenario
    csv: Path
    ended: Ended

    @property
    def offset_s(self) -> float:
        """What scenario time was as the recording began."""
        assert self.scenario.epoch_s is not None
        return read_start_s(self.path) - self.scenario.epoch_s


@pytest.fixture(scope="module")
def recorded(nvml_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("recorded")
    scenario = Scenario((HIDDEN, OTHER), epoch_s=time.monotonic(), driver="575.51.03")
    env = environment(nvml_folder, scenario.write(folder))
    path, polls = folder / "board.jsonl.gz", folder / "polls.csv"
    options = ("--meters", "nvml", "--json", "--no-save", "--csv", str(polls))
    command = ("monitor", *options, "--record", str(path), "--", "sleep", TRAINING_S)
    return Recorded(path, scenario, polls, wbcbench(*command, env=env))


def test_a_command_its_csv_and_its_document_are_as_without_a_recording(recorded: Recorded) -> None:
    assert recorded.ended.code == 0
    assert recorded.ended.json["duration_s"] >= float(TRAINING_S)
    assert list(csv.DictReader(recorded.csv.open()))


Question = Callable[[Any], Any]
FIELDS = [83, 186, 185]
ENERGY = pynvml.nvmlDeviceGetTotalEnergyConsumption
QUESTIONS: dict[tuple[Any, ...], Question] = {  # by the call in C and what it is given
    ("nvmlDeviceGetFieldValues", *FIELDS): lambda handle: [
        (field.nvmlReturn, field.nvmlReturn == 0 and field.value.uiVal)
        for field in pynvml.nvmlDeviceGetFieldValues(handle, FIELDS)
    ],
    ("nvmlDeviceGetTotalEnergyConsumption",): pynvml.nvmlDeviceGetTotalEnergyConsumption,
    ("nvmlDeviceGetPowerUsage",): pynvml.nvmlDeviceGetPowerUsage,
    ("nvmlDeviceGetName", 96): pynvml.nvmlDeviceGetName,
    ("nvmlDeviceGetPciInfo_v3",): lambda handle: pynvml.nvmlDeviceGetPciInfo(handle).busId,
    ("nvmlDeviceGetArchitecture",): pynvml.nvmlDeviceGetArchitecture,
    ("nvmlDeviceGetPersistenceMode",): pynvml.nvmlDeviceGetPersistenceMode,
    ("nvmlDeviceGetComputeMode",): pynvml.nvmlDeviceGetComputeMode,
    ("nvmlDeviceGetEccMode",): pynvml.nvmlDeviceGetEccMode,
    ("nvmlDeviceGetMigMode",): pynvml.nvmlDeviceGetMigMode,
    ("nvmlDeviceGetTemperature", 0): lambda h: pynvml.nvmlDeviceGetTemperature(h, 0),
    ("nvmlDeviceGetTemperatureV",): lambda h: pynvml.nvmlDeviceGetTemperatureV(h, 0),
    ("nvmlDeviceGetClockInfo", 1): lambda h: pynvml.nvmlDeviceGetClockInfo(h, 1),
    ("nvmlDeviceGetClockInfo", 2): lambda h: pynvml.nvmlDeviceGetClockInfo(h, 2),
    ("nvmlDeviceGetUtilizationRates",): pynvml.nvmlDeviceGetUtilizationRates,
    ("nvmlDeviceGetMemoryInfo",): pynvml.nvmlDeviceGetMemoryInfo,
    ("nvmlDeviceGetMemoryInfo_v2",): lambda handle: pynvml.nvmlDeviceGetMemoryInfo(
        handle, pynvml.nvmlMemory_v2
    ),
    ("nvmlDeviceGetCurrentClocksEventReasons",): (pynvml.nvmlDeviceGetCurrentClocksEventReasons),
    ("nvmlDeviceGetCurrentClocksThrottleReasons",): (
        pynvml.nvmlDeviceGetCurrentClocksThrottleReasons
    ),
    ("nvmlDeviceGetComputeRunningProcesses_v3",): lambda handle: [
        process.usedGpuMemory for process in pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)
    ],
    ("nvmlDeviceGetGraphicsRunningProcesses_v3",): (
        pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3
    ),
    ("nvmlDeviceGetPowerManagementLimit",): pynvml.nvmlDeviceGetPowerManagementLimit,
    ("nvmlDeviceGetPowerManagementDefaultLimit",): (
        pynvml.nvmlDeviceGetPowerManagementDefaultLimit
    ),
    ("nvmlDeviceGetPowerManagementLimitConstraints",): (
        pynvml.nvmlDeviceGetPowerManagementLimitConstraints
    ),
    ("nvmlDeviceGetEnforcedPowerLimit",): pynvml.nvmlDeviceGetEnforcedPowerLimit,
}


def ask(question: Question, handle: Any) -> str:
    """The answer, or the error, as text: structures are made anew each time."""
    try:
        return str(question(handle))
    except pynvml.NVMLError as error:
        return f"error {error.value}"


def ask_all(
    nvml: ScriptedNvml, scenario: Scenario, asked: Sequence[tuple[float, int, Question]]
) -> list[str]:
    """What the machine answers at these times, of these boards."""
    clock = nvml.clock()
    nvml.play(replace(scenario, clock=clock.path))
    with opened():
        boards = range(pynvml.nvmlDeviceGetCount())
        handles = [pynvml.nvmlDeviceGetHandleByIndex(board) for board in boards]
        answers = []
        for t_s, board, question in asked:
            clock.set_s(t_s)
            answers.append(ask(question, handles[board]))
    return answers


def test_a_replay_answers_every_program_as_the_board_did_at_the_same_time(
    recorded: Recorded, scripted_nvml: ScriptedNvml
) -> None:
    polls = [(a, QUESTIONS.get((a.call, *a.given[1:]))) for a in read_recording(recorded.path)]
    before, after, shown = (
        ask_all(
            scripted_nvml,
            scenario,
            [
                (
                    recorded.offset_s + poll.t_s + share * (poll.took_s + 1e-5),
                    poll.given[0],
                    question,
                )
                for poll, question in polls
                if question
            ],
        )
        for scenario, share in (
            (recorded.scenario, -0.5),
            (recorded.scenario, 0.5),
            (replay(recorded.path, recorded.offset_s), 0.0),
        )
    )
    asked = [(poll.call, *poll.given) for poll, question in polls if question]
    told = [  # but for those in which a reading was renewed
        (question, first, answer)
        for question, first, last, answer in zip(asked, before, after, shown, strict=True)
        if first == last
    ]
    assert [each for each in told if each[1] != each[2]] == []
    assert {question for question, _, _ in told} == {
        (call, board, *given) for call, *given in QUESTIONS for board in (0, 1)
    }
    assert {"error 3", "error 15"} <= set(shown)


def test_the_joules_of_a_window_are_those_of_the_board_but_for_the_time_between_polls(
    recorded: Recorded, scripted_nvml: ScriptedNvml
) -> None:
    polls_s = [
        answer.t_s + recorded.offset_s
        for answer in read_recording(recorded.path)
        if (answer.call, *answer.given) == ("nvmlDeviceGetTotalEnergyConsumption", 0)
    ]
    grain_s = max(late_s - early_s for early_s, late_s in pairwise(polls_s))
    edges_s = polls_s[0] + 1.0, polls_s[-1] - 1.0
    asked = [(edge_s - ago_s, 0, ENERGY) for edge_s in edges_s for ago_s in (grain_s + 0.001, 0.0)]
    least_mj, start_mj, end_least_mj, end_mj = map(
        int, ask_all(scripted_nvml, recorded.scenario, asked)
    )
    _, replayed_mj, _, end_replayed_mj = map(
        int, ask_all(scripted_nvml, replay(recorded.path, recorded.offset_s), asked)
    )
    assert least_mj <= replayed_mj <= start_mj
    assert end_least_mj <= end_replayed_mj <= end_mj
    assert end_mj - start_mj > 500_000


def test_the_driver_of_a_replay_is_the_recorded_one(
    recorded: Recorded, scripted_nvml: ScriptedNvml
) -> None:
    scripted_nvml.play(replay(recorded.path))
    with opened():
        assert pynvml.nvmlSystemGetDriverVersion() == "575.51.03"
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        by_uuid = pynvml.nvmlDeviceGetHandleByUUID(pynvml.nvmlDeviceGetUUID(handle))
        assert pynvml.nvmlDeviceGetName(by_uuid) == HIDDEN.name


def test_what_was_never_asked_is_not_found(recorded: Recorded, scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(replay(recorded.path))
    with opened():
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        with pytest.raises(pynvml.NVMLError_FunctionNotFound):
            pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3(handle)
        (field,) = pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_POWER_MIN_LIMIT])
        assert field.nvmlReturn == pynvml.NVML_ERROR_NOT_SUPPORTED


def test_readings_are_asked_for_a_hundred_times_a_second() -> None:
    assert READINGS_S <= 0.01


def test_no_uuid_serial_number_or_process_of_the_machine_stands_in_the_file(
    recorded: Recorded,
) -> None:
    text = gzip.decompress(recorded.path.read_bytes()).decode()
    assert HIDDEN.name in text
    for word in (HIDDEN.uuid[4:], OTHER.uuid[4:], HIDDEN.serial, str(OTHERS_PID)):
        assert word not in text


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.97])
def test_a_torn_file_holds_every_answer_before_the_tear(
    share: float, recorded: Recorded, tmp_path: Path
) -> None:
    whole = list(read_recording(recorded.path))
    packed = recorded.path.read_bytes()
    plain = gzip.decompress(packed)
    for data, name in ((packed, "torn.jsonl.gz"), (plain, "torn.jsonl")):
        torn = tmp_path / name
        torn.write_bytes(data[: int(share * len(data))])
        left = list(read_recording(torn))
        assert left == whole[: len(left)]
        assert len(left) >= (share - 0.2) * len(whole)


def test_a_recording_that_is_killed_holds_what_was_answered(
    nvml_folder: Path, tmp_path: Path
) -> None:
    env = environment(nvml_folder, Scenario((HIDDEN,)).write(tmp_path))
    path = tmp_path / "killed.jsonl.gz"
    process = start("monitor", "--no-save", "--record", str(path), "--meters", "nvml", env=env)
    while not path.exists() or sum(1 for _ in read_recording(path)) < 500:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    answers = list(read_recording(path))
    assert len(answers) >= 500
    assert all(answer.code == 0 for answer in answers if answer.call == "nvmlDeviceGetName")


@pytest.mark.parametrize("words", [(), ("--", "touch", "started")])
def test_without_an_nvidia_board_nothing_is_started_or_written(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    env = {"LD_LIBRARY_PATH": "", "WBCBENCH_RESULTS": str(tmp_path / "results")}
    ended = wbcbench("monitor", "--record", "board.jsonl", *words, env=env, cwd=tmp_path)
    assert ended.code == 3
    assert "libnvidia-ml.so.1 was not found" in ended.err
    assert "or leave --record out." in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said_before_anything_is_measured(
    nvml_folder: Path, tmp_path: Path
) -> None:
    env = environment(nvml_folder, Scenario((HIDDEN,)).write(tmp_path))
    place = str(tmp_path / "no" / "board.jsonl")
    ended = wbcbench("monitor", "--record", place, "--no-save", "--", "true", env=env)
    assert (ended.code, ended.out) == (2, "")
    assert f"--record {place} cannot be written" in ended.err


def test_a_full_disk_ends_the_recording_and_not_the_measurement(
    nvml_folder: Path, tmp_path: Path
) -> None:
    env = environment(nvml_folder, Scenario((HIDDEN,)).write(tmp_path))
    options = ("--meters", "nvml", "--json", "--no-save", "--record", "/dev/full")
    ended = wbcbench("monitor", *options, "--", "sleep", "1", env=env)
    assert ended.code == 2
    assert json.loads(ended.out)["energy"]["energy_j"] > 0
    assert "--record /dev/full is incomplete: No space left on device." in ended.err
