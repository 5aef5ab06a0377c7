"""The arms of a study: which run belongs to which, and which runs count."""

from __future__ import annotations

from dataclasses import dataclass

from wbcbench.comparison.arms import arms_of, key
from wbcbench.comparison.observed import Observed
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
    labels = _labels(study)
    counting = _counting(study)
    comparable = {run.record.run_id for run in study.comparable}
    found = []
    for label in _ordered(study, set(labels.values())):
        tried = tuple(run for run in study.runs if labels[run.record.run_id] == label)
        used = tuple(run for run in tried if run.record.run_id in counting)
        metered = tuple(run for run in used if run.record.run_id in comparable)
        found.append(Arm(label, tried, used, metered))
    return tuple(found)


def _labels(study: Evidence) -> dict[str, str]:
    """Run → label of its arm."""
    seen = [Observed(study.name, r.record.run_id, r.record.spec, r.row, {}) for r in study.runs]
    named = arms_of(seen)
    return {run.run_id: named[key(run)].label for run in seen}


def _counting(study: Evidence) -> set[str]:
    blocks = study.comparison.blocks.runs if study.comparison else ()
    counted = {run.run_id for block in blocks for run in block}
    return counted or {run.record.run_id for run in study.comparable or study.done}


def _ordered(study: Evidence, labels: set[str]) -> list[str]:
    known = [arm.label for arm in study.comparison.design.arms] if study.comparison else []
    return [label for label in known if label in labels] + sorted(labels - set(known))
