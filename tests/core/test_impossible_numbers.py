"""No number that cannot be passes the door of a reader, and none changes a comparison unseen."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.evidence import counter, power
from builders.folder import run_folder
from builders.run import failed_record, make_record, make_spec, save
from builders.study import draw
from program import wbcbench
from wbcbench import table
from wbcbench.compare.analysis import compare
from wbcbench.compare.claims import read_claims
from wbcbench.compare.metric import Settings, parse_threshold
from wbcbench.compare.result import build_comparison_document
from wbcbench.core.board_state import sample_from_line
from wbcbench.core.errors import UsageError, WbcbenchError
from wbcbench.core.messages import parse_lines
from wbcbench.core.record import from_json, to_json
from wbcbench.core.run_folder import RunDir
from wbcbench.core.strict_json import parse_json
from wbcbench.core.trace_file import parquet_from_polls, read_csv_polls, read_parquet_polls
from wbcbench.energy.account import replay
from wbcbench.table.view import Run

Path_ = tuple[str | int, ...]

RECORDS = [make_record(), failed_record(), replace(make_record(), test=None)]
NEVER = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400]
FREE = ("provenance", "meters")  # as a library or the system told them


def list_numbers(value: Any, place: Path_ = ()) -> Iterator[Path_]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from list_numbers(item, (*place, name))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place


def put(document: Any, place: Path_, word: str) -> bytes:
    """The document with another word at one place."""
    *outer, last = place
    inner = document
    for name in outer:
        inner = inner[name]
    inner[last] = "@@"
    return json.dumps(document).replace('"@@"', word).encode()


@settings(max_examples=200)
@given(st.data())
def test_no_record_holds_a_number_that_is_none(data):
    document = json.loads(to_json(data.draw(st.sampled_from(RECORDS))))
    place = data.draw(st.sampled_from(list(list_numbers(document))))
    spoiled = put(document, place, data.draw(st.sampled_from(NEVER)))
    with pytest.raises(UsageError) as caught:
        from_json(spoiled, "record.json")
    assert str(place[0]) in str(caught.value)


@settings(max_examples=100)
@given(st.data())
def test_no_energy_duration_count_or_share_is_below_zero(data):
    document = json.loads(to_json(RECORDS[0]))
    signed = {"start_s", "end_s", "evaluate_end_s", "loss", "val_loss", "seed", "split_seed"}
    signed |= {"temperature_start_c", "temperature_mean_c", "temperature_max_c"}
    places = [p for p in list_numbers(document) if p[0] not in FREE and p[-1] not in signed]
    place = data.draw(st.sampled_from(places))
    with pytest.raises(UsageError, match="-3"):
        from_json(put(document, place, "-3"), "record.json")


@pytest.mark.parametrize(
    ("place", "word", "named"),
    [
        (("test", "accuracy"), "1.7", "test.accuracy"),
        (("test", "recall", "MONOCYTE"), "80", "recall.MONOCYTE"),
        (("epochs", 0, "val_accuracy"), "97", "epochs.0.val_accuracy"),
        (("quality",), '"excellent"', "quality"),
        (("status",), '"finished"', "status"),
        (("channels", 0, "origin"), '"guessed"', "channels.0.origin"),
        (("energies", 0, "energy_j"), '"12"', "energies.0.energy_j"),
        (("energies", 0, "energy_j"), '"nan"', "energies.0.energy_j"),
        (("energies", 0, "energy_j"), "null", "uncertainty"),
        (("windows", 0, "end_s"), "-5", "ends before it starts"),
        (("test", "images"), "1.5", "test.images"),
    ],
)
def test_what_is_impossible_is_refused_by_its_name(place, word, named):
    document = json.loads(to_json(RECORDS[0]))
    with pytest.raises(UsageError, match=named):
        from_json(put(document, place, word), "record.json")


def test_what_the_program_writes_it_reads():
    for record in RECORDS:
        assert from_json(to_json(record), "record.json") == record
    worst = replace(RECORDS[0].epochs[0], loss=math.nan, val_loss=1e30)
    read = from_json(to_json(make_record(epochs=(worst,))), "record.json")
    assert read.epochs[0].loss is None
    assert read.epochs[0].val_loss == 1e30


@pytest.mark.parametrize("name", ["record.json", "spec.json", "channels.json", "attached.json"])
@pytest.mark.parametrize("word", ["NaN", "1e999", "[" * 50_000])
def test_every_document_of_a_run_is_refused_by_its_name(tmp_path, name, word):
    run = run_folder(tmp_path, counter(), power())
    path = run.path / name
    text = path.read_text() if path.exists() else '{"offset_s": 0}'
    spoiled = text.replace(": 0", f": {word}", 1) if ": 0" in text else word
    path.write_text(spoiled)
    readers = {"spec.json": RunDir.read_spec, "channels.json": RunDir.read_traces}
    with pytest.raises(UsageError, match=name):
        readers.get(name, RunDir.read_record)(run)


def test_every_reader_of_a_study_refuses_a_number_that_is_none(tmp_path):
    study = save(tmp_path, *draw(3))
    run = RunDir(sorted(path for path in study.iterdir())[0])
    document = json.loads(run.record_path.read_bytes())
    place = next(p for p in list_numbers(document) if p[-1] == "energy_j")
    run.record_path.write_bytes(put(document, place, "NaN"))
    for words in (
        ("show", run.run_id), ("compare", "study", "--json"), ("merge", "study", "--into", "all"),
        ("submit", "study", "--author", "A", "--licence", "MIT"),
    ):  # fmt: skip
        ended = wbcbench(*words, cwd=tmp_path, env={"WBCBENCH_RESULTS": str(tmp_path)})
        assert (ended.code, ended.out) == (2, ""), words
        assert "energies" in ended.err, words


def test_a_comparison_in_memory_takes_what_is_no_number_for_unknown():
    records = draw(8)
    odd = replace(records[5], test=replace(records[5].test, balanced_accuracy=math.nan))
    runs = [Run(each if each is not records[5] else odd, study="study") for each in records]
    row = table.row(odd)
    assert row["balanced_accuracy"] is None
    document = build_comparison_document(compare(runs, Settings(), ["study"]))
    assert len(document["blocks"]["complete"]) == 7
    [left_out] = document["blocks"]["left_out"]
    assert "balanced_accuracy is unknown" in left_out["reason"]
    json.dumps(document, allow_nan=False)


def test_traces_of_both_kinds_hold_numbers_alone(tmp_path):
    path = tmp_path / "meter.csv"
    path.write_text("t_s,a\n0.1,1.0\nnan,2.0\n0.2,inf\n0.3,1e999\n0.4,4.0\n")
    [(_, times, values)] = read_csv_polls(path)
    assert (list(times), list(values)) == ([0.1, 0.2, 0.3, 0.4], [1.0, None, None, 4.0])
    packed = tmp_path / "traces.parquet"
    packed.write_bytes(parquet_from_polls([("a", [0.1, math.inf], [1.0, 2.0])]))
    with pytest.raises(UsageError, match="a time is no number"):
        read_parquet_polls(packed)
    cells = ["1.0", "nan", *[""] * 8]
    assert sample_from_line(",".join(cells)) is None


def test_marks_hold_numbers_or_unknown_and_a_damaged_one_is_left_out():
    lines = [
        '{"mark": "open", "window": "train", "t_s": 1.0}',
        '{"mark": "open", "window": "idle", "t_s": NaN}',
        '{"mark": "close"}',
        '{"epoch": {"index": "one"}}',
        "[" * 100_000,
        '{"mark": "close", "window": "train", "t_s": 2.0}',
        '{"progress": {"loss": 1e999}}',
    ]
    events = replay(parse_lines(lines))
    assert [(w.name, w.start_s, w.end_s) for w in events.windows] == [("train", 1.0, 2.0)]
    assert events.progress == {"loss": None}


@pytest.mark.parametrize("limit", ["nan%", "inf%", f"{'9' * 400}%"])
def test_a_limit_is_a_number(limit):
    with pytest.raises(WbcbenchError, match="is not a limit"):
        parse_threshold(f"energy_gpu_train_j > {limit}")


@pytest.mark.parametrize("value", ["nan", "inf", "[1]"])
def test_a_number_of_a_file_of_claims_is_one(tmp_path, value):
    path = tmp_path / "claims.toml"
    path.write_text(
        '[[claim]]\nid = "a"\ntext = "b"\n[[claim.check]]\nsays = "c"\nkind = "share"\n'
        f'measure = "stuck"\nat = 2.0\nexpect = "below"\nlimit = {value}\n'
    )
    with pytest.raises(UsageError, match="limit"):
        read_claims(path)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "1e999", "NaN", "[" * 100_000, b"\xff"])
def test_json_of_two_meanings_is_none(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_the_spec_of_a_plan_is_read_as_it_was_written(tmp_path):
    spec = make_spec(cooldown_c=None, seed=2**32 - 1)
    run = RunDir(save(tmp_path, make_record(spec=spec)) / spec.run_id)
    assert run.read_spec() == spec
