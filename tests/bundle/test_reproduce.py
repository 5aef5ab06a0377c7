"""A study of a bundle is set up in an empty folder and nowhere else, carried out, and compared."""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from statistics import stdev

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from builders.bundle import StudyDesign, bundle_study
from program import wbcbench
from wbcbench.bundle import layout
from wbcbench.bundle.document import Author
from wbcbench.bundle.reproduce import (
    STEPS_FILE,
    Needs,
    compare_results,
    forecast_needs,
    require_room,
)
from wbcbench.bundle.reproduce import set_up as reproduce
from wbcbench.bundle.rerun import Sameness
from wbcbench.bundle.verify.inspect import read_summary
from wbcbench.bundle.verify.summary import RunResult
from wbcbench.bundle.write import Order, submit
from wbcbench.commands.reproduce import reproduce as command
from wbcbench.commands.sweep import sweep
from wbcbench.core.errors import UsageError, VerificationError
from wbcbench.study import plan
from wbcbench.study.experiment import Until

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


def test_a_folder_that_was_set_up_is_left_as_it_is_and_taken_up_for_its_own_bundle_alone(
    bundle, tmp_path
):
    into = tmp_path / "again"
    reproduce(bundle, into)
    (into / STEPS_FILE).write_text("My own notes.")
    assert reproduce(bundle, into).plan.study == "study"
    assert (into / STEPS_FILE).read_text() == "My own notes."
    other = bundle_of(replace(TINY, seed=5), tmp_path / "other")
    with pytest.raises(UsageError, match="plan of another study"):
        reproduce(other, into)


def test_it_says_what_the_study_takes_before_it_starts(bundle, tmp_path):
    code, out = run(command, str(bundle), "--into", str(tmp_path / "again"), "--json")
    needs = json.loads(out)["needs"]
    assert code == 0
    assert (needs["left"], needs["based_on"], needs["where"]) == (2, 2, "Example GPU")
    assert needs["time_s"] > 60
    assert needs["disk_bytes"] > 10_000
    assert list(needs["energy_j"]) == ["measured"]
    assert not needs["is_same_machine"]
    code, out = run(command, str(bundle), "--into", str(tmp_path / "again"))
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["Time", "Energy", "Disk", "For"]
    assert "another machine than this (Example GPU); here time and energy will differ" in lines[3]


def test_the_forecast_is_of_the_blocks_that_are_asked_for(tmp_path):
    until = Until(TINY.variants[0], width=50.0, max_blocks=5)
    design = replace(TINY, blocks=2, until=until, again=(2,))
    bag = bundle_of(design, tmp_path)
    made, summary = reproduce(bag, tmp_path / "again"), read_summary(bag, lambda _: None)
    every = forecast_needs(summary, made)
    assert (every.left, every.may_follow) == (4, 6)
    assert "For 4 runs to do (and up to 6 more, by its stopping rule)" in every.text
    one = forecast_needs(summary, made, blocks=1)
    assert (one.left, one.may_follow) == (2, 0)
    bundle_study(tmp_path / "again" / "results", design)
    assert forecast_needs(summary, made).left == 0


def test_nothing_is_started_without_room_on_the_disk(tmp_path):
    needs = Needs(4, 0, 4, 60.0, {"measured": 1.0}, 5e6, 100_000_000, "A", is_same_machine=True)
    with pytest.raises(UsageError, match=r"0\.1 GB left; the study needs 0\.1 GB\. Nothing was"):
        require_room(needs, tmp_path)
    require_room(replace(needs, free_bytes=106_000_000), tmp_path)


def test_only_what_was_carried_out_is_compared(bundle, tmp_path):
    with pytest.raises(UsageError, match=r"nothing to compare\. Carry it out with --run"):
        run(command, str(bundle), "--into", str(tmp_path / "again"), "--compare")
    with pytest.raises(UsageError, match="add --run"):
        run(command, str(bundle), "--into", str(tmp_path / "again"), "--blocks", "1")


def results(*accuracies: float, **fields: object) -> list[RunResult]:
    """Runs of one configuration, a seed each."""
    usual = RunResult(
        "r", "relu", 1, 0.9, "", 100.0, "measured", "A100", 100.0, "measured", 200.0, 9.0, 10
    )
    return [
        replace(usual, seed=seed, accuracy=share, scores_sha256=f"{seed} {share}", **fields)  # type: ignore[arg-type]
        for seed, share in enumerate(accuracies, start=1)
    ]


@pytest.mark.parametrize(
    ("here", "sameness"),
    [
        ((0.90, 0.92, 0.94), Sameness.REPRODUCED),
        ((0.90,), Sameness.REPRODUCED),
        ((0.92, 0.94, 0.96), Sameness.WITHIN),
        ((0.97, 0.98, 0.97), Sameness.DIFFERENT),
        ((0.96,), Sameness.WITHIN),
        ((0.70,), Sameness.DIFFERENT),
    ],
)
def test_accuracies_agree_within_what_the_scatter_between_seeds_explains(here, sameness):
    [compared] = compare_results(results(0.90, 0.92, 0.94), results(*here))
    assert compared.sameness is sameness
    assert compared.is_different is (sameness is Sameness.DIFFERENT)


