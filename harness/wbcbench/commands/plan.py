"""``wbcbench plan FILE``: what a study will do, cost and show, before it is begun."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options
from wbcbench.commands.options import Changes, ConfirmOver, PlanFile, Yes, confirm, limit_j

if TYPE_CHECKING:
    from wbcbench.core.spec import RunSpec
    from wbcbench.study.plan import Plan

SCHEMA = "wbcbench.plan-report/1"
_HEADINGS = ("run", "block", "seed", "what", "state")

Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="PLAN.json", help="Write the plan with its digest."),
]
Pilot = Annotated[
    bool, typer.Option("--pilot", help="Carry out one epoch of the first run to know the cost.")
]


def plan(
    file: PlanFile,
    changes: Changes = None,
    out: Out = None,
    pilot: Pilot = False,
    data: options.Data = None,
    results: options.Results = Path("results"),
    confirm_over: ConfirmOver = None,
    yes: Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Show a study's runs in their order, what they will cost and what they can show."""
    from wbcbench.study import plan as plans
    from wbcbench.study.forecast import forecast_cost
    from wbcbench.study.plan import promise
    from wbcbench.study.running import pasts
    from wbcbench.study.text import describe_plan, plan_document

    most_j = limit_j(confirm_over)
    made = plans.read_plan(file, changes or [])
    will = promise(made)
    if pilot:
        _carry_out_pilot(made, results, data)
    costs = forecast_cost(_surely(made), pasts(made, results))
    if as_json:
        shown = {"schema": SCHEMA, **plan_document(made, will, costs)}
        typer.echo(json.dumps(shown, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print_runs(made)
        typer.echo(describe_plan(made, will, costs))
    confirm(costs, most_j, yes=yes)
    _write(made, out, file)


def _surely(made: Plan) -> list[RunSpec]:
    """The runs of the blocks that are carried out whatever they show."""
    return [run for run in made.runs if run.block <= made.blocks]


def _carry_out_pilot(made: Plan, results: Path, data: Path | None) -> None:
    from wbcbench.core.run_folder import Local
    from wbcbench.study.running import carry_out_pilot

    local = Local(data=str(data) if data else None, command=("wbcbench", *sys.argv[1:]))
    carry_out_pilot(made, results, local, _say)


def print_runs(made: Plan, states: tuple[str, ...] = ()) -> None:
    """Print a line a run, with its state where that is known."""
    from rich.box import SIMPLE
    from rich.table import Table

    from wbcbench.core.text import console
    from wbcbench.study.text import table_of_runs

    shown = Table(box=SIMPLE, pad_edge=False)
    for heading in _HEADINGS if states else _HEADINGS[:-1]:
        shown.add_column(heading, justify="right" if heading in _HEADINGS[:3] else "left")
    for line in table_of_runs(made, states):
        shown.add_row(*line)
    console().print(shown)


def _write(made: Plan, out: Path | None, file: Path) -> None:
    from wbcbench.core.errors import UsageError
    from wbcbench.core.files import write_atomically
    from wbcbench.study.plan import to_json

    if out is None:
        _say(f"Nothing was written. Start: wbcbench sweep {file}")
        return
    try:
        write_atomically(out, to_json(made))
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror}.") from error
    _say(f"{out} written (sha256 {made.sha256[:12]}…). Start: wbcbench sweep {out}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
