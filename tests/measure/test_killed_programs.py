"""A kill of ``monitor``, or of a program with a ``Meter``, loses no window without a word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from builders.evidence import counter, power
from builders.folder import write_messages, write_traces
from killed_programs import Place, kill_when, list_losses, make_place
from program import wbcbench
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.run_state import this_process
from wbcbench.core.trace import Trace
from wbcbench.measure.meter import Meter
from wbcbench.measure.program_run import create_run
from wbcbench.power.session import MeteringRequest
from wbcbench.run.finalise import finalise_programs

OPENED, CLOSED = 15.0, 85.0
LOAD_W = 250.0


def mark(edge: str, window: str, t_s: float) -> tuple[float, dict[str, object]]:
    return t_s, {"mark": edge, "window": window, "t_s": t_s}


BEGUN = (mark("open", "command", OPENED),)
ENDED = (*BEGUN, mark("close", "command", CLOSED))


def until(end_s: float) -> tuple[Trace, ...]:
    """The polls that were on disk when all processes were killed."""
    return tuple(
        replace(
            trace,
            t_s=[t for t in trace.t_s if t <= end_s],
            value=[v for t, v in zip(trace.t_s, trace.value, strict=True) if t <= end_s],
        )
        for trace in (counter(), power())
    )


def abandoned(results: Path, traces: tuple[Trace, ...], marks: tuple[object, ...]) -> RunDir:
    """The folder of a killed ``monitor``."""
    run = create_run(results, ["train.py", "--fast"], MeteringRequest()).run
    gone = replace(this_process(), start_ticks=1)
    run.write_state(replace(run.read_state(), submitter=gone, runner=gone))
    if traces:
        run.write_channels([trace.channel for trace in traces])
        write_traces(run, traces)
    write_messages(run, marks)  # type: ignore[arg-type]
    return run


def account_for(results: Path, run: RunDir) -> RunRecord:
    assert finalise_programs(results) == [run]
    record = run.read_record()
    assert (record.status, record.error and record.error.kind) == ("interrupted", "recorder-died")
    return record


def test_a_kill_before_the_window_says_that_nothing_was_read(tmp_path: Path) -> None:
    record = account_for(tmp_path, abandoned(tmp_path, (), ()))
    assert record.windows == ()
    assert record.quality == "invalid"
    assert "nothing was read" in record.warnings[0].detail


@pytest.mark.parametrize("traces", [(), until(OPENED - 1)], ids=["no poll", "none since"])
def test_a_kill_before_the_first_poll_on_disk_keeps_the_window_without_joules(
    traces: tuple[Trace, ...], tmp_path: Path
) -> None:
    record = account_for(tmp_path, abandoned(tmp_path, traces, BEGUN))
    (window,) = record.windows
    assert (window.name, window.start_s, window.end_s) == ("command", OPENED, OPENED)
    assert all(energy.energy_j is None and energy.reason for energy in record.energies)
    codes = {warning.code for warning in record.warnings}
    assert {"energy-unknown", "window-truncated"} <= codes
    assert record.quality == "invalid"


@pytest.mark.parametrize("marks", [BEGUN, ENDED], ids=["open", "closed after the last poll"])
@pytest.mark.parametrize("last_s", [16.0, 50.0, 84.2])
def test_the_joules_up_to_the_last_poll_on_disk_are_kept_and_told_as_cut(
    last_s: float, marks: tuple[object, ...], tmp_path: Path
) -> None:
    record = account_for(tmp_path, abandoned(tmp_path, until(last_s), marks))
    (window,) = record.windows
    assert window.end_s == pytest.approx(last_s, abs=0.11)
    for energy in record.energies:
        true_j = LOAD_W * window.duration_s
        assert energy.energy_j == pytest.approx(true_j, abs=energy.uncertainty_j)
    assert "window-truncated" in {warning.code for warning in record.warnings}
    assert record.quality == "invalid"


def test_a_kill_while_the_record_is_written_costs_nothing(tmp_path: Path) -> None:
    run = abandoned(tmp_path, until(100.0), ENDED)
    (run.path / ".record.json.abc.tmp").write_text('{"run_id": "tr')
    record = account_for(tmp_path, run)
    (window,) = record.windows
    assert (window.start_s, window.end_s) == (OPENED, CLOSED)
    assert "window-truncated" not in {warning.code for warning in record.warnings}
    listed = wbcbench("list", "--results", str(tmp_path), "measured")
    assert "interrupted" in listed.out
    shown = wbcbench("show", run.run_id, "--results", str(tmp_path))
    assert "train.py" in shown.out
    assert "  energy " in shown.out and "command" in shown.out


def test_every_warning_of_every_window_is_kept_and_the_main_one_decides(tmp_path: Path) -> None:
    blink = mark("open", "blink", 60.0), mark("close", "blink", 60.3)
    whole = mark("open", "whole", OPENED), mark("close", "whole", CLOSED)
    record = account_for(tmp_path, abandoned(tmp_path, until(100.0), (*whole, *blink)))
    short = {w.window for w in record.warnings if w.code == "short-window"}
    assert short == {"blink"}
    assert {window.name for window in record.windows} == {"whole", "blink"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("show", "train"), 0),
        (("run", "--variant", "relu-dropout", "--data", "/no/such/folder"), 2),
        (("monitor", "--meters", "simulated", "-q", "--", "true"), 0),
        (("list",), 0),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else "",
)
def test_the_next_command_accounts_for_a_killed_program_and_says_so_in_a_line(
    words: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    run = abandoned(tmp_path, until(100.0), ENDED)
    ended = wbcbench(*words, env={"WBCBENCH_RESULTS": str(tmp_path)})
    assert ended.code == code, ended.err
    assert ended.err.count(f"{run.path} was interrupted; it has its record now.") == 1
    assert run.read_record().status == "interrupted"


def test_finalise_accounts_for_the_named_program_and_for_the_others(tmp_path: Path) -> None:
    named, other = (abandoned(tmp_path, until(100.0), ENDED) for _ in range(2))
    ended = wbcbench("finalise", str(named.path), "--results", str(tmp_path))
    assert ended.code == 0, ended.err
    assert ended.err == f"{other.path} was interrupted; it has its record now.\n"
    assert named.is_finished
    assert other.is_finished


def test_the_next_meter_accounts_for_a_killed_program_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WBCBENCH_RESULTS", str(tmp_path))
    run = abandoned(tmp_path, until(100.0), ENDED)
    with Meter("simulated"):
        pass
    assert f"wbcbench: {run.path} was interrupted" in capsys.readouterr().err
    assert run.read_record().status == "interrupted"


# --- real processes, real kills ----------------------------------------------------------------

KILLS: Mapping[str, Callable[[Place], None]] = {
    "monitor at its start": lambda at: kill_when(at, at.monitor(), lambda: bool(at.runs)),
    "monitor in the window": lambda at: kill_when(
        at, at.monitor(), lambda: at.marked("open", "command")
    ),
    "monitor after the window": lambda at: kill_when(
        at, at.monitor(0.5), lambda: at.marked("close", "command")
    ),
    "the program": lambda at: kill_when(at, at.program(), lambda: at.marked("open", "inner")),
    "the program and its sampler": lambda at: kill_when(
        at, at.program(), lambda: at.marked("open", "inner"), with_sampler=True
    ),
    "the program at its start": lambda at: kill_when(at, at.program(), lambda: bool(at.runs)),
}


@pytest.fixture(scope="module")
def killed(
    nvml_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Future[list[str]]]:
    folder, pool = tmp_path_factory.mktemp("killed"), ThreadPoolExecutor(len(KILLS))

    def strike(name: str, kill: Callable[[Place], None]) -> list[str]:
        place = make_place(nvml_folder, folder / name.replace(" ", "-"))
        kill(place)
        return list_losses(place)

    futures = {name: pool.submit(strike, name, kill) for name, kill in KILLS.items()}
    pool.shutdown(wait=False)
    return futures


@pytest.mark.parametrize("name", KILLS)
def test_a_kill_loses_nothing_without_a_word(
    name: str, killed: Mapping[str, Future[list[str]]]
) -> None:
    assert killed[name].result() == []
