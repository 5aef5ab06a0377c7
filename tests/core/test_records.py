"""Records to JSON and back, and a record of every older schema that must load for ever."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from builders.machine import GPU_MACHINE, LAPTOP
from builders.run import failed_record, make_record, make_scores
from builders.timeline import make_epochs
from wbcbench import table
from wbcbench.core.errors import UsageError
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.core.record import RECORD_SCHEMA, from_json, to_json

OLD = sorted((Path(__file__).parents[1] / "formats").glob("record-*.json"))

DOUBTED = make_record(
    warnings=(QualityWarning("short-window", Severity.SUSPECT, "3 s", "train longer", "infer-b1"),),
    quality=Quality.SUSPECT,
)


@pytest.mark.parametrize(
    "record",
    [make_record(channels=GPU_MACHINE), make_record(channels=LAPTOP), failed_record(), DOUBTED],
    ids=["gpu", "laptop", "failed", "doubted"],
)
def test_a_record_read_back_is_the_record_that_was_written(record):
    assert from_json(to_json(record), "record.json") == record


def test_the_same_record_gives_the_same_bytes():
    data = to_json(make_record())
    assert data == to_json(from_json(data, "record.json"))
    assert data.endswith(b"}\n")


def test_a_loss_that_is_not_finite_is_unknown_in_the_file_and_the_record_still_loads():
    epoch = replace(make_epochs()[0], loss=float("nan"), val_loss=float("inf"))
    scores = replace(make_scores(), loss=float("nan"), ece=float("nan"))
    data = to_json(make_record(epochs=(epoch,), test=scores))
    assert b"NaN" not in data
    assert b"Infinity" not in data
    back = from_json(data, "record.json")
    assert back.epochs[0].loss is back.epochs[0].val_loss is None
    assert back.test.loss is back.test.ece is None


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_a_record_of_every_schema_so_far_loads_and_has_its_row(path):
    record = from_json(path.read_bytes(), str(path))
    cells = table.row(record)
    assert cells["run_id"] == record.run_id
    assert cells["primary_status"] == "estimated"
    assert cells["primary_energy_train_j"] == pytest.approx(1600.0)
    assert cells["accuracy"] == pytest.approx(0.8)


def test_there_is_a_record_of_the_present_schema_among_them():
    assert f"record-{RECORD_SCHEMA}" in [path.stem for path in OLD]


def test_a_field_that_a_later_minor_version_added_is_passed_over():
    plain = json.loads(to_json(make_record()))
    plain |= {"schema": "1.9", "mood": "good"}
    assert from_json(json.dumps(plain).encode(), "record.json").schema == "1.9"


def test_a_record_of_a_newer_major_version_is_refused_by_name():
    plain = json.loads(to_json(make_record())) | {"schema": "2.0"}
    with pytest.raises(UsageError, match=r"some/record\.json has schema 2\.0"):
        from_json(json.dumps(plain).encode(), "some/record.json")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"schema": "x"}', b"\xff\xfe"])
def test_what_is_no_record_is_refused_by_name(data):
    with pytest.raises(UsageError, match=r"some/record\.json is not a run record"):
        from_json(data, "some/record.json")


def test_an_energy_that_the_record_does_not_hold_is_unknown():
    record = make_record()
    assert record.energy("train", "nvml/gpu9/counter") is None
    assert record.window("nap") is None
