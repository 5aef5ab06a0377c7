"""Records to JSON and back, one kept in the present schema, and those of others refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from builders.formats import LAPTOP_RECORD
from builders.machine import GPU_MACHINE, LAPTOP
from builders.run import failed_record, make_record, make_scores
from builders.timeline import make_epochs
from wbcbench import table
from wbcbench.core.errors import UsageError
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.core.record import RECORD_SCHEMA, from_json, to_json

KEPT = Path(__file__).parents[1] / "formats" / f"record-{RECORD_SCHEMA}.json"

SUSPECT = make_record(
    warnings=(QualityWarning("short-window", Severity.SUSPECT, "3 s", "train longer", "infer-b1"),),
    quality=Quality.SUSPECT,
)


@pytest.mark.parametrize(
    "record",
    [make_record(channels=GPU_MACHINE), make_record(channels=LAPTOP), failed_record(), SUSPECT],
    ids=["gpu", "laptop", "failed", "suspect"],
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


def test_the_kept_record_of_the_present_schema_loads_and_has_its_row():
    record = from_json(KEPT.read_bytes(), str(KEPT))
    assert record == LAPTOP_RECORD
    cells = table.row(record)
    assert cells["run_id"] == record.run_id
    assert cells["primary_status"] == "estimated"
    assert cells["primary_energy_train_j"] == pytest.approx(1600.0)
    assert cells["accuracy"] == pytest.approx(0.8)


def test_a_field_that_a_later_minor_version_added_is_ignored():
    plain = json.loads(to_json(make_record()))
    plain |= {"schema": "2.9", "mood": "good"}
    assert from_json(json.dumps(plain).encode(), "record.json").schema == "2.9"


@pytest.mark.parametrize(
    ("schema", "way_out"),
    [
        ("1.0", "of a development version; this wbcbench reads 2.x. Run it again, or use the"),
        ("1.0", "commit named in CHANGELOG.md"),
        ("3.0", "this wbcbench reads 2.x. Nothing was changed. Use the wbcbench that wrote it"),
    ],
)
@pytest.mark.parametrize("more", [{}, {"channels": "other than today"}])
def test_a_record_of_another_major_version_is_refused_by_name(schema, way_out, more):
    plain = json.loads(to_json(make_record())) | {"schema": schema} | more
    with pytest.raises(UsageError) as caught:
        from_json(json.dumps(plain).encode(), "some/record.json")
    assert f"some/record.json has schema {schema}" in str(caught.value)
    assert way_out in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"schema": "x"}', b"\xff\xfe"])
def test_what_is_no_record_is_refused_by_name(data):
    with pytest.raises(UsageError, match=r"some/record\.json is not a run record"):
        from_json(data, "some/record.json")


def test_an_energy_that_the_record_does_not_hold_is_unknown():
    record = make_record()
    assert record.energy("train", "nvml/gpu9/counter") is None
    assert record.window("nap") is None
