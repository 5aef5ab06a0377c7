"""``wbcbench attach``: external meters' logs of every kind, laid beside a finished run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from builders.machine import GPU_MACHINE, LAPTOP, PROVENANCE
from builders.run import make_record, save
from builders.timeline import EPOCH_S
from wbcbench.cli import COMMANDS, build_app
from wbcbench.core.errors import UsageError
from wbcbench.core.record import Attachment, RunRecord, to_json
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.energy.attach import attach_wall_meter, preview_wall_meter
from wbcbench.energy.source import primary_source
from wbcbench.energy.wall_logs import LogOptions

app = build_app(COMMANDS)

# The builder's run: 10:00:00 to 10:01:15 UTC; its windows lie between 80 and 156 s.
APP = build_app(["attach", "work"])  # with one command alone its name would be left out
BEGAN = datetime(2026, 3, 1, 10, tzinfo=UTC).timestamp()
MONOTONIC_S = 82.0
PAIR = {"utc_s": BEGAN, "monotonic_s": MONOTONIC_S}
TRAIN = (100.0, 144.0)  # of the builder's run, on its clock
LOAD_W, IDLE_W = 500.0, 120.0


def power_w(t_s: float) -> float:
    """The machine's true power on the run's clock."""
    return LOAD_W if TRAIN[0] <= t_s < TRAIN[1] else IDLE_W


def rows(step_s: float = 1.0, start_s: float = 60.0, end_s: float = 175.0) -> list[float]:
    """Times of a log on the run's clock."""
    return [start_s + i * step_s for i in range(int((end_s - start_s) / step_s) + 1)]


def epoch(t_s: float) -> float:
    return BEGAN + t_s - MONOTONIC_S


def write(path: Path, header: str, cells: Callable[[float], str], times: list[float]) -> Path:
    path.write_text("\n".join([header, *(cells(t_s) for t_s in times)]) + "\n")
    return path


def usual_log(folder: Path, step_s: float = 1.0) -> Path:
    return write(
        folder / "wall.csv",
        "time,power_w",
        lambda t: f"{epoch(t)!r},{power_w(t)}",
        rows(step_s),
    )


def record(channels: tuple[Channel, ...] = GPU_MACHINE, **changes: object) -> RunRecord:
    provenance = {**PROVENANCE, "clock_pair": PAIR}
    return make_record(channels=channels, **{"provenance": provenance, **changes})


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return saved(tmp_path, record())


def saved(tmp_path: Path, whole: RunRecord) -> RunDir:
    save(tmp_path / "results", whole)
    return RunDir(tmp_path / "results" / whole.spec.study / whole.run_id)


def joules(done: Attachment, window: str = "train") -> float | None:
    return next(each.energy_j for each in done.energies if each.window == window)


TRUE_J = LOAD_W * 4 * EPOCH_S  # four validation passes between lie in TRAIN, and are not training


def test_a_log_of_watts_becomes_a_system_channel_with_the_true_joules(
    run: RunDir, tmp_path: Path
) -> None:
    before = run.record_path.read_bytes()
    attach_wall_meter(run, usual_log(tmp_path, step_s=0.5))
    found = run.read_record()
    (channel,) = (c for c in found.channels if c.domain is Domain.SYSTEM)
    assert (channel.name, channel.kind, channel.origin) == (
        "wall/system/power",
        Kind.SAMPLED,
        Origin.MEASURED,
    )
    energy = found.energy("train", channel.name)
    assert energy is not None
    assert energy.energy_j is not None
    assert energy.uncertainty_j is not None
    assert abs(energy.energy_j - TRUE_J) <= energy.uncertainty_j
    assert energy.energy_j == pytest.approx(TRUE_J, rel=0.02)
    assert run.record_path.read_bytes() == before, "the record itself is never written again"
    assert to_json(run.read_own_record()) == before


def test_the_headline_and_the_verdict_stay_those_of_the_runs_own_meters(
    run: RunDir, tmp_path: Path
) -> None:
    own = run.read_record()
    attach_wall_meter(run, usual_log(tmp_path))
    found = run.read_record()
    assert primary_source(found) == primary_source(own)
    assert found.quality == own.quality


def test_the_polls_are_kept_on_the_runs_clock(run: RunDir, tmp_path: Path) -> None:
    attach_wall_meter(run, usual_log(tmp_path))
    trace = run.read_attached_trace()
    assert trace is not None
    assert trace.t_s[0] == pytest.approx(60.0, abs=1e-3)
    assert list(trace.value) == [power_w(t) for t in rows()]


