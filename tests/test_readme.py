"""Every command of the README runs as it is written; long ones as their twins of one epoch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from wbcbench.cli import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LOCKS = ("requirements.lock", "requirements-cuda.lock")
SHORT = "--epochs 1 --idle 0.5 --inference 0.3 --warmup-steps 2"
SHORT_STUDY = "--exploratory --set blocks=1 --set epochs=1 --set idle_s=0.5 --set inference_s=0.3"

# What a command is replaced by here; nothing for what only a fresh machine can do.
TWINS = {
    "make run": "make -n run",
    'pip install ".[train]"': "",  # test_installed.py builds and installs the wheel
    "wbcbench demo": "",  # as well
    "wbcbench run --variant leaky-dropout": f"wbcbench run --variant leaky-dropout {SHORT}",
    "wbcbench sweep experiments/quick.toml": (
        f"wbcbench sweep experiments/quick.toml {SHORT_STUDY}"
    ),
}


def list_commands() -> list[str]:
    """Lines with a prompt, in their order."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what a clone has, and a ``wbcbench`` on the path."""
    (tmp_path / "results").mkdir()
    named = (
        "experiments",
        "harness",
        "Makefile",
        "pyproject.toml",
        "results/published.zip",
        *LOCKS,
    )
    for name in named:
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def run(line: str, folder: Path) -> str:
    scripts = Path(sys.executable).parent
    settings = {n: v for n, v in os.environ.items() if n not in ("WBCBENCH_RESULTS", "COLUMNS")}
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**settings, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


def test_the_commands_of_the_readme_run_one_after_the_other(clone: Path) -> None:
    lines = list_commands()
    assert set(TWINS) <= set(lines)
    for line in lines:
        if twin := TWINS.get(line, line):
            assert run(twin, clone)
    assert (clone / "results" / "quick" / "runs.csv").exists()


def test_the_snippet_of_the_readme_runs(clone: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (clone / "snippet.py").write_text(snippet, encoding="utf-8")
    assert run(f"{sys.executable} snippet.py", clone).strip()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_guide(name: str) -> None:
    guide = (ROOT / "harness" / "GUIDE.md").read_text(encoding="utf-8")
    assert f"wbcbench {name}" in guide
