"""Runs → one ``Comparison``: the protocol, in its order."""

from __future__ import annotations

from collections.abc import Sequence

from wbcbench.compare.arms_alone import arms_alone
from wbcbench.compare.effects import effects, splits
from wbcbench.compare.gates import judged
from wbcbench.compare.notes import about_energy, about_photographs, about_plan, notes
from wbcbench.compare.photographs import CorrectAnswers, read_answers
from wbcbench.compare.preparation import Prepared, prepare
from wbcbench.compare.result import Comparison, Effect
from wbcbench.compare.settings import Settings
from wbcbench.core.errors import UsageError
from wbcbench.table.view import Run

_MACHINE = ("host_id", "gpu_name", "driver_version", "cpu_model", "tensorflow_version")


def compare(
    runs: Sequence[Run], settings: Settings, studies: Sequence[str], unfinished: int = 0
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
    # The first run names the machine: let that not depend on how the runs were read.
    order = {name: place for place, name in enumerate(studies)}
    runs = sorted(runs, key=lambda run: (order.get(run.study, 0), run.run_id))
    ready = prepare(runs, settings, studies)
    plan, blocks, joules = ready.design, ready.blocks, ready.joules
    found = effects(plan, blocks, ready.metrics, ready.statuses, settings)
    answers = read_answers(blocks)
    return Comparison(
        studies=tuple(studies),
        settings=settings,
        design=plan,
        blocks=blocks,
        unfinished=unfinished,
        metrics=ready.metrics,
        energy=ready.energy,
        machine={name: runs[0].row.get(name) for name in _MACHINE},
        effects=found,
        splits=splits(plan, blocks, joules, settings) if joules else (),
        arms=arms_alone(plan, blocks, ready.metrics, joules, answers),
        same_images=answers.compare(plan) if answers else (),
        gates=judged(plan, blocks, settings, ready.statuses),
        notes=_notes(ready, found, answers, settings),
    )


def _notes(
    ready: Prepared, found: tuple[Effect, ...], answers: CorrectAnswers | None, settings: Settings
) -> tuple[str, ...]:
    return (
        *about_plan(settings),
        *about_energy(ready.energy, ready.metrics),
        *ready.told,
        *notes(ready.design, ready.blocks, found, settings),
        *about_photographs(answers, ready.metrics),
    )