def test_a_second_log_is_refused_and_the_first_is_kept(run: RunDir, tmp_path: Path) -> None:
    attach_wall_meter(run, usual_log(tmp_path))
    before = run.attachment_path.read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        attach_wall_meter(run, usual_log(tmp_path))
    assert run.attachment_path.read_bytes() == before


def _energy_j(t_s: float) -> float:
    """Cumulative joules since 60 s."""
    high_s = min(max(t_s - TRAIN[0], 0.0), TRAIN[1] - TRAIN[0])
    return IDLE_W * (t_s - 60.0) + (LOAD_W - IDLE_W) * high_s


CET = timezone(timedelta(hours=1))


def _iso(t_s: float, zone: timezone = UTC) -> str:
    return datetime.fromtimestamp(epoch(t_s), zone).isoformat()


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("timestamp,Power (kW)", lambda t: f"{_iso(t)},{power_w(t) / 1000}"),
        ("Time;Active Power [W]", lambda t: f"{_iso(t, CET)};{power_w(t):.1f}".replace(".", ",")),
        ("epoch_s\tpower_mW", lambda t: f"{epoch(t)}\t{power_w(t) * 1000}"),
        ("utc,watts", lambda t: f"{_iso(t).replace('+00:00', 'Z')},{power_w(t)}"),
        ("unix,voltage_v,current_a,power_w", lambda t: f"{epoch(t)},230,1,{power_w(t)}"),
        ("time,energy_j", lambda t: f"{epoch(t)},{_energy_j(t)}"),
        ("time,Total energy (Wh)", lambda t: f"{epoch(t)},{_energy_j(t) / 3600}"),
        ("time,energy_kwh", lambda t: f"{epoch(t)},{5000 + _energy_j(t) / 3.6e6}"),
        ("# a meter's comment\ntime,W", lambda t: f"{epoch(t)},{power_w(t)}"),
        ("\ufefftime,power_w", lambda t: f'"{epoch(t)}","{power_w(t)}"'),
    ],
)
def test_headers_units_zones_and_delimiters_of_all_sorts_give_the_same_joules(
    header: str, cells: Callable[[float], str], run: RunDir, tmp_path: Path
) -> None:
    done = attach_wall_meter(run, write(tmp_path / "log.csv", header, cells, rows(0.5)))
    assert joules(done) == pytest.approx(TRUE_J, rel=0.03)
    assert done.warnings == ()


def test_columns_can_be_named_and_what_is_assumed_is_told(run: RunDir, tmp_path: Path) -> None:
    log = write(
        tmp_path / "log.csv",
        "when,outlet 1,outlet 2",
        lambda t: f"{_iso(t).removesuffix('+00:00')},7,{power_w(t)}",
        rows(),
    )
    done = attach_wall_meter(run, log, LogOptions(time_column="When", power_column="outlet 2"))
    assert joules(done) == pytest.approx(TRUE_J, rel=0.03)
    told = " ".join(warning.detail for warning in done.warnings)
    assert "taken for UTC" in told
    assert "taken for watts" in told
    assert {warning.severity for warning in done.warnings} == {"info"}


@pytest.mark.parametrize("slow_s", [3600.0, -7200.0, 4.25])
def test_a_meter_whose_clock_is_off_is_brought_back_by_the_offset(
    slow_s: float, run: RunDir, tmp_path: Path
) -> None:
    log = write(
        tmp_path / "log.csv",
        "time,power_w",
        lambda t: f"{epoch(t) - slow_s!r},{power_w(t)}",
        rows(0.5),
    )
    done = attach_wall_meter(run, log, offset_s=slow_s)
    assert joules(done) == pytest.approx(TRUE_J, rel=0.02)
    assert done.offset_s == slow_s


@pytest.mark.parametrize("hours", [2, -5, 5.5, 12.75])
def test_a_log_in_local_time_without_a_zone_is_refused_with_the_zone_that_would_fit(
    hours: float, run: RunDir, tmp_path: Path
) -> None:
    zone = timezone(timedelta(hours=hours))
    log = write(
        tmp_path / "log.csv",
        "time,power_w",
        lambda t: f"{_iso(t, zone)[:19]},{power_w(t)}",
        rows(),
    )
    with pytest.raises(UsageError, match="--zone") as refused:
        attach_wall_meter(run, log)
    assert not run.has_attachment
    named = re.search(r"--zone (\S+)\.$", str(refused.value))
    assert named is not None
    done = attach_wall_meter(run, log, LogOptions(zone=named[1]))
    assert joules(done) == pytest.approx(TRUE_J, rel=0.03)
    assert (done.offset_s, done.options["zone"]) == (0.0, named[1])


