"""The cluster of the tests is a cluster: nodes, GPUs, accounts, and what befalls them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from fakes.process_keeper import descendants
from fakes.scripted_trainer import write_plays
from fakes.slurm_cluster import NODES, Cluster, board, is_running, wait_until

BOARDS = """
import os, pynvml
pynvml.nvmlInit()
number = int(os.environ["CUDA_VISIBLE_DEVICES"])
print(pynvml.nvmlDeviceGetCount(), end=" ")
print(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(number)))
"""
STATE_SAVED_S = 6.0  # the controller writes its state up to 5 s after a change
SLEEP = ("--wrap", "srun sleep 600")


def submit(cluster: Cluster, folder: Path, *words: str) -> str:
    """Submit a job; returns its id."""
    return cluster.command("sbatch", "--parsable", f"--output={folder}/%j.out", *words).strip()


def state(cluster: Cluster, job: str) -> str:
    return cluster.command("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").strip()


def finish(cluster: Cluster, folder: Path, *words: str) -> str:
    """Submit a job and wait for its end, which ``sbatch --wait`` hears of late; what it printed."""
    job = submit(cluster, folder, "--gres=gpu:1", *words)
    wait_for_state(cluster, job, "COMPLETED")
    return (folder / f"{job}.out").read_text()


def wait_for_state(cluster: Cluster, job: str, *states: str) -> None:
    wait_until(lambda: state(cluster, job) in states, f"job {job}: {states}", within_s=120)


def steps(cluster: Cluster) -> list[int]:
    """Tasks of the cluster's jobs that run."""
    found = []
    for pid in descendants(cluster.pid("keeper")):
        with suppress(OSError):  # it has just ended
            if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                found.append(pid)
    return found


def test_two_nodes_have_a_gpu_each(slurm_cluster: Cluster) -> None:
    lines = slurm_cluster.command("sinfo", "-h", "-N", "-p", "main", "-o", "%N %G").splitlines()
    assert sorted(lines) == [f"{node} gpu:scripted:1" for node in NODES]


@pytest.mark.parametrize("node", NODES)
def test_a_job_sees_the_board_of_its_node_and_no_other(
    slurm_cluster: Cluster, tmp_path: Path, node: str
) -> None:
    (tmp_path / "boards.py").write_text(BOARDS)
    line = f"srun {sys.executable} {tmp_path}/boards.py"
    printed = finish(slurm_cluster, tmp_path, "-w", node, "--wrap", line)
    assert printed.split() == ["1", board(node).uuid]


def test_accounting_knows_a_job_that_has_ended(slurm_cluster: Cluster, tmp_path: Path) -> None:
    job = submit(slurm_cluster, tmp_path, "--gres=gpu:1", "--wrap", "true")
    words = ("sacct", "-n", "-P", "-X", "-j", job, "-o", "State,AllocTRES")

    def is_told() -> bool:
        told = slurm_cluster.command(*words)
        return told.startswith("COMPLETED|") and "gres/gpu=1" in told

    wait_until(is_told, "the account of the job")


def test_of_three_jobs_two_run_and_one_waits(slurm_cluster: Cluster, tmp_path: Path) -> None:
    jobs = [submit(slurm_cluster, tmp_path, "--gres=gpu:1", *SLEEP) for _ in range(3)]
    wait_until(lambda: len(steps(slurm_cluster)) == 2, "two steps")
    assert state(slurm_cluster, jobs[2]) == "PENDING"
    slurm_cluster.command("scancel", *jobs)
    for job in jobs:
        wait_for_state(slurm_cluster, job, "CANCELLED")
    wait_until(lambda: not steps(slurm_cluster), "the end of the tasks")


