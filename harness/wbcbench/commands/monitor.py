"""``wbcbench monitor [-- COMMAND …]``: joules of a command, or of the machine until Ctrl-C."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options

if TYPE_CHECKING:
    from wbcbench.measure.command import Monitored
    from wbcbench.measure.spans import ChannelEnergy
    from wbcbench.run.panel import WattsView

SCHEMA = "wbcbench.monitor/1"
# Options after the command's name are the command's.
CONTEXT = {"allow_interspersed_args": False}


Command = Annotated[
    list[str] | None,
    typer.Argument(
        help="What to run and measure, after `--`; without it, measure until Ctrl-C.",
        metavar="[-- COMMAND …]",
        show_default=False,
    ),
]
Csv = Annotated[Path | None, typer.Option("--csv", help="Write every reading to this file as CSV.")]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="One JSON document on standard output; the command's own goes to standard error.",
    ),
]


def monitor(
    command: Command = None,
    meters: options.Meters = "auto",
    interval: options.Interval = 0.1,
    gpus: options.Gpus = "",
    csv: Csv = None,
    as_json: AsJson = False,
    quiet: options.Quiet = False,
    live: options.Live = True,
) -> None:
    """Measure joules, mean and peak power of a command, or of the machine until Ctrl-C.

    The command's output is not touched and its exit status is passed on (128 + n after signal n,
    127 if there is no such command). What it cost is told on standard error, or on standard
    output without a command or with --json. Sampling begins at least a second before the command
    and ends as long after it.
    """
    from wbcbench.measure.command import check, monitor_command, monitor_machine
    from wbcbench.power.session import MeteringRequest

    _refuse_csv(csv)
    asked = MeteringRequest(
        meters=options.words(meters), gpus=options.words(gpus), interval_s=interval
    )
    if command:
        check(command)
        stdout = sys.stderr.fileno() if as_json else None
        done = monitor_command(asked, command, stdout=stdout)
    else:
        done = monitor_machine(asked, _view(silent=quiet or as_json, live=live))
    _print(done, as_json=as_json, quiet=quiet)
    if csv is not None:
        _write_csv(csv, done)
    raise typer.Exit(done.exit_status or 0)


def _refuse_csv(path: Path | None) -> None:
    """Find out before measuring whether the file can be written."""
    from wbcbench.core.errors import UsageError

    if path is None:
        return
    try:
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise UsageError(
            f"--csv {path} cannot be written: {error.strerror}. Nothing was measured. "
            "Name a file in a folder that exists and may be written."
        ) from error


def _write_csv(path: Path, done: Monitored) -> None:
    from wbcbench.core.errors import UsageError
    from wbcbench.measure.command import write_polls

    try:
        with path.open("w", encoding="utf-8", newline="") as stream:
            write_polls(stream, done)
    except OSError as error:
        raise UsageError(
            f"--csv {path} could not be written to its end: {error.strerror}. What was measured "
            "stands above; the file holds only a part of the readings. Free space and repeat."
        ) from error


def _view(*, silent: bool, live: bool) -> WattsView:
    from wbcbench.run.panel import WattsLine, WattsLog, WattsSilent

    if silent:
        return WattsSilent()
    if not live or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return WattsLog(sys.stderr)
    from rich.console import Console

    return WattsLine(Console(stderr=True))


def _print(done: Monitored, *, as_json: bool, quiet: bool) -> None:
    from wbcbench.measure.spans import describe_energy, span_lines

    if as_json:
        typer.echo(json.dumps(document(done), indent=1, ensure_ascii=False, allow_nan=False))
        return
    lines = [describe_energy(done.span.energy)] if quiet else span_lines(done.span)
    typer.echo("\n".join(lines), err=done.exit_status is not None)


def document(done: Monitored) -> dict[str, Any]:
    """The whole result as plain values; joules, watts and seconds, ``None`` for unknown."""
    energy = done.span.energy
    return {
        "schema": SCHEMA,
        "duration_s": done.span.window.duration_s,
        "headline": {
            "energy_j": energy.energy_j,
            "uncertainty_j": energy.uncertainty_j,
            "status": str(energy.status),
            "channel": energy.channel,
        },
        "channels": [_channel(reading) for reading in done.span.readings],
        "verdict": done.span.quality.value,
        "cautions": [
            {"code": c.code, "severity": c.severity.value, "detail": c.detail, "advice": c.advice}
            for c in done.span.warnings
        ],
        "exit_status": done.exit_status,
    }


def _channel(reading: ChannelEnergy) -> dict[str, Any]:
    channel, energy = reading.channel, reading.energy
    return {
        "name": channel.name,
        "domain": channel.domain.value,
        "kind": channel.kind.value,
        "origin": channel.origin.value,
        "energy_j": energy.energy_j,
        "uncertainty_j": energy.uncertainty_j,
        "mean_power_w": energy.mean_power_w,
        "peak_power_w": reading.peak_power_w,
        "samples": energy.samples,
        "max_gap_s": energy.max_gap_s,
    }
