"""The runs of a plan with the identity of their images, and the refusal of other images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wbcbench.core.errors import UsageError
from wbcbench.core.run_folder import Local
from wbcbench.core.spec import RunSpec
from wbcbench.study import running
from wbcbench.study.plan import Plan

Say = Callable[[str], None]

_CHECKED = ("image_size", "batch_size", "meters", "gpus", "country", "power_limit_w")
"""What ``running.with_data`` looks at: each combination is checked once."""


def with_images(made: Plan, local: Local, say: Say) -> list[RunSpec]:
    """Every run of a plan as it will be carried out; images are decoded where that is due.

    Raises:
        UsageError: The images are missing, damaged, or not those that the plan names.
        CannotMeasureError: A meter or a power limit that the plan names does not work here.
    """
    known: dict[tuple[object, ...], RunSpec] = {}
    specs = []
    for run in made.runs:
        settings = tuple(getattr(run, name) for name in _CHECKED)
        if settings not in known:
            known[settings] = running.with_data(run, local, say)
            _refuse_other_images(made, run, known[settings])
        found = known[settings]
        specs.append(replace(run, dataset_id=found.dataset_id, dataset_sha256=found.dataset_sha256))
    return specs


def _refuse_other_images(made: Plan, asked: RunSpec, found: RunSpec) -> None:
    for name in ("dataset_id", "dataset_sha256"):
        wanted, here = getattr(asked, name), getattr(found, name)
        if wanted and wanted != here:
            raise UsageError(
                f"The plan of {made.study} is about other images: its key run.{name} says "
                f"{wanted}, these are {here}. Name the folder with --data or WBCBENCH_DATA, or "
                f"plan for these images with --set {name}={here} --set study={made.study}-other."
            )
