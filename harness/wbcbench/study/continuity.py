"""A study goes on as it began: with the runs that were planned, on the same images.

Otherwise a default that changed, or another folder of images, would silently put runs into one
study that cannot be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.core.spec import SPEC_FIELDS, RunSpec
from wbcbench.study.plan import FILE_NAME
from wbcbench.study.standing import Carried, Standing, loosely

_IMAGES = ("dataset_id", "dataset_sha256")
_NOT_ASKED = ("repeat", "block_attempt", "order_in_block", "order_global", *_IMAGES)


def refuse_other_runs(specs: Sequence[RunSpec], standing: Standing, study_dir: Path) -> None:
    """See that every run the study holds is one of the plan's; single runs are passed over.

    Args:
        specs: The plan's runs; images may be unknown, then they are not looked at.
        standing: What the study holds.
        study_dir: Its folder, for the message.

    Raises:
        UsageError: It holds others; the message names what differs and the way out.
    """
    planned = {loosely(spec): spec for spec in specs}
    for each in standing:
        if each.spec.block == 0:
            continue
        spec = planned.get(loosely(replace(each.spec, block_attempt=1)))
        if spec is None:
            raise UsageError(_not_planned(each, specs, study_dir))
        if spec.dataset_sha256 not in {"", each.spec.dataset_sha256}:
            raise UsageError(
                f"The study in {study_dir} has begun on the images {each.spec.dataset_id} "
                f"({each.run.run_id}); these are {spec.dataset_id}. Runs on different images "
                "cannot be compared: use the same ones, another --results, or --set study=NAME."
            )


def _not_planned(each: Carried, specs: Sequence[RunSpec], study_dir: Path) -> str:
    return (
        f"The study in {study_dir} holds {each.run.run_id}, which this plan does not ask for"
        f"{_difference(each.spec, specs)}. Runs of two designs in one study could not be told "
        f"apart later. Go on as it began with `wbcbench sweep {study_dir / FILE_NAME}`, or begin "
        "another study with --set study=NAME."
    )


def _difference(found: RunSpec, specs: Sequence[RunSpec]) -> str:
    """What the likest planned run asks for instead."""
    fields = [name for name in SPEC_FIELDS if name not in _NOT_ASKED]
    differing = [
        [name for name in fields if getattr(found, name) != getattr(spec, name)] for spec in specs
    ]
    least = min(range(len(specs)), key=lambda i: len(differing[i]))
    told = [
        f"{name} was {getattr(found, name)!r} and is now {getattr(specs[least], name)!r}"
        for name in differing[least]
    ]
    return f" ({', '.join(told)})"
