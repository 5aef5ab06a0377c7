"""A launcher from a package of its own: installed, named, and through every accident of a study."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.scripted_trainer import Play, write_plays
from fakes.toy_launcher import install
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.run.job import list_jobs

EXPERIMENT = """
study = "toy"
blocks = 2
[run]
epochs = 2
idle_s = 0.0
inference_s = 0.0
warmup_steps = 0
meters = ["simulated"]
loops = 1
[factors]
variant = ["relu-dropout", "leaky-dropout"]
[analysis]
exploratory = true
[pauses]
rest_s = 0.0
"""


class ToyStudy:
    """A study that is carried out by the toy's jobs."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder, self.results = folder, folder / "results"
        self._program = str(python.parent / "wbcbench")
        self._package = install(folder / "package")
        (folder / "toy.toml").write_text(EXPERIMENT)
        self.play()

    def play(self, *plays: Play) -> None:
        locks = {"WBCBENCH_LOCK_DIR": str(self.folder)}
        plays_file = write_plays(self.folder / "plays.json", *plays)
        self._environment = {**os.environ, **self._package, **plays_file, **locks}

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self._program, *words, "--results", str(self.results)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def command(self, *words: str) -> tuple[int, str]:
        with self.start(*words) as process:
            text, _ = process.communicate(timeout=300)
        return process.returncode, text

    def sweep(self, *words: str) -> tuple[int, str]:
        return self.command("sweep", str(self.folder / "toy.toml"), "--launcher", "toy", *words)

    @property
    def runs(self) -> list[RunDir]:
        return study_runs(self.results, "toy")

    def ends(self) -> Counter[str]:
        records = [run.read_record() for run in self.runs if run.is_finished]
        return Counter(r.error.kind if r.error else r.status for r in records)

    def is_training(self) -> bool:
        return any(
            '"train"' in run.marks_path.read_text()
            for run in self.runs
            if not run.is_finished and run.marks_path.exists()
        )


def wait_for(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.1)


@pytest.fixture
def study(tmp_path: Path, scripted_python: Path) -> ToyStudy:
    return ToyStudy(tmp_path, scripted_python)


def test_it_is_known_by_its_name_and_a_wrong_name_is_answered_with_it(study: ToyStudy) -> None:
    code, text = study.command("sweep", str(study.folder / "toy.toml"), "--launcher", "tox")
    assert code == 2
    assert "toy" in text
    process = study.start("list", "parts")
    parts, _ = process.communicate(timeout=60)
    assert re.search(r"launcher +toy +Jobs of a folder, one at a time.", parts)


def test_it_carries_a_study_out_left_watched_and_resumed(study: ToyStudy) -> None:
    code, text = study.sweep("--detach", "--max-parallel", "1")
    assert code == 0, text
    code, text = study.command("list", "toy", "--watch")
    assert code == 0, text
    assert study.ends() == {"done": 2}
    code, text = study.sweep()
    assert code == 0, text
    assert study.ends() == {"done": 4}
    assert len(study.runs) == 4
    assert [len(job.read().tasks) for job in list_jobs(study.results / "toy", is_open=False)] == [
        2,
        2,
    ]


def test_a_killed_recorder_is_tried_again_in_its_job_and_a_killed_submitter_is_no_loss(
    study: ToyStudy,
) -> None:
    study.play(Play(train_s=20.0, when={"repeat": 1, "order_global": 1}))
    with study.start("sweep", str(study.folder / "toy.toml"), "--launcher", "toy") as process:
        wait_for(study.is_training)
        process.kill()
    [going] = [run for run in study.runs if not run.is_finished and run.read_state().runner]
    runner = going.read_state().runner
    assert runner is not None
    os.kill(runner.pid, 9)
    code, text = study.sweep()
    assert code == 0, text
    assert study.ends() == {"done": 4, "recorder-died": 1}


def test_while_it_does_not_answer_nothing_is_concluded(study: ToyStudy) -> None:
    study.play(Play(train_s=3.0))
    down = study.results / "toy" / ".jobs" / "toy" / "down"
    with study.start("sweep", str(study.folder / "toy.toml"), "--launcher", "toy") as process:
        wait_for(study.is_training)
        down.touch()
        assert process.stdout is not None
        text = ""
        while "does not answer" not in text:
            text += process.stdout.readline()
        down.unlink()
        rest, _ = process.communicate(timeout=200)
    assert process.returncode == 0, text + rest
    assert "answers again" in rest
    assert study.ends() == {"done": 4}


def test_cancelled_jobs_end_their_epoch_and_keep_their_records(study: ToyStudy) -> None:
    study.play(Play(train_s=6.0))
    code, text = study.sweep("--detach")
    assert code == 0, text
    wait_for(study.is_training)
    code, text = study.sweep("--cancel")
    assert code == 0, text
    assert re.search(r"2 jobs ended", text)
    assert study.ends() == {"terminated": 1}
    [run] = study.runs
    assert len(run.read_record().epochs) == 1


def test_spread_makes_each_run_a_job_of_its_own(study: ToyStudy) -> None:
    code, text = study.sweep("--spread")
    assert code == 0, text
    assert study.ends() == {"done": 4}
    assert len(list_jobs(study.results / "toy", is_open=False)) == 4
