"""``wbcbench compare [STUDY …]``: what differs between the arms, how sure that is, and gates."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.commands import options as completion
from wbcbench.core.errors import InconclusiveError, ThresholdExceededError
from wbcbench.core.trace import Origin

if TYPE_CHECKING:
    from wbcbench.compare.result import Comparison


class CompareFormat(StrEnum):
    """How a comparison is written down."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    LATEX = "latex"
    GITHUB = "github"


class IntervalMethod(StrEnum):
    """How intervals are made."""

    T = "t"
    BOOTSTRAP = "bootstrap"


Studies = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[STUDY]...",
        envvar="WBCBENCH_STUDY",
        help="One study: its arms against each other. Several: each against the first.",
        autocompletion=completion.studies,
        show_default=False,
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option("--baseline", help="The arm, or study, the others are held against."),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", help="A column to compare, instead of energy and accuracy."),
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        help="A limit: 'energy_gpu_train_j > +5%', 'balanced_accuracy < -1pp'. Exit 4 beyond.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit 5 when a limit can neither be kept nor failed.")
]
LeastTrust = Annotated[
    Origin | None,
    typer.Option(
        "--channel",
        help="How far from a sensor joules may be. [default: the plan's, or measured]",
    ),
]
AllowDifferent = Annotated[
    list[str] | None,
    typer.Option("--allow-different", metavar="FIELD", help="A field that may differ."),
]
RegionPct = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=50,
        help="Joules, seconds this close (per cent) do not matter. [default: the plan's, or 2]",
    ),
]
RegionPp = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=50,
        help="Accuracies this close (points) do not matter. [default: the plan's, or 1]",
    ),
]
Intervals = Annotated[IntervalMethod, typer.Option(help="bootstrap needs fifteen blocks.")]
Form = Annotated[CompareFormat, typer.Option("--format", help="How to write it.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="The same as --format csv.")]
AsLatex = Annotated[bool, typer.Option("--latex", help="The same as --format latex.")]


def compare(
    studies: Studies = None,
    results: options.Results = Path("results"),
    baseline: Baseline = None,
    metric: Metrics = None,
    fail_if: FailIf = None,
    strict: Strict = False,
    channel: LeastTrust = None,
    allow_different: AllowDifferent = None,
    equivalent_pct: RegionPct = None,
    equivalent_pp: RegionPp = None,
    interval: Intervals = IntervalMethod.T,
    form: Form = CompareFormat.TEXT,
    as_json: options.AsJson = False,
    as_csv: AsCsv = False,
    as_latex: AsLatex = False,
) -> None:
    """Compare arms block by block: contrasts with intervals, exact tests, equivalence, gates."""
    from wbcbench.compare.metric import parse_threshold

    asked = {
        "metrics": tuple(metric) if metric else None,
        "baseline": baseline,
        "least_trust": channel,
        "allow_different": tuple(allow_different or ()),
        "thresholds": tuple(parse_threshold(text) for text in fail_if or ()),
        "region_pct": equivalent_pct,
        "region_pp": equivalent_pp,
        "method": interval.value,
    }
    found = _compared(results, list(dict.fromkeys(studies or ["runs"])), asked)
    forms = [
        (as_json, CompareFormat.JSON),
        (as_csv, CompareFormat.CSV),
        (as_latex, CompareFormat.LATEX),
    ]
    typer.echo(_written(found, next((each for flag, each in forms if flag), form)), nl=False)
    _exit_by_gates(found, strict=strict)


def _compared(results: Path, studies: list[str], asked: dict[str, Any]) -> Comparison:
    from wbcbench.compare.analysis import compare as analyse
    from wbcbench.core.study_folder import require_study
    from wbcbench.study.plan import settings_for
    from wbcbench.table.view import read_study

    folders = [require_study(results, name) for name in studies]
    settings = settings_for(folders[0] if len(folders) == 1 else None, asked)
    found = [read_study(folder) for folder in folders]
    runs = [run for study in found for run in study.runs]
    return analyse(runs, settings, studies, sum(study.unfinished for study in found))


def _written(found: Comparison, form: CompareFormat) -> str:
    from wbcbench.compare import render, result

    if form is CompareFormat.JSON:
        whole = result.comparison_document(found)
        return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if form is CompareFormat.CSV:
        return result.contrasts_csv(found)
    made = {CompareFormat.GITHUB: render.as_markdown, CompareFormat.LATEX: render.as_latex}.get(
        form, render.as_text
    )
    return made(found) + "\n"


def _exit_by_gates(found: Comparison, *, strict: bool) -> None:
    """Worse weighs more than undecided.

    Raises:
        ThresholdExceededError: A limit is exceeded by the whole interval.
        InconclusiveError: ``strict``, and an interval straddles its limit.
    """
    worse = [f"{g.variant} ({g.threshold.text})" for g in found.thresholds if g.outcome == "worse"]
    if worse:
        raise ThresholdExceededError(
            f"beyond the limit with the whole interval: {', '.join(worse)}."
        )
    open_ = [
        f"{g.variant} ({g.threshold.text})" for g in found.thresholds if g.outcome == "inconclusive"
    ]
    if strict and open_:
        raise InconclusiveError(f"the interval straddles the limit: {', '.join(open_)}.")
