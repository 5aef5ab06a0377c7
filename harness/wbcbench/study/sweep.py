"""Carry out a plan: block by block, run by run, whatever happens to a single run.

Everything it must know to go on lies in the run folders, so a sweep that was killed at any moment
is taken up by calling it again; at most the run that was going on is lost. Runs are started one at
a time, because place and rest are part of the design.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wbcbench import table
from wbcbench.core.errors import RunsFailedError, UsageError
from wbcbench.core.run_condition import Condition, RunStage, condition
from wbcbench.core.run_folder import Local, study_runs
from wbcbench.core.spec import SPEC_FIELDS, RunSpec
from wbcbench.core.study_folder import PLAN, SWEEP_LOCK
from wbcbench.core.window import Clock, MonotonicClock
from wbcbench.run import finalise
from wbcbench.run.launchers import Launcher
from wbcbench.run.live_state import Say
from wbcbench.run.recorder import Interrupts
from wbcbench.study import plan, running
from wbcbench.study.forecast import Cost, Past, forecast_cost
from wbcbench.study.plan import Plan
from wbcbench.study.progress import Attempt, Look, Looks, Progress, SweepOutcome, loosely
from wbcbench.study.text import began_line, ended_line, repeat_line

SETTLE_S = 60.0  # a watcher whose sweep was killed ends its run within seconds
SETTLE_POLL_S = 0.2

REST_SLICE_S = 0.2  # how soon a Ctrl-C is noticed

_CHECKED = ("image_size", "batch_size", "meters", "gpus", "country", "power_limit_w")
"""What ``running.with_data`` looks at: each combination is checked once."""

_IMAGES = ("dataset_id", "dataset_sha256")
_NOT_ASKED = ("repeat", "block_attempt", "order_in_block", "order_global", *_IMAGES)


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
            self._standing = Progress(self._setting.results, self._plan.study)
            self._looks = Looks(self._dir, self._plan)
            before = plan.keep_plan(self._plan, self._dir)
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
                self._say(repeat_line(number, attempt + 1, most))

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
            _rest_between_runs(self._plan.pauses.rest_s, setting.clock, self._interrupts)
        if self._interrupts.wants_stop:
            return
        self._tried.add(spec.identity)
        place = f"run {spec.order_global}/{self._most}, block {spec.block}/{self._reach}"
        after = self._left()
        self._say(began_line(spec, place, self._plan.levels(spec)))
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
        self._say(ended_line(run.read_record(), f"run {spec.order_global}/{self._most}"))

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
        return forecast_cost(left, [*self._standing.pasts, *self._setting.pasts])

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
            clock.sleep_until(clock.now_s() + SETTLE_POLL_S)
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


def _rest_between_runs(length_s: float, clock: Clock, interrupts: Interrupts) -> None:
    """Rest for so many seconds, or until the user asks to stop."""
    end_s = clock.now_s() + length_s
    while clock.now_s() < end_s and not interrupts.wants_stop:
        clock.sleep_until(min(end_s, clock.now_s() + REST_SLICE_S))


@contextlib.contextmanager
def study_lock(study_dir: Path) -> Iterator[None]:
    """Hold a study while it is swept.

    Raises:
        UsageError: Another sweep holds it, or the folder cannot be written.
    """
    try:
        study_dir.mkdir(parents=True, exist_ok=True)
        stream = (study_dir / SWEEP_LOCK).open("w")
    except OSError as error:
        raise UsageError(
            f"The results folder {study_dir} cannot be written: {error.strerror}. "
            "Choose another with --results, or free space and permissions."
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"Another sweep is carrying out the study in {study_dir}. Two at once would pay "
                "for each other's joules; wait for it, or stop it."
            ) from error
        yield


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


# A study goes on as it began: otherwise a default that changed, or another folder of images, would
# silently put runs into one study that cannot be compared.
def refuse_other_runs(specs: Sequence[RunSpec], standing: Progress, study_dir: Path) -> None:
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


def _not_planned(each: Attempt, specs: Sequence[RunSpec], study_dir: Path) -> str:
    return (
        f"The study in {study_dir} holds {each.run.run_id}, which this plan does not ask for"
        f"{_difference(each.spec, specs)}. Runs of two designs in one study could not be told "
        f"apart later. Go on as it began with `wbcbench sweep {study_dir / PLAN}`, or begin "
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
