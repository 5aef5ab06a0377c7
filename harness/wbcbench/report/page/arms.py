"""The arms of a study: which run belongs to which, and which runs count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wbcbench.report.page.evidence import Evidence, Run


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant with those settings that differ in this study, and its runs.

    Attributes:
        label: As ``wbcbench compare`` names it.
        tried: Every run with a record.
        used: Of complete blocks, where there are any; else those that ended well and may stand
            together.
        metered: Those of ``used`` whose joules may stand beside the other arms'.
    """

    label: str
    tried: tuple[Run, ...]
    used: tuple[Run, ...]
    metered: tuple[Run, ...]


def arms(study: Evidence) -> tuple[Arm, ...]:
    """Every arm with a record, in the comparison's order."""
    counting = _counting(study)
    comparable = {run.record.run_id for run in study.comparable}
    found = []
    for label, own in by_arm(study, study.runs).items():
        tried = tuple(own)
        used = tuple(run for run in tried if run.record.run_id in counting)
        metered = tuple(run for run in used if run.record.run_id in comparable)
        found.append(Arm(label, tried, used, metered))
    return tuple(found)


def by_arm(study: Evidence, runs: Iterable[Run]) -> dict[str, list[Run]]:
    """These runs by label, arms in the comparison's order, runs in their own."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(study.arm(run), []).append(run)
    return {label: found[label] for label in _ordered(study, set(found))}


def _counting(study: Evidence) -> set[str]:
    blocks = study.comparison.blocks.runs if study.comparison else ()
    counted = {run.run_id for block in blocks for run in block}
    return counted or {run.record.run_id for run in study.comparable or study.done}


def _ordered(study: Evidence, labels: set[str]) -> list[str]:
    known = [arm.label for arm in study.comparison.design.arms] if study.comparison else []
    return [label for label in known if label in labels] + sorted(labels - set(known))
