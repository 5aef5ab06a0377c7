"""``wbcbench plan FILE``: the runs of a study, their cost and what they can show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.extras import require_training
from wbcbench.core.study_folder import PLAN
from wbcbench.core.text import shell_word

if TYPE_CHECKING:
    from wbcbench.study.plan import Plan

_HEADINGS = ("run", "block", "seed", "what", "state")

Out = Annotated[
    Path | None, typer.Option(metavar="PLAN.json", help="Write the plan with its digest.")
]
Pilot = Annotated[
    bool, typer.Option("--pilot", help="Carry out one epoch of the first run to know the cost.")
]


def plan(
    file: options.PlanFile,
    changes: options.Changes = None,
    exploratory: options.Exploratory = False,
    out: Out = None,
    pilot: Pilot = False,
    data: options.Data = None,
    results: options.Results = Path("results"),
    confirm_over: options.ConfirmOver = None,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Show a study's runs in their order, what they will cost and what they can show."""
    from wbcbench.run.live_state import print_progress
    from wbcbench.study.forecast import forecast_cost
    from wbcbench.study.plan import read_plan, read_stored_utc, to_json
    from wbcbench.study.power import analyse_power
    from wbcbench.study.running import carry_out_pilot, pasts
    from wbcbench.study.text import build_plan_document, describe_plan

    limit_j = options.parse_limit_j(confirm_over)
    study = read_plan(file, changes or [], exploratory=exploratory)
    power = analyse_power(study, results)
    if pilot:
        require_training()
        carry_out_pilot(study, results, options.describe_local(data), print_progress)
    certain = [run for run in study.runs if run.block <= study.blocks]
    costs = forecast_cost(certain, pasts(study, results))
    if as_json:
        options.print_json(build_plan_document(study, power, costs), "plan-report")
    else:
        print_runs(study)
        typer.echo(describe_plan(study, power, costs))
    options.confirm(costs, limit_j, yes=yes)
    if out is None:
        print_progress(f"Nothing was written. Start: wbcbench sweep {shell_word(file)}")
        return
    # The plan of a study keeps its date.
    stored_utc = read_stored_utc(out, study) if out.name == PLAN else None
    options.write_output(out, to_json(study, stored_utc))
    print_progress(f"{out} written. Start: wbcbench sweep {shell_word(out)}")
    print_progress(
        f"Post its digest before the first run, for `wbcbench verify --plan-digest`: {study.sha256}"
    )


def print_runs(study: Plan, states: Sequence[str] = ()) -> None:
    """Print a line a run, with its state where that is known."""
    from wbcbench.study.text import format_runs

    headings = _HEADINGS if states else _HEADINGS[:-1]
    options.print_table(headings, format_runs(study, tuple(states)), _HEADINGS[:3])
