"""`wbcbench run` as users run it: a real, small training with real processes."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import pytest

from cells import finished_words
from program import (
    SHORT,
    Ended,
    only_run,
    processes_of,
    start,
    wait_for,
    wait_for_window,
    wbcbench,
)
from wbcbench.core.run_folder import study_runs
from wbcbench.energy.account import replay
from wbcbench.energy.bill import make_bill

pytestmark = pytest.mark.tensorflow

VARIANT = ("run", "--variant", "leaky-dropout")


def test_json_is_one_document_on_stdout_although_libraries_chatter(
    finished: tuple[Path, Ended],
) -> None:
    results, ended = finished
    document = ended.json
    assert document["schema"] == "wbcbench.run/2"
    assert Path(document["run_dir"]) == only_run(results).path
    assert document["row"]["status"] == "done"
    assert document["row"]["synthetic"] is True
    assert {"code", "severity", "detail", "advice"} <= set(document["warnings"][0])


def test_every_phase_is_a_window_and_they_follow_each_other(finished: tuple[Path, Ended]) -> None:
    record = only_run(finished[0]).read_record()
    names = [window.name for window in sorted(record.windows, key=lambda w: (w.start_s, -w.end_s))]
    assert names == [
        "whole_run", "idle_cold", "startup", "import", "context", "data", "build", "batch",
        "idle_context", "compile", "warmup", "train", "epoch-1", "validate-1", "epoch-2",
        "validate-2", "evaluate", "write", "compile-inference", "infer-b1", "infer-b64", "exit",
        "idle_post",
    ]  # fmt: skip


def test_every_window_has_joules_on_every_channel(finished: tuple[Path, Ended]) -> None:
    record = only_run(finished[0]).read_record()
    pairs = {(energy.window, energy.channel) for energy in record.energies}
    assert pairs == {(w.name, c.name) for w in record.windows for c in record.channels}
    for energy in record.energies:
        assert energy.energy_j is not None or energy.reason


def test_the_row_in_the_table_is_the_row_that_was_printed(finished: tuple[Path, Ended]) -> None:
    results, ended = finished
    with (results / "runs" / "runs.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert row["run_id"] == ended.json["row"]["run_id"]
    assert float(row["accuracy"]) == ended.json["row"]["accuracy"]


def test_the_run_leaves_what_the_layout_promises(finished: tuple[Path, Ended]) -> None:
    names = {path.name for path in only_run(finished[0]).path.iterdir()}
    promised = {"spec.json", "record.json", "epochs.csv", "predictions.parquet", "log.txt"}
    assert promised | {"traces.parquet", "marks.jsonl", "tb"} <= names


def test_a_finished_run_is_not_repeated_unless_asked(
    finished: tuple[Path, Ended], cells: Path
) -> None:
    results, first = finished
    record = only_run(results).record_path
    before = record.read_bytes()
    again = wbcbench(*finished_words(cells, results), "--json")
    assert again.code == 0
    assert again.json["row"]["run_id"] == first.json["row"]["run_id"]
    assert record.read_bytes() == before
    assert len(study_runs(results, "runs")) == 1


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--variant", "leeky-dropout"), 2, "Did you mean 'leaky-dropout'"),
        (("--variant", "leaky-dropout", "--epochs", "0"), 2, "--epochs must be at least 1"),
        (("--variant", "leaky-dropout", "--epochs", "-1"), 2, "--epochs"),
        (("--variant", "leaky-dropout", "--data", "/no/such/folder"), 2, "/no/such/folder"),
        (("--variant", "leaky-dropout", "--meters", "nvml"), 3, "NVML"),
        (("--variant", "leaky-dropout", "--results", "/dev/null/x"), 2, "--results"),
        (("--variant",), 2, "--variant"),
    ],
)
def test_bad_input_ends_with_its_code_and_a_way_out(
    words: tuple[str, ...], code: int, says: str, cells: Path, tmp_path: Path
) -> None:
    extra = () if "--data" in words else ("--data", str(cells))
    where = () if "--results" in words else ("--results", str(tmp_path / "results"))
    ended = wbcbench("run", *extra, *where, *words)
    assert ended.code == code, ended.err
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert not (tmp_path / "results").exists()


def test_a_batch_larger_than_the_data_is_refused(cells: Path, tmp_path: Path) -> None:
    ended = wbcbench(
        *VARIANT, "--data", str(cells), "--results", str(tmp_path), "--batch-size", "5000"
    )
    assert ended.code == 2
    assert "--batch-size is 5000" in ended.err


def test_a_table_of_a_newer_schema_is_refused_and_left_alone(cells: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    table = folder / "runs.csv"
    table.write_text("schema_version,run_id\n9.0,one\n")
    ended = wbcbench(*VARIANT, *SHORT, "--data", str(cells), "--results", str(tmp_path))
    assert ended.code == 2
    assert "9.0" in ended.err
    assert table.read_text() == "schema_version,run_id\n9.0,one\n"
    assert study_runs(tmp_path, "runs") == []


def running(cells: Path, results: Path, *more: str) -> list[str]:
    return [
        *VARIANT, "--data", str(cells), "--results", str(results), "--meters", "simulated",
        "--epochs", "500", "--idle", "0", "--inference", "0", "--batch-size", "8", *more,
    ]  # fmt: skip


def test_the_first_interrupt_finishes_the_epoch_and_keeps_the_joules(
    cells: Path, tmp_path: Path
) -> None:
    process = start(*running(cells, tmp_path))
    run = wait_for_window(tmp_path, "epoch-1")
    (trainer,) = processes_of(run, "wbcbench.train.trainer")
    os.kill(trainer, signal.SIGINT)  # as a terminal does; the watcher's to decide: ignored there
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    record = run.read_record()
    assert record.status == "interrupted"
    assert record.epochs
    assert (record.energies[0].energy_j or 0) > 0
    assert record.epochs[-1].val_accuracy is not None
    assert record.test is None
    names = {window.name for window in record.windows}
    assert not names & {f"epoch-{len(record.epochs) + 1}", "evaluate", "infer-b1", "infer-b64"}
    events = replay(run.read_messages())
    assert events.end == "interrupted"
    assert not events.opened
    bill = make_bill(record)
    assert {item.name for item in bill.parts} >= {"import", "train", "validate", "write"}
    assert bill.is_whole_read


def test_a_run_that_measures_nothing_beside_training_has_its_whole_bill(
    cells: Path, tmp_path: Path
) -> None:
    ended = wbcbench(*running(cells, tmp_path, "--epochs", "1", "--warmup-steps", "0"))
    assert ended.code == 0, ended.err
    record = only_run(tmp_path).read_record()
    bill = make_bill(record)
    assert [item.name for item in bill.parts] == [
        "import", "context", "data", "build", "train", "validate", "test", "write",
    ]  # fmt: skip
    assert bill.is_whole_read
    assert bill.prepared_s is not None
    assert bill.prepared_s > 0
    (energy_j,) = {j for domain, j in bill.whole.energy_j.items() if domain == "gpu"}
    lines_j = [item.energy_j["gpu"] for item in bill.lines]
    assert energy_j == pytest.approx(sum(lines_j))
    assert all(item.time_s > 0 for item in bill.parts)
    shown = wbcbench("show", record.run_id, "--results", str(tmp_path), "--json").json["bill"]
    assert [item["name"] for item in shown["parts"]] == [item.name for item in bill.parts]
    assert "unexplained" in wbcbench("show", record.run_id, "--results", str(tmp_path)).out


def test_a_killed_watcher_stops_the_trainer_and_the_next_command_accounts_for_it(
    cells: Path, tmp_path: Path
) -> None:
    process = start(*running(cells, tmp_path))
    run = wait_for_window(tmp_path, "epoch-2")
    (watcher,) = processes_of(run, "work")
    os.kill(watcher, signal.SIGKILL)
    wait_for(lambda: not processes_of(run, "wbcbench.train.trainer"), "the trainer's end")
    assert not any("end" in message for message in run.read_messages())
    process.communicate(timeout=120)
    record = run.read_record()
    assert record.status == "interrupted"
    assert record.error is not None
    assert record.error.kind == "recorder-died"
    # What was read until the kill reaches to the end of the window or it does not: both are told.
    train = next(e for e in record.energies if e.window == "train")
    assert (
        train.energy_j or 0
    ) > 0 or train.reason == "its good readings end before the window does"


def test_a_finished_run_asked_for_again_is_shown_as_text(
    finished: tuple[Path, Ended], cells: Path
) -> None:
    results, _ = finished
    again = wbcbench(*finished_words(cells, results))
    assert again.code == 0, again.err
    assert "\x1b" not in again.out + again.err
    assert "synthetic images and simulated sensor: not a result to quote" in again.out
    assert json.loads((only_run(results).path / "spec.json").read_text())["epochs"] == 2
