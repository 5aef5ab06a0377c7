"""What ``list`` and ``show`` print, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from builders.machine import LAPTOP, SYNTHETIC_CHANNELS
from builders.run import failed_record, make_record, make_spec, save
from wbcbench.commands.list_runs import list_runs
from wbcbench.commands.show import show
from wbcbench.core.errors import UsageError
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.core.record import Failure
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.registry import KINDS
from wbcbench.table.columns import load_columns

app = typer.Typer()
app.command("list")(list_runs)
app.command("show")(show)


def run_command(*words, ok=True):
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert (result.exit_code == 0) is ok
    return result.stdout


@pytest.fixture
def results(tmp_path):
    save(tmp_path, make_record(channels=LAPTOP), failed_record(seed=2))
    save(tmp_path, make_record(spec=make_spec("relu-dropout", study="pilot")))
    return tmp_path


def test_list_names_every_run_of_every_study_with_status_accuracy_and_joules(results):
    text = run_command("list", "--results", results)
    pilot, runs = text.split("\n\n")
    lines = {line.split()[0]: line.split() for line in text.splitlines() if "-s" in line}
    assert len(lines) == 3
    assert lines[make_spec().run_id][1:] == ["done", "80.0", "1.60", "40.0"]
    assert lines[make_spec(seed=2).run_id][1:3] == ["failed", "–"]
    assert "run                         state    accuracy %   energy kJ   time s" in runs
    assert runs.startswith("Study runs   1 variant × 2 seeds   Example CPU")
    assert "training, CPU model (CodeCarbon), estimated;  1 done, 1 failed" in runs
    assert "training, GPU counter, measured;  1 done" in pilot
    assert "\x1b" not in text


def test_list_of_one_study_leaves_the_others_out(results):
    text = run_command("list", "pilot", "--results", results)
    assert "relu-dropout" in text
    assert "leaky-dropout" not in text


def test_a_piped_list_is_not_folded(tmp_path):
    save(tmp_path, make_record(spec=make_spec(study="a-study-with-a-name-" + "x" * 90)))
    assert "x" * 90 in run_command("list", "--results", tmp_path)


def test_list_shows_a_run_without_a_record_as_unfinished(tmp_path):
    spec = make_spec()
    RunDir(tmp_path / "runs" / spec.run_id).create(spec, Local())
    assert "unfinished" in run_command("list", "--results", tmp_path)
    entry = json.loads(run_command("list", "--results", tmp_path, "--json"))["runs"][0]
    assert (entry["status"], entry["row"]) == ("unfinished", None)
    with pytest.raises(UsageError, match="no record yet"):
        run_command("show", spec.run_id, "--results", tmp_path)


def test_list_as_json_is_one_document_with_the_rows(results):
    document = json.loads(run_command("list", "--results", results, "--json"))
    assert document["schema"] == "wbcbench.list/2"
    assert {run["study"] for run in document["runs"]} == {"runs", "pilot"}
    assert list(document["runs"][0]["row"]) == list(load_columns())


def test_list_parts_names_every_part_of_the_registry_with_a_line_about_it(tmp_path):
    parts = json.loads(run_command("list", "parts", "--json"))["parts"]
    assert {(p["kind"], p["name"]) for p in parts} == {
        (kind, name) for kind, names in KINDS.items() for name in names
    }
    assert all(part["about"] for part in parts)
    assert "leaky-dropout" in run_command("list", "parts")


@pytest.mark.parametrize("words", [("list",), ("list", "runs"), ("show", "x")])
def test_without_any_run_the_message_names_the_way_to_make_one(tmp_path, words):
    with pytest.raises(UsageError, match="wbcbench run --variant"):
        run_command(*words, "--results", tmp_path / "nothing")


def test_an_unknown_study_names_the_nearest(results):
    with pytest.raises(UsageError, match=r"no study 'pilto'\. Did you mean 'pilot'"):
        run_command("list", "pilto", "--results", results)


def test_show_says_status_accuracy_interval_joules_and_their_status(results):
    text = run_command("show", make_spec().run_id, "--results", results)
    for words in (
        "done, measurement valid",
        "80.0 %    TEST; over photographs 70–90 (95 % CI)",
        "1.60 kJ   training, CPU model (CodeCarbon), estimated",
        "training above idle: CPU 1.20 kJ",
    ):
        assert words in text
    everything = run_command("show", "--all", make_spec().run_id, "--results", results)
    for words in (
        "0.800, 95 % CI 0.700 to 0.900 (71 photographs, cluster\n",
        "0.785 on 2,285 of 2,487 test images",
        "1.60 kJ, 1.20 kJ above idle, estimated (codecarbon_tdp_load)",
        "no NVIDIA driver",
        "epoch-3",
        "codecarbon/cpu",
    ):
        assert " ".join(words.split()) in " ".join(everything.split())
    assert "measured" not in everything


def test_show_takes_the_beginning_of_an_id_if_only_one_run_has_it(results):
    assert "relu-dropout" in run_command("show", "relu", "--results", results)
    with pytest.raises(UsageError, match="fits 2 runs"):
        run_command("show", "leaky", "--results", results)
    with pytest.raises(UsageError, match="There is no run 'gelu'"):
        run_command("show", "gelu", "--results", results)


def test_show_takes_a_runs_folder(results):
    folder = next((results / "pilot").iterdir())
    assert "relu-dropout" in run_command("show", folder)


def test_show_as_json_is_the_whole_record_and_its_row(results):
    document = json.loads(run_command("show", "relu", "--results", results, "--json"))
    assert document["schema"] == "wbcbench.show/2"
    assert document["row"]["run_id"] == document["record"]["run_id"]
    assert len(document["record"]["epochs"]) == 4


def test_show_says_why_a_run_failed_and_what_it_used(results):
    text = run_command("show", make_spec(seed=2).run_id, "--results", results)
    assert "killed: The trainer was ended by signal 9" in text
    assert "200 J" in text


def test_show_gives_every_warning_with_its_advice(tmp_path):
    warnings = (
        QualityWarning(
            "short-window", Severity.SUSPECT, "infer-b1 lasted 3 s", "raise --inference-s"
        ),
        QualityWarning("absent-meter", Severity.INFO, "rapl", ""),
    )
    save(tmp_path, make_record(warnings=warnings, quality=Quality.SUSPECT))
    short = run_command("show", "leaky", "--results", tmp_path)
    assert "suspect short-window: infer-b1 lasted 3 s\n    raise --inference-s\n" in short
    assert short.index("suspect short-window") < short.index("info absent-meter: rapl")
    text = run_command("show", "--all", "leaky", "--results", tmp_path)
    assert "suspect: short-window" in text
    assert "advice: raise --inference-s" in text


def test_show_stamps_what_is_synthetic(tmp_path):
    save(tmp_path, make_record(channels=SYNTHETIC_CHANNELS))
    shown = run_command("show", "leaky", "--results", tmp_path)
    assert "simulated sensor: not a result to quote" in shown
    assert "training, GPU counter, simulated" in shown
    assert "not a result to quote" in run_command("list", "--results", tmp_path)
    save(tmp_path, make_record("relu-dropout"))
    assert "done synthetic" in run_command("list", "--results", tmp_path)


def test_hostile_words_in_a_record_do_not_steer_the_terminal(tmp_path):
    nasty = Failure("crash", "\x1b[2J[bold red]boo[/] \x07", 1)
    save(tmp_path, replace(failed_record(), error=nasty))
    text = run_command("show", "leaky", "--results", tmp_path)
    assert "\x1b" not in text
    assert "[bold red]boo[/]" in text


def test_a_warning_about_many_windows_is_shown_once(tmp_path):
    warnings = [
        QualityWarning("short-window", Severity.INFO, f"`{n}` is short.", "Repeat.", f"window {n}")
        for n in range(100)
    ]
    alone = QualityWarning("few-samples", Severity.INFO, "Few.", "Repeat.", "window 7")
    (run,) = (RunDir(tmp_path / "runs" / make_spec().run_id),)
    save(tmp_path, make_record(warnings=(*warnings, alone)))
    short = run_command("show", run.run_id, "--results", tmp_path)
    assert short.count("short-window") == 1
    shown = run_command("show", "--all", run.run_id, "--results", tmp_path)
    assert shown.count("short-window") == 1
    assert "(window 0, window 1, window 2, window 3 and 96 more)" in shown
    assert "`0` is short. (and 99 more like it)" in shown
    assert "info: few-samples (window 7)\n      Few.\n" in shown
    listed = json.loads(run_command("show", run.run_id, "--results", tmp_path, "--json"))
    assert len(listed["record"]["warnings"]) == 101
