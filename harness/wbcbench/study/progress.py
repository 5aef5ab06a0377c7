"""Where a study stands: what is done, what it has cost, whether to stop.

The folders on disk tell it all; nothing is remembered anywhere else, so a sweep that was killed
knows as much as one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from wbcbench.compare.analysis import compare
from wbcbench.compare.metric import PRIMARY
from wbcbench.core.errors import WbcbenchError
from wbcbench.core.files import write_atomically
from wbcbench.core.quality import Quality
from wbcbench.core.record import RunRecord
from wbcbench.core.run_condition import condition
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import LOOKS
from wbcbench.study.experiment import Until
from wbcbench.study.forecast import Past, past_of
from wbcbench.study.plan import Plan, analysis_settings, checked_contrasts, contrast_named
from wbcbench.table.derive import Spent, Sum, spent, sum_spent
from wbcbench.table.view import read_study

State = Literal["todo", "running", "done", "failed", "interrupted", "invalid"]

Waste = Literal["failed", "interrupted", "invalid", "repeated block", "outside the plan", "pilot"]
WASTES: tuple[Waste, ...] = (
    "failed", "interrupted", "invalid", "repeated block", "outside the plan", "pilot",
)  # fmt: skip

LOOKS_SCHEMA = "wbcbench.looks/1"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One carrying-out of a run.

    Attributes:
        run: Its folder.
        spec: What was asked.
        state: How it ended; ``running`` unless its runner is known to be gone.
        spent: What it cost; ``None`` without a record.
        past: What can be learnt from it about runs to come; ``None`` unless it is done.
    """

    run: RunDir
    spec: RunSpec
    state: State
    spent: Spent | None = None
    past: Past | None = None


def carried(run: RunDir) -> Attempt:
    """Look at one folder."""
    spec = run.read_spec()
    if not run.is_finished:
        return Attempt(run, spec, "interrupted" if condition(run).may_be_finalised else "running")
    record = run.read_record()
    state = state_of(record)
    learnt = past_of(run, record) if state in {"done", "invalid"} else None
    return Attempt(run, spec, state, spent(record), learnt)


def state_of(record: RunRecord) -> State:
    """How a run ended; a finished one whose verdict is invalid is invalid."""
    spoiled = record.status == "done" and record.quality is Quality.INVALID
    return "invalid" if spoiled else record.status


def loosely(spec: RunSpec) -> RunSpec:
    """The identity but for the images, where these are not known yet."""
    return replace(spec.identity, dataset_id="", dataset_sha256="")


def exactly(spec: RunSpec) -> RunSpec:
    """The identity."""
    return spec.identity


class Progress:
    """Every carrying-out of a study's runs, by what was asked."""

    def __init__(
        self, results: Path, study: str, by: Callable[[RunSpec], RunSpec] = exactly
    ) -> None:
        """Look at every folder of the study; writes nothing.

        Args:
            results: Where studies are kept.
            study: Which.
            by: What runs are told apart by.
        """
        self._results, self._study, self._by = results, study, by
        self._found: dict[Path, Attempt] = {}
        self._same: dict[RunSpec, dict[Path, Attempt]] = {}
        self._attempts: dict[RunSpec, int] = {}
        self.renew()

    def renew(self) -> None:
        """Look at new folders, and again at those that had no record."""
        for run in study_runs(self._results, self._study):
            known = self._found.get(run.path)
            if known is None or known.spent is None:
                self._enter(carried(run))

    def _enter(self, found: Attempt) -> None:
        self._found[found.run.path] = found
        self._same.setdefault(self._by(found.spec), {})[found.run.path] = found
        first = self._by(replace(found.spec, block_attempt=1))
        self._attempts[first] = max(self._attempts.get(first, 1), found.spec.block_attempt)

    def __iter__(self) -> Iterator[Attempt]:
        """Every carrying-out, also of runs that are in no plan."""
        return iter(self._found.values())

    def of(self, spec: RunSpec) -> list[Attempt]:
        """The carryings-out of one run, the first one first."""
        same = self._same.get(self._by(spec), {}).values()
        return sorted(same, key=lambda each: each.spec.repeat)

    def state(self, spec: RunSpec) -> State:
        """How far a run is: what counts most of its carryings-out, or the last."""
        states = [each.state for each in self.of(spec)]
        for state in ("done", "invalid", "running"):
            if state in states:
                return state
        return states[-1] if states else "todo"

    def attempt(self, specs: Iterable[RunSpec]) -> int:
        """The highest attempt at a block that was begun; 1 if none was."""
        first = (self._by(replace(spec, block_attempt=1)) for spec in specs)
        return max((self._attempts.get(each, 1) for each in first), default=1)

    @property
    def pasts(self) -> list[Past]:
        """What the runs teach about runs to come."""
        return [each.past for each in self if each.past is not None]


