"""Before any number is worked out: which arms, which metrics, which runs, which blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wbcbench.comparison.arms import Arm, arms_of, key
from wbcbench.comparison.blocks import Blocks, complete_blocks
from wbcbench.comparison.comparable import require_comparable
from wbcbench.comparison.design import Design, design
from wbcbench.comparison.joules import headline_joules, status_of
from wbcbench.comparison.metric import ACCURACY, Metric, metric
from wbcbench.comparison.observed import Observed
from wbcbench.comparison.result import Energy
from wbcbench.comparison.settings import Settings


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is compared.

    Attributes:
        design: Arms and contrasts.
        blocks: What is used and what is not.
        energy: Which joules.
        metrics: Of the primary family.
        statuses: Metric → measured, modelled, …; empty for what is no joule.
        told: Whole sentences about what was allowed or set aside.
    """

    design: Design
    blocks: Blocks
    energy: Energy
    metrics: tuple[Metric, ...]
    statuses: Mapping[str, str]
    told: tuple[str, ...]

    @property
    def joules(self) -> Metric | None:
        """The energy among the metrics; ``None`` where joules are not compared."""
        return next((each for each in self.metrics if each.name == self.energy.metric), None)


def prepare(runs: Sequence[Observed], settings: Settings, studies: Sequence[str]) -> Prepared:
    """Choose and check; at least one run.

    Raises:
        UsageError: A name in the settings is unknown.
        CannotMeasureError: The runs may not be compared, or not on these joules.
    """
    arms, set_aside, arm_of = _arms(runs)
    labels = {arm.label for arm in arms}
    done = [
        run for run in runs if run.cells["status"] == "done" and arm_of[key(run)].label in labels
    ]
    energy, metrics = _metrics(done, settings)
    asked = [*metrics, *(gate.metric for gate in settings.gates)]
    differing = require_comparable(
        done,
        settings.allow_different,
        energy=any(each.part is not None for each in asked),
        speed=any(each.is_speed for each in asked),
    )
    plan = design(arms, settings.baseline, studies)
    allowed = [f"{field} differs between the runs, as allowed." for field in differing]
    return Prepared(
        design=plan,
        blocks=complete_blocks(runs, plan.arms, arm_of, asked, one_host=len(studies) == 1),
        energy=energy,
        metrics=metrics,
        statuses={each.name: status_of(each, done, settings.least_trust) for each in asked},
        told=(*allowed, *set_aside),
    )


def _metrics(done: Sequence[Observed], settings: Settings) -> tuple[Energy, tuple[Metric, ...]]:
    """Energy and balanced accuracy, or what was asked for."""
    energy = headline_joules(done, settings.least_trust)
    names = settings.metrics or tuple(name for name in (energy.metric, ACCURACY) if name)
    return energy, tuple(metric(name) for name in dict.fromkeys(names))


def _arms(runs: Sequence[Observed]) -> tuple[list[Arm], list[str], Mapping[str, Arm]]:
    """The arms to compare; one that was planned in less than half of the blocks is set aside."""
    arm_of = arms_of(runs)
    places: dict[str, set[tuple[int, int]]] = {}
    for run in runs:
        label = arm_of[key(run)].label
        places.setdefault(label, set()).add((run.spec.block, run.spec.seed))
    most = max(len(found) for found in places.values())
    rare = [label for label, found in places.items() if 2 * len(found) < most]
    told = [
        f"{label} was run in {len(places[label])} of {most} blocks and is set aside."
        for label in sorted(rare)
    ]
    arms = {arm.label: arm for arm in arm_of.values() if arm.label not in rare}
    if rare:
        kept = {key(run) for run in runs if arm_of[key(run)].label in arms}
        again = arms_of([run for run in runs if key(run) in kept])
        return list({arm.label: arm for arm in again.values()}.values()), told, arm_of | again
    return list(arms.values()), told, arm_of
