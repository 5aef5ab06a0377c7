"""Where a study stands: which of its planned runs are done, as the folders on disk tell.

Nothing is remembered anywhere else, so a sweep that was killed knows as much as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from wbcbench.core.quality import Verdict
from wbcbench.core.record import RunRecord
from wbcbench.core.run_condition import condition
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.core.spec import RunSpec
from wbcbench.study.forecast import Past, past
from wbcbench.table.derive import Spent, spent

State = Literal["todo", "running", "done", "failed", "interrupted", "invalid"]


@dataclass(frozen=True, slots=True)
class Carried:
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


def carried(run: RunDir) -> Carried:
    """Look at one folder."""
    spec = run.read_spec()
    if not run.is_finished:
        return Carried(run, spec, "interrupted" if condition(run).may_be_finalised else "running")
    record = run.read_record()
    state = state_of(record)
    learnt = past(run, record) if state in {"done", "invalid"} else None
    return Carried(run, spec, state, spent(record), learnt)


def state_of(record: RunRecord) -> State:
    """How a run ended; a finished one whose verdict is invalid is invalid."""
    spoiled = record.status == "done" and record.verdict is Verdict.INVALID
    return "invalid" if spoiled else record.status


def loosely(spec: RunSpec) -> RunSpec:
    """The identity but for the images, where these are not known yet."""
    return replace(spec.identity, dataset_id="", dataset_sha256="")


def exactly(spec: RunSpec) -> RunSpec:
    """The identity."""
    return spec.identity


class Standing:
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
        self._found: dict[Path, Carried] = {}
        self._same: dict[RunSpec, dict[Path, Carried]] = {}
        self._attempts: dict[RunSpec, int] = {}
        self.renew()

    def renew(self) -> None:
        """Look at new folders, and again at those that had no record."""
        for run in study_runs(self._results, self._study):
            known = self._found.get(run.path)
            if known is None or known.spent is None:
                self._enter(carried(run))

    def _enter(self, found: Carried) -> None:
        self._found[found.run.path] = found
        self._same.setdefault(self._by(found.spec), {})[found.run.path] = found
        first = self._by(replace(found.spec, block_attempt=1))
        self._attempts[first] = max(self._attempts.get(first, 1), found.spec.block_attempt)

    def __iter__(self) -> Iterator[Carried]:
        """Every carrying-out, also of runs that are in no plan."""
        return iter(self._found.values())

    def of(self, spec: RunSpec) -> list[Carried]:
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
