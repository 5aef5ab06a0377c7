"""What a job of Slurm was given on its node, and whose the joules of its processors are."""

from __future__ import annotations

import json
import os

import pytest

from wbcbench.core.job import JOB, describe_cpu_share, read_job
from wbcbench.core.provenance import provenance

ENVIRONMENT = {
    "SLURM_JOB_ID": "123",
    "SLURMD_NODENAME": "n1",
    "SLURM_JOB_PARTITION": "gpu",
    "SLURM_JOB_CPUS_PER_NODE": "2",
    "SLURM_CPUS_ON_NODE": "2",
    "SLURM_JOB_GPUS": "0,1",
    "SLURM_STEP_GPUS": "1",
    "SLURM_JOB_USER": "ada",
    "SLURM_JOB_ACCOUNT": "haematology",
    "SLURM_SUBMIT_DIR": "/home/ada/study",
}


def test_the_facts_of_a_job_are_those_of_its_step_and_name_nobody() -> None:
    job = read_job(ENVIRONMENT)
    assert job == {
        "engine": "slurm",
        "id": "123",
        "restart": 0,
        "node": "n1",
        "partition": "gpu",
        "cpus": 2,
        "node_cpus": os.cpu_count(),
        "gpus": "1",
        "shards": None,
        "has_mps": False,
        "end_s": None,
    }
    assert not {"ada", "haematology", "study"} & {*json.dumps(job).replace('"', " ").split()}


def test_a_task_of_an_array_that_was_begun_again_on_a_part_of_a_gpu() -> None:
    more = {
        "SLURM_ARRAY_JOB_ID": "120", "SLURM_ARRAY_TASK_ID": "4", "SLURM_RESTART_COUNT": "2",
        "SLURM_SHARDS_ON_NODE": "8", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50",
        "SLURM_JOB_END_TIME": "1796000000",
    }  # fmt: skip
    job = read_job(ENVIRONMENT | more)
    assert job is not None
    assert (job["id"], job["restart"], job["shards"], job["has_mps"]) == ("120_4", 2, 8, True)
    assert job["end_s"] == 1796000000


@pytest.mark.parametrize(
    ("per_node", "on_node", "cpus"),
    [("4", "2", 4), ("4(x2)", "2", 4), ("4(x2),8", "2", 2), ("", "2", 2), ("", "", None)],
)
def test_the_processors_are_those_of_the_job_on_this_node(
    per_node: str, on_node: str, cpus: int | None
) -> None:
    said = {"SLURM_JOB_CPUS_PER_NODE": per_node, "SLURM_CPUS_ON_NODE": on_node}
    job = read_job(ENVIRONMENT | said)
    assert job is not None
    assert job["cpus"] == cpus


@pytest.mark.parametrize("missing", ["SLURM_JOB_ID", "SLURMD_NODENAME"])
def test_outside_of_a_job_and_in_an_allocation_without_a_node_there_is_none(missing: str) -> None:
    assert read_job({k: v for k, v in ENVIRONMENT.items() if k != missing}) is None


def test_the_provenance_has_the_job_inside_of_one_and_nothing_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert JOB not in provenance(())
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    assert provenance(())[JOB] == read_job(ENVIRONMENT)


@pytest.mark.parametrize(
    ("cpus", "node_cpus", "text"),
    [
        (2, 8, "of the whole node; the job had 2 of its 8 CPUs"),
        (8, 8, ""),
        (None, 8, "of the whole node; the job had an unknown share of its CPUs"),
    ],
)
def test_the_share_of_a_job_is_said_in_words(cpus: int | None, node_cpus: int, text: str) -> None:
    assert describe_cpu_share({JOB: {"cpus": cpus, "node_cpus": node_cpus}}) == text


def test_without_a_job_there_is_no_share() -> None:
    assert not describe_cpu_share({})
