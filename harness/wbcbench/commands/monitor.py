"""``wbcbench monitor [-- COMMAND …]``: energy of a command, or of the machine until Ctrl-C."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError

if TYPE_CHECKING:
    from wbcbench.measure.command import Monitored
    from wbcbench.measure.program_run import ProgramRun
    from wbcbench.power.recording import AnswerLog
    from wbcbench.power.session import MeteringRequest

# Options after the command's name belong to the command.
CONTEXT = {"allow_interspersed_args": False}

_QUOTED = ("energy_j", "uncertainty_j", "board_uncertainty_j")
_HOW = ("status", "channel", "method", "unread", "unrated")

Command = Annotated[
    list[str] | None,
    typer.Argument(
        help="What to run and measure, after `--`; without it, measure until Ctrl-C.",
        metavar="-- COMMAND",
        show_default=False,
    ),
]
Csv = Annotated[Path | None, typer.Option(help="Write every reading to this CSV file.")]
Record = Annotated[
    Path | None,
    typer.Option(
        help="Keep every answer of the NVIDIA driver in this file, `.gz` packed, to be replayed.",
        show_default=False,
    ),
]
Save = Annotated[
    bool, typer.Option("--save/--no-save", help="Keep readings and a record, as study 'measured'.")
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="One JSON document on standard output; the command's output goes to standard error.",
    ),
]


def monitor(
    command: Command = None,
    meters: options.Meters = "auto",
    interval: options.Interval = 0.1,
    gpus: options.Gpus = "",
    csv: Csv = None,
    record: Record = None,
    results: options.Results = Path("results"),
    save: Save = True,
    as_json: AsJson = False,
    quiet: options.Quiet = False,
    live: options.Live = True,
    color: options.Color = "auto",
) -> None:
    """Measure energy, mean and peak power of a command, or of the machine until Ctrl-C.

    The command's output is not touched and its exit status is passed on (128 + n after signal n,
    127 if there is no such command). The result is printed on standard error, or on standard
    output without a command or with --json. Sampling starts before the command and stops after it,
    by as long as the sensors need: half a second beside a quick counter, else at least one. What
    was read is kept in RESULTS/measured, also when monitor is killed; `wbcbench list` finds it.
    """
    from wbcbench.measure.command import check, monitor_command, monitor_machine, write_polls
    from wbcbench.measure.program_run import MACHINE_NAME

    if csv is not None and not csv.is_fifo():  # whose reader would take the try for all of it
        try:
            csv.open("a", encoding="utf-8").close()
        except OSError as error:
            raise UsageError(
                f"--csv {csv} cannot be written: {error.strerror}. Nothing was measured. "
                "Name a file in a writable folder."
            ) from error
    request = options.metering_request(meters, gpus, interval)
    if command:
        check(command)
    with ExitStack() as stack:
        recording = _start_recording(record, request.gpus, stack) if record else None
        program = _create_run(results if save else None, command or [MACHINE_NAME], request)
        if command:
            stdout = sys.stderr.fileno() if as_json else None
            monitored = monitor_command(request, command, stdout=stdout, program=program)
        else:
            silent = quiet or as_json
            view = options.choose_view(silent=silent, live=live, of_run=False, color=color)
            monitored = monitor_machine(request, view, program)
    _print_result(monitored, as_json=as_json, quiet=quiet)
    if recording and recording.error:
        raise UsageError(
            f"--record {record} is incomplete: {recording.error.strerror}. The result above is "
            "complete. Free space and repeat."
        )
    if csv is not None:
        try:
            with csv.open("w", encoding="utf-8", newline="") as stream:
                write_polls(stream, monitored)
        except OSError as error:
            raise UsageError(
                f"--csv {csv} is incomplete: {error.strerror}. The result above is complete. "
                "Free space and repeat."
            ) from error
    raise typer.Exit(monitored.exit_status or 0)


def _start_recording(path: Path, gpus: tuple[str, ...], stack: ExitStack) -> AnswerLog:
    """Record what the driver answers until ``stack`` is left."""
    from wbcbench.power.recording import record_answers

    try:
        return stack.enter_context(record_answers(path, gpus))
    except OSError as error:
        raise UsageError(
            f"--record {path} cannot be written: {error.strerror}. Nothing was measured. "
            "Name a file in a writable folder."
        ) from error


def _create_run(results: Path | None, command: list[str], request: MeteringRequest) -> ProgramRun:
    """Make the folder, and account for measurements that were killed before this one."""
    from wbcbench.measure.program_run import create_run

    if results is not None:
        options.finalise_programs(results)
    program = create_run(results, command, request)
    if program.problem:
        typer.echo(f"Nothing of this measurement is kept. {program.problem}", err=True)
    return program


def _print_result(monitored: Monitored, *, as_json: bool, quiet: bool) -> None:
    from wbcbench.measure.window_result import describe_energy, describe_window

    result = monitored.result
    if as_json:
        options.print_json(build_document(monitored), "monitor")
        return
    is_short = quiet and result.energy.energy_j is not None  # else the warnings say why
    lines = [describe_energy(result.energy)] if is_short else describe_window(result)
    if (run_dir := monitored.program.run_dir) is not None:
        lines.append(f"Saved in {run_dir}")
    if monitored.program.is_kept and monitored.program.problem:
        lines.append(monitored.program.problem)
    typer.echo("\n".join(lines), err=monitored.exit_status is not None)


def build_document(monitored: Monitored) -> dict[str, Any]:
    """The whole result as plain values; joules, watts and seconds, ``None`` for unknown."""
    result = monitored.result
    return {
        "duration_s": result.window.duration_s,
        "energy": options.pick(result.energy, *_QUOTED, *_HOW),
        "channels": [
            {
                **options.pick(reading.channel, "name", "domain", "kind", "origin"),
                **options.pick(reading.energy, "energy_j", "uncertainty_j", "mean_power_w"),
                "peak_power_w": reading.peak_power_w,
                **options.pick(reading.energy, "samples", "max_gap_s"),
            }
            for reading in result.readings
        ],
        "quality": result.quality,
        "warnings": [
            options.pick(each, "code", "severity", "detail", "advice") for each in result.warnings
        ],
        "exit_status": monitored.exit_status,
        "run_dir": monitored.program.run_dir,
    }
