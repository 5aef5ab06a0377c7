"""Without TensorFlow, Keras, OpenCV and TensorBoard everything works but training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from program import Ended, wbcbench
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.extras import INSTALL_TRAINING, TRAINING_PACKAGES

# Python imports this before anything else: to it, the packages are not installed.
SITE_CUSTOMIZE = f"""
import sys
from importlib.machinery import PathFinder

class WithoutTraining(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in {TRAINING_PACKAGES!r}:
            return None
        return super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTraining
"""
[BUNDLE] = (Path(__file__).parents[1] / "formats").glob("bundle-*.zip")
NEEDED = {
    "tensorboard": "tensorboard",
    "data": "opencv-python-headless",
    "models": "keras",
}  # what other commands than those that train need
PLAN = """\
study = "small"
analysis.exploratory = true
blocks = 1

[factors]
variant = ["relu-dropout", "leaky-dropout"]
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    folder = tmp_path_factory.mktemp("without-training")
    (folder / "sitecustomize.py").write_text(SITE_CUSTOMIZE)
    return {"PYTHONPATH": str(folder), "WBCBENCH_RESULTS": str(folder / "results")}


@pytest.fixture(scope="module")
def results(finished: tuple[Path, Ended], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(finished[0], tmp_path_factory.mktemp("copy") / "results"))


@pytest.fixture(scope="module")
def run_id(results: Path) -> str:
    [folder] = [path for path in (results / "runs").iterdir() if path.is_dir()]
    return folder.name


def python(program: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", program]
    environment = {**os.environ, **environment}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", TRAINING_PACKAGES)
def test_the_training_packages_are_really_missing(
    name: str, environment: Mapping[str, str]
) -> None:
    ended = python(f"import {name}", environment)
    assert f"ModuleNotFoundError: No module named '{name}'" in ended.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "parts"),
        ("show", "RUN"),
        ("explain", "RUN", "energy_gpu_train_j"),
        ("report", "--out", "REPORTS"),
        ("compare", "runs", "--lowest-status", "simulated"),
        ("claims", "runs"),
        ("export", "runs", "--format", "parquet", "--out", "REPORTS/runs.parquet"),
        ("merge", "runs", "--into", "merged"),
        ("models",),
        ("config", "show"),
        ("cite",),
        ("schema", "record"),
        ("monitor", "--meters", "simulated", "--", "true"),
        ("doctor", "--meters", "simulated"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_everything_but_training_works(
    words: tuple[str, ...],
    results: Path,
    run_id: str,
    environment: Mapping[str, str],
    tmp_path: Path,
) -> None:
    words = tuple(
        word.replace("RUN", run_id).replace("REPORTS", str(tmp_path / "reports")) for word in words
    )
    ended = wbcbench(*words, env={**environment, "WBCBENCH_RESULTS": str(results)})
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert "cannot be loaded" not in ended.out


def test_a_bundle_is_verified_which_makes_its_report_again(environment: Mapping[str, str]) -> None:
    verified = wbcbench("verify", str(BUNDLE), env=environment)
    assert verified.code == 0, verified.out + verified.err


def test_doctor_names_the_missing_extra(environment: Mapping[str, str], tmp_path: Path) -> None:
    words = ("doctor", "--meters", "simulated", "--results", str(tmp_path), "--json")
    groups = wbcbench(*words, env=environment).json["groups"]
    [line] = [line for line in groups[0]["lines"] if line["name"] == "training"]
    assert (
        line["text"]
        == "not installed: tensorflow, keras, opencv-python-headless, simplejpeg, tensorboard"
    )
    assert line["fix"] == INSTALL_TRAINING


def test_the_meter_measures(environment: Mapping[str, str]) -> None:
    program = (
        "import json, time\nfrom wbcbench import Meter\n"
        "with Meter('simulated') as meter:\n    with meter.window('train'): time.sleep(0.2)\n"
        "print(json.dumps([meter.energy.window, meter.energy.energy_j]))"
    )
    ended = python(program, environment)
    window, energy_j = json.loads(ended.stdout)
    assert window == "train"
    assert energy_j > 0


@pytest.mark.parametrize(
    "words",
    [
        ("demo",),
        ("run", "--variant", "relu-dropout"),
        ("sweep", "PLAN"),
        ("plan", "PLAN", "--pilot"),
        ("models", "relu-dropout"),
        ("data", "synth", "images"),
        ("data", "check", "CELLS"),
        ("tensorboard", "runs"),
        ("verify", "bundle", "--rerun"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_command_that_needs_training_packages_says_so_and_leaves_nothing(
    words: tuple[str, ...], cells: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    before = set(tmp_path.rglob("*"))
    words = tuple(word.replace("PLAN", str(plan)).replace("CELLS", str(cells)) for word in words)
    ended = wbcbench(*words, env=environment, cwd=tmp_path)
    assert ended.code == CannotMeasureError.exit_code, ended.err
    assert INSTALL_TRAINING in ended.err
    assert "Traceback" not in ended.err
    assert set(tmp_path.rglob("*")) == before
    needed = NEEDED.get(
        words[0], "tensorflow, keras, opencv-python-headless, simplejpeg, tensorboard"
    )
    assert f"This command needs {needed}, which" in ended.err
