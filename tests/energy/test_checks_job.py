"""Runs in jobs of a cluster: boards that are not their own, and the joules of a whole node."""

from __future__ import annotations

import pytest

from builders.evidence import counter, estimated_cpu, evidence, find_warnings, grade_run, power
from builders.machine import GPU
from wbcbench.core.cpu_load import CpuLoad
from wbcbench.core.job import JOB
from wbcbench.core.quality import Quality, Severity

BOARD = {"device": GPU, "is_listed": True, "processes": 0, "used_bytes": 0}
FACTS = {"gpus": "0", "shards": None, "has_mps": False, "cpus": 2, "node_cpus": 8}
QUIET, BUSY = (CpuLoad("train", 8, share) for share in (0.01, 0.4))


def in_job(*traces, loads=(QUIET,), boards=(BOARD,), **facts):
    job = FACTS | {"boards": list(boards)} | facts
    return evidence(*traces, cpu_loads=loads, provenance={JOB: job})


def test_a_board_of_its_own_raises_no_doubt():
    made = in_job(counter(), power())
    assert not {"shared-board", "part-of-node"} & set(find_warnings(made))
    assert grade_run(made) is Quality.VALID


@pytest.mark.parametrize(
    "facts",
    [
        {"shards": 2},
        {"has_mps": True},
        {"boards": [BOARD | {"processes": 1}]},
        {"boards": [BOARD | {"used_bytes": 5 << 30}]},
        {"gpus": None, "boards": [BOARD | {"is_listed": None}]},
    ],
)
def test_a_board_that_others_may_use_makes_the_run_suspect(facts):
    made = in_job(counter(), power(), **facts)
    assert find_warnings(made)["shared-board"].severity is Severity.SUSPECT
    assert grade_run(made) is Quality.SUSPECT


def test_joules_of_the_processor_are_said_to_be_the_nodes_and_no_number_is_scaled():
    made, alone = in_job(counter(), power(), estimated_cpu()), evidence(estimated_cpu())
    told = find_warnings(made)["part-of-node"]
    assert told.severity is Severity.INFO  # the board's joules are the run's alone
    assert told.detail == "Joules of CPU are of the whole node; the job had 2 of its 8 CPUs."
    assert grade_run(made) is Quality.VALID
    own = made.energy("train", "codecarbon/cpu")
    assert own == alone.energy("train", "codecarbon/cpu")


@pytest.mark.parametrize(
    ("loads", "severity"),
    [((QUIET,), Severity.INFO), ((BUSY,), Severity.SUSPECT), ((), Severity.SUSPECT)],
)
def test_a_run_on_a_part_of_the_processor_is_suspect_unless_the_others_were_quiet(loads, severity):
    made = in_job(estimated_cpu(), loads=loads, boards=())
    assert find_warnings(made)["part-of-node"].severity is severity


def test_a_job_with_the_whole_node_has_its_joules():
    made = in_job(estimated_cpu(), loads=(), boards=(), cpus=8)
    assert "part-of-node" not in find_warnings(made)
