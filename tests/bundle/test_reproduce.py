"""A bundle's study is set up again in an empty folder, and nowhere else."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from builders.bundle import StudyDesign, bundle_study
from wbcbench.bundle import layout
from wbcbench.bundle.document import Author
from wbcbench.bundle.rerun import STEPS_FILE, reproduce
from wbcbench.bundle.write import Order, submit
from wbcbench.commands.reproduce import reproduce as command
from wbcbench.commands.sweep import sweep
from wbcbench.core.errors import UsageError, VerificationError
from wbcbench.study import plan

pytestmark = pytest.mark.usefixtures("sketches")

TINY = StudyDesign(blocks=1, variants=("leaky-dropout", "relu-dropout"), epochs=2)


def bundle_of(made: StudyDesign, folder: Path, name: str = "bundle") -> Path:
    study = bundle_study(folder / "results", made)
    order = Order(
        study.parent, "study", (Author("Ada"),), "MIT", out=folder / name, formats=("md",)
    )
    return submit(replace(order, as_zip=name.endswith(".zip"))).path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_of(TINY, tmp_path_factory.mktemp("made"))


def zipped(bundle: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(bundle.rglob("*")):
            if path.is_file():
                archive.write(path, f"top/{path.relative_to(bundle)}")
    return target


def run(function, *words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(function)
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    return done.exit_code, done.stdout


def test_the_plan_is_there_and_sweep_takes_it_up(bundle, tmp_path):
    made = reproduce(bundle, tmp_path / "again")
    stored = bundle / layout.PAYLOAD / layout.study_dir("study") / layout.PLAN
    again = tmp_path / "again" / layout.PLAN
    assert plan.from_json(again) == plan.from_json(stored)
    assert made.commands[-3] == "wbcbench sweep plan.json --data FOLDER_OF_THE_IMAGES"
    code, out = run(
        sweep, str(again), "--dry-run", "--json", "--results", str(tmp_path / "again" / "results")
    )
    assert code == 0
    assert [each["state"] for each in json.loads(out)["states"]] == ["todo", "todo"]


def test_the_steps_say_what_is_needed_and_what_to_type(bundle, tmp_path):
    made = reproduce(bundle, tmp_path / "again")
    steps = (tmp_path / "again" / STEPS_FILE).read_text()
    assert all(command in steps for command in made.commands)
    assert made.submission.dataset is not None
    assert made.submission.dataset.sha256 in steps
    assert {path.name for path in (tmp_path / "again").iterdir()} == set(made.files)


def test_a_zip_is_set_up_as_its_folder_is(bundle, tmp_path):
    reproduce(bundle, tmp_path / "folder")
    reproduce(zipped(bundle, tmp_path / "b.zip"), tmp_path / "zip")
    for path in (tmp_path / "folder").iterdir():
        assert (tmp_path / "zip" / path.name).read_bytes() == path.read_bytes()


def test_a_folder_with_anything_in_it_is_left_alone(bundle, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for into in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(UsageError, match="not an empty folder"):
            reproduce(bundle, into)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_single_runs_have_no_plan_to_set_up(tmp_path):
    bundle = bundle_of(replace(TINY, planned=False), tmp_path)
    with pytest.raises(UsageError, match="has no plan"):
        reproduce(bundle, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_plan_that_was_changed_by_hand_sets_nothing_up(bundle, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    path = copy / layout.PAYLOAD / layout.study_dir("study") / layout.PLAN
    path.write_text(path.read_text().replace('"epochs": 2', '"epochs": 3'))
    with pytest.raises(UsageError, match="changed after it was made"):
        reproduce(copy, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_zip_that_reaches_out_of_its_folder_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("top/bagit.txt", layout.BAGIT_TEXT)
        archive.writestr("../../out.txt", "gotcha")
    with pytest.raises(VerificationError):
        reproduce(tmp_path / "bad.zip", tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("value", ["[" * 5000 + "]" * 5000, "NaN", "1e999"])
def test_a_document_that_is_no_json_of_ours_is_refused(bundle, tmp_path, value):
    shutil.copytree(bundle, tmp_path / "bag")
    path = tmp_path / "bag" / layout.PAYLOAD / layout.SUBMISSION
    path.write_text(path.read_text().replace('"schema": ', f'"x": {value}, "schema": ', 1))
    with pytest.raises(UsageError, match="not the document of a bundle"):
        reproduce(tmp_path / "bag", tmp_path / "again")


def test_what_is_no_bundle_is_said_to_be_none(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no bundle: it holds nothing"):
        reproduce(tmp_path / "empty", tmp_path / "again")


def test_the_command_says_where_it_is_and_what_to_type(bundle, tmp_path):
    into = str(tmp_path / "again")
    code, out = run(command, str(bundle), "--into", into, "--json")
    assert code == 0
    result = json.loads(out)
    assert (result["schema"], result["study"], result["folder"]) == (
        "wbcbench.reproduce/2",
        "study",
        into,
    )
    code, out = run(command, str(bundle), "--into", str(tmp_path / "more"))
    assert code == 0
    assert "wbcbench sweep plan.json" in out


@pytest.mark.parametrize("name", ["../../outside", "/etc", "a\nrm -rf ~"])
def test_a_study_whose_name_leads_elsewhere_is_refused(bundle, tmp_path, name):
    other = renamed(bundle, tmp_path, name)
    with pytest.raises(VerificationError, match="names a file"):
        reproduce(other, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_words_of_a_bundle_are_neither_commands_nor_lines_of_the_steps(bundle, tmp_path):
    other = renamed(bundle, tmp_path, "a; touch evil", gpu_name="A100\n\n    rm -rf ~\x1b[2J")
    made = reproduce(other, tmp_path / "again")
    assert made.commands[-1] == "wbcbench report 'a; touch evil'"
    steps = (tmp_path / "again" / STEPS_FILE).read_text()
    assert steps.replace("\n", "").isprintable()
    assert not [line for line in steps.splitlines() if line.strip().startswith("rm")]


def renamed(bundle: Path, folder: Path, study: str, **fields: str) -> Path:
    """A copy of a bundle whose document names another study, which lies there if it can."""
    other = folder / "other"
    shutil.copytree(bundle, other)
    payload = other / layout.PAYLOAD
    if study.isprintable() and "/" not in study:
        (payload / layout.study_dir("study")).rename(payload / layout.study_dir(study))
    path = payload / layout.SUBMISSION
    path.write_text(json.dumps(json.loads(path.read_text()) | {"study": study} | fields))
    return other