def test_no_zone_is_advised_that_is_none(run: RunDir, tmp_path: Path) -> None:
    for shift_s, header in ((15 * 3600, "%Y-%m-%d %H:%M:%S"), (7200, "%Y-%m-%dT%H:%M:%SZ")):
        log = write(
            tmp_path / "log.csv",
            "time,power_w",
            lambda t, s=shift_s, h=header: (
                f"{datetime.fromtimestamp(epoch(t) + s, UTC).strftime(h)},{power_w(t)}"
            ),
            rows(),
        )
        with pytest.raises(UsageError, match="does not overlap") as refused:
            attach_wall_meter(run, log)
        assert "--zone" not in str(refused.value)


def test_seconds_since_the_logs_own_start_need_that_start(run: RunDir, tmp_path: Path) -> None:
    log = write(tmp_path / "l.csv", "time_s,power_w", lambda t: f"{t - 60},{power_w(t)}", rows())
    with pytest.raises(UsageError, match="count from its own start") as refused:
        attach_wall_meter(run, log)
    assert "--start like 2026-12-31T" in str(refused.value)
    assert "--zone" not in str(refused.value)
    shown = preview_wall_meter(run, log)
    assert "own start" in shown.refusal
    start = datetime.fromtimestamp(epoch(60.0), UTC).isoformat()
    done = attach_wall_meter(run, log, LogOptions(start=start))
    assert joules(done) == pytest.approx(TRUE_J, rel=0.03)


def test_dates_in_either_order_are_those_that_meet_the_run(run: RunDir, tmp_path: Path) -> None:
    log = write(
        tmp_path / "l.csv",
        "time,power_w",
        lambda t: f"{datetime.fromtimestamp(epoch(t), UTC):%d/%m/%Y %H:%M:%S},{power_w(t)}",
        rows(),
    )
    done = attach_wall_meter(run, log)
    assert joules(done) == pytest.approx(TRUE_J, rel=0.03)
    assert "read as dmy" in " ".join(warning.detail for warning in done.warnings)


def test_energy_of_each_interval_gives_the_joules_of_a_running_total(
    run: RunDir, tmp_path: Path
) -> None:
    def cells(t: float) -> str:
        return f"{epoch(t)!r},{(_energy_j(t) - _energy_j(t - 0.5)) / 3600}"

    log = write(tmp_path / "l.csv", "time,energy per interval (Wh)", cells, rows(0.5))
    assert joules(attach_wall_meter(run, log)) == pytest.approx(TRUE_J, rel=0.03)


def test_gaps_widen_the_interval_and_are_told(run: RunDir, tmp_path: Path) -> None:
    def cells(t: float) -> str:
        return f"{epoch(t)!r},{'' if 110 < t < 118 else power_w(t)}"

    done = attach_wall_meter(run, write(tmp_path / "log.csv", "time,power_w", cells, rows()))
    (doubt,) = (c for c in done.warnings if c.code == "wall-log-gap")
    assert "8 s (train)" in doubt.detail
    train = next(each for each in done.energies if each.window == "train")
    assert train.uncertainty_j is not None
    assert train.energy_j is not None
    assert abs(train.energy_j - TRUE_J) <= train.uncertainty_j


def test_windows_that_the_log_does_not_reach_are_unknown_and_never_zero(
    run: RunDir, tmp_path: Path
) -> None:
    log = write(
        tmp_path / "log.csv",
        "time,power_w",
        lambda t: f"{epoch(t)!r},{power_w(t)}",
        rows(start_s=98.0, end_s=146.0),
    )
    done = attach_wall_meter(run, log)
    assert joules(done) == pytest.approx(TRUE_J, rel=0.03)
    assert joules(done, "idle_cold") is None
    assert joules(done, "idle_post") is None
    assert "wall-log-short" in {warning.code for warning in done.warnings}


