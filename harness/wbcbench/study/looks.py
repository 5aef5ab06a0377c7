"""The stopping rule: after a block, look whether the interval is narrow enough.

Every look is written down, because looking often and stopping when one likes what one sees is a
choice that a reader must be able to count. The rule looks at the width alone, never at the sign.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from wbcbench.compare.analysis import compare
from wbcbench.compare.metric import HEADLINE
from wbcbench.core.errors import WbcbenchError
from wbcbench.core.files import write_whole
from wbcbench.study.experiment import Until
from wbcbench.study.plan import Plan
from wbcbench.study.promise import checked_contrasts, contrast_named, settings
from wbcbench.table.view import read_study

SCHEMA = "wbcbench.looks/1"
FILE_NAME = "looks.json"


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen after a block.

    Attributes:
        blocks: Blocks carried out by then; complete ones are counted by ``used``.
        used: Complete blocks the interval rests on.
        width: Of the interval, in ``unit``; ``None`` if there is none yet.
        unit: Per cent or percentage points.
        stops: Whether it was narrow enough.
        reason: Why there is no interval.
    """

    blocks: int
    used: int
    width: float | None
    unit: str
    stops: bool
    reason: str = ""


class Looks:
    """The looks at one study, kept beside its runs."""

    def __init__(self, study_dir: Path, made: Plan) -> None:
        """Read the looks that were taken before under the same plan."""
        self._path, self._dir, self._plan = study_dir / FILE_NAME, study_dir, made
        self._taken = {each.blocks: each for each in _read(self._path, made.sha256)}

    @property
    def taken(self) -> list[Look]:
        """Every look, in order."""
        return [self._taken[blocks] for blocks in sorted(self._taken)]

    def look(self, until: Until, blocks: int) -> Look:
        """Look after a block; one that was taken before stands as it was."""
        if blocks not in self._taken:
            self._taken[blocks] = _look(self._dir, self._plan, until, blocks)
            document = {
                "schema": SCHEMA,
                "plan_sha256": self._plan.sha256,
                "looks": [asdict(each) for each in self.taken],
            }
            write_whole(self._path, (json.dumps(document, indent=1) + "\n").encode())
        return self._taken[blocks]


def _look(study_dir: Path, made: Plan, until: Until, blocks: int) -> Look:
    contrast = contrast_named(checked_contrasts(made), until.contrast)
    wanted = replace(settings(made.analysis), metrics=(until.metric or HEADLINE,))
    runs = [run for run in read_study(study_dir).runs if 1 <= run.spec.block <= blocks]
    try:
        found = compare(runs, wanted, [made.study])
    except WbcbenchError as error:
        return Look(blocks, 0, None, "", stops=False, reason=str(error))
    effect = next((e for e in found.effects if e.contrast == contrast.name), None)
    if effect is None or effect.interval is None:
        reason = "fewer than three complete blocks"
        return Look(blocks, effect.n if effect else 0, None, "", stops=False, reason=reason)
    width = effect.interval.high - effect.interval.low
    return Look(blocks, effect.n, width, effect.metric.unit, stops=width <= until.width)


def _read(path: Path, plan_sha256: str) -> list[Look]:
    """Looks under the same plan; a damaged file or another plan's begins anew."""
    if not path.exists():
        return []
    try:
        document = json.loads(path.read_bytes())
        if document["plan_sha256"] != plan_sha256:
            return []
        return TypeAdapter(list[Look]).validate_python(document["looks"])
    except (ValueError, KeyError, TypeError, ValidationError):
        return []
