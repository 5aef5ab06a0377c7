from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_folders import jpeg_bytes, write_folder, write_table
from program import wbcbench
from wbcbench.commands.data import app
from wbcbench.core.errors import UsageError
from wbcbench.data.check import CheckReport, check_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "images", per_class=2)


def codes(report: CheckReport) -> list[str]:
    return [finding.code for finding in report.problems]


def names_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.jpeg"))


def test_a_sound_set_has_no_problems_and_its_missing_photographs_are_a_note(folder):
    report = check_folder(folder)
    assert report.problems == ()
    assert [note.code for note in report.notes] == ["photograph-unknown"]
    assert report.photographs == {"TRAIN": None, "TEST": None} and report.leaking is None
    assert report.counts["TRAIN"]["MONOCYTE"] == 2
    assert report.dataset_id.startswith("custom-")


def test_unreadable_images_are_all_named(folder):
    bad = [folder / "TRAIN/MONOCYTE/a.jpeg", folder / "TEST/LYMPHOCYTE/b.jpeg"]
    bad[0].write_bytes(b"")
    bad[1].write_bytes(jpeg_bytes(1)[:900])
    report = check_folder(folder)
    assert codes(report) == ["unreadable", "unreadable"]
    assert {f for p in report.problems for f in p.files} == {
        p.relative_to(folder).as_posix() for p in bad
    }


def test_images_of_another_size_are_named(folder):
    (folder / "TRAIN/MONOCYTE/small.jpeg").write_bytes(jpeg_bytes(1, width=100, height=50))
    (problem,) = check_folder(folder).problems
    assert problem.code == "wrong-size" and "100 × 50" in problem.detail


@pytest.mark.parametrize(
    ("source", "copy", "is_problem"),
    [
        ("TRAIN/MONOCYTE", "TEST/MONOCYTE", True),
        ("TRAIN/MONOCYTE", "TRAIN/NEUTROPHIL", True),
        ("TRAIN/MONOCYTE", "TRAIN/MONOCYTE", False),
        ("TEST/MONOCYTE", "TEST_SIMPLE/MONOCYTE", False),
    ],
)
def test_copies_across_splits_or_classes_are_wrong_and_others_a_note(
    folder, source, copy, is_problem
):
    original = next((folder / source).iterdir())
    (folder / copy).mkdir(parents=True, exist_ok=True)
    shutil.copy(original, folder / copy / "copy.jpeg")
    report = check_folder(folder)
    assert codes(report) == (["duplicate-across-folders"] if is_problem else [])
    assert ("duplicate" in [note.code for note in report.notes]) == (not is_problem)


def test_a_photograph_in_both_splits_is_wrong(folder):
    names = names_in(folder)
    numbers = {name: i for i, name in enumerate(names)}
    numbers[names[0]] = numbers[names[-1]] = 99
    write_table(folder, {name: (i, i, False) for name, i in numbers.items()})
    (problem,) = check_folder(folder).problems
    assert problem.code == "photograph-in-two-splits"
    assert set(problem.files) == {names[0], names[-1]}


def test_declared_leaks_are_listed_but_not_wrong(folder):
    names = names_in(folder)
    write_table(folder, {n: (i, i, n.startswith("TEST/M")) for i, n in enumerate(names)})
    report = check_folder(folder)
    assert report.problems == ()
    assert report.leaking == tuple(n for n in names if n.startswith("TEST/M"))
    assert report.photographs == {"TRAIN": 8, "TEST": 8}


def test_an_image_in_another_class_than_its_table_says_is_wrong(folder):
    write_table(folder, {name: (i, i, False) for i, name in enumerate(names_in(folder))})
    moved = next((folder / "TRAIN/MONOCYTE").iterdir())
    moved.rename(folder / "TRAIN/NEUTROPHIL" / moved.name)
    (problem,) = check_folder(folder).problems
    assert problem.code == "misplaced" and "TRAIN/MONOCYTE" in problem.detail


def test_folders_that_are_not_read_are_a_note(folder):
    (folder / "TRAIN/BASOPHIL").mkdir()
    (folder / "EXTRA").mkdir()
    (note,) = [n for n in check_folder(folder).notes if n.code == "ignored-folder"]
    assert note.files == ("EXTRA", "TRAIN/BASOPHIL")


def test_a_missing_class_is_refused(folder):
    shutil.rmtree(folder / "TEST/NEUTROPHIL")
    with pytest.raises(UsageError, match="TEST/NEUTROPHIL"):
        check_folder(folder)


def test_the_command_prints_one_json_document_and_exits_0_for_a_sound_set(folder):
    done = CliRunner().invoke(app, ["check", str(folder), "--json"])
    document = json.loads(done.stdout)
    assert done.exit_code == 0 and document["ok"] is True
    assert document["schema"] == "wbcbench.data-check/2"
    assert document["counts"]["TEST"]["EOSINOPHIL"] == 2


def test_the_command_exits_2_and_lists_what_is_wrong(folder):
    (folder / "TRAIN/MONOCYTE/a.jpeg").write_bytes(b"")
    done = wbcbench("data", "check", str(folder))
    assert done.code == 2
    assert done.err == ""
    assert "TRAIN/MONOCYTE/a.jpeg is empty (0 bytes)" in done.out
    document = json.loads(CliRunner().invoke(app, ["check", str(folder), "--json"]).stdout)
    assert document["ok"] is False and document["problems"][0]["code"] == "unreadable"


def test_the_command_draws_synthetic_cells_and_says_so(tmp_path):
    target = tmp_path / "cells"
    arguments = ["synth", str(target), "--train", "8", "--test", "8", "--seed", "5", "--json"]
    done = CliRunner().invoke(app, arguments)
    document = json.loads(done.stdout)
    assert document["schema"] == "wbcbench.data-synth/2" and document["seed"] == 5
    assert check_folder(target).synthetic
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, UsageError)
