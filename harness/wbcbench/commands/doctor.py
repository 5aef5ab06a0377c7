"""``wbcbench doctor``: what can be measured here, why not, and what would fix it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options

if TYPE_CHECKING:
    from wbcbench.doctor import Facts, Groups, Line, Requirement
    from wbcbench.doctor.machine import MeanDifference, Overhead

_NAME, _STATE = 13, 6
# What a check is called for people: by its group and name, or by its group.
_LABELS = {
    "device/gpu": "Device",
    "meters/gpu": "GPU energy",
    "meters/cpu": "CPU energy",
    "meters/dram": "DRAM",
    "meters/system": "Machine",
    "quiet machine/idle": "Idle",
    "storage and time/results": "Disk",
    "storage and time/temporary": "Disk",
    "storage and time/clock": "Clock",
    "device": "Device",
    "meters": "Meters",
    "quiet machine": "Machine",
    "packages": "Packages",
    "data": "Data",
}
# Checks whose text says by itself what they are about.
_LABELLED = (
    "gpu", "cpu", "dram", "system", "idle", "results", "temporary", "clock", "python", "packages",
    "load", "virtual", "governor", "data", "processes", "persistence",
)  # fmt: skip

Require = Annotated[
    list[str] | None,
    typer.Option(
        help="part=status, e.g. gpu=measured; exit 3 if it is worse. Repeatable.",
        show_default=False,
    ),
]
Calibrate = Annotated[
    bool,
    typer.Option(
        "--calibrate", help="Measure how often each sensor is updated, and its resolution."
    ),
]
Acceptance = Annotated[
    bool,
    typer.Option(
        "--acceptance",
        help="Load the board at known times and judge its sensors (90 s): card.json and a page.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the card of --acceptance; acceptance/BOARD if left out.",
        show_default=False,
    ),
]
WithOverhead = Annotated[
    bool, typer.Option("--overhead", help="Measure the time and energy sampling costs (30 s).")
]


def doctor(
    require: Require = None,
    calibrate: Calibrate = False,
    overhead: WithOverhead = False,
    acceptance: Acceptance = False,
    out: Out = None,
    meters: options.Meters = "auto",
    gpus: options.Gpus = "",
    interval: options.Interval = 0.1,
    data: options.Data = None,
    results: options.Results = Path("results"),
    verbose: options.Verbose = 0,
    as_json: options.AsJson = False,
) -> None:
    """Show what can be measured here, why not, and the exact fix; changes nothing.

    Exit 3 if a run would not work here, or a requirement is not met. --acceptance judges the
    sensors instead: exit 4 if a claim fails, 3 if one cannot be judged.
    """
    from wbcbench.core.errors import CannotMeasureError, UsageError
    from wbcbench.core.window import MonotonicClock
    from wbcbench.doctor import State, count_lines, examine, parse_requirement
    from wbcbench.doctor.device import describe_cards
    from wbcbench.doctor.machine import measure_overhead, record_idle

    for text in require or []:
        parse_requirement(text, ())  # a wrong one is refused before anything is measured
    if acceptance and (require or calibrate or overhead):
        raise UsageError("--acceptance goes without --require, --calibrate and --overhead.")
    if out is not None and not acceptance:
        raise UsageError("--out is the folder of --acceptance. Add that, or leave --out out.")
    request = options.metering_request(meters, gpus, interval)
    if acceptance:
        from wbcbench.commands.acceptance import accept

        accept(request, out, as_json=as_json)
        return
    if not as_json:
        typer.echo("measuring for a few seconds …", err=True)
    clock = MonotonicClock()
    facts = record_idle(replace(request, calibrate=calibrate), results, data, clock)
    groups = examine(facts)
    required = tuple(
        parse_requirement(text, facts.channels, facts.absent) for text in require or []
    )
    if calibrate:
        groups["sensor cards"] = list(describe_cards(facts.cards))
    cost = measure_overhead(request, clock) if overhead and facts.channels else None
    if as_json:
        options.print_json(build_document(facts, groups, required, cost), "doctor")
    else:
        print_report(facts, groups, required, cost, verbose=bool(verbose))
    if count_lines(groups, State.FAIL) or not all(item.is_met for item in required):
        raise CannotMeasureError


def build_document(
    facts: Facts, groups: Groups, requirements: tuple[Requirement, ...], cost: Overhead | None
) -> dict[str, Any]:
    """Everything as plain values."""
    from wbcbench.core.version import __version__
    from wbcbench.doctor import ABSENT, State, count_lines
    from wbcbench.doctor.device import likely_primary_source, outlook

    source = likely_primary_source(facts)
    return {
        "wbcbench_version": __version__,
        "primary_energy": {
            "status": (source.status if source else None) or ABSENT,
            "domain": source.domain if source else None,
            "method": source.method if source else None,
            "text": outlook(facts),
        },
        "groups": [
            {"name": name, "lines": [asdict(line) for line in lines]}
            for name, lines in groups.items()
        ],
        "requirements": [{**asdict(item), "is_met": item.is_met} for item in requirements],
        "sensor_cards": [asdict(card) for card in facts.cards],
        "overhead": asdict(cost) if cost else None,
        "warnings": count_lines(groups, State.WARN),
        "failures": count_lines(groups, State.FAIL),
    }


def print_report(
    facts: Facts,
    groups: Groups,
    requirements: tuple[Requirement, ...],
    cost: Overhead | None,
    *,
    verbose: bool = False,
) -> None:
    """Print every check with its fix, the primary energy and every requirement that is not met."""
    from wbcbench.core.terminal import fill
    from wbcbench.core.text import count_of
    from wbcbench.doctor import State, count_lines
    from wbcbench.doctor.device import outlook

    known_fixes: set[str] = set()
    for name, lines in groups.items():
        for line in lines:
            own = replace(line, fix="as above") if line.fix in known_fixes else line
            typer.echo("\n".join(_format_line(name, own, verbose=verbose)))
            known_fixes |= {line.fix} - {""}
    if cost is not None:
        typer.echo("\n".join(_format_cost(cost)))
    warnings, failures = count_lines(groups, State.WARN), count_lines(groups, State.FAIL)
    counts = f"{count_of(warnings, 'warning')}, {count_of(failures, 'failure')}"
    typer.echo("\n" + fill(f"{outlook(facts)}     {counts}", rest="  "))
    unmet = [item for item in requirements if not item.is_met]
    for item in unmet:
        text = f"{item.domain} is '{item.status}', required '{item.required}' (fix above)"
        typer.echo(fill(text, "FAIL  ", " " * 6))
    if not failures and not unmet:
        typer.echo("Next: wbcbench plan")


def _format_line(group: str, line: Line, *, verbose: bool) -> Iterator[str]:
    """``GPU energy  ok    measured: …``, and below it the fix."""
    from wbcbench.core.terminal import fill
    from wbcbench.core.text import printable

    name = _LABELS.get(f"{group}/{line.name}") or _LABELS.get(group) or line.name
    is_named = name == line.name or line.name in _LABELLED
    text = line.text if is_named else f"{line.name}: {line.text}"
    head = f"{name:<{_NAME}}{line.state:<{_STATE}}"
    yield from fill(printable(text), printable(head), " " * (_NAME + _STATE)).splitlines()
    reasons = [("why", line.why)] * verbose + [("fix", line.fix), ("undo", line.undo)]
    for word, text in reasons:
        if text:
            first = f"{'':<{_NAME + _STATE}}{word}: "
            yield from fill(printable(text), first, " " * len(first)).splitlines()


def _format_cost(cost: Overhead) -> Iterator[str]:
    energy = "unknown: no counter of a sensor here"
    if cost.energy_share is not None:
        energy = f"{_format_share(cost.energy_share)}  ({cost.energy_channel})"
    yield f"Cost of sampling: {cost.pairs} pairs of {cost.work_s:.2f} s of work on every processor"
    yield f"  time     {_format_share(cost.time_share)}"
    yield f"  energy   {energy}"
    yield f"  sampling alone takes {60 * cost.sampler_cpu_share:.2f} processor seconds a minute"


def _format_share(cost: MeanDifference) -> str:
    return f"{100 * cost.mean:+.2f} % [{100 * cost.low:+.2f}, {100 * cost.high:+.2f}]"
