"""A run's folder becomes its record, and the record says what its joules are worth."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from builders.evidence import EPOCHS, VALIDATED_WINDOWS, counter, estimated_cpu, load_j, power
from builders.folder import messages, write_messages, write_telemetry, write_traces
from builders.machine import COUNTER, CPU_MODEL, POWER, RAPL_CHANNELS
from wbcbench.core.board_state import BoardSample
from wbcbench.core.quality import Quality
from wbcbench.core.record import Circumstances, from_json, to_json
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Trace
from wbcbench.core.window import Window
from wbcbench.energy.account import account
from wbcbench.energy.appraise import appraise, appraise_parts

SEEN = Circumstances(started_utc="2026-01-01T00:00:00Z", provenance={})
OPEN = math.inf


@pytest.fixture
def run(tmp_path):
    folder = RunDir(tmp_path / "run")
    folder.create(RunSpec("relu-dropout"), Local())
    folder.write_channels([COUNTER, POWER, CPU_MODEL])
    return folder


def watched(run, *traces, windows=VALIDATED_WINDOWS, looks=()):
    """Write what a watcher leaves: traces, marks and the log of a board."""
    write_traces(run, traces or (counter(), power(), estimated_cpu()))
    write_messages(run, messages(windows, EPOCHS))
    write_telemetry(run, looks)


def test_a_healthy_run_has_joules_budgets_agreements_and_a_valid_verdict(run):
    watched(run)
    record = account(run, SEEN, "done")
    assert record.quality is Quality.VALID
    train = record.energy("train", COUNTER.name)
    assert train.energy_j == pytest.approx(66 * 250.0, rel=1e-3)
    assert 0 < train.uncertainty_j < 0.01 * train.energy_j
    assert {b.window for b in record.budgets} == {window.name for window in VALIDATED_WINDOWS}
    assert {(a.a, a.b) for a in record.agreements} == {(COUNTER.name, POWER.name)}


def test_the_budget_of_training_is_that_of_its_joules(run):
    watched(run)
    record = account(run, SEEN, "done")
    for channel in (COUNTER.name, POWER.name):
        [found] = [b for b in record.budgets if (b.window, b.channel) == ("train", channel)]
        energy = record.energy("train", channel)
        assert found.total_j == pytest.approx(energy.uncertainty_j)
        assert found.gain_j == pytest.approx(0.05 * energy.energy_j)
        assert found.baseline_j > 0


def test_a_record_with_everything_survives_its_file(run):
    looks = [
        BoardSample(10.0 + i, temperature_c=60.0, reasons=(), own=(1,), foreign=())
        for i in range(91)
    ]
    watched(run, looks=looks)
    record = account(run, SEEN, "done")
    assert record.telemetry
    assert from_json(to_json(record), "record.json") == record


def test_what_a_board_did_is_in_the_record_and_weighs(run):
    throttled = [BoardSample(15.0 + i, reasons=("hw_thermal_slowdown",)) for i in range(60)]
    watched(run, looks=throttled)
    record = account(run, SEEN, "done")
    [train] = [t for t in record.telemetry if t.window == "train"]
    assert train.throttled_s["hw_thermal_slowdown"] == pytest.approx(59.0)
    assert record.quality is Quality.INVALID


def test_a_frozen_counter_leaves_unknown_joules_and_a_reason_in_the_record(run):
    watched(run, counter(lambda t, _: load_j(min(t, 40.0))), power(), estimated_cpu())
    record = account(run, SEEN, "done")
    train = record.energy("train", COUNTER.name)
    assert train.energy_j is None
    assert "stood still" in train.reason
    assert record.energy("train", POWER.name).energy_j == pytest.approx(66 * 250.0, rel=0.01)
    assert record.quality is Quality.SUSPECT


def test_a_killed_trainer_leaves_the_joules_so_far_and_an_invalid_run(run):
    cut = [
        Window("idle_cold", 11.0, 14.0),
        Window("train", 15.0, OPEN),
        Window("epoch-1", 15.0, OPEN),
    ]
    watched(run, windows=(VALIDATED_WINDOWS[0], *cut))
    record = account(run, SEEN, "failed")
    assert record.energy("train", COUNTER.name).energy_j > 15_000
    assert record.quality is Quality.INVALID
    assert "window-truncated" in {warning.code for warning in record.warnings}


def test_a_channel_lost_early_does_not_shorten_the_cut_windows_of_the_others(run):
    cut = [Window("train", 15.0, OPEN)]
    watched(run, counter(), power(), estimated_cpu(polls=20), windows=cut)
    record = account(run, SEEN, "failed")
    assert record.window("train").end_s == pytest.approx(101.0)


def test_a_folder_without_any_trace_is_accounted_for_without_joules(run):
    watched(run)
    for path in (run.path / "trace").glob("*.csv"):
        path.unlink()
    record = account(run, SEEN, "done")
    assert record.energies == ()
    assert record.quality is Quality.INVALID


def test_parts_that_go_one_after_the_other_say_what_they_say_together():
    traces = [counter(), estimated_cpu(), power(), Trace(RAPL_CHANNELS[0], [], [])]
    board, rest = [traces[0], traces[2]], [traces[1]]
    whole = appraise(traces, VALIDATED_WINDOWS)
    order = [trace.channel for trace in traces]
    parts = appraise_parts([board, traces[3:], rest], VALIDATED_WINDOWS, order)
    assert replace(whole, reviewed=()) == parts
