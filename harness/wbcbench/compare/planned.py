"""Whether a comparison is the one that was planned: one that is not tests nothing, and says why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from wbcbench.compare.boards import SPREAD
from wbcbench.compare.design import (
    Blocks,
    ComparisonDesign,
    Configuration,
    make_design,
)
from wbcbench.compare.effects import compute_differences
from wbcbench.compare.metric import Settings, TwoStages, find_metric
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.spec import TREATMENTS
from wbcbench.core.text import count_of
from wbcbench.stats.intervals import Floats
from wbcbench.stats.tests import count_stein_blocks
from wbcbench.table.view import Run


def select_planned(runs: Sequence[Run], settings: Settings) -> tuple[list[Run], list[str]]:
    """The runs of the plan, and a sentence about others; all of them where none is of the plan.

    Single runs that lie with a planned study were chosen by nobody beforehand.
    """
    planned = [run for run in runs if run.spec.block]
    if settings.plan is None or not planned or len(planned) == len(runs):
        return list(runs), []
    others = count_of(len(runs) - len(planned), "run")
    verb = "is" if len(runs) - len(planned) == 1 else "are"
    return planned, [f"{others} that {verb} of no plan {verb} not used."]


def forget_restated(settings: Settings, default: Sequence[str]) -> Settings:
    """Naming just the planned metrics is no departure; ``default`` are those of a silent plan."""
    if settings.plan and set(settings.metrics) == set(settings.plan.metrics or default):
        others = tuple(name for name in settings.departures if name != "metrics")
        return replace(settings, departures=others)
    return settings


def design_as_planned(
    configurations: Sequence[Configuration], settings: Settings, studies: Sequence[str]
) -> ComparisonDesign:
    """The design of the plan; of those configurations that there are, where some are missing.

    Raises:
        UsageError: There is no configuration or study of the baseline that was asked for.
    """
    try:
        return make_design(configurations, settings.baseline, studies, settings.family)
    except UsageError:
        if settings.plan is None or {"baseline", "family"} & set(settings.departures):
            raise
        return make_design(configurations, None, studies)


def why_untested(
    settings: Settings, design: ComparisonDesign, blocks: Blocks, runs: Sequence[Run]
) -> str:
    """Why no contrast may be called different or equivalent; empty where they may.

    Args:
        settings: As given and as planned.
        design: Of the runs that there are.
        blocks: Complete ones.
        runs: Every run with a record.
    """
    if settings.exploratory:
        return "The plan is exploratory" if settings.plan else "A plan of these is exploratory"
    if settings.unplanned:
        return "This is not what the plan tests"
    reasons = _iterate_reasons(settings, design, runs) if settings.plan else _lacks_plan(runs)
    if (why := next(reasons, "")) or settings.two_stages is None:
        return why
    return _check_stages(settings.two_stages, design, blocks, runs)


def _lacks_plan(runs: Sequence[Run]) -> Iterator[str]:
    if len({run.study for run in runs}) == 1:  # no plan is about several studies
        for sha256 in _list_plans(runs):
            yield f"These runs belong to plan {sha256[:12]}, whose plan.json is not with them"


def _list_plans(runs: Sequence[Run]) -> list[str]:
    """The digests of the plans that runs were carried out under."""
    known = (run.row["plan_sha256"] for run in runs)
    return sorted({str(sha256) for sha256 in known if sha256})


def _iterate_reasons(
    settings: Settings, design: ComparisonDesign, runs: Sequence[Run]
) -> Iterator[str]:
    plan = settings.plan
    assert plan is not None
    for sha256 in _list_plans(runs):
        if sha256 != settings.plan_sha256:
            yield f"Runs were carried out under another plan ({sha256[:12]})"
    if not is_before(plan.stored_utc, runs):
        yield (
            f"The plan is of {plan.stored_utc}, after the first run began"
            if plan.stored_utc
            else "The plan has no date, so it may be later than the first run"
        )
    primary = {(c.name, c.against) for c in design.contrasts if c.family == "primary"}
    if not primary <= set(plan.contrasts):
        yield "The contrasts are not those of the plan, because not all of its variants have run"
    carried_out = {
        (run.spec.block, run.spec.variant, *(getattr(run.spec, name) for name in TREATMENTS))
        for run in runs
        if 1 <= run.spec.block <= plan.blocks and run.status != "interrupted"
    }
    if (missing := plan.runs - len(carried_out)) > 0:
        verb = "has" if missing == 1 else "have"
        yield f"{count_of(missing, 'planned run')} {verb} not been carried out to the end yet"


def is_before(stored_utc: str | None, runs: Sequence[Run]) -> bool:
    """Whether a plan lay with its study before the first of its runs began."""
    starts = [datetime.fromisoformat(str(r.row["started_utc"])) for r in runs if r.spec.block]
    return stored_utc is not None and datetime.fromisoformat(stored_utc) <= min(
        starts, default=datetime.max.replace(tzinfo=UTC)
    )


def _check_stages(
    stages: TwoStages, design: ComparisonDesign, blocks: Blocks, runs: Sequence[Run]
) -> str:
    """Why the stopping rule has not come to its end; empty where it has."""
    if max((run.spec.block for run in runs), default=0) >= stages.most:
        return ""
    used, needed = len(blocks.runs), count_needed(stages, design, blocks)
    if isinstance(needed, str):
        return needed
    return "" if used >= needed else f"The second stage has {used} of {needed} complete blocks"


def count_needed(stages: TwoStages, design: ComparisonDesign, blocks: Blocks) -> int | str:
    """The complete blocks in all that the first stage asks for, or why that is unknown."""
    differences = find_stage_differences(stages, design, blocks)
    if isinstance(differences, str):
        return differences
    half = find_metric(stages.metrics[0]).from_unit(stages.width) / 2
    return count_stein_blocks(differences[: stages.blocks], half)


def find_stage_differences(
    stages: TwoStages, design: ComparisonDesign, blocks: Blocks
) -> Floats | str:
    """``[blocks]`` differences whose spread decides, once the first stage is complete; else why."""
    contrast = next((c for c in design.contrasts if stages.is_about(c.name, c.against)), None)
    if contrast is None:
        return f"{stages.contrast} has not run with all that it is compared with"
    if len(blocks.runs) < stages.blocks:
        return f"The first stage has {len(blocks.runs)} of {stages.blocks} complete blocks"
    metric = find_metric(stages.metrics[0])
    if blocks.boards.is_spread and metric.is_speed:
        return f"The spread of {stages.contrast} is unknown: {SPREAD}"
    try:
        return compute_differences(blocks, contrast, metric)
    except CannotMeasureError as error:
        return f"The spread of {stages.contrast} is unknown: {error}".rstrip(".")


def describe_stages(stages: TwoStages, design: ComparisonDesign, blocks: Blocks) -> str:
    """``Two stages (Stein): … asks for 14 complete blocks; there are 14, and may be 20``."""
    needed = count_needed(stages, design, blocks)
    if isinstance(needed, str):
        return f"Two stages (Stein): {needed[0].lower()}{needed[1:]}."
    short = f" The interval is wider than {stages.width:g}." if needed > len(blocks.runs) else ""
    return (
        f"Two stages (Stein): the spread of {stages.contrast} in the first {stages.blocks} "
        f"complete blocks asks for {needed}; there are {len(blocks.runs)}, and may be "
        f"{stages.most}.{short}"
    )
