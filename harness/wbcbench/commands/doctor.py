"""``wbcbench doctor``: what can be measured here, why not, and what would fix it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.commands.doctor_lines import list_groups, print_end, print_lines

if TYPE_CHECKING:
    from wbcbench.doctor import Facts, Groups, Requirement
    from wbcbench.doctor.machine import MeanDifference, Overhead

CLUSTER = "On a cluster (--launcher slurm)"

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
File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        help="With --launcher: an experiment file, for its [cluster] and the length of its blocks.",
        show_default=False,
    ),
]
Launcher = Annotated[
    str | None,
    typer.Option(
        help="Look at the engine, and at a node by one short job: slurm, or another queue.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
ClusterChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--cluster",
        metavar="KEY=VALUE",
        help="A key of [cluster]: --cluster partition=gpu.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
Wait = Annotated[
    float,
    typer.Option(
        min=0.0, help="Seconds that the job may wait in the queue.", rich_help_panel=CLUSTER
    ),
]


def doctor(
    file: File = None,
    launcher: Launcher = None,
    cluster: ClusterChanges = None,
    wait: Wait = 300.0,
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

    With --launcher: on a cluster, and on the node that a short job gets. Exit 3 if a run would not
    work, or a requirement is not met. --acceptance judges the sensors instead: exit 4 if a claim
    fails, 3 if one cannot be judged.
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
    if launcher is not None:
        if acceptance or calibrate or overhead:
            raise UsageError("--acceptance, --calibrate and --overhead go without --launcher.")
        from wbcbench.commands.doctor_cluster import examine_cluster, read_cluster

        asked = read_cluster(launcher, file, cluster or [], results, request)
        asked = replace(asked, data=data, require=tuple(require or ()), wait_s=wait)
        examine_cluster(asked, launcher, as_json=as_json, verbose=bool(verbose))
        return
    if file is not None or cluster:
        raise UsageError("FILE and --cluster are of a cluster: add --launcher slurm.")
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
    from wbcbench.doctor.device import describe_primary

    return {
        "wbcbench_version": __version__,
        "primary_energy": describe_primary(facts),
        "requirements": [{**asdict(item), "is_met": item.is_met} for item in requirements],
        "sensor_cards": [asdict(card) for card in facts.cards],
        "overhead": asdict(cost) if cost else None,
        **list_groups(groups),
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
    from wbcbench.doctor.device import outlook

    print_lines(groups, verbose=verbose)
    if cost is not None:
        typer.echo("\n".join(_format_cost(cost)))
    if print_end(outlook(facts), groups, requirements):
        typer.echo("Next: wbcbench plan")


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
