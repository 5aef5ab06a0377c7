"""The wheel, installed in an environment of its own and used from an empty folder."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from program import Ended

REPOSITORY = Path(__file__).parents[2]


def build(kind: str, source: Path, into: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = into.iterdir()
    return built


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel in it; what the wheel needs is our own's."""

    wheel: Path
    folder: Path

    def run(self, *words: str, cwd: Path, **more: str) -> Ended:
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "WBCBENCH"))
        }
        own = {"WBCBENCH_CACHE": str(cwd.parent / "cache"), "WBCBENCH_LOCK_DIR": str(cwd.parent)}
        done = subprocess.run(
            [self.folder / "bin" / words[0], *words[1:]],
            env=inherited | own | {"XDG_CONFIG_HOME": str(cwd.parent)} | more,
            cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=600,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    room = tmp_path_factory.mktemp("installed")
    wheel = build("wheel", REPOSITORY, room / "wheel")
    folder = room / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--no-index", wheel], check=True, capture_output=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    # A path in a .pth file; those of that folder, the editable wbcbench among them, do not count.
    (site / "theirs.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(wheel, folder)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_the_installed_package_is_the_wheels(installed: Installed, empty: Path) -> None:
    shown = installed.run("python", "-c", "import wbcbench; print(wbcbench.__file__)", cwd=empty)
    assert Path(shown.out.strip()).is_relative_to(installed.folder)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--version",), "wbcbench "),
        (("--help",), "Run and measure:"),
        (("plan",), "2 × 2 (activation, regulariser)"),
        (("cite",), "@software{codecarbon"),
        (("schema", "experiment"), "json-schema.org"),
        (("config", "show", "--origin"), "baseline"),
        (("claims", "--measures"), "final_train_accuracy"),
        (("list", "parts"), "leaky-dropout"),
        (("models",), "relu-batchnorm"),
        (("submit", "--statement-template"), "author ="),
    ],
)
def test_a_command_needs_nothing_of_the_repository(
    words: tuple[str, ...], says: str, installed: Installed, empty: Path
) -> None:
    ended = installed.run("wbcbench", *words, cwd=empty)
    assert ended.code == 0, ended.err
    assert says in ended.out
    assert str(REPOSITORY) not in ended.out
    assert list(empty.iterdir()) == []


def test_a_study_is_planned_from_a_file_that_init_wrote(installed: Installed, empty: Path) -> None:
    assert installed.run("wbcbench", "init", cwd=empty).code == 0
    ended = installed.run("wbcbench", "plan", "experiment.toml", "--json", cwd=empty)
    assert len(ended.json["runs"]) == 32


@pytest.mark.tensorflow
def test_the_demonstration_ends_with_its_report(installed: Installed, empty: Path) -> None:
    words = ("demo", "--meters", "simulated")
    ended = installed.run("wbcbench", *words, cwd=empty)
    assert ended.code == 0, ended.err
    first, *lines = ended.out.splitlines()
    assert first.startswith("leaky-dropout, 10 epochs: done")
    assert [line.split()[0] for line in lines] == [
        "accuracy", "energy", "time", "Synthetic", "Report:", "Next:",
    ]  # fmt: skip
    assert lines[1].endswith("simulated")
    assert max(map(len, ended.out.splitlines())) <= 80
    page = empty / lines[4].removeprefix("Report: ")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    browser = empty.parent / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {empty.parent}/opened\n')
    browser.chmod(0o755)
    words += ("--json", "--open")
    again = installed.run("wbcbench", *words, cwd=empty, BROWSER=f"{browser} %s")
    assert (empty.parent / "opened").read_text().strip() == page.resolve().as_uri()
    assert (again.code, again.json["schema"]) == (0, "wbcbench.demo/2")
    assert again.json["row"]["accuracy"] > 0.5
    assert len(list((empty / "results" / "demo").glob("*/record.json"))) == 1
    # What it cost is what a plan of such runs learns from.
    plan = ("plan", "--set", "study=demo", "--set", "image_size=32", "--all")
    shown = installed.run("wbcbench", *plan, cwd=empty)
    assert "about" in shown.out and "simulated" in shown.out and "in all" in shown.out


def test_its_metadata_say_what_it_is(installed: Installed) -> None:
    (dist,) = (installed.folder / "lib").glob("python*/site-packages/wbcbench-*.dist-info")
    metadata = email.message_from_bytes((dist / "METADATA").read_bytes())
    assert metadata["Summary"] and metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert (dist / "licenses" / "LICENSE").is_file()
    assert (dist.parent / "wbcbench" / "py.typed").is_file()


def test_the_source_archive_makes_the_same_wheel(installed: Installed, tmp_path: Path) -> None:
    archive = build("sdist", REPOSITORY, tmp_path / "sdist")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    source = tmp_path / archive.name.removesuffix(".tar.gz")
    for name in ("Makefile", "tests/conftest.py", "results/example/runs.csv", "requirements.lock"):
        assert (source / name).is_file(), name
    assert build("wheel", source, tmp_path / "wheel").read_bytes() == installed.wheel.read_bytes()