@dataclass(frozen=True, slots=True)
class Account:
    """Joules of a study.

    Attributes:
        counted: Done runs of the plan.
        wasted: Everything else that was carried out, by why it does not count.
        all_wasted: The same together.
    """

    counted: Sum
    wasted: dict[Waste, Sum]
    all_wasted: Sum


def study_account(
    specs: Sequence[RunSpec], standing: Progress, pilots: Iterable[Attempt]
) -> Account:
    """Sort every carrying-out of a study.

    Args:
        specs: The plan's runs, as they are carried out.
        standing: The study's folders.
        pilots: Runs that only served to know the cost.
    """
    last = _last_attempts(specs, standing)
    kinds: dict[str, list[Attempt]] = {"pilot": list(pilots)}
    for each in standing:
        if each.spent is not None:
            kinds.setdefault(_kind(each, last), []).append(each)
    sums = {kind: sum_spent(e.spent for e in found if e.spent) for kind, found in kinds.items()}
    wasted = {kind: sums[kind] for kind in WASTES if kind in sums and sums[kind].runs}
    spoiled = [e.spent for kind in wasted for e in kinds[kind] if e.spent]
    return Account(sums.get("counted", sum_spent(())), wasted, sum_spent(spoiled))


def _last_attempts(specs: Sequence[RunSpec], standing: Progress) -> dict[RunSpec, int]:
    """Run at its first attempt → the last attempt at its block that was begun."""
    blocks: dict[int, list[RunSpec]] = {}
    for spec in specs:
        blocks.setdefault(spec.block, []).append(spec)
    last = {number: standing.attempt(block) for number, block in blocks.items()}
    return {replace(spec, block_attempt=1).identity: last[spec.block] for spec in specs}


def _kind(each: Attempt, last: dict[RunSpec, int]) -> str:
    first = replace(each.spec, block_attempt=1).identity
    if each.state != "done":
        return each.state
    if first not in last:
        return "outside the plan"
    return "counted" if each.spec.block_attempt == last[first] else "repeated block"


# Every check of the stopping rule is written down, because checking often and stopping when one
# likes what one sees is a choice that a reader must be able to count. The rule judges the width of
# the interval alone, never the sign.
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
        self._path, self._dir, self._plan = study_dir / LOOKS, study_dir, made
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
                "schema": LOOKS_SCHEMA,
                "plan_sha256": self._plan.sha256,
                "looks": [asdict(each) for each in self.taken],
            }
            write_atomically(self._path, (json.dumps(document, indent=1) + "\n").encode())
        return self._taken[blocks]


def _look(study_dir: Path, made: Plan, until: Until, blocks: int) -> Look:
    contrast = contrast_named(checked_contrasts(made), until.contrast)
    wanted = replace(analysis_settings(made.analysis), metrics=(until.metric or PRIMARY,))
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


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """What a sweep left.

    Attributes:
        specs: The runs of the blocks that were in reach, at the last attempt at their block.
        standing: Where the study stands now.
        carried_out: How many runs this sweep carried out.
        looks: Every look of the stopping rule.
        interrupted: Whether the user stopped it.
    """

    specs: tuple[RunSpec, ...]
    standing: Progress
    carried_out: int
    looks: tuple[Look, ...]
    interrupted: bool

    def states(self) -> dict[State, int]:
        """How many planned runs are in which state."""
        found: dict[State, int] = {}
        for spec in self.specs:
            state = self.standing.state(spec)
            found[state] = found.get(state, 0) + 1
        return found
