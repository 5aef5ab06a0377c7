"""``wbcbench doctor``: what can be measured here, why not, and what would fix it."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options

if TYPE_CHECKING:
    from wbcbench.doctor import Facts, Group, Line, Requirement
    from wbcbench.doctor.machine import MeanDifference, Overhead

SCHEMA = "wbcbench.doctor/1"
_WIDTH = 110


Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        help="part=status, e.g. gpu=measured; exit 3 if it is worse. Repeatable.",
        show_default=False,
    ),
]
Calibrate = Annotated[
    bool, typer.Option("--calibrate", help="Show how each sensor behaves: pace and steps.")
]
WithOverhead = Annotated[
    bool,
    typer.Option("--overhead", help="Measure what sampling costs in time and joules (30 s)."),
]


def doctor(
    require: Require = None,
    calibrate: Calibrate = False,
    overhead: WithOverhead = False,
    meters: options.Meters = "auto",
    gpus: options.Gpus = "",
    interval: options.Interval = 0.1,
    data: options.Data = None,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Say what can be measured here, why not, and the exact fix; changes nothing.

    Exit 3 if something must be mended before a run would work, or a requirement is not met.
    """
    from wbcbench.core.window import MonotonicClock
    from wbcbench.doctor import examine, requirements
    from wbcbench.doctor.machine import record_idle
    from wbcbench.power.session import MeteringRequest

    requirements(require or [], ())  # a word that makes no sense is refused before looking
    asked = MeteringRequest(
        meters=options.words(meters), gpus=options.words(gpus), interval_s=interval
    )
    if not as_json:
        print("looking for a few seconds …", file=sys.stderr)
    facts = record_idle(asked, results, data, MonotonicClock())
    groups = examine(facts)
    wanted = requirements(require or [], facts.channels)
    if calibrate:
        groups = (*groups, _cards(facts))
    cost = _overhead(asked, facts) if overhead else None
    tell = _print_json if as_json else print_report
    tell(facts, groups, wanted, cost)
    _exit(groups, wanted)


def _cards(facts: Facts) -> Group:
    from wbcbench.doctor import Group
    from wbcbench.doctor.device import card_lines

    return Group("sensor cards", tuple(card_lines(facts.cards)))


def _overhead(asked: Any, facts: Facts) -> Overhead | None:
    from wbcbench.core.window import MonotonicClock
    from wbcbench.doctor.machine import measure_overhead

    return measure_overhead(asked, MonotonicClock()) if facts.channels else None


def _exit(groups: tuple[Group, ...], wanted: tuple[Requirement, ...]) -> None:
    from wbcbench.core.errors import CannotMeasureError
    from wbcbench.doctor import State, count_lines

    if count_lines(groups, State.FAIL) or not all(each.is_met for each in wanted):
        raise CannotMeasureError


def _print_json(
    facts: Facts,
    groups: tuple[Group, ...],
    wanted: tuple[Requirement, ...],
    cost: Overhead | None,
) -> None:
    typer.echo(
        json.dumps(
            document(facts, groups, wanted, cost), indent=1, ensure_ascii=False, allow_nan=False
        )
    )


def document(
    facts: Facts,
    groups: tuple[Group, ...],
    wanted: tuple[Requirement, ...],
    cost: Overhead | None,
) -> dict[str, Any]:
    """Everything as plain values."""
    from wbcbench.core.version import __version__
    from wbcbench.doctor import State, count_lines
    from wbcbench.doctor.device import likely_primary_source, outlook

    who = likely_primary_source(facts)
    return {
        "schema": SCHEMA,
        "wbcbench_version": __version__,
        "headline": {
            "status": who.status.value if who else "absent",
            "domain": who.domain.value if who else None,
            "method": who.method if who else None,
            "text": outlook(facts),
        },
        "groups": [asdict(group) for group in groups],
        "requirements": [
            {
                "domain": each.domain.value,
                "required": each.required.value,
                "found": each.found,
                "is_met": each.is_met,
            }
            for each in wanted
        ],
        "sensor_cards": [asdict(card) for card in facts.cards],
        "overhead": asdict(cost) if cost else None,
        "warnings": count_lines(groups, State.WARN),
        "failures": count_lines(groups, State.FAIL),
    }


def print_report(
    facts: Facts,
    groups: tuple[Group, ...],
    wanted: tuple[Requirement, ...],
    cost: Overhead | None,
) -> None:
    """Print every line by group, the outlook and every requirement that is not met."""
    from wbcbench.doctor import State, count_lines
    from wbcbench.doctor.device import outlook

    for group in groups:
        typer.echo(group.name.capitalize())
        for line in group.lines:
            typer.echo("\n".join(_lines(line)))
    if cost is not None:
        typer.echo("\n".join(_cost_lines(cost)))
    warnings, failures = count_lines(groups, State.WARN), count_lines(groups, State.FAIL)
    typer.echo(f"\n{outlook(facts)}     {warnings} warnings, {failures} failures")
    for each in wanted:
        if not each.is_met:
            typer.echo(
                f"FAIL  {each.domain} is '{each.found}', '{each.required}' was required (fix above)"
            )


def _lines(line: Line) -> Iterator[str]:
    from wbcbench.core.text import printable

    yield printable(f"  {line.state.value:<5} {line.name:<14} {line.found}")
    for word, text in (("why", line.why), ("fix", line.fix), ("undo", line.undo)):
        if text:
            head, indent = f"        {word + ':':<6}", " " * 14
            yield from textwrap.wrap(
                printable(text),
                _WIDTH,
                initial_indent=head,
                subsequent_indent=indent,
                break_on_hyphens=False,
                break_long_words=False,
            )


def _cost_lines(cost: Overhead) -> Iterator[str]:
    yield f"Cost of sampling: {cost.pairs} pairs of {cost.work_s:.2f} s of work on every processor"
    yield f"  time     {_share(cost.time_share)}"
    if cost.energy_share is None:
        yield "  joules   unknown: no counter here has a sensor behind it"
    else:
        yield f"  joules   {_share(cost.energy_share)}  ({cost.energy_channel})"
    yield f"  sampling alone takes {60 * cost.sampler_cpu_share:.2f} processor seconds a minute"


def _share(cost: MeanDifference) -> str:
    low, high = cost.mean - cost.half_width, cost.mean + cost.half_width
    return f"{100 * cost.mean:+.2f} % [{100 * low:+.2f}, {100 * high:+.2f}]"