def test_a_log_that_tells_no_window_is_refused(run: RunDir, tmp_path: Path) -> None:
    log = write(
        tmp_path / "log.csv", "time,power_w", lambda t: f"{epoch(t)!r},100", rows(0.1, 101.0, 102.0)
    )
    with pytest.raises(UsageError, match="no window"):
        attach_wall_meter(run, log)


@pytest.mark.parametrize(
    ("header", "factor", "says"),
    [
        ("power_w", 0.001, "its own sensors measured at least"),  # kilowatts called watts
        ("power_kw", 1.0, "no machine draws"),  # watts called kilowatts
    ],
)
def test_a_wrong_unit_is_found_by_what_no_machine_can_do(
    header: str, factor: float, says: str, run: RunDir, tmp_path: Path
) -> None:
    log = write(
        tmp_path / "log.csv",
        f"time,{header}",
        lambda t: f"{epoch(t)!r},{power_w(t) * factor}",
        rows(),
    )
    with pytest.raises(UsageError, match=says):
        attach_wall_meter(run, log)
    assert not run.has_attachment


def test_where_nothing_else_was_measured_a_low_reading_cannot_be_refuted(tmp_path: Path) -> None:
    run = saved(tmp_path, record(channels=LAPTOP))
    log = write(tmp_path / "l.csv", "time,power_w", lambda t: f"{epoch(t)!r},9", rows())
    assert joules(attach_wall_meter(run, log)) == pytest.approx(9 * 4 * EPOCH_S, rel=0.01)


def test_a_wall_clock_that_was_set_during_the_run_is_told(tmp_path: Path) -> None:
    run = saved(tmp_path, record(ended_utc="2026-03-01T13:01:15Z"))
    done = attach_wall_meter(run, usual_log(tmp_path))
    assert "wall-clock-stepped" in {warning.code for warning in done.warnings}
    assert joules(done) == pytest.approx(TRUE_J, rel=0.03)


def test_a_record_without_a_clock_pair_cannot_be_aligned(tmp_path: Path) -> None:
    run = saved(tmp_path, record(provenance=PROVENANCE))
    with pytest.raises(UsageError, match="what the wall clock read"):
        attach_wall_meter(run, usual_log(tmp_path))


def test_the_command_tells_every_window_and_brings_the_table_up_to_date(
    run: RunDir, tmp_path: Path
) -> None:
    words = ["attach", str(run.path), "--wall-meter", str(usual_log(tmp_path))]
    result = CliRunner().invoke(APP, words)
    assert result.exit_code == 0, result.output
    assert "train" in result.stdout
    assert "wall/system/power" in result.stdout
    assert (run.path.parent / "runs.csv").exists()


def test_the_commands_document_holds_the_attachment(run: RunDir, tmp_path: Path) -> None:
    words = ["attach", str(run.path), "--wall-meter", str(usual_log(tmp_path)), "--json"]
    told = json.loads(CliRunner().invoke(APP, words).stdout)
    assert told["attachment"]["options"] == {
        "format": "table", "delimiter": ",", "encoding": "utf-8", "decimal": ".", "zone": "UTC",
        "time-column": "time", "power-column": "power_w", "unit": "W",
    }  # fmt: skip
    assert told["schema"] == "wbcbench.attach/2"
    assert told["attachment"]["channel"]["domain"] == "system"
    assert told["attachment"]["source"] == "wall.csv"
    assert str(tmp_path) not in json.dumps(told["attachment"])


