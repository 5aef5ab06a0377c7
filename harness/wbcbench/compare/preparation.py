"""Before any number is worked out: which arms, which metrics, which runs, which blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wbcbench.compare.arms import Configuration, configurations, label_of_runs
from wbcbench.compare.blocks import Blocks, complete_blocks
from wbcbench.compare.comparable import require_comparable
from wbcbench.compare.design import ComparisonDesign, design
from wbcbench.compare.joules import headline_joules, status_of
from wbcbench.compare.metric import ACCURACY, Metric, metric
from wbcbench.compare.result import Energy
from wbcbench.compare.settings import Settings
from wbcbench.table.view import Run


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

    design: ComparisonDesign
    blocks: Blocks
    energy: Energy
    metrics: tuple[Metric, ...]
    statuses: Mapping[str, str]
    told: tuple[str, ...]

    @property
    def joules(self) -> Metric | None:
        """The energy among the metrics; ``None`` where joules are not compared."""
        return next((each for each in self.metrics if each.name == self.energy.metric), None)


def prepare(runs: Sequence[Run], settings: Settings, studies: Sequence[str]) -> Prepared:
    """Choose and check; at least one run.

    Raises:
        UsageError: A name in the settings is unknown.
        CannotMeasureError: The runs may not be compared, or not on these joules.
    """
    found, set_aside = _configurations(runs)
    chosen = label_of_runs(found)
    done = [run for run in runs if run.is_done and run in chosen]
    energy, metrics = _metrics(done, settings)
    asked = [*metrics, *(gate.metric for gate in settings.gates)]
    differing = require_comparable(
        done,
        settings.allow_different,
        energy=any(each.part is not None for each in asked),
        speed=any(each.is_speed for each in asked),
    )
    plan = design(found, settings.baseline, studies)
    allowed = [f"{field} differs between the runs, as allowed." for field in differing]
    return Prepared(
        design=plan,
        blocks=complete_blocks(runs, plan.arms, asked, one_host=len(studies) == 1),
        energy=energy,
        metrics=metrics,
        statuses={each.name: status_of(each, done, settings.least_trust) for each in asked},
        told=(*allowed, *set_aside),
    )


def _metrics(done: Sequence[Run], settings: Settings) -> tuple[Energy, tuple[Metric, ...]]:
    """Energy and balanced accuracy, or what was asked for."""
    energy = headline_joules(done, settings.least_trust)
    names = settings.metrics or tuple(name for name in (energy.metric, ACCURACY) if name)
    return energy, tuple(metric(name) for name in dict.fromkeys(names))


def _configurations(runs: Sequence[Run]) -> tuple[tuple[Configuration, ...], list[str]]:
    """Those to compare; one that was planned in less than half of the blocks is set aside."""
    every = configurations(runs)
    blocks = {
        each.label: len({(run.spec.block, run.spec.seed) for run in each.runs}) for each in every
    }
    most = max(blocks.values())
    rare = sorted(label for label, count in blocks.items() if 2 * count < most)
    words = [
        f"{label} was run in {blocks[label]} of {most} blocks and is set aside." for label in rare
    ]
    if not rare:
        return every, words
    label_of = label_of_runs(every)
    return configurations([run for run in runs if label_of[run] not in rare]), words
