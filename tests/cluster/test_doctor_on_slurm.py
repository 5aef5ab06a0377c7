"""``doctor --launcher slurm`` on a real Slurm: what it finds, and that it leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fakes.slurm_cluster import NODES, Cluster, board, wait_until
from program import Ended, wbcbench


def ask(cluster: Cluster, results: Path, *words: str) -> Ended:
    words = ("doctor", "--launcher", "slurm", "--results", str(results), "--json", *words)
    return wbcbench(*words, env=cluster.environment)


def lines(document: Any, group: str) -> dict[str, Any]:
    """The checks of a group by their name."""
    return {
        line["name"]: line
        for each in document["groups"]
        if each["name"] == group
        for line in each["lines"]
    }


@contextmanager
def busy(cluster: Cluster, folder: Path) -> Iterator[None]:
    """Every GPU belongs to another job."""
    words = ("sbatch", "--parsable", "--gres=gpu:1", f"--output={folder}/%j.out", "--wrap")
    jobs = [cluster.command(*words, "srun sleep 600").strip() for _ in NODES]
    try:
        for job in jobs:
            wait_until(
                lambda job=job: "RUNNING" in cluster.command("squeue", "-h", "-j", job, "-o", "%T"),
                "a job that keeps a GPU",
            )
        yield
    finally:
        cluster.command("scancel", *jobs)
        wait_until(lambda: not cluster.command("squeue", "-h"), "the end of these jobs")


def test_a_job_looks_at_a_node_and_nothing_stays(slurm_cluster: Cluster, tmp_path: Path) -> None:
    results = tmp_path / "results"
    ended = ask(slurm_cluster, results, "--require", "gpu=measured", "--cluster", "cpus=2")
    assert ended.code == 3, ended.out
    told = ended.json
    # NVML has a scripted board, TensorFlow none: there every run would train on the processor.
    assert told["failures"] == 1
    [device] = [each for each in told["groups"] if each["name"] == "device"]
    assert [e["name"] for e in device["lines"] if e["state"] == "FAIL"] == ["tensorflow-gpu"]
    assert told["node"] in NODES
    assert told["primary_energy"]["status"] == "measured"
    engine, limits, job, node = (lines(told, name) for name in ("engine", "limits", "job", "node"))
    assert engine["engine"]["text"].startswith("Slurm ")
    assert engine["request"]["state"] == "ok"
    assert engine["gpus"]["text"] == "gpu:scripted 2 of 2 up"
    assert limits["array"]["text"].startswith("1000 jobs")
    assert limits["accounting"]["state"] == "ok"
    assert limits["kill"]["text"].startswith("30.0 s")
    assert {name: each["state"] for name, each in job.items()} == dict.fromkeys(
        ("job", "shared", "clock-difference", "links"), "ok"
    )
    assert board(told["node"]).uuid in node["boards"]["text"]
    assert node["boards"]["state"] == "ok"
    assert "2 are the job's" in node["processors"]["text"]
    assert not results.exists()
    assert slurm_cluster.command("squeue", "-h") == ""


def test_a_job_that_finds_no_free_gpu_is_cancelled_with_slurms_reason(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    with busy(slurm_cluster, tmp_path):
        ended = ask(slurm_cluster, tmp_path / "results", "--wait", "12")
        assert ended.code == 0
        waiting = lines(ended.json, "job")["job"]
        assert waiting["state"] == "warn"
        assert "PENDING, " in waiting["text"]
        names = slurm_cluster.command("squeue", "-h", "-o", "%j")
        assert "wbcbench-doctor" not in names
        required = ask(
            slurm_cluster, tmp_path / "results", "--wait", "1", "--require", "gpu=measured"
        )
        assert required.code == 3


def test_what_slurm_refuses_is_told_before_anything_is_submitted(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    for change, says in (
        ("partition=nope", "Invalid partition name specified"),
        ("gres=gpu:9", "Requested node configuration is not available"),
    ):
        ended = ask(slurm_cluster, tmp_path, "--cluster", change)
        assert ended.code == 3
        assert says in lines(ended.json, "engine")["request"]["text"]
        assert "no job was submitted" in lines(ended.json, "job")["job"]["text"]


def test_a_job_that_cannot_start_python_is_told_with_its_log(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    ended = ask(slurm_cluster, tmp_path, "--cluster", "container=no-such-command")
    assert ended.code == 3
    job = lines(ended.json, "job")["job"]
    assert "no-such-command" in job["text"]
    assert str(tmp_path) in job["fix"]


def test_a_controller_that_is_down_is_told(slurm_cluster: Cluster, tmp_path: Path) -> None:
    slurm_cluster.kill_controller()
    try:
        ended = ask(slurm_cluster, tmp_path / "results")
    finally:
        slurm_cluster.start_controller()
    assert ended.code == 3
    assert "does not answer" in lines(ended.json, "engine")["engine"]["text"]
