"""Runs → one ``Comparison``: the protocol, in its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wbcbench.comparison.arms import Arm, arms_of, key
from wbcbench.comparison.arms_alone import arms_alone
from wbcbench.comparison.blocks import complete_blocks
from wbcbench.comparison.comparable import require_comparable
from wbcbench.comparison.design import design
from wbcbench.comparison.effects import effects, splits
from wbcbench.comparison.gates import judged
from wbcbench.comparison.joules import headline_joules, status_of
from wbcbench.comparison.metric import ACCURACY, Metric, metric
from wbcbench.comparison.notes import about_energy, about_photographs, notes
from wbcbench.comparison.observed import Observed
from wbcbench.comparison.photographs import read_answers
from wbcbench.comparison.result import Comparison, Energy
from wbcbench.comparison.settings import Settings
from wbcbench.errors import UsageError

_MACHINE = ("host_id", "gpu_name", "driver_version", "cpu_model", "tensorflow_version")


def compare(
    runs: Sequence[Observed],
    settings: Settings,
    studies: Sequence[str],
    unfinished: int = 0,
) -> Comparison:
    """Compare runs block by block.

    Args:
        runs: Every run that is accounted for, of all studies.
        settings: How.
        studies: Names, in the order they were given.
        unfinished: Runs without a record, to be counted.

    Raises:
        UsageError: There is no run, or a name in the settings is unknown.
        CannotMeasureError: The runs may not be compared, or not on these joules.
    """
    if not runs:
        raise UsageError(f"No run of {', '.join(studies)} has ended yet: nothing to compare.")
    chosen, set_aside, arm_of = _arms(runs)
    labels = {arm.label for arm in chosen}
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
    statuses = {each.name: status_of(each, done, settings.least_trust) for each in asked}
    plan = design(chosen, settings.baseline, studies)
    blocks = complete_blocks(runs, plan.arms, arm_of, asked, one_host=len(studies) == 1)
    found = effects(plan, blocks, metrics, statuses, settings)
    joules = next((each for each in metrics if each.name == energy.metric), None)
    answers = read_answers(blocks)
    return Comparison(
        studies=tuple(studies),
        settings=settings,
        design=plan,
        blocks=blocks,
        unfinished=unfinished,
        metrics=metrics,
        energy=energy,
        machine={name: runs[0].cells.get(name) for name in _MACHINE},
        effects=found,
        splits=splits(plan, blocks, joules, settings) if joules else (),
        arms=arms_alone(plan, blocks, metrics, joules, answers),
        same_images=answers.compare(plan) if answers else (),
        gates=judged(plan, blocks, settings, statuses),
        notes=(
            *about_energy(energy, metrics),
            *(f"{field} differs between the runs, as allowed." for field in differing),
            *set_aside,
            *notes(plan, blocks, found, settings),
            *about_photographs(answers, metrics),
        ),
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
