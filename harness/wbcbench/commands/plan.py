"""``wbcbench plan [FILE]``: the runs of a study, their cost and what they can show."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError
from wbcbench.core.extras import require_training
from wbcbench.core.study_folder import PLAN
from wbcbench.core.text import shell_word

if TYPE_CHECKING:
    from wbcbench.study.plan import Plan

_HEADINGS = ("run", "block", "seed", "what", "state")

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        help="An experiment file or a plan.json; the published 2 × 2 if left out.",
        show_default=False,
    ),
]
Seeds = Annotated[
    int | None, typer.Option(min=1, max=1000, help="How many; each has every variant once.")
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training images.")]
Target = Annotated[
    float | None, typer.Option(help="Validation score whose energy and time are reported.")
]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        help="Network to compare; once for each.",
        autocompletion=options.complete_variant,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Keep it: FILE.toml to sweep, or plan.json with its digest."),
]
Pilot = Annotated[
    bool, typer.Option("--pilot", help="Carry out one epoch of the first run to know the cost.")
]
All = Annotated[
    bool, typer.Option("--all", help="Also every run, cost by part, order, equivalence, digest.")
]
Boards = Annotated[
    int | None,
    typer.Option(min=1, max=100_000, help="Also how long it takes on so many boards of a cluster."),
]
Spread = Annotated[
    bool,
    typer.Option("--spread", help="With --boards: a job is a run, as of `sweep --spread`."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file of --out.")]


def plan(
    file: File = None,
    seeds: Seeds = None,
    epochs: Epochs = None,
    target: Target = None,
    variant: Variants = None,
    changes: options.Changes = None,
    exploratory: options.Exploratory = False,
    out: Out = None,
    force: Force = False,
    pilot: Pilot = False,
    data: options.Data = None,
    results: options.Results = Path("results"),
    boards: Boards = None,
    spread: Spread = False,
    confirm_over: options.ConfirmOver = None,
    yes: options.Yes = False,
    show_all: All = False,
    as_json: options.AsJson = False,
) -> None:
    """Show a study's runs, what they will cost and what they can show.

    Without FILE: the published comparison of two activations and two regularisers.
    """
    from wbcbench.run.live_state import print_progress
    from wbcbench.study.boards import forecast_boards
    from wbcbench.study.forecast import forecast_cost
    from wbcbench.study.loops import fix_loops
    from wbcbench.study.power import analyse_power
    from wbcbench.study.running import carry_out_pilot, pasts
    from wbcbench.study.text import build_plan_document, describe_plan, describe_plan_details

    limit_j = options.parse_limit_j(confirm_over)
    if spread and boards is None:
        raise UsageError("--spread goes with --boards N: how many boards carry out the runs.")
    asked = {"seeds": seeds, "epochs": epochs, "target": target, "variants": variant or []}
    study, content = _read_study(file, asked, changes or [], out, exploratory=exploratory)
    local = options.describe_local(data)
    if file is None or file.suffix != ".json":
        may_train = find_spec("tensorflow") is not None
        study = fix_loops(study, local, results, print_progress, may_train=may_train)
    power = analyse_power(study, results)
    if pilot:
        require_training()
        carry_out_pilot(study, results, local, print_progress)
    certain = [run for run in study.runs if run.block <= study.blocks]
    past = pasts(study, results)
    costs = forecast_cost(certain, past)
    on_boards = None
    if boards is not None:
        on_boards = forecast_boards(study, past, boards, is_spread=spread)
    if as_json:
        options.print_json(build_plan_document(study, power, costs, on_boards), "plan-report")
    else:
        if show_all:
            print_runs(study)
        typer.echo(describe_plan(study, power, costs, on_boards))
        if boards is not None and on_boards is None:
            typer.echo(
                "Boards  unknown, as the cost is; one block on the cluster tells:\n"
                "        wbcbench sweep FILE --launcher slurm --blocks 1"
            )
        if show_all:
            typer.echo(describe_plan_details(study, power, costs))
    options.confirm(costs, limit_j, yes=yes)
    if out is None:
        is_changed = any(value not in (None, []) for value in asked.values()) or changes
        keeps = file is None or is_changed or exploratory
        where = " --launcher slurm" if boards else ""
        begin = f"Start: wbcbench sweep {shell_word(file)}{where}"
        start = "Keep it with --out FILE." if keeps else begin
        more = "" if show_all or as_json else "   (more: --all)"
        print_progress(f"Nothing was written. {start}{more}")
    else:
        _write(out, study, content, replace=force)


def _read_study(
    file: Path | None,
    asked: dict[str, Any],
    changes: Sequence[str],
    out: Path | None,
    *,
    exploratory: bool,
) -> tuple[Plan, bytes | None]:
    """The plan of a design, with the file that asks for it; or a finished one, without."""
    from wbcbench.study.plan import read_plan

    if file is None or file.suffix != ".json":
        return _plan_design(file, asked, changes, out, exploratory=exploratory)
    if given := [name for name, value in asked.items() if value not in (None, [])]:
        raise UsageError(
            f"{file} is a finished plan; --{given[0].removesuffix('s')} cannot change it. "
            "Change the experiment file and make a new plan."
        )
    return read_plan(file, changes, exploratory=exploratory), None


def _plan_design(
    file: Path | None,
    asked: dict[str, Any],
    changes: Sequence[str],
    out: Path | None,
    *,
    exploratory: bool,
) -> tuple[Plan, bytes]:
    """The plan of a file, or of the published design, with changes; and the file that asks for it.

    The name of the file that is written is that of the study.
    """
    from wbcbench.study import experiment
    from wbcbench.study.plan import plan_experiment

    source, name = file or "command line", file.stem if file else experiment.PUBLISHED_STUDY
    design = experiment.load_design(file) if file else experiment.published_design()
    if file is None and asked["variants"]:
        del design["about"]
    experiment.change_design(design, **asked)
    experiment.apply_changes(design, changes)
    if out is not None and out.suffix != ".json":
        name = out.stem
    parsed = experiment.parse_design(design, source, name, exploratory=exploratory)
    if exploratory:
        design["analysis"] = {**design.get("analysis", {}), "exploratory": True}
    return plan_experiment(parsed, source), _format_file(design) if out else b""


def _format_file(design: dict[str, Any]) -> bytes:
    from wbcbench.commands.schema import describe_experiment
    from wbcbench.study.template import format_experiment

    return format_experiment(describe_experiment(), design).encode()


def _write(out: Path, study: Plan, content: bytes | None, *, replace: bool) -> None:
    from wbcbench.run.live_state import print_progress
    from wbcbench.study.plan import read_plan, read_stored_utc, to_json

    if out.suffix != ".json":
        if content is None:
            raise UsageError(f"{out}: a finished plan is kept as it is. Name it with .json.")
        options.write_output(out, content, replace=replace)
        print_progress(f"{out} written. Start: wbcbench sweep {shell_word(out)}")
        return
    # The plan of a study keeps its date.
    stored_utc = read_stored_utc(out, study) if out.name == PLAN else None
    written = to_json(study, stored_utc)
    may_replace = replace or (out.is_file() and read_plan(out).sha256 == study.sha256)
    options.write_output(out, written, replace=may_replace)
    print_progress(f"{out} written. Start: wbcbench sweep {shell_word(out)}")
    print_progress(
        f"Post its digest before the first run, for `wbcbench verify --plan-digest`: {study.sha256}"
    )


def print_runs(study: Plan, states: Sequence[str] = ()) -> None:
    """Print a line a run, with its state where that is known."""
    from wbcbench.study.text import format_runs

    headings = _HEADINGS if states else _HEADINGS[:-1]
    options.print_table(headings, format_runs(study, tuple(states)), _HEADINGS[:3])