def test_an_offset_that_is_no_number_is_refused(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--offset"):
        attach_wall_meter(run, usual_log(tmp_path), offset_s=float("nan"))


def test_a_damaged_attachment_is_told_and_not_passed_over(run: RunDir, tmp_path: Path) -> None:
    attach_wall_meter(run, usual_log(tmp_path))
    run.attachment_path.write_text("{}")
    with pytest.raises(UsageError, match=r"attached\.json"):
        run.read_record()


def test_a_pipe_is_read_once_and_its_digest_is_that_of_what_came(
    run: RunDir, tmp_path: Path
) -> None:
    data = usual_log(tmp_path).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    done = attach_wall_meter(run, pipe)
    writer.join()
    assert done.source_sha256 == hashlib.sha256(data).hexdigest()
    assert joules(done) == pytest.approx(TRUE_J, rel=0.02)


@pytest.mark.parametrize("columns", ["80", "50"])
def test_a_dry_run_shows_how_the_log_was_understood_and_stores_nothing(
    columns: str, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    before = sorted(run.path.iterdir())
    words = ["attach", str(run.path), "--wall-meter", str(usual_log(tmp_path)), "--dry-run"]
    result = CliRunner().invoke(APP, words)
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    for fact in (
        "nothing was stored",
        "wall.csv: table, utf-8, decimal mark '.', delimiter ','",
        "column time, zone",
        "column power_w, in W",
        "2026-03-01T09:59:38Z: 120 W",
        "2026-03-01T10:01:33Z: 120 W",
        "116 in 1 min 55 s; 0 empty, 0 gaps",
        "265 W over the file",
        "500 W in train",
    ):
        assert fact in shown  # fmt: skip
    assert max(map(len, result.stdout.splitlines())) <= int(columns)
    assert sorted(run.path.iterdir()) == before
    document = json.loads(CliRunner().invoke(APP, [*words, "--json"]).stdout)["preview"]
    assert document["first"] == {"t_s": BEGAN - 22, "utc": "2026-03-01T09:59:38Z", "value": 120.0}
    assert document["mean_power_w"] == pytest.approx((500 * 44 + 120 * 71) / 115)
    assert document["window_power_w"]["train"] == pytest.approx(500, rel=0.02)
    assert (document["span_s"], document["refusal"]) == (115.0, "")
    assert not run.has_attachment


def test_a_dry_run_says_what_would_be_refused_and_why(run: RunDir, tmp_path: Path) -> None:
    log = write(tmp_path / "l.csv", "time,power_kw", lambda t: f"{epoch(t)!r},{power_w(t)}", rows())
    words = ["attach", str(run.path), "--wall-meter", str(log), "--dry-run"]
    result = CliRunner().invoke(APP, words)
    assert result.exit_code == 0
    assert "no machine draws" in " ".join(result.stdout.split())


def test_a_hyphen_is_standard_input(run: RunDir, tmp_path: Path) -> None:
    kept = os.dup(0)
    try:
        with usual_log(tmp_path).open("rb") as log:
            os.dup2(log.fileno(), 0)
            words = ["attach", str(run.path), "--wall-meter", "-", "--dry-run"]
            result = CliRunner().invoke(APP, words)
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert "500 W in train" in " ".join(result.output.split())


def test_a_dry_run_leaves_out_what_attaching_leaves_out_and_warns_alike(
    run: RunDir, tmp_path: Path
) -> None:
    log = write(
        tmp_path / "l.csv",
        "time,power_w",
        lambda t: f"{epoch(t)!r},{1e9 if t == 120 else power_w(t)}",
        rows(),
    )
    shown = preview_wall_meter(run, log)
    assert shown.mean_power_w == pytest.approx((500 * 44 + 120 * 71) / 115, rel=0.01)
    words = ["attach", str(run.path), "--wall-meter", str(log), "--dry-run"]
    text = " ".join(CliRunner().invoke(APP, words).stdout.split())
    details = [warning.detail for warning in attach_wall_meter(run, log).warnings]
    assert details
    assert shown.warnings == tuple(details)
    assert all(f"warning {detail}" in text for detail in details)


def test_a_dry_run_of_a_log_without_a_delimiter_names_none(run: RunDir, tmp_path: Path) -> None:
    log = tmp_path / "l.jsonl"
    lines = [json.dumps({"ts": epoch(t), "power": power_w(t)}) for t in rows()]
    log.write_text("\n".join(lines))
    words = ["attach", str(run.path), "--wall-meter", str(log), "--dry-run"]
    shown = " ".join(CliRunner().invoke(APP, words).stdout.split())
    assert "l.jsonl: JSON, utf-8, decimal mark '.' times column ts" in shown


def test_options_that_cannot_be_meant_are_refused(run: RunDir, tmp_path: Path) -> None:
    base = ["attach", str(run.path), "--wall-meter", str(usual_log(tmp_path))]
    for extra in (
        ["--decimal", ";"],
        ["--unit", "VA"],
        ["--zone", "Nowhere"],
        ["--energy", "sum"],
        ["--date-order", "ydm"],
        ["--start", "soon"],
        ["--time-column", "x\x1b[31m"],
        ["--power-column", "\udcff"],
        ["--offset", "1e300"],
    ):
        result = CliRunner().invoke(APP, [*base, *extra])
        assert isinstance(result.exception, UsageError), (extra, result.exception)  # fmt: skip
        assert str(result.exception).isprintable()
