"""The progress of a study: what is done, what it has cost, whether to stop.

Everything is read from the run folders; nothing is remembered anywhere else, so a sweep that was
killed knows as much as one that was not.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from wbcbench.compare.analysis import compare
from wbcbench.compare.metric import find_metric
from wbcbench.compare.planned import find_stage_differences
from wbcbench.core.errors import WbcbenchError
from wbcbench.core.files import write_atomically
from wbcbench.core.run_condition import condition
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.core.spec import PLACE, SPEC_FIELDS, RunSpec
from wbcbench.core.study_folder import INTERIM_ANALYSES
from wbcbench.stats.tests import count_stein_blocks, stein_interval
from wbcbench.study.plan import Plan, analysis_settings
from wbcbench.table.deleted import DeletedRun
from wbcbench.table.derive import Past, Spent, Sum, sum_spent
from wbcbench.table.summary import Summaries, SummarisedRun, summarise_study

State = Literal["todo", "running", "done", "failed", "interrupted", "invalid"]

Waste = Literal[
    "failed", "interrupted", "invalid", "repeated block", "outside the plan", "pilot", "deleted"
]

Identify = Callable[[RunSpec], Hashable]

INTERIM_SCHEMA = "wbcbench.interim-analyses/3"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a run.

    Attributes:
        run: Its folder.
        spec: What was asked.
        state: How it ended; ``running`` unless its runner is known to be gone.
        spent: What it cost; ``None`` without a record.
        past: What it teaches about the cost of runs to come; ``None`` unless it is done.
        ended: Its row of the table and the like; ``None`` without a record.
    """

    run: RunDir
    spec: RunSpec
    state: State
    spent: Spent | None = None
    past: Past | None = None
    ended: SummarisedRun | None = None


def read_attempt(run: RunDir, summaries: Summaries) -> Attempt:
    """Read one folder."""
    if not run.is_finished:
        is_over = condition(run).may_be_finalised
        return Attempt(run, run.read_spec(), "interrupted" if is_over else "running")
    ended = SummarisedRun(summaries.read(run), run, run.path.parent.name)
    state = cast("State", ended.status)
    past = ended.summary.past if state in {"done", "invalid"} else None
    return Attempt(run, ended.spec, state, ended.summary.spent, past, ended)


# What is the same in every attempt at a run; without images, where these are not known yet.
_NOT_SAME = {*PLACE, "repeat", "block_attempt"}
_SAME = [name for name in SPEC_FIELDS if name not in _NOT_SAME]
identify: Identify = attrgetter(*_SAME)
identify_without_images: Identify = attrgetter(
    *(name for name in _SAME if not name.startswith("dataset_"))
)


class Progress:
    """All attempts at the runs of a study, by what was asked."""

    def __init__(
        self,
        results: Path,
        study: str,
        by: Identify = identify,
    ) -> None:
        """Read every folder of the study; writes nothing.

        Args:
            results: Where studies lie.
            study: Which.
            by: What identifies a run.
        """
        self._results, self._study, self._by = results, study, by
        self._summaries = Summaries(results / study)
        self._attempts: dict[Path, Attempt] = {}
        # By what is the same in every attempt at a block.
        self._same: dict[Hashable, dict[Path, Attempt]] = defaultdict(dict)
        self.refresh()

    def refresh(self) -> None:
        """Read new folders, and again those that had no record."""
        self.add(study_runs(self._results, self._study))

    def add(self, runs: Collection[RunDir]) -> None:
        """Read some folders, and again those that had no record; one that is gone is forgotten."""
        for path in [run.path for run in runs if not run.path.is_dir()]:
            if (gone := self._attempts.pop(path, None)) is not None:
                del self._same[self._by(gone.spec)][path]
        new = [run for run in runs if run.path.is_dir() and not self._knows(run)]
        self._summaries.prepare([run for run in new if run.is_finished])
        for run in new:
            attempt = read_attempt(run, self._summaries)
            self._attempts[run.path] = attempt
            self._same[self._by(attempt.spec)][run.path] = attempt
        self._summaries.save()

    def _knows(self, run: RunDir) -> bool:
        known = self._attempts.get(run.path)
        return known is not None and known.spent is not None

    def _find_attempts(self, spec: RunSpec) -> Iterable[Attempt]:
        return self._same.get(self._by(spec), {}).values()

    def __iter__(self) -> Iterator[Attempt]:
        """Every attempt, also of runs that are in no plan."""
        return iter(self._attempts.values())

    def of(self, spec: RunSpec) -> list[Attempt]:
        """The attempts at one run, the first one first."""
        same = (a for a in self._find_attempts(spec) if a.spec.block_attempt == spec.block_attempt)
        return sorted(same, key=lambda attempt: attempt.spec.repeat)

    def state(self, spec: RunSpec) -> State:
        """How far a run is: done, invalid or running if any attempt is, else the last's state."""
        states = [attempt.state for attempt in self.of(spec)]
        for state in ("done", "invalid", "running"):
            if state in states:
                return state
        return states[-1] if states else "todo"

    def attempt(self, specs: Iterable[RunSpec]) -> int:
        """The highest attempt at a block that was begun; 1 if none was."""
        begun = (a.spec.block_attempt for spec in specs for a in self._find_attempts(spec))
        return max(begun, default=1)

    @property
    def pasts(self) -> list[Past]:
        """What the runs teach about runs to come."""
        return [attempt.past for attempt in self if attempt.past is not None]


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


