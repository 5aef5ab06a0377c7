"""``wbcbench compare [STUDY …]``: differences between variants, their intervals, thresholds.

``wbcbench compare RUN RUN`` sets two single runs side by side.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wbcbench.commands import options
from wbcbench.core.errors import InconclusiveError, ThresholdExceededError, UsageError
from wbcbench.core.trace import Origin

if TYPE_CHECKING:
    from wbcbench.compare.result import Comparison
    from wbcbench.core.run_folder import RunDir


Format = Literal["text", "json", "csv", "latex", "github"]

Studies = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="STUDY",
        envvar="WBCBENCH_STUDY",
        help="One study: compare its variants. Several: compare each with the first. Two runs: "
        "side by side.",
        autocompletion=options.complete_study,
        show_default=False,
    ),
]
Baseline = Annotated[
    str | None, typer.Option(help="Variant or study that the others are compared to.")
]
Family = Annotated[
    Literal["baseline", "factors"] | None,
    typer.Option(
        help="What is tested: each variant against the baseline, or two factors and their "
        "interaction. [default: the plan's, or baseline]"
    ),
]
Metrics = Annotated[
    list[str] | None, typer.Option(help="Column to compare, instead of energy and accuracy.")
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(help="Exit 4 beyond a threshold: 'energy_gpu_train_j > +5%', 'accuracy < -1pp'."),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit 5 if a threshold is neither met nor exceeded.")
]
LowestStatus = Annotated[
    Origin | None,
    typer.Option(help="Lowest status of energy to compare. [default: the plan's, or measured]"),
]
AllowDifferent = Annotated[
    list[str] | None,
    typer.Option("--allow-different", metavar="FIELD", help="Setting in which runs may differ."),
]
RegionPct = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=50,
        help="Per cent of energy or time that do not matter. [default: the plan's, or 2]",
    ),
]
RegionPp = Annotated[
    float | None,
    typer.Option(
        min=0.01, max=50, help="Points of accuracy that do not matter. [default: the plan's, or 1]"
    ),
]
Intervals = Annotated[
    Literal["t", "bootstrap"], typer.Option(help="bootstrap needs 15 blocks (seeds) or more.")
]
All = Annotated[
    bool,
    typer.Option("--all", help="Print every table and note.", rich_help_panel=options.OUTPUT),
]
Form = Annotated[
    Format,
    typer.Option("--format", help="Format of the output.", rich_help_panel=options.OUTPUT),
]
AsCsv = Annotated[
    bool, typer.Option("--csv", help="The same as --format csv.", rich_help_panel=options.OUTPUT)
]
AsLatex = Annotated[
    bool,
    typer.Option("--latex", help="The same as --format latex.", rich_help_panel=options.OUTPUT),
]


def compare(
    studies: Studies = None,
    results: options.Results = Path("results"),
    baseline: Baseline = None,
    family: Family = None,
    metric: Metrics = None,
    fail_if: FailIf = None,
    strict: Strict = False,
    lowest_status: LowestStatus = None,
    allow_different: AllowDifferent = None,
    equivalent_pct: RegionPct = None,
    equivalent_pp: RegionPp = None,
    interval: Intervals = "t",
    everything: All = False,
    form: Form = "text",
    as_json: options.AsJson = False,
    as_csv: AsCsv = False,
    as_latex: AsLatex = False,
) -> None:
    """Compare variants: differences with intervals, exact tests, equivalence, thresholds."""
    from wbcbench.compare.metric import parse_threshold

    changes = {
        "metrics": tuple(metric) if metric else None,
        "baseline": baseline,
        "family": family,
        "lowest_status": lowest_status,
        "allow_different": tuple(allow_different or ()),
        "thresholds": tuple(parse_threshold(text) for text in fail_if or ()),
        "region_pct": equivalent_pct,
        "region_pp": equivalent_pp,
        "method": interval,
    }
    flags: dict[Format, bool] = {"json": as_json, "csv": as_csv, "latex": as_latex}
    form = next((flagged for flagged, is_set in flags.items() if is_set), form)
    if pair := _find_pair(results, studies or []):
        _compare_pair(pair, changes, form)
        return
    comparison = _compare_studies(results, list(dict.fromkeys(studies or ["runs"])), changes)
    _print_comparison(comparison, form, everything=everything)
    _check_thresholds(comparison, strict=strict)


def _find_pair(results: Path, names: list[str]) -> tuple[RunDir, RunDir] | None:
    """The two runs that are named; ``None`` where a name is a study's, or the first no run's."""
    from wbcbench.core import study_folder

    known = study_folder.studies(results)
    if len(names) != 2 or any(name in known for name in names):
        return None
    try:
        study_folder.find_run(results, names[0])
    except UsageError as error:
        if "fits" not in str(error):
            return None
    first, second = (options.open_finished_run(results, name) for name in names)
    return first, second


def _compare_pair(pair: tuple[RunDir, RunDir], changes: dict[str, Any], form: Format) -> None:
    """Print two runs side by side; raises like ``compare_pair``."""
    from wbcbench.compare.pair import build_pair_document, compare_pair, format_pair
    from wbcbench.table.view import StoredRun

    if changes["thresholds"] or changes["metrics"] or changes["baseline"] or changes["family"]:
        raise UsageError(
            "Two single runs are shown as they are: --fail-if, --metric, --baseline and --family "
            "need studies of several seeds."
        )
    if form not in {"text", "json"}:
        raise UsageError(f"Two single runs are printed as text or --json, not as {form}.")
    first, second = (StoredRun(run, run.path.resolve().parent.name) for run in pair)
    compared = compare_pair(first, second, changes["allow_different"])
    if form == "json":
        options.print_json(build_pair_document(compared), "compare-runs")
    else:
        typer.echo(format_pair(compared))


def _compare_studies(results: Path, studies: list[str], changes: dict[str, Any]) -> Comparison:
    from wbcbench.compare.analysis import compare as compare_runs
    from wbcbench.core.settings import chosen_baseline
    from wbcbench.core.study_folder import require_study
    from wbcbench.study.plan import choose_settings
    from wbcbench.table.summary import summarise_study

    folders = [require_study(results, name) for name in studies]
    settings = choose_settings(folders, changes)
    views = [summarise_study(folder) for folder in folders]
    runs = [run for view in views for run in view.runs]
    comparison = compare_runs(runs, settings, studies, sum(view.unfinished for view in views))
    own, used = chosen_baseline(), comparison.design.baseline
    if own not in {None, used} and changes["baseline"] is None and len(studies) == 1:
        whose = "plan fixes" if settings.plan_sha256 else "runs allow"
        typer.echo(f"Against {used}, which the {whose}; your settings say {own}.", err=True)
    return comparison


def _print_comparison(comparison: Comparison, form: Format, *, everything: bool) -> None:
    from wbcbench.compare import answer, render, result

    if form == "json":
        options.print_json(result.build_comparison_document(comparison))
    elif form == "csv":
        typer.echo(result.format_contrasts_csv(comparison), nl=False)
    else:
        as_words = render.as_text if everything else answer.format_answer
        renderers = {"github": render.as_markdown, "latex": render.as_latex}
        typer.echo(renderers.get(form, as_words)(comparison))


def _check_thresholds(comparison: Comparison, *, strict: bool) -> None:
    """Turn thresholds into exit codes; an exceeded one weighs more than an inconclusive one.

    Raises:
        ThresholdExceededError: The whole interval is beyond a threshold.
        InconclusiveError: ``strict``, and an interval contains its threshold.
    """

    def list_thresholds(outcome: str) -> str:
        matches = (t for t in comparison.thresholds if t.outcome == outcome)
        return ", ".join(f"{t.variant} ({t.threshold.text})" for t in matches)

    if exceeded := list_thresholds("worse"):
        raise ThresholdExceededError(f"The whole interval is beyond the threshold: {exceeded}.")
    if strict and (inconclusive := list_thresholds("inconclusive")):
        why = next((t.why for t in comparison.thresholds if t.why), "")
        words = f"No interval, for {why}" if why else "The interval contains the threshold"
        raise InconclusiveError(f"{words}: {inconclusive}.")
