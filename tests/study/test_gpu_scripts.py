"""``experiments/gpu.py`` and ``speedrun.py``: the whole chain on a machine with an NVIDIA GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest

from builders.recorded_board import BOARD
from fakes.faulty_machine import environment
from fakes.nvml_replay import read_recording
from fakes.nvml_scenario import Scenario
from program import Ended

ROOT = Path(__file__).parents[2]
TINY = """
blocks = 1
[run]
epochs = 1
image_size = 32
idle_s = 0.5
inference_s = 0.0
meters = ["simulated"]
target_metric = "val_accuracy"
target_value = 0.01
{}
[pauses]
rest_s = 0.0
[analysis]
exploratory = true
lowest_status = "simulated"
"""
FILES = {
    "gpu": 'loops = 2\n[factors]\nvariant = ["relu-dropout", "leaky-dropout"]',
    "speedrun-search": 'variant = "relu-dropout"\nvalidation = "by-photograph"\n'
    "[factors]\nbatch_size = [32, 64]",
    "speedrun": 'variant = "relu-dropout"',
}
RECIPES = """configurations = [
  { epochs = 1, batch_size = 64, learning_rate = 7e-4, schedule = "constant", precision="float32" },
  { epochs = 1, batch_size = 32, schedule = "cosine" },  # found
]
"""
SETTINGS = ("epochs_planned", "batch_size", "learning_rate", "schedule", "precision")
KEYS = ("epochs", *SETTINGS[1:])


def run_script(name: str, *words: str, env: Mapping[str, str] | None = None) -> Ended:
    command = [sys.executable, str(ROOT / "experiments" / name), "--no-setup", *words]
    done = subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=600,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Experiment files of a few seconds."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    for name, text in FILES.items():
        made = TINY.format(text)
        if name == "speedrun":
            made = RECIPES + made.replace("epochs = 1\n", "", 1)
        (folder / f"{name}.toml").write_text(made)
        assert set(tomllib.loads(made)) <= {
            "configurations",
            "blocks",
            "run",
            "factors",
            "pauses",
            "analysis",
        }
    return folder


@pytest.fixture
def gpu_env(nvml_folder: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with a scripted board."""
    return environment(nvml_folder, Scenario((BOARD,), epoch_s=time.monotonic()).write(tmp_path))


@pytest.mark.parametrize(
    ("script", "steps"),
    [
        ("gpu.py", ["accept", "record", "gpu", "compare", "report", "bundle", "verify"]),
        (
            "speedrun.py",
            ["speedrun-search", "choose", "speedrun", "compare", "report", "bundle", "verify"],
        ),
    ],
)
def test_a_dry_run_prints_every_command_and_does_nothing(
    script: str, steps: list[str], tmp_path: Path
) -> None:
    ended = run_script(script, "--dry-run", "--into", str(tmp_path / "out"))
    assert ended.code == 0
    assert [line.partition(":")[0] for line in ended.out.splitlines() if line[0] != " "] == steps
    assert list(tmp_path.iterdir()) == []


def test_a_quick_run_has_two_seeds_and_short_windows() -> None:
    ended = run_script("gpu.py", "--dry-run", "--quick")
    assert "--set blocks=2 --set train_window_s=15" in ended.out
    assert "report gpu-quick" in ended.out  # so that the whole study may follow in one folder


@pytest.mark.parametrize("script", ["gpu.py", "speedrun.py"])
def test_a_machine_without_a_gpu_is_told_so_and_left_alone(script: str, tmp_path: Path) -> None:
    into = tmp_path / "out"
    ended = run_script(script, "--into", str(into), env={"LD_LIBRARY_PATH": ""})
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("This needs an NVIDIA GPU")
    assert not into.exists()


def test_the_images_must_be_named(gpu_env: dict[str, str], tmp_path: Path) -> None:
    ended = run_script(
        "gpu.py", "--into", str(tmp_path / "out"), env=gpu_env | {"WBCBENCH_DATA": ""}
    )
    assert ended.code == 2
    assert "--data FOLDER" in ended.err


def test_a_step_that_is_not_there_cannot_be_skipped(
    gpu_env: dict[str, str], tmp_path: Path
) -> None:
    ended = run_script("gpu.py", "--into", str(tmp_path / "out"), "--skip", "acept", env=gpu_env)
    assert ended.code == 2
    assert "no step acept to skip. Steps: accept, record, gpu" in ended.err


