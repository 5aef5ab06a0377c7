"""What Slurm says of itself, its limits and its GPUs, as its own commands print it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from wbcbench.run.launchers import EngineError, EngineFacts, GpusOfKind, JobStage
from wbcbench.run.launchers.cluster import ClusterSettings
from wbcbench.run.launchers.slurm import launch, parse_time

CONFIG = """\
Configuration data as of 2026-11-30T21:01:28
AccountingStorageEnforce = associations,limits
AccountingStorageType   = accounting_storage/slurmdbd
KillWait                = 30 sec
MaxArraySize            = 1001
MaxJobCount             = 10000
SLURM_VERSION           = 22.05.8
SlurmctldHost[0]        = head(10.0.0.1)
"""
PARTITIONS = "gpu* 1:00:00 2-00:00:00\nlow n/a infinite\ncpu 30:00 1:00:00\n"
NODES = """\
n1|mix|gpu:a100:4(S:0-1),shard:16|gpu*
n1|mix|gpu:a100:4(S:0-1),shard:16|low
n2|idle|gpu:a100:4(S:0-1)|gpu*
n3|down*|gpu:a100:4|gpu*
n4|idle*|gpu:v100:2|gpu*
n5|idle~|gpu:v100:2|gpu*
n6|alloc|(null)|gpu*
c1|idle|gpu:8|low
"""
ACCEPTED = "sbatch: Job 5 to start at 2026-12-01T00:00:00 using 4 processors on nodes n1 in gpu"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm's commands, each of which prints what a test wrote down."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("squeue", "scancel", "srun"):
        say(folder, name)
    say(folder, "scontrol", CONFIG)
    say(folder, "sbatch", "", ACCEPTED)
    script = f"#!/bin/sh\ncase \"$*\" in *--Node*) cat <<'END'\n{NODES}END\n;; *) cat <<'END'\n"
    write(folder / "sinfo", f"{script}{PARTITIONS}END\n;; esac\n")
    limits = "lab|100|normal,long\nother|5|normal\n"
    qualities = "normal|\nlong|80\nshort|3\n"
    script = f"#!/bin/sh\ncase \"$*\" in *assoc*) cat <<'END'\n{limits}END\n;; *) cat <<'END'\n"
    write(folder / "sacctmgr", f"{script}{qualities}END\n;; esac\n")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def write(path: Path, script: str) -> None:
    path.write_text(script)
    path.chmod(0o755)


def say(folder: Path, name: str, text: str = "", error: str = "", status: int = 0) -> None:
    script = f"#!/bin/sh\necho \"$@\" >> {folder}/{name}.asked\ncat <<'END'\n{text}END\n"
    write(folder / name, f"{script}echo '{error}' >&2\nexit {status}\n")


def describe(**settings: object) -> EngineFacts:
    queue = launch.connect(ClusterSettings(**settings), Path("jobs"))  # type: ignore[arg-type]
    return queue.describe()


@pytest.mark.parametrize("state", ["RUNNING", "PENDING"])
def test_a_job_that_the_controller_forgot_is_not_waited_for_though_accounting_has_it(
    slurm: Path, state: str
) -> None:
    say(slurm, "squeue", "8|other|RUNNING|n1|0|None|\n")
    say(slurm, "sacct", f"7|wbcbench-1|{state}|n1\n9|wbcbench-1|COMPLETED|n1\n")
    queue = launch.connect(ClusterSettings(), Path("jobs"))
    status = queue.ask({"7": "wbcbench-1", "9": "wbcbench-1"})
    assert status["7"].stage is JobStage.LOST
    assert status["9"].stage is JobStage.ENDED


@pytest.mark.usefixtures("slurm")
def test_what_slurm_prints_becomes_facts() -> None:
    found = describe(account="lab")
    assert found.name.startswith("Slurm 22.05.8, controller on head, submitit ")
    assert found.refusal == ""
    assert found.expected == "at 2026-12-01T00:00:00 using 4 processors on nodes n1 in gpu"
    assert (found.job_s, found.longest_s) == (3600.0, 2 * 86_400.0)
    assert found.most_in_submission == 1000
    assert found.most_jobs == 10_000
    assert found.most_own_jobs == 80  # the account's 100, and those of the quality "long"
    assert found.kill_s == 30.0
    assert found.keeps_ended


@pytest.mark.usefixtures("slurm")
def test_gpus_count_once_each_and_are_up_where_a_node_takes_jobs() -> None:
    assert describe().gpus == (GpusOfKind("gpu:a100", 12, 8), GpusOfKind("gpu:v100", 4, 2))
    assert describe(partition="gpu,low").gpus is not None


@pytest.mark.usefixtures("slurm")
def test_the_limit_of_a_named_quality_counts_and_of_all_accounts_the_least() -> None:
    assert describe(account="lab", qos="short").most_own_jobs == 3
    assert describe().most_own_jobs == 5


def test_limits_that_may_not_be_read_are_none(slurm: Path) -> None:
    say(
        slurm, "sacctmgr", "", "You are not running a supported accounting_storage plugin", status=1
    )
    assert describe().most_own_jobs is None


def test_limits_that_are_not_enforced_are_none(slurm: Path) -> None:
    say(slurm, "scontrol", CONFIG.replace("associations,limits", "none"))
    assert describe().most_own_jobs is None


def test_a_job_is_tried_out_with_what_a_run_would_ask_for(slurm: Path) -> None:
    describe(account="lab", partition="gpu", time="2:00:00", cpus=8, memory="16G", gres="gpu:2")
    asked = (slurm / "sbatch.asked").read_text().split()
    assert {
        "--test-only", "--account=lab", "--partition=gpu", "--time=2:00:00", "--cpus-per-task=8",
        "--mem=16G", "--gres=gpu:2",
    } <= {*asked}  # fmt: skip


def test_a_refusal_is_slurms_own_word(slurm: Path) -> None:
    say(slurm, "sbatch", "", "allocation failure: Invalid partition name specified", status=1)
    assert describe().refusal == "Invalid partition name specified"


def test_silence_is_no_refusal(slurm: Path) -> None:
    say(slurm, "sbatch", "", "sbatch: error: Unable to contact slurm controller", status=1)
    with pytest.raises(EngineError):
        describe()
    say(slurm, "scontrol", "", "Unable to contact slurm controller", status=1)
    with pytest.raises(EngineError, match="Unable to contact"):
        describe()


@pytest.mark.parametrize(
    ("text", "time_s"),
    [
        ("90", 5400.0),
        ("90:30", 5430.0),
        ("1:30:00", 5400.0),
        ("2-12", 216_000.0),
        ("0-1:30", 5400.0),
        ("1-00:00:01", 86_401.0),
        ("infinite", math.inf),
        ("UNLIMITED", math.inf),
        ("n/a", None),
        ("", None),
        ("NONE", None),
    ],
)
def test_a_time_limit_is_read_as_slurm_writes_it(text: str, time_s: float | None) -> None:
    assert parse_time(text) == time_s
