"""Every cell of the results table explains itself, and is worked out again from what is on disk."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from builders.evidence import counter, power
from builders.folder import TRAIN_STEPS_J, run_folder, write_traces
from builders.machine import COUNTER
from builders.run import failed_record, make_record, save
from wbcbench import table
from wbcbench.commands.explain import explain as command
from wbcbench.core.errors import UsageError
from wbcbench.core.run_folder import RunDir
from wbcbench.table.columns import find_way_out, load_columns
from wbcbench.table.explain import RecountState, explain
from wbcbench.table.export import select_columns
from wbcbench.table.recount import Source, recount

COLUMNS = tuple(load_columns().values())

EXAMPLE = Path(__file__).parents[2] / "results" / "example"
SUM = re.compile(r"[\d\s.e+\-*/()]+")


def explained(run, name):
    return explain(recount(run), select_columns([name])[0])


def run_command(*words):
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A real run of the synthetic cells, accounted for by this version of the program."""
    [source] = EXAMPLE.glob("*/spec.json")
    copy = RunDir(tmp_path_factory.mktemp("trained") / "runs" / source.parent.name)
    shutil.copytree(source.parent, copy.path)
    again = recount(copy).again
    copy.record_path.unlink()
    copy.write_record(again)
    return recount(copy)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_every_column_explains_itself_and_holds(trained, column):
    found = explain(trained, column)
    assert found.formula
    assert found.value == table.row(trained.recorded)[column.name]
    assert found.state in {RecountState.EQUAL, RecountState.RECORDED_ONCE}
    assert (found.state is RecountState.RECORDED_ONCE) == (not found.sources)


def test_most_of_a_row_can_be_worked_out_again(trained):
    states = [explain(trained, column).state for column in COLUMNS]
    assert states.count(RecountState.EQUAL) > 90


@pytest.mark.parametrize("machine", ["gpu", "laptop"])
def test_formulas_with_values_put_in_come_to_the_cell(trained, tmp_path, machine):
    if machine == "gpu":
        save(tmp_path, make_record(test=None, test_leakage_free=None))
        [spec] = tmp_path.glob("runs/*/spec.json")
        trained = recount(RunDir(spec.parent))
    found = [explain(trained, column) for column in COLUMNS]
    sums = [each for each in found if each.inputs and SUM.fullmatch(each.formula_with_values)]
    assert len(sums) >= 9
    for each in sums:
        assert eval(each.formula_with_values) == pytest.approx(each.value), each.column.name


def test_joules_are_taken_apart_into_window_channel_readings_edges_and_budget(kept):
    found = explained(kept, "energy_gpu_train_j")
    [reading] = found.readings
    assert found.value == found.again == pytest.approx(TRAIN_STEPS_J, rel=1e-3)
    assert found.state is RecountState.EQUAL
    assert reading.channel == COUNTER
    assert (reading.window.start_s, reading.window.end_s) == (15.0, 85.0)
    assert [each.window for each in reading.passes] == ["validate-1", "validate-2"]
    assert reading.samples.count == 700
    assert reading.start.before.t_s <= 15.0 <= reading.start.after.t_s
    whole_j = reading.end.energy_j - reading.start.energy_j
    passes_j = sum(each.energy_j for each in reading.passes)
    assert whole_j - passes_j == pytest.approx(found.value)
    assert reading.budget.total_j == pytest.approx(reading.recorded.uncertainty_j)


def test_primary_energy_above_idle_names_idle_windows_and_the_baseline(kept):
    words = " ".join(run_command(kept.path, "primary_energy_train_above_idle_j").split())
    assert "primary_energy_train_j - idle_w * time_train_s" in words
    assert "idle_cold on nvml/gpu0/counter" in words
    assert "subtracting idle power adds" in words
    assert "nvml/gpu0/counter for gpu (counter, measured)" in words


