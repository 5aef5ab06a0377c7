"""Carry out a plan: block by block, run by run, whatever happens to a single run.

Everything it must know to go on lies in the run folders, so a sweep that was killed at any moment
is taken up by calling it again; at most the run that was going on is lost. Runs are started one at
a time, because place and rest are part of the design.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wbcbench import table
from wbcbench.core.errors import RunsFailedError, UsageError
from wbcbench.core.run_condition import Condition, RunStage, condition
from wbcbench.core.run_folder import Local, study_runs
from wbcbench.core.spec import RunSpec
from wbcbench.core.window import Clock, MonotonicClock
from wbcbench.run import finalise
from wbcbench.run.launchers import Launcher
from wbcbench.run.recorder import Interrupts
from wbcbench.study import plan, running
from wbcbench.study.forecast import Cost, Past, cost
from wbcbench.study.looks import Look, Looks
from wbcbench.study.pauses import rest
from wbcbench.study.plan import Plan
from wbcbench.study.standing import Standing, State
from wbcbench.study.study_lock import study_lock
from wbcbench.study.sweep_lines import began, blocks_repeat, ended

SETTLE_S = 60.0  # a watcher whose sweep was killed ends its run within seconds
LOOK_S = 0.2

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """Where and how a plan is carried out.

    Attributes:
        results: Where studies are kept.
        launch: What starts runs.
        local: What belongs to this machine.
        work_options: For ``wbcbench work``.
        retry_failed: Whether runs that failed in an earlier sweep are tried again.
        blocks: Stop after this many blocks; ``None`` for all of the plan.
        pasts: Finished runs elsewhere that forecasts may learn from.
        clock: Source of time.
    """

    results: Path
    launch: Launcher
    local: Local = field(default_factory=Local)
    work_options: tuple[str, ...] = ()
    retry_failed: bool = False
    blocks: int | None = None
    pasts: tuple[Past, ...] = ()
    clock: Clock = field(default_factory=MonotonicClock)


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
    standing: Standing
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


class Sweep:
    """One carrying-out of a plan."""

    def __init__(
        self,
        made: Plan,
        specs: Sequence[RunSpec],
        setting: SweepSettings,
        interrupts: Interrupts,
        say: Say,
    ) -> None:
        """Prepare; nothing is written.

        Args:
            made: The plan.
            specs: Its runs with the identity of their images, in its order.
            setting: Where and how.
            interrupts: Whether the user asked to stop.
            say: Told in one line what goes on.
        """
        self._plan, self._setting, self._interrupts, self._say = made, setting, interrupts, say
        self._dir = setting.results / made.study
        self._blocks: dict[int, list[RunSpec]] = {}
        for spec in specs:
            self._blocks.setdefault(spec.block, []).append(spec)
        self._reach = min(setting.blocks or made.most_blocks, made.most_blocks)
        self._tried: set[RunSpec] = set()

    def carry_out(self) -> SweepOutcome:
        """Carry out what is left of the plan.

        Raises:
            UsageError: Another sweep is at it, or the results cannot be written.
            CannotMeasureError: Another harness uses the machine.
        """
        with study_lock(self._dir):
            self._settle()
            self._standing = Standing(self._setting.results, self._plan.study)
            self._looks = Looks(self._dir, self._plan)
            before = plan.keep(self._plan, self._dir)
            if before is not None:
                self._say(f"the plan has changed; the one before is plan-{before[:12]}.json")
            reached = self._carry_out_blocks()
            table.write_table(self._dir)
        return self._outcome(reached)

    def _carry_out_blocks(self) -> int:
        """Block by block; returns the number of the last one that was in reach."""
        until = self._plan.until
        for number in range(1, self._reach + 1):
            self._carry_out_block(number)
            if self._interrupts.wants_stop:
                return max(number, self._least)
            if until is not None and number >= self._plan.blocks:
                look = self._looks.look(until, number)
                self._say(_seen(look, until.width))
                if look.stops:
                    return number
        return self._reach

    @property
    def _least(self) -> int:
        """Blocks that are carried out whatever the looks show."""
        return min(self._plan.blocks, self._reach)

    def _carry_out_block(self, number: int) -> None:
        """A block, again from its beginning while a run of it is invalid and the cap allows."""
        most = self._plan.block_repeats + 1
        for attempt in range(1, most + 1):
            tried = [replace(spec, block_attempt=attempt) for spec in self._blocks[number]]
            if not self._attempt(tried, is_last=attempt == most):
                return
            if self._standing.attempt(self._blocks[number]) == attempt:
                self._say(blocks_repeat(number, attempt + 1, most))

    def _attempt(self, specs: Sequence[RunSpec], *, is_last: bool) -> bool:
        """Carry out a block; returns whether it must be repeated.

        An invalid run ends the attempt at once, for the rest of it could not be used. The last
        attempt is carried out to its end: its other runs still speak for themselves.
        """
        for spec in specs:
            if self._is_spoiled(specs) and not is_last:
                return True
            if self._interrupts.wants_stop:
                return False
            if self._is_due(spec):
                self._run(spec)
        return self._is_spoiled(specs) and not is_last

    def _is_spoiled(self, specs: Sequence[RunSpec]) -> bool:
        return any(self._standing.state(spec) == "invalid" for spec in specs)

    def _is_due(self, spec: RunSpec) -> bool:
        """Whether a run is still to be carried out by this sweep; none is, twice."""
        if spec.identity in self._tried:
            return False
        state = self._standing.state(spec)
        return state in {"todo", "interrupted"} or (
            state == "failed" and self._setting.retry_failed
        )

    def _run(self, spec: RunSpec) -> None:
        setting = self._setting
        if self._tried:
            rest(self._plan.pauses.rest_s, setting.clock, self._interrupts)
        if self._interrupts.wants_stop:
            return
        self._tried.add(spec.identity)
        place = f"run {spec.order_global}/{self._most}, block {spec.block}/{self._reach}"
        after = self._left()
        self._say(began(spec, place, self._plan.levels(spec)))
        self._launch(spec, [*setting.work_options, *_placed(place, after, self._plan)])

    def _launch(self, spec: RunSpec, options: Sequence[str]) -> None:
        setting = self._setting
        try:
            run = running.carry_out(setting.results, spec, setting.local, options, setting.launch)
        except RunsFailedError as error:
            self._say(str(error))
            self._standing.renew()
            return
        self._standing.renew()
        self._say(ended(run.read_record(), f"run {spec.order_global}/{self._most}"))

    @property
    def _most(self) -> int:
        return sum(len(self._blocks[number]) for number in range(1, self._reach + 1))

    def _left(self) -> Cost:
        """What comes after the run that begins now, blocks of the stopping rule left out."""
        left = [
            spec
            for number in range(1, self._least + 1)
            for spec in self._latest(number)
            if self._is_due(spec)
        ]
        return cost(left, [*self._standing.pasts, *self._setting.pasts])

    def _latest(self, number: int) -> list[RunSpec]:
        """A block at the last attempt that was begun."""
        block = self._blocks[number]
        attempt = self._standing.attempt(block)
        return [replace(spec, block_attempt=attempt) for spec in block]

    def _settle(self) -> None:
        """Wait for a recorder whose sweep was killed, then account for what it left.

        Raises:
            UsageError: A run of this study is being carried out by somebody else, or may be.
        """
        clock = self._setting.clock
        end_s = clock.now_s() + SETTLE_S
        while going := _unfinished(self._setting.results, self._plan.study):
            run_id, found = going[0]
            if found.stage is RunStage.UNKNOWN:
                raise UsageError(f"{run_id} has no record. {found.text}")
            if clock.now_s() >= end_s:
                raise UsageError(
                    f"{run_id} is being carried out by another process, which would share the "
                    "machine with every run of this sweep. Wait for it, or stop it. "
                    f"{found.text}"
                )
            clock.sleep_until(clock.now_s() + LOOK_S)
        table.refuse_newer_table(self._dir)
        finalise.finalise_abandoned(self._setting.results, self._plan.study)

    def _outcome(self, reached: int) -> SweepOutcome:
        return SweepOutcome(
            specs=tuple(s for number in range(1, reached + 1) for s in self._latest(number)),
            standing=self._standing,
            carried_out=len(self._tried),
            looks=tuple(self._looks.taken),
            interrupted=self._interrupts.wants_stop,
        )


def _unfinished(results: Path, study: str) -> list[tuple[str, Condition]]:
    """Runs that somebody carries out, or may."""
    runs = [run for run in study_runs(results, study) if not run.is_finished]
    conditions = [(run.run_id, condition(run)) for run in runs]
    return [(run_id, found) for run_id, found in conditions if not found.may_be_finalised]


def _placed(place: str, after: Cost, made: Plan) -> list[str]:
    """What the run's display is told of the study."""
    words = ["--place", place]
    if after.time_s is not None:
        words += ["--after-s", f"{after.time_s + after.runs * made.pauses.rest_s:.1f}"]
    if after.energy_j is not None:
        words += ["--after-j", f"{after.energy_j:.1f}"]
    return words


def _seen(look: Look, width: float) -> str:
    if look.width is None:
        return f"look after block {look.blocks}: no interval yet ({look.reason})"
    word = "narrow enough" if look.stops else "going on"
    unit = look.unit
    return (
        f"look after block {look.blocks}: interval {look.width:.3g} {unit} wide, wanted "
        f"{width:g} {unit}: {word}"
    )
