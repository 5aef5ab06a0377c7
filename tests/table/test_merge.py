"""``wbcbench merge``: runs of several machines in one study, none changed, none lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builders.machine import PROVENANCE
from builders.run import make_record, make_spec, save
from builders.study import draw
from program import wbcbench
from wbcbench.core.errors import UsageError
from wbcbench.core.record import to_json
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.study_folder import DELETED_RUNS
from wbcbench.table.deleted import keep_cost, read_deleted
from wbcbench.table.merge import merge_studies


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_runs_of_two_machines_come_together_byte_by_byte(tmp_path):
    here = save(tmp_path / "here", *draw(2))
    there = save(tmp_path / "there", *[r for r in draw(4, seed=7) if r.spec.block > 2])
    done = merge_studies([here, there], tmp_path / "all" / "both")
    assert (done.copied, done.same, done.unfinished) == (16, 0, 0)
    assert content(tmp_path / "all" / "both") == content(here) | content(there)


def test_the_same_run_twice_is_kept_once(tmp_path):
    first = save(tmp_path / "a", *draw(2))
    second = save(tmp_path / "b", *draw(2))
    done = merge_studies([first, second], tmp_path / "all")
    assert (done.copied, done.same) == (8, 8)
    again = merge_studies([first], tmp_path / "all")
    assert (again.copied, again.same) == (0, 8)


def test_one_name_with_two_contents_is_refused_and_nothing_is_copied(tmp_path):
    first = save(tmp_path / "a", *draw(2))
    other = [replace(r, provenance={**PROVENANCE, "host_id": "77aa00"}) for r in draw(1)]
    second = save(tmp_path / "b", *other)
    with pytest.raises(UsageError, match="Two runs named") as caught:
        merge_studies([first, second], tmp_path / "all")
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)
    assert not (tmp_path / "all").exists()


def test_different_predictions_of_equal_records_are_refused_too(tmp_path):
    folders = [save(tmp_path / name, *draw(1)) for name in ("a", "b")]
    for folder in folders:
        run = RunDir(next(folder.iterdir()))
        run.predictions_path.write_bytes(str(folder).encode())
    with pytest.raises(UsageError, match="predictions"):
        merge_studies(folders, tmp_path / "all")


def test_a_run_that_differs_from_one_already_there_is_refused(tmp_path):
    merge_studies([save(tmp_path / "a", *draw(1))], tmp_path / "all")
    with pytest.raises(UsageError, match="Two runs named"):
        merge_studies([save(tmp_path / "b", *draw(1, seed=5))], tmp_path / "all")


def test_runs_without_a_record_stay_where_they_are_and_are_counted(tmp_path):
    folder = save(tmp_path / "a", *draw(1))
    spec = make_spec("leaky-dropout", 77, study="study")
    RunDir(folder / spec.run_id).create(spec, Local())
    done = merge_studies([folder], tmp_path / "all")
    assert (done.copied, done.unfinished) == (4, 1)
    assert not (tmp_path / "all" / spec.run_id).exists()


def test_a_record_of_a_newer_version_is_refused_before_anything_is_copied(tmp_path):
    folder = save(tmp_path / "a", *draw(1))
    newer = make_record(spec=make_spec("leaky-dropout", 78, study="study"), schema="9.0")
    run = RunDir(folder / newer.run_id)
    run.create(newer.spec, Local())
    run.record_path.write_bytes(to_json(newer))
    with pytest.raises(UsageError, match=r"schema 9\.0"):
        merge_studies([folder], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_study_is_not_merged_into_itself(tmp_path):
    folder = save(tmp_path, *draw(1))
    with pytest.raises(UsageError, match="into itself"):
        merge_studies([folder], folder)


def test_a_merged_study_of_unlike_machines_is_compared_once_they_are_allowed_to_differ(tmp_path):
    results = tmp_path / "results"
    save(results, *draw(3, study="first"))
    elsewhere = [
        replace(r, provenance={**PROVENANCE, "host_id": "77aa00", "cpu_model": "Another CPU"})
        for r in draw(6, study="second", seed=4)
        if r.spec.block > 3
    ]
    away = save(tmp_path / "usb stick", *elsewhere)
    where = ("--results", str(results))
    ended = wbcbench("merge", "first", str(away), "--into", "both", *where, "--json")
    assert ended.code == 0
    assert ended.json["copied"] == 24
    assert (results / "both" / "runs.csv").read_text().count("\n") == 25
    assert wbcbench("compare", "both", *where).code == 3
    allowed = wbcbench("compare", "both", *where, "--allow-different", "cpu_model")
    assert allowed.code == 0
    assert allowed.out.startswith("6 seeds, ")


@pytest.mark.parametrize("name", ["", "a b", "../x"])
def test_only_a_study_can_be_merged_into(name, tmp_path):
    results = tmp_path / "results"
    save(results, *draw(1))
    before = sorted(tmp_path.rglob("*"))
    ended = wbcbench("merge", "study", f"--into={name}", "--results", str(results))
    assert (ended.code, "--into must be a plain folder name" in ended.err) == (2, True)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_study_to_merge_exits_2(tmp_path):
    save(tmp_path, *draw(1))
    ended = wbcbench("merge", "stduy", "--into", "x", "--results", str(tmp_path))
    assert ended.code == 2


def test_deleted_runs_come_along_once_and_only_those_that_are_no_more(tmp_path):
    records = draw(4)
    folders = [save(tmp_path / name, *records) for name in ("a", "b", "c")]
    for folder, places in zip(folders, ([0, 1], [1, 2], []), strict=True):
        for record in (records[place] for place in places):
            run = RunDir(folder / record.run_id)
            keep_cost(run)
            run.delete()
    merge_studies(folders[:2], tmp_path / "all")
    gone = read_deleted(tmp_path / "all")
    assert [each.run_id for each in gone] == [records[1].run_id]
    assert gone[0].spent.energy_j > 0
    merge_studies(folders[:1], tmp_path / "all")
    assert read_deleted(tmp_path / "all") == gone
    merge_studies(folders[2:], tmp_path / "all")
    assert read_deleted(tmp_path / "all") == []


def test_a_damaged_list_of_deleted_runs_is_refused_before_anything_is_copied(tmp_path):
    folder = save(tmp_path / "a", *draw(1))
    (folder / DELETED_RUNS).write_text("{")
    with pytest.raises(UsageError, match=DELETED_RUNS):
        merge_studies([folder], tmp_path / "all")
    assert not (tmp_path / "all").exists()
