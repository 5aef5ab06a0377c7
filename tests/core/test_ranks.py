"""Several processes of one program on a node: each device is read by one of them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from wbcbench.core.ranks import Rank, find_rank

TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "n1", "MASTER_PORT": "29500",
}  # fmt: skip
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    "PMIX_NAMESPACE": "prterun-n1-4711@1",
}  # fmt: skip
MPICH = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "3"}
SRUN = {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "9"}


@pytest.fixture(autouse=True)
def own_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", str(tmp_path))


@pytest.mark.parametrize(
    ("environment", "number", "is_first"),
    [(TORCHRUN, 5, False), (OPEN_MPI, 0, True), (MPICH, 3, False), (SRUN, 2, True)],
)
def test_each_launcher_says_the_rank_in_its_own_words(
    environment: dict[str, str], number: int, *, is_first: bool
) -> None:
    rank = find_rank(environment)
    assert rank is not None
    assert (rank.number, rank.is_first) == (number, is_first)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"RANK": "0"},  # anybody may call a variable so
        TORCHRUN | {"WORLD_SIZE": "1"},
        SRUN | {"SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "9"},  # a batch script
    ],
)
def test_a_process_that_is_alone_has_no_rank(environment: dict[str, str]) -> None:
    assert find_rank(environment) is None


def test_ranks_of_one_program_find_each_other_and_no_others() -> None:
    def program(environment: dict[str, str]) -> str:
        rank = find_rank(environment)
        assert rank is not None
        return rank.program

    assert program(TORCHRUN) == program(TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0"})
    assert program(TORCHRUN) != program(TORCHRUN | {"MASTER_PORT": "29501"})
    assert program(SRUN) == program(SRUN | TORCHRUN)  # steps of a job may see the same boards
    assert program(SRUN) != program(SRUN | {"SLURM_JOB_ID": "10"})


def test_who_takes_a_device_keeps_it_until_the_end() -> None:
    first, second = Rank("p", 0, is_first=True), Rank("p", 1, is_first=False)
    with ExitStack() as stack, ExitStack() as other:
        assert first.take(["GPU-1", "host"], stack) == {"GPU-1", "host"}
        assert second.take(["GPU-1", "GPU-2", "host"], other) == {"GPU-2"}
        assert Rank("another", 1, is_first=True).take(["GPU-1"], other) == {"GPU-1"}
    with ExitStack() as stack:
        assert second.take(["GPU-1"], stack) == {"GPU-1"}
