"""What a plan can show, worked out before its first run: contrasts, least p, detectable effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wbcbench.compare.design import ComparisonDesign, Contrast, design, planned_configurations
from wbcbench.compare.metric import ACCURACY, HEADLINE, Settings, metric
from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.trace import Origin
from wbcbench.stats.tests import ALPHA, PROMISE, detectable_effect, least_blocks, p_floor
from wbcbench.study.experiment import PlannedAnalysis
from wbcbench.study.plan import Plan


@dataclass(frozen=True, slots=True)
class Promise:
    """What the primary family of a plan can show.

    Attributes:
        contrasts: Names of the primary contrasts; empty for a single arm.
        metrics: Columns they are taken of.
        blocks: How many blocks will be carried out.
        p_floor: The least p that so many blocks can give; ``None`` without a contrast.
        level: What the first step of Holm's correction asks for.
        blocks_wanted: The fewest blocks whose least p is below that.
        detectable_d_z: Least difference found with a chance of ``promise``, in standard
            deviations between blocks; ``None`` where p cannot get there.
        promise: That chance.
    """

    contrasts: tuple[str, ...]
    metrics: tuple[str, ...]
    blocks: int
    p_floor: float | None
    level: float | None
    blocks_wanted: int | None
    detectable_d_z: float | None
    promise: float = PROMISE

    @property
    def can_show(self) -> bool:
        """Whether any difference, however large, could be told from chance."""
        return self.p_floor is not None and self.level is not None and self.p_floor <= self.level


def promise(made: Plan, blocks: int | None = None) -> Promise:
    """What a plan can show with its blocks, or with another number of them.

    Raises:
        UsageError: The analysis names a contrast, an arm or a column that the plan does not have.
    """
    names = tuple(each.name for each in checked_contrasts(made))
    metrics = metrics_of(made.analysis)
    blocks = made.blocks if blocks is None else blocks
    tests = len(names) * len(metrics)
    if not tests:
        return Promise((), metrics, blocks, None, None, None, None)
    level = ALPHA / tests
    return Promise(
        contrasts=names,
        metrics=metrics,
        blocks=blocks,
        p_floor=p_floor(blocks),
        level=level,
        blocks_wanted=least_blocks(level),
        detectable_d_z=detectable_effect(blocks, tests) if p_floor(blocks) <= level else None,
    )


def metrics_of(analysis: PlannedAnalysis) -> tuple[str, ...]:
    """The columns that will be compared; raises ``UsageError`` for one that cannot be."""
    return tuple(metric(name).name for name in analysis.metrics or (HEADLINE, ACCURACY))


def settings(analysis: PlannedAnalysis) -> Settings:
    """The plan's analysis in the words of a comparison."""
    return Settings(
        metrics=analysis.metrics,
        baseline=analysis.baseline,
        least_trust=Origin(analysis.channel),
        region_pct=analysis.equivalent_pct,
        region_pp=analysis.equivalent_pp,
    )


def checked_contrasts(made: Plan) -> list[Contrast]:
    """The primary contrasts, once what the file says of them is seen to be true.

    Raises:
        UsageError: It is not; the message has the contrasts that the factors make.
    """
    found = [each for each in design_of(made).contrasts if each.family == "primary"]
    said = made.analysis.contrasts
    meant = [contrast_named(found, name).name for name in said]
    missing = [each.name for each in found if each.name not in meant]
    if said and missing:
        raise UsageError(
            f"[analysis] contrasts leaves out {', '.join(missing)}. The factors of {made.study} "
            "decide the primary family, and all of it is corrected together; name all or none."
        )
    if made.until is not None:
        contrast_named(found, made.until.contrast)
        metric(made.until.metric or HEADLINE)
    return found


def contrast_named(contrasts: Sequence[Contrast], wanted: str) -> Contrast:
    """The contrast of a name, or of its first word where only one begins so.

    Raises:
        UsageError: There is none, or several fit.
    """
    exact = [each for each in contrasts if each.name == wanted]
    fitting = exact or [each for each in contrasts if each.name.split()[0] == wanted]
    if len(fitting) != 1:
        raise unknown_name("primary contrast", wanted, [each.name for each in contrasts])
    return fitting[0]


def design_of(made: Plan) -> ComparisonDesign:
    """The design that ``compare`` will see in the runs of this plan."""
    found = planned_configurations(made.study, made.block(1))
    return design(found, made.analysis.baseline, [made.study])