def test_a_changed_trace_is_found_out(tmp_path):
    run = run_folder(tmp_path)
    write_traces(run, [counter(lambda _, j: 1.01 * j), power()])
    assert explained(run, "energy_gpu_train_j").state is RecountState.DIFFERS
    assert "DIFFERS from the record's" in " ".join(
        run_command(run.path, "energy_gpu_train_j").split()
    )


def test_a_changed_record_is_found_out(tmp_path):
    run = run_folder(tmp_path)
    text = run.record_path.read_text()
    cell = explained(run, "primary_energy_train_j").value
    run.record_path.write_text(text.replace(repr(cell), repr(cell - 500.0)))
    assert explained(run, "primary_energy_train_j").state is RecountState.DIFFERS


def test_without_traces_it_says_so_and_still_tells_formula_and_budget(tmp_path):
    run = run_folder(tmp_path)
    (run.path / "traces.parquet").unlink()
    found = explained(run, "energy_gpu_train_j")
    assert (found.state, found.missing) == (RecountState.FILES_MISSING, (Source.TRACES,))
    assert found.readings[0].budget is not None
    words = " ".join(run_command(run.path, "energy_gpu_train_j").split())
    assert "traces.parquet of this run were not kept" in words
    assert explained(run, "time_train_s").state is RecountState.EQUAL


def test_a_failed_channel_says_why_it_is_unknown(tmp_path):
    run = run_folder(tmp_path, counter(lambda t, j: j if t < 60 else None))
    found = explained(run, "energy_gpu_train_j")
    assert found.value is None
    assert found.state is RecountState.EQUAL
    assert "its good readings end before the window does" in run_command(
        run.path, "energy_gpu_train_j"
    )


def test_an_absent_value_says_why_and_what_to_do(trained):
    """The machine that trained the example had no GPU driver."""
    found = explain(trained, select_columns(["energy_gpu_train_j"])[0])
    assert found.value is None
    assert found.reasons[0].startswith("nvml: NVML cannot measure GPUs here")
    assert "wbcbench doctor" in found.way_out
    shown = run_command(trained.path, "gpu_name")
    assert "reason" in shown and "way out" in shown and "libnvidia-ml" in shown
    known = explain(trained, select_columns(["accuracy"])[0])
    assert (known.reasons, known.way_out) == ((), "")


def test_every_cell_that_may_be_empty_has_a_way_out(trained):
    for column in COLUMNS:
        assert bool(find_way_out(column)) == bool(column.empty_when), column.name
        found = explain(trained, column)
        assert bool(found.reasons) == (found.value is None), column.name


def test_a_run_that_failed_says_so_for_what_it_lacks(tmp_path):
    record = failed_record()
    save(tmp_path, record)
    document = json.loads(run_command(record.run_id, "accuracy", "--json", "--results", tmp_path))
    assert document["value"] is None
    assert record.error.message in document["reasons"][0]


def test_as_json_it_is_one_document_with_the_same_numbers(kept):
    document = json.loads(run_command(kept.path, "primary_energy_train_j", "--json"))
    assert document["schema"] == "wbcbench.explain/2"
    assert document["again"]["state"] == "equal"
    assert document["value"] == document["again"]["value"]
    assert document["readings"][0]["start"]["before"]["t_s"] <= 15.0


def test_a_run_may_be_abbreviated_and_a_wrong_column_gets_the_nearest(kept):
    results = kept.path.parents[1]
    assert kept.run_id in run_command(kept.run_id[:14], "epochs_run", "--results", results)
    with pytest.raises(UsageError, match="Did you mean 'epochs_run'"):
        run_command(kept.run_id, "epochs", "--results", results)


def test_a_coarse_counter_that_gives_way_is_explained(tmp_path):
    coarse = counter(lambda t, joules: joules - joules % 7000.0)
    coarse = replace(coarse, channel=replace(coarse.channel, update_s=None))
    words = " ".join(
        run_command(run_folder(tmp_path, coarse, power()).path, "gpu_energy_method").split()
    )
    assert "nvml/gpu0/power counts: nvml/gpu0/counter steps so coarsely" in words