def test_a_job_of_a_dead_node_waits_again_while_its_step_lives(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    job = submit(slurm_cluster, tmp_path, "--requeue", *SLEEP)
    wait_until(lambda: steps(slurm_cluster), "the step")
    node = slurm_cluster.command("squeue", "-h", "-j", job, "-o", "%N").strip()
    slurm_cluster.kill_node(node)
    wait_for_state(slurm_cluster, job, "PENDING")
    first = steps(slurm_cluster)
    assert first
    slurm_cluster.requeue_now(job)
    wait_until(lambda: len(steps(slurm_cluster)) > len(first), "the second step")
    slurm_cluster.start_node(node)
    wait_until(lambda: not any(map(is_running, first)), "the end of the first step")
    assert state(slurm_cluster, job) == "RUNNING"
    assert steps(slurm_cluster)
    slurm_cluster.command("scancel", job)
    wait_until(lambda: not steps(slurm_cluster), "the end of the step")


def test_a_controller_that_was_killed_knows_its_jobs_again(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    job = submit(slurm_cluster, tmp_path, *SLEEP)
    wait_for_state(slurm_cluster, job, "RUNNING")
    time.sleep(STATE_SAVED_S)
    slurm_cluster.kill_controller()
    with pytest.raises(subprocess.CalledProcessError) as error:
        slurm_cluster.command("squeue")
    assert "Unable to contact slurm controller" in error.value.stderr
    slurm_cluster.start_controller()
    assert state(slurm_cluster, job) == "RUNNING"
    assert steps(slurm_cluster)
    slurm_cluster.command("scancel", job)
    wait_until(lambda: not steps(slurm_cluster), "the end of the step")


def test_a_run_with_the_scripted_trainer_is_done_on_a_node(
    slurm_cluster: Cluster, scripted_python: Path, cells: Path, tmp_path: Path
) -> None:
    variables = write_plays(tmp_path / "plays.json")
    exports = ",".join(("ALL", *(f"{name}={value}" for name, value in variables.items())))
    line = f"srun {scripted_python} -m wbcbench run --variant relu-dropout --epochs 2 --json "
    line += f"--idle 0.2 --inference 0.1 --data {cells} --results {tmp_path}/results"
    printed = finish(slurm_cluster, tmp_path, "-w", "n2", "--export", exports, "--wrap", line)
    assert '"status": "done"' in printed
    assert board("n2").uuid in next(tmp_path.glob("results/runs/*/record.json")).read_text()


def test_the_step_of_a_job_can_be_killed(slurm_cluster: Cluster, tmp_path: Path) -> None:
    job = submit(slurm_cluster, tmp_path, "--no-requeue", *SLEEP)
    wait_until(lambda: steps(slurm_cluster), "the step")
    killed = slurm_cluster.kill_step(job)
    assert killed
    wait_until(lambda: not any(map(is_running, killed)), "the end of the step")
    slurm_cluster.command("scancel", job)


KEPT = """
import os, sys, time
from pathlib import Path
from fakes.slurm_cluster import start
cluster = start(Path(sys.argv[1]), parent=os.getpid())
cluster.command("sbatch", "--output=/dev/null", "--wrap", "srun sleep 600")
while not cluster.command("squeue", "-h", "-t", "R").strip():
    time.sleep(0.1)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("who", ["caller", "keeper"])
def test_a_cluster_ends_with_who_started_it_and_with_its_keeper(
    slurm_cluster: Cluster, who: str
) -> None:
    del slurm_cluster  # skips where there is no Slurm
    with tempfile.TemporaryDirectory(prefix="slurm-") as room:
        own = Cluster(Path(room) / "cluster")
        command = [sys.executable, "-c", KEPT, str(own.folder)]
        here = Path(__file__).parents[1]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=here) as caller:
            try:
                assert caller.stdout is not None
                assert caller.stdout.readline() == "ready\n"
                keeper = own.pid("keeper")
                pids = [keeper, *descendants(keeper)]
                assert len(pids) > 8
                os.kill(caller.pid if who == "caller" else keeper, signal.SIGKILL)
                if who == "keeper":
                    own.stop()
                wait_until(lambda: not any(map(is_running, pids)), "the end of all")
            finally:
                caller.kill()