def account_study(
    specs: Sequence[RunSpec],
    progress: Progress,
    pilots: Iterable[Attempt],
    deleted: Iterable[DeletedRun] = (),
) -> Account:
    """Sort all attempts of a study by whether they count.

    Args:
        specs: The plan's runs, at the last attempt at their block.
        progress: The study's folders.
        pilots: Runs that only served to know the cost.
        deleted: Runs that are no more.
    """
    last_attempts = {identify(spec): spec.block_attempt for spec in specs}
    costs: dict[str, list[Spent]] = defaultdict(list)
    costs["pilot"] = [pilot.spent for pilot in pilots if pilot.spent]
    costs["deleted"] = [each.spent for each in deleted]
    for attempt in progress:
        if attempt.spent is not None:
            costs[_sort_attempt(attempt, last_attempts)].append(attempt.spent)
    wasted = {kind: sum_spent(costs[kind]) for kind in get_args(Waste) if costs[kind]}
    all_wasted = sum_spent(cost for kind in wasted for cost in costs[kind])
    return Account(sum_spent(costs["counted"]), wasted, all_wasted)


def _sort_attempt(attempt: Attempt, last_attempts: dict[Hashable, int]) -> str:
    if attempt.state != "done":
        return attempt.state
    last = last_attempts.get(identify(attempt.spec))
    if last is None:
        return "outside the plan"
    return "counted" if attempt.spec.block_attempt == last else "repeated block"


# Stein's two stages. The spread in the first blocks decides how many blocks there are; after that
# blocks are counted and no result is looked at. All of it is written down, for a reader must see
# that the number of blocks was no choice.
@dataclass(frozen=True, slots=True)
class InterimAnalysis:
    """What the stopping rule said after a block.

    Attributes:
        blocks: Blocks carried out by then; complete ones are counted by ``used``.
        used: Complete blocks.
        first: Of these, the ones of the first stage; 0 while there are too few.
        spread: Standard deviation of the contrast in the first stage, in ``unit``.
        needed: Complete blocks in all that the spread asks for, whatever the maximum.
        width: Of the 95 % interval now, by Stein: its upper end over its lower one, in ``unit``.
        unit: Per cent or percentage points.
        stops: Whether there are as many complete blocks as needed.
        reason: Why nothing could be computed.
    """

    blocks: int
    used: int = 0
    first: int = 0
    spread: float | None = None
    needed: int | None = None
    width: float | None = None
    unit: str = ""
    stops: bool = False
    reason: str = ""


class InterimAnalyses:
    """The interim analyses of one study, stored beside its runs."""

    def __init__(self, study_dir: Path, plan: Plan) -> None:
        """None so far: what a file says is not believed, for it follows from the runs again."""
        self._path, self._dir, self._plan = study_dir / INTERIM_ANALYSES, study_dir, plan
        self._by_blocks: dict[int, InterimAnalysis] = {}

    @property
    def all(self) -> tuple[InterimAnalysis, ...]:
        """Every interim analysis, in order."""
        return tuple(self._by_blocks[blocks] for blocks in sorted(self._by_blocks))

    def check(self, blocks: int) -> InterimAnalysis:
        """What the stopping rule says after a block."""
        self._by_blocks[blocks] = _check_stopping_rule(self._dir, self._plan, blocks)
        document = {
            "schema": INTERIM_SCHEMA,
            "plan_sha256": self._plan.sha256,
            "interim_analyses": [asdict(analysis) for analysis in self.all],
        }
        write_atomically(self._path, (json.dumps(document, indent=1) + "\n").encode())
        return self._by_blocks[blocks]


def _check_stopping_rule(study_dir: Path, plan: Plan, blocks: int) -> InterimAnalysis:
    settings = analysis_settings(plan)
    stages = settings.two_stages
    assert stages is not None
    metric = find_metric(stages.metrics[0])
    runs = [run for run in summarise_study(study_dir).runs if 1 <= run.spec.block <= blocks]
    try:
        comparison = compare(runs, replace(settings, metrics=(metric.name,)), [plan.study])
    except WbcbenchError as error:
        return InterimAnalysis(blocks, reason=str(error))
    used = len(comparison.blocks.runs)
    differences = find_stage_differences(stages, comparison.design, comparison.blocks)
    if isinstance(differences, str):
        return InterimAnalysis(blocks, used, reason=differences)
    first = differences[: stages.blocks]
    needed = count_stein_blocks(first, metric.from_unit(stages.width) / 2)
    interval = stein_interval(differences, stages.blocks)
    return InterimAnalysis(
        blocks=blocks,
        used=used,
        first=stages.blocks,
        spread=metric.to_unit(float(np.std(first, ddof=1))),
        needed=needed,
        width=metric.to_unit(interval.high - interval.low),
        unit=metric.unit,
        stops=used >= needed,
    )


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """What a sweep left.

    Attributes:
        specs: The runs of the blocks that were in reach, at the last attempt at their block.
        progress: The study's progress now.
        started: How many runs this sweep started.
        interim_analyses: Every check of the stopping rule.
        interrupted: Whether the user stopped it.
    """

    specs: tuple[RunSpec, ...]
    progress: Progress
    started: int
    interim_analyses: tuple[InterimAnalysis, ...]
    interrupted: bool

    def states(self) -> dict[State, int]:
        """How many planned runs are in which state."""
        return dict(Counter(self.progress.state(spec) for spec in self.specs))
