"""Lines kept for the next table: they spare work, and never change a byte of ``runs.csv``."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import pytest

from builders.run import make_record, make_spec
from wbcbench import table
from wbcbench.core import record
from wbcbench.core.errors import UsageError
from wbcbench.core.files import write_atomically
from wbcbench.core.record import Attachment
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.core.study_folder import TABLE_LINES
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.window import WindowEnergy
from wbcbench.table import LEAST_RUNS, TableLine, read_lines

RECORD = make_record(spec=make_spec(seed=70_000))
WALL = Channel("wall/meter", Kind.SAMPLED, Origin.MEASURED, Domain.SYSTEM)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study just large enough, its table written once; tests take a copy."""
    study = tmp_path_factory.mktemp("kept") / "study"
    text = record.to_json(RECORD).decode()
    for i in range(LEAST_RUNS):
        folder = study / RECORD.run_id.replace("70000", str(70_000 + i))
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text("{}")
        (folder / "record.json").write_text(text.replace("70000", str(70_000 + i)))
    table.write_table(study)
    return study


@pytest.fixture
def study(made, tmp_path):
    return shutil.copytree(made, tmp_path / "study", copy_function=shutil.copy2)


@pytest.fixture
def kept(study):
    """The copy, with lines kept that belong to its own files."""
    table.write_table(study)
    return study


def reads(study):
    """Which runs' records the next table has to read."""
    seen = []

    def make(run):
        seen.append(run.run_id)
        return TableLine(("", 0, run.run_id), "")

    runs = [run for run in study_runs(study.parent, study.name) if run.is_finished]
    before = (study / TABLE_LINES).read_bytes()
    read_lines(study, runs, make)
    write_atomically(study / TABLE_LINES, before)
    return seen


def written(study):
    """``runs.csv`` with the lines that are kept, found equal to one without."""
    with_lines = table.write_table(study).read_bytes()
    (study / TABLE_LINES).unlink(missing_ok=True)
    assert table.write_table(study).read_bytes() == with_lines
    return with_lines


def run_of(study, number=7):
    return RunDir(sorted(path.parent for path in study.glob("*/record.json"))[number])


def test_nothing_is_read_again_while_nothing_changed(kept):
    assert reads(kept) == []
    assert written(kept).count(b"\n") == LEAST_RUNS + 1


def test_a_record_that_is_another_file_is_read_again_though_size_and_time_are_the_same(kept):
    run = run_of(kept)
    data = run.record_path.read_bytes()
    stat = run.record_path.stat()
    write_atomically(run.record_path, data.replace(b'"accuracy": 0.8,', b'"accuracy": 0.7,'))
    os.utime(run.record_path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert reads(kept) == [run.run_id]
    assert b",0.7," in written(kept)


def test_one_run_more_is_one_record_read(kept):
    fresh = make_record(spec=make_spec(seed=90_000))
    folder = kept / fresh.run_id
    folder.mkdir()
    (folder / "spec.json").write_text("{}")
    (folder / "record.json").write_bytes(record.to_json(fresh))
    assert reads(kept) == [fresh.run_id]
    assert fresh.run_id.encode() in written(kept)


def test_a_run_that_was_removed_leaves_the_table(kept):
    gone = run_of(kept, 0)
    fresh = make_record(spec=make_spec(seed=90_000))
    (kept / fresh.run_id).mkdir()
    (kept / fresh.run_id / "spec.json").write_text("{}")
    (kept / fresh.run_id / "record.json").write_bytes(record.to_json(fresh))
    shutil.rmtree(gone.path)
    assert gone.run_id.encode() not in written(kept)


def test_a_meter_attached_later_shows_in_the_row(kept):
    run = run_of(kept)
    joules = WindowEnergy("train", WALL.name, 12345.0, 1.0, 300.0, 40, 1.0)
    found = Attachment("log.csv", "ab", "W", 0.0, 0.0, "2026-03-02T00:00:00Z", WALL, (joules,))
    run.attachment_path.write_bytes(record.attachment_to_json(found))
    assert reads(kept) == [run.run_id]
    assert b"12345.0" in written(kept)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b",0.8,", b",0.8125,", 1),
        lambda data: b"\x00\xff" + data,
        lambda data: data.replace(b'"program": "', b'"program": "0', 1),
        lambda data: b"[]\n" + data,
        lambda data: b"",
    ],
    ids=["torn", "one number changed", "not text", "another program's", "no head", "empty"],
)
def test_a_file_that_is_damaged_or_of_another_program_is_not_believed(kept, spoil):
    path = kept / TABLE_LINES
    path.write_bytes(spoil(path.read_bytes()))
    assert len(reads(kept)) == LEAST_RUNS
    assert b",0.8125," not in written(kept)


def test_a_record_of_a_newer_version_is_refused_with_lines_kept_too(kept):
    run = run_of(kept)
    newer = json.loads(run.record_path.read_bytes()) | {"schema": "3.0"}
    write_atomically(run.record_path, json.dumps(newer).encode())
    before = (kept / "runs.csv").read_bytes()
    with pytest.raises(UsageError, match=r"record\.json has schema 3\.0"):
        table.write_table(kept)
    assert (kept / "runs.csv").read_bytes() == before


def test_a_small_study_keeps_no_such_file(kept):
    shutil.rmtree(run_of(kept).path)
    (kept / TABLE_LINES).unlink()
    table.write_table(kept)
    assert not (kept / TABLE_LINES).exists()


def test_a_folder_in_which_nothing_can_be_kept_has_its_table_all_the_same(study):
    (study / TABLE_LINES).unlink()
    (study / TABLE_LINES).mkdir()
    assert table.write_table(study).read_bytes().count(b"\n") == LEAST_RUNS + 1


def test_rows_keep_the_order_of_the_table_whatever_the_order_of_the_records():
    late = replace(RECORD, run_id="z", spec=replace(RECORD.spec, block=2))
    assert [row["run_id"] for row in table.rows([late, RECORD])] == [RECORD.run_id, "z"]
