"""A scripted trainer ends as its script says, and all else of the run is as always."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from fakes.scripted_trainer import Play, write_plays
from program import wait_for_window
from wbcbench.core.run_folder import study_runs

SWEEP = """
study = "mine"
blocks = 2
[factors]
variant = ["relu-dropout", "leaky-dropout"]
[analysis]
exploratory = true
[run]
epochs = 2
idle_s = 0.0
inference_s = 0.0
warmup_steps = 0
meters = ["simulated"]
[pauses]
rest_s = 0.0
"""


def begin(python: Path, cells: Path, results: Path, *words: str, plays: tuple[Play, ...]) -> Any:
    """Start a command of that Python."""
    variables = write_plays(results.with_name("plays.json"), *plays)
    where = ("--data", str(cells), "--results", str(results))
    command = [str(python), "-m", "wbcbench", *words, *where]
    return subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def only_status(results: Path) -> str:
    (run,) = study_runs(results, "runs")
    return run.read_record().status


def test_a_sweep_on_this_machine_ends_run_by_run_as_its_script_says(
    scripted_python: Path, cells: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(SWEEP)
    crash = Play(end="crash", at_epoch=2, when={"variant": "leaky-dropout", "block": 2})
    words = ("sweep", str(tmp_path / "mine.toml"))
    ended = begin(scripted_python, cells, tmp_path / "results", *words, plays=(crash,))
    out, err = ended.communicate(timeout=300)
    records = [run.read_record() for run in study_runs(tmp_path / "results", "mine")]
    assert sorted((r.spec.variant, r.spec.block, r.status) for r in records) == [
        ("leaky-dropout", 1, "done"),
        ("leaky-dropout", 2, "failed"),
        ("relu-dropout", 1, "done"),
        ("relu-dropout", 2, "done"),
    ], out + err
    assert ended.returncode == 7
    (failed,) = (record for record in records if record.status == "failed")
    assert failed.error is not None
    assert (failed.error.kind, failed.error.exit_status) == ("trainer-killed", -signal.SIGABRT)
    accuracies = [record.test.accuracy for record in records if record.test]
    assert len(accuracies) == 3
    assert all(0.7 < accuracy < 0.9 for accuracy in accuracies)


RUN = ("run", "--variant", "relu-dropout", "--idle", "0", "--inference", "0", "--warmup-steps", "0",
       "--meters", "simulated")  # fmt: skip


@pytest.mark.parametrize(("heeds_stop", "status"), [(True, "interrupted"), (False, "done")])
def test_an_interrupt_ends_it_after_the_epoch_if_it_heeds_the_word(
    scripted_python: Path, cells: Path, tmp_path: Path, heeds_stop: bool, status: str
) -> None:
    play = Play(train_s=4.0, heeds_stop=heeds_stop)
    results = tmp_path / "results"
    ended = begin(scripted_python, cells, results, *RUN, "--epochs", "4", plays=(play,))
    wait_for_window(results, "epoch-1")
    ended.send_signal(signal.SIGINT)
    ended.communicate(timeout=120)
    assert only_status(results) == status


def test_one_that_hangs_is_killed_by_a_second_interrupt(
    scripted_python: Path, cells: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    play = Play(end="hang")
    ended = begin(scripted_python, cells, results, *RUN, "--epochs", "2", plays=(play,))
    wait_for_window(results, "epoch-1")
    for _ in range(2):
        ended.send_signal(signal.SIGINT)
        time.sleep(0.5)
    ended.communicate(timeout=120)
    assert only_status(results) == "interrupted"


def test_with_images_it_says_what_it_was_fed(
    scripted_python: Path, cells: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    play = Play(images=0)
    ended = begin(scripted_python, cells, results, *RUN, "--epochs", "1", plays=(play,))
    ended.communicate(timeout=120)
    (run,) = study_runs(results, "runs")
    record = run.read_record()
    assert record.dataset is not None
    assert (record.dataset.n_train, record.dataset.n_test) == (160, 64)
    assert record.dataset.sha256 == record.spec.dataset_sha256