def test_the_tolerance_is_students_of_both_sides_and_of_all_configurations():
    there, here = results(0.90, 0.92, 0.94), results(0.91, 0.95, 0.96)
    pooled = math.sqrt((stdev((0.90, 0.92, 0.94)) ** 2 + stdev((0.91, 0.95, 0.96)) ** 2) / 2)
    [alone] = compare_results(there, here)
    assert alone.tolerance == pytest.approx(2.7764 * pooled * math.sqrt(2 / 3), rel=1e-4)
    more = results(0.8, 0.9, 0.85, configuration="leaky")
    first, _ = compare_results([*there, *more], [*here, *more])
    assert first.tolerance == pytest.approx(3.4954 * pooled * math.sqrt(2 / 3), rel=1e-4)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_of_honest_repetitions_few_differ(seeds):
    rng = np.random.default_rng(seeds)
    pairs = [[results(*rng.normal(0.9, 0.02, seeds)) for _ in range(2)] for _ in range(400)]
    different = [compare_results(*pair)[0].is_different for pair in pairs]
    assert 0.01 < sum(different) / len(pairs) < 0.09


def test_seeds_that_agree_by_chance_allow_a_test_image():
    there = results(0.9, 0.9, image_share=0.01)
    [near] = compare_results(there, results(0.91, 0.91, image_share=0.01))
    [far] = compare_results(there, results(0.92, 0.92, image_share=0.01))
    assert (near.sameness, far.sameness) == (Sameness.WITHIN, Sameness.DIFFERENT)


def test_one_seed_shows_no_scatter_and_what_is_missing_on_one_side_is_said():
    [compared] = compare_results(results(0.90), results(0.91, 0.80))
    assert compared.sameness is Sameness.INCONCLUSIVE
    assert "the scatter is unknown, for the bundle has one seed" in compared.text
    missing, more = compare_results(results(0.9), results(0.9, configuration="leaky"))
    assert "no run of it is done here" in missing.text
    assert "no run of it is done in the bundle" in more.text


@pytest.mark.parametrize(
    ("fields", "words", "sameness"),
    [
        ({"gpu_energy_j": 104.0}, "within tolerance: 100 J in the bundle, 104 J", Sameness.WITHIN),
        ({"gpu_energy_j": 106.0}, "different: 100 J in the bundle, 106 J", Sameness.DIFFERENT),
        (
            {"gpu_name": "H100"},
            "not compared: A100 in the bundle, H100 here",
            Sameness.INCONCLUSIVE,
        ),
        ({"gpu_status": "simulated"}, "were measured here", Sameness.INCONCLUSIVE),
        ({"gpu_energy_j": None}, "were measured here", Sameness.INCONCLUSIVE),
    ],
)
def test_energy_is_compared_on_the_same_model_of_board_alone(fields, words, sameness):
    [compared] = compare_results(results(0.9, 0.92), results(0.9, 0.92, **fields))
    assert words in compared.text
    assert compared.energy_sameness is sameness
    assert compared.sameness is Sameness.REPRODUCED


@pytest.mark.tensorflow
def test_a_study_is_carried_out_again_from_where_it_stopped_and_compared(cells, tmp_path):
    """The run that is there already is not trained again."""
    experiment = tmp_path / "tiny.toml"
    experiment.write_text(
        'study = "tiny"\nseeds = [1]\n[factors]\nvariant = ["relu-dropout"]\n[run]\nepochs = 1\n'
        'idle_s = 0.5\ninference_s = 0.3\nwarmup_steps = 2\nmeters = ["simulated"]\n'
    )
    where = ("--data", str(cells), "--results", str(tmp_path / "results"))
    swept = wbcbench("sweep", str(experiment), "--exploratory", *where)
    assert swept.code == 0, swept.err
    words = ("--author", "Ada", "--licence", "MIT", "--allow-synthetic", "--no-verify")
    bag, into = tmp_path / "bag", tmp_path / "again"
    sent = wbcbench("submit", "tiny", *words, "--out", str(bag), *where[2:])
    assert sent.code == 0, sent.err
    reproduce(bag, into)
    shutil.copytree(tmp_path / "results", into / "results")
    again = ("reproduce", str(bag), "--into", str(into), "--run", "--json")
    done = wbcbench(*again, "--data", str(cells))
    assert done.code == 0, done.err
    [compared] = done.json["compared"]
    assert (compared["sameness"], compared["equal"]) == ("reproduced", 1)
    assert done.json["needs"]["left"] == 0
    shutil.copytree(cells, tmp_path / "other")
    min((tmp_path / "other").rglob("*.jpeg")).unlink()
    refused = wbcbench(*again, "--data", str(tmp_path / "other"))
    assert refused.code == 2
    assert "Name the folder of the same images with --data" in refused.err


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