def test_an_environment_that_is_not_there_is_said(gpu_env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    script = copyfile(ROOT / "experiments" / "gpu.py", tmp_path / "experiments" / "gpu.py")
    ended = run_script(str(script), "--data", str(tmp_path), env=gpu_env)
    assert ended.code == 2
    assert "Leave --no-setup out" in ended.err


def test_it_stops_at_the_first_step_that_fails_and_goes_on_there(
    gpu_env: dict[str, str], tiny: Path, cells: Path, tmp_path: Path
) -> None:
    into = tmp_path / "out"
    words = ["--data", str(cells), "--into", str(into), "--experiments", str(tiny)]
    (into / "results").mkdir(parents=True)
    (into / "steps.json").write_text('{"torn')
    left_out = [word for name in ("accept", "record", "gpu") for word in ("--skip", name)]
    ended = run_script("gpu.py", *words, *left_out, env=gpu_env)
    assert ended.code == 2
    assert "Stopped at compare, which ended with exit code 2" in ended.err
    assert "--skip compare" in ended.err
    done = {step: step for step in ("choose",)}
    (into / "steps.json").write_text(json.dumps(done))
    ended = run_script(
        "speedrun.py", *words, "--skip", "speedrun-search", "--skip", "speedrun", env=gpu_env
    )
    assert "choose: done before" in ended.out


@pytest.mark.parametrize(
    ("code", "writes", "left"),
    [(0, False, 0), (4, True, 0), (3, True, 0), (3, False, 3), (1, True, 1)],
)
def test_a_board_at_fault_is_measured_all_the_same_but_not_one_that_was_not_judged(
    code: int, writes: bool, left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    step = import_module("gpu").Step
    judgement = tmp_path / "card.json"
    judgement.write_text("of an earlier call")

    def judge() -> int:
        if writes:
            judgement.write_text("{}")
        return code

    assert step("accept", "", judge, judgement).carry_out() == left


@pytest.mark.tensorflow
def test_the_whole_chain_ends_with_a_bundle_that_verifies(
    gpu_env: dict[str, str], tiny: Path, cells: Path, tmp_path: Path
) -> None:
    into = tmp_path / "out"
    words = ["--data", str(cells), "--into", str(into), "--experiments", str(tiny)]
    ended = run_script("gpu.py", *words, "--skip", "accept", env=gpu_env)
    assert ended.code == 0, ended.err
    assert len(list(read_recording(into / "board.jsonl.gz"))) > 1000
    assert (into / "reports" / "gpu" / "report.html").exists()
    assert "verified" in ended.out.lower()
    again = run_script("gpu.py", *words, "--skip", "accept", env=gpu_env)
    assert again.code == 0
    assert again.out.count("done before") == 6


@pytest.mark.tensorflow
def test_the_speedrun_searches_and_confirms(
    gpu_env: dict[str, str], tiny: Path, cells: Path, tmp_path: Path
) -> None:
    into = tmp_path / "out"
    into.mkdir()
    copyfile(tiny / "speedrun.toml", into / "speedrun.toml")  # as if chosen
    words = ["--data", str(cells), "--into", str(into), "--experiments", str(tiny)]
    # What follows the studies is that of the test above.
    for step in ("choose", "report", "bundle", "verify"):
        words += ["--skip", step]
    ended = run_script("speedrun.py", *words, env=gpu_env)
    assert ended.code == 0, ended.err
    assert ended.out.count("2 done of 2 runs") == 2


PUBLISHED = (1, 64, 0.0007, "constant", "float32")
FAST = (1, 256, 0.002, "one-cycle", "mixed_bfloat16")


@pytest.mark.parametrize(
    ("runs", "code", "found"),
    [
        ([(*PUBLISHED, 9.0, 0.7), (*FAST, 3.0, 0.7)], 0, 256),
        ([(*PUBLISHED, 9.0, 0.7), (*FAST, 3.0, 0.69)], 4, None),
        ([(*PUBLISHED, 9.0, 0.7), (*FAST, 10.0, 0.9)], 4, None),
        ([(*PUBLISHED, 9.0, 0.7), (*FAST, 3.0, 0.6), (*FAST, 3.0, 0.8)], 0, 256),
        ([(*FAST, 3.0, 0.7)], 2, None),
        ([(*PUBLISHED, 9.0, 0.7), (*FAST, 3.0, 0.9), (*FAST, 3.0, None)], 4, None),
    ],
)
def test_the_cheapest_recipe_that_is_as_good_on_held_out_photographs_is_chosen(
    runs: list[tuple[Any, ...]],
    code: int,
    found: int | None,
    tiny: Path,
    gpu_env: dict[str, str],
    tmp_path: Path,
) -> None:
    into = tmp_path / "out"
    study = into / "results" / "speedrun-search"
    lines = [f"run_id,seed,{','.join(SETTINGS)},primary_energy_train_j,status,quality"]
    for number, (*settings, energy_j, score) in enumerate(runs):
        status = "done" if score else "failed"
        lines.append(f"r{number},{number},{','.join(map(str, settings))},{energy_j},{status},valid")
        (study / f"r{number}").mkdir(parents=True)
        (study / f"r{number}" / "epochs.csv").write_text(f"val_acc\n0.99\n{score}\n")
    lines.append(lines[1].replace("valid", "invalid").replace("9.0", "0.1").replace("3.0", "0.1"))
    (study / "runs.csv").write_text("\n".join(lines) + "\n")
    steps = ("speedrun-search", "speedrun", "compare", "report", "bundle", "verify")
    words = [word for step in steps for word in ("--skip", step)]
    words += ["--data", str(tmp_path), "--into", str(into), "--experiments", str(tiny)]
    assert run_script("speedrun.py", *words, env=gpu_env).code == code
    if found:
        made = tomllib.loads((into / "speedrun.toml").read_text())["configurations"]
        assert made == [dict(zip(KEYS, PUBLISHED, strict=True)), dict(zip(KEYS, FAST, strict=True))]
    else:
        assert not (into / "speedrun.toml").exists()
