"""Jobs of a cluster side by side on one node: each run on its board, none on another's."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.faulty_machine import HEALTHY, environment
from fakes.nvml_scenario import Process, Scenario
from program import only_run, start, wait_for_window, wbcbench
from wbcbench.core.job import JOB
from wbcbench.core.record import RunRecord
from wbcbench.core.trace import Domain

pytestmark = pytest.mark.tensorflow

OTHER = replace(HEALTHY, uuid="GPU-other", bus="00000000:5E:00.0")


@pytest.fixture
def node(nvml_folder: Path, tmp_path: Path) -> dict[str, str]:
    """A node with two boards and a space of its own for locks."""
    env = environment(nvml_folder, Scenario((HEALTHY, OTHER)).write(tmp_path))
    return env | {"WBCBENCH_LOCK_DIR": str(tmp_path)}


def job(number: int, gpu: int | None) -> dict[str, str]:
    """The environment of a job with one processor and one GPU, or none."""
    given = {
        "SLURM_JOB_ID": str(number), "SLURMD_NODENAME": "n1", "SLURM_JOB_CPUS_PER_NODE": "1",
    }  # fmt: skip
    shown = {"CUDA_VISIBLE_DEVICES": "" if gpu is None else str(gpu)}
    return given | shown | ({} if gpu is None else {"SLURM_STEP_GPUS": str(gpu)})


def words(cells: Path, results: Path, *more: str) -> list[str]:
    """A run that goes no further than its first idle window."""
    return [
        "run", "--variant", "leaky-dropout", "--data", str(cells), "--results", str(results),
        "--epochs", "1", "--idle", "600", "--batch-size", "8", "--meters", "nvml,codecarbon", *more,
    ]  # fmt: skip


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def record_of(results: Path) -> RunRecord:
    return only_run(results).read_record()


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a job cannot have a part of one processor")
def test_two_jobs_measure_each_its_board_and_the_nodes_processor_belongs_to_neither(
    node: dict[str, str], cells: Path, tmp_path: Path
) -> None:
    started = []
    for number, name in enumerate(("first", "second")):
        env = node | job(40 + number, number)
        started.append(start(*words(cells, tmp_path / name), env=env))
        wait_for_window(tmp_path / name, "idle_cold")
    for process in started:
        stop(process)
    for number, (name, board) in enumerate((("first", HEALTHY), ("second", OTHER))):
        record = record_of(tmp_path / name)
        facts = record.provenance[JOB]
        assert isinstance(facts, dict)
        assert (facts["id"], facts["gpus"], facts["shared"]) == (
            str(40 + number),
            str(number),
            False,
        )
        assert facts["boards"] == [
            {"device": board.uuid, "is_listed": True, "processes": 0, "used_bytes": 0}
        ]
        boards = {c.device for c in record.channels if c.domain is Domain.GPU and c.device}
        assert board.uuid in boards
        assert boards <= {board.uuid, "gpu"}
        codes = {warning.code: warning for warning in record.warnings}
        assert "shared-processor" in codes
        assert not {"shared-board", "shared-machine"} & set(codes)
        count = os.cpu_count()
        assert (
            f"of the whole node; the job had 1 of its {count} CPUs" in codes["part-of-node"].detail
        )


def test_a_board_of_another_job_is_not_trained_on(
    node: dict[str, str], cells: Path, tmp_path: Path
) -> None:
    env = node | job(41, 0)
    ended = wbcbench(*words(cells, tmp_path / "run", "--gpus", OTHER.uuid), env=env)
    assert ended.code == 3, ended.err
    assert "not one of the GPUs that Slurm gave to job 41: 0" in ended.err
    assert "train" not in {window.name for window in record_of(tmp_path / "run").windows}


def test_a_board_on_which_somebody_was_before_is_marked(
    nvml_folder: Path, cells: Path, tmp_path: Path
) -> None:
    taken = replace(HEALTHY, processes=(Process(4242),))
    env = environment(nvml_folder, Scenario((taken,)).write(tmp_path)) | job(41, 0)
    process = start(*words(cells, tmp_path / "run"), env=env | {"WBCBENCH_LOCK_DIR": str(tmp_path)})
    wait_for_window(tmp_path / "run", "idle_cold")
    stop(process)
    assert "shared-board" in {warning.code for warning in record_of(tmp_path / "run").warnings}


def test_of_two_jobs_on_the_processor_the_second_is_refused(
    node: dict[str, str], cells: Path, tmp_path: Path
) -> None:
    on_cpu = ("--meters", "codecarbon")
    first = start(*words(cells, tmp_path / "first", *on_cpu), env=node | job(50, None))
    wait_for_window(tmp_path / "first", "idle_cold")
    refused = wbcbench(*words(cells, tmp_path / "second", *on_cpu), env=node | job(51, None))
    stop(first)
    assert refused.code == 3
    assert "Another wbcbench run is measuring on this machine" in refused.err
