"""Carry out a plan: block by block, run by run; a single run that fails stops nothing.

Everything it must know to go on lies in the run folders, so a sweep that was killed at any moment
is resumed by calling it again; at most the run in progress is lost. Runs are started one at a time,
because place and rest are part of the design.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wbcbench import table
from wbcbench.core.errors import RunsFailedError, UsageError
from wbcbench.core.files import open_lock
from wbcbench.core.run_condition import RunStage, condition
from wbcbench.core.run_folder import Local, RunDir, study_runs
from wbcbench.core.spec import SPEC_FIELDS, RunSpec
from wbcbench.core.study_folder import PLAN, SWEEP_LOCK
from wbcbench.core.text import shell_word
from wbcbench.core.window import Clock, MonotonicClock
from wbcbench.run import finalise
from wbcbench.run.launchers import Launcher, QueueLauncher
from wbcbench.run.live_state import Say
from wbcbench.run.recorder import Interrupts
from wbcbench.study import running
from wbcbench.study.forecast import forecast_cost
from wbcbench.study.plan import Plan, keep_plan
from wbcbench.study.progress import (
    Attempt,
    InterimAnalyses,
    Progress,
    SweepOutcome,
    identify_without_images,
)
from wbcbench.study.text import describe_end, describe_interim, describe_repeat, describe_start
from wbcbench.table.derive import Past

SETTLE_S = 60.0  # a recorder whose sweep was killed ends its run within seconds
SETTLE_POLL_S = 0.2

REST_SLICE_S = 0.2  # how soon a Ctrl-C is noticed

_CHECKED = ("image_size", "batch_size", "meters", "gpus", "country", "power_limit_w")
"""What ``running.with_data`` depends on: each combination is checked once."""

_IMAGES = ("dataset_id", "dataset_sha256")
_NOT_DESIGN = ("repeat", "block_attempt", "order_in_block", "order_global", *_IMAGES)


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """Where and how a plan is carried out.

    Attributes:
        results: Where studies lie.
        launch: What starts runs.
        local: What belongs to this machine.
        work_options: For ``wbcbench work``.
        retry_failed: Whether runs that failed in an earlier sweep are repeated.
        blocks: Stop after this many blocks; ``None`` for all of the plan.
        pasts: Finished runs elsewhere that forecasts may learn from.
        clock: Source of time.
    """

    results: Path
    launch: Launcher | QueueLauncher
    local: Local = field(default_factory=Local)
    work_options: tuple[str, ...] = ()
    retry_failed: bool = False
    blocks: int | None = None
    pasts: tuple[Past, ...] = ()
    clock: Clock = field(default_factory=MonotonicClock)


class Sweep:
    """A sweep over a plan."""

    def __init__(
        self,
        plan: Plan,
        specs: Sequence[RunSpec],
        settings: SweepSettings,
        interrupts: Interrupts,
        say: Say,
    ) -> None:
        """Prepare; nothing is written.

        Args:
            plan: The plan.
            specs: Its runs with the identity of their images, in its order.
            settings: Where and how.
            interrupts: Whether the user asked to stop.
            say: Gets a line about each step.
        """
        self._plan, self._settings, self._interrupts, self._say = plan, settings, interrupts, say
        self._dir = settings.results / plan.study
        self._blocks: dict[int, list[RunSpec]] = defaultdict(list)
        for spec in specs:
            self._blocks[spec.block].append(spec)
        self._reach = min(settings.blocks or plan.most_blocks, plan.most_blocks)
        self._started: set[RunSpec] = set()

    def carry_out(self) -> SweepOutcome:
        """Carry out what is left of the plan.

        Raises:
            UsageError: Another sweep is at it, or the results cannot be written.
            CannotMeasureError: Another harness uses the machine.
        """
        with study_lock(self._dir):
            self._wait_for_recorder()
            self._progress = Progress(self._settings.results, self._plan.study)
            interim = InterimAnalyses(self._dir, self._plan)
            before = keep_plan(self._plan, self._dir)
            if before is not None:
                self._say(f"the plan has changed; the one before is plan-{before[:12]}.json")
                if any(attempt.spec.block for attempt in self._progress):
                    last = shell_word(self._dir / f"plan-{before[:12]}.json")
                    self._say(
                        "runs belong to the plan before, so a comparison will test nothing; to go "
                        f"on as planned: wbcbench sweep {last}"
                    )
            reached = self._run_blocks(interim)
            table.write_table(self._dir)
        return SweepOutcome(
            specs=tuple(s for number in range(1, reached + 1) for s in self._select_latest(number)),
            progress=self._progress,
            started=len(self._started),
            interim_analyses=interim.all,
            interrupted=self._interrupts.wants_stop,
        )

    def _run_blocks(self, interim: InterimAnalyses) -> int:
        """Block by block; returns the number of the last one that was in reach."""
        until = self._plan.until
        for number in range(1, self._reach + 1):
            self._run_block(number)
            if self._interrupts.wants_stop:
                return max(number, self._least)
            if until is not None and number >= self._plan.blocks:
                analysis = interim.check(number)
                self._say(describe_interim(analysis, self._plan.most_blocks))
                if analysis.stops:
                    return number
        return self._reach

    @property
    def _least(self) -> int:
        """Blocks that are carried out whatever the interim analyses show."""
        return min(self._plan.blocks, self._reach)

    def _run_block(self, number: int) -> None:
        """A block, again from its beginning while a run of it is invalid and the cap allows.

        An invalid run ends an attempt at once, for the rest of it could not be used. The last
        attempt is carried out to its end: its other runs are still valid by themselves.
        """
        most = self._plan.block_repeats + 1
        for attempt in range(1, most + 1):
            specs = [replace(spec, block_attempt=attempt) for spec in self._blocks[number]]
            for spec in specs:
                if attempt < most and self._has_invalid(specs):
                    break
                if self._interrupts.wants_stop:
                    return
                if self._is_due(spec):
                    self._run(spec)
            if attempt == most or not self._has_invalid(specs):
                return
            if self._progress.attempt(self._blocks[number]) == attempt:
                self._say(describe_repeat(number, attempt + 1, most))

    def _has_invalid(self, specs: Sequence[RunSpec]) -> bool:
        return any(self._progress.state(spec) == "invalid" for spec in specs)

    def _is_due(self, spec: RunSpec) -> bool:
        """Whether a run is still to be carried out by this sweep; none is, twice."""
        if spec.identity in self._started:
            return False
        state = self._progress.state(spec)
        can_retry = state == "failed" and self._settings.retry_failed
        return state in {"todo", "interrupted"} or can_retry

    def _run(self, spec: RunSpec) -> None:
        settings, plan = self._settings, self._plan
        if self._started:
            self._wait()
        if self._interrupts.wants_stop:
            return
        self._started.add(spec.identity)
        runs = sum(len(self._blocks[number]) for number in range(1, self._reach + 1))
        run_place = f"run {spec.order_global}/{runs}"
        place = f"{run_place}, block {spec.block}/{self._reach}"
        # What comes after this run, blocks of the stopping rule left out: for the run's display.
        left = [
            other
            for number in range(1, self._least + 1)
            for other in self._select_latest(number)
            if self._is_due(other)
        ]
        after = forecast_cost(left, [*self._progress.pasts, *settings.pasts])
        options = [*settings.work_options, "--place", place]
        if after.time_s is not None:
            options += ["--after-s", f"{after.time_s + after.runs * plan.pauses.rest_s:.1f}"]
        if after.energy_j is not None:
            options += ["--after-j", f"{after.energy_j:.1f}"]
        self._say(describe_start(spec, place, plan.levels(spec)))
        assert not settings.launch.is_queue
        try:
            run = running.carry_out(
                settings.results, spec, settings.local, options, settings.launch
            )
            self._say(describe_end(run.read_record(), run_place))
        except RunsFailedError as error:
            self._say(str(error))
        self._progress.refresh()

    def _select_latest(self, number: int) -> list[RunSpec]:
        """A block at the last attempt that was begun."""
        block = self._blocks[number]
        attempt = self._progress.attempt(block)
        return [replace(spec, block_attempt=attempt) for spec in block]

    def _wait(self) -> None:
        """Rest as long as the plan says, or until the user asks to stop."""
        clock = self._settings.clock
        end_s = clock.now_s() + self._plan.pauses.rest_s
        while clock.now_s() < end_s and not self._interrupts.wants_stop:
            clock.sleep_until(min(end_s, clock.now_s() + REST_SLICE_S))

    def _wait_for_recorder(self) -> None:
        """Wait for a recorder whose sweep was killed, then account for what it left.

        Raises:
            UsageError: A run of this study is being carried out by another process, or may be.
        """
        results, study, clock = self._settings.results, self._plan.study, self._settings.clock
        end_s = clock.now_s() + SETTLE_S
        while True:
            unfinished = [run for run in study_runs(results, study) if self._is_awaited(run)]
            conditions = ((run.run_id, condition(run)) for run in unfinished)
            busy = next((pair for pair in conditions if not pair[1].may_be_finalised), None)
            if busy is None:
                break
            run_id, state = busy
            if state.stage is RunStage.UNKNOWN:
                raise UsageError(f"{run_id} has no record. {state.text}")
            if clock.now_s() >= end_s or state.is_queued:
                raise UsageError(
                    f"{run_id} is being carried out by another process, which would share the "
                    f"machine with this sweep. Wait for it, or stop it. {state.text}"
                )
            clock.sleep_until(clock.now_s() + SETTLE_POLL_S)
        table.refuse_newer_table(self._dir)
        finalise.finalise_abandoned(results, study)

    def _is_awaited(self, run: RunDir) -> bool:
        """Whether a run must have its record before this sweep starts one."""
        return not run.is_finished


@contextlib.contextmanager
def study_lock(study_dir: Path) -> Iterator[None]:
    """Hold a study while it is swept.

    Raises:
        UsageError: Another sweep holds it, or the folder cannot be written.
    """
    try:
        study_dir.mkdir(parents=True, exist_ok=True)
        stream = open_lock(study_dir / SWEEP_LOCK)
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
                f"Another sweep is carrying out the study in {study_dir}. Two at once would "
                "include each other's joules. Wait for it, or stop it."
            ) from error
        yield


def with_images(plan: Plan, local: Local, say: Say, *, is_here: bool = True) -> list[RunSpec]:
    """Every run of a plan as it will be carried out; images are decoded where that is due.

    With ``is_here``, meters and power limits must work on this machine.

    Raises:
        UsageError: The images are missing, damaged, or not those that the plan names.
        CannotMeasureError: A meter or a power limit that the plan names does not work here.
    """
    checked: dict[tuple[object, ...], RunSpec] = {}
    specs = []
    for run in plan.runs:
        settings = tuple(getattr(run, name) for name in _CHECKED)
        if settings not in checked:
            checked[settings] = running.with_data(run, local, say, is_here=is_here)
        images = {name: getattr(checked[settings], name) for name in _IMAGES}
        for name, here in images.items():
            planned = getattr(run, name)
            if planned not in {"", here}:
                raise UsageError(
                    f"The plan of {plan.study} is about other images: its {name} is "
                    f"{planned[:12]}, not {here[:12]}. Name them with --data, or sweep the "
                    f"experiment file with --set {name}={here} --set study={plan.study}-other."
                )
        specs.append(replace(run, **images))
    return specs


# A study goes on as it began: otherwise a default that changed, or another folder of images, would
# silently put runs into one study that cannot be compared.
def refuse_other_runs(specs: Sequence[RunSpec], progress: Progress, study_dir: Path) -> None:
    """Check that every run of the study is one of the plan's; single runs are ignored.

    Args:
        specs: The plan's runs; unknown images are not compared.
        progress: The study's attempts.
        study_dir: Its folder, for the message.

    Raises:
        UsageError: There are others; the message names what differs and the way out.
    """
    planned = {identify_without_images(spec): spec for spec in specs}
    for attempt in progress:
        if attempt.spec.block == 0:
            continue
        spec = planned.get(identify_without_images(attempt.spec))
        if spec is None:
            raise UsageError(_describe_difference(attempt, specs, study_dir))
        if spec.dataset_sha256 not in {"", attempt.spec.dataset_sha256}:
            raise UsageError(
                f"The study in {study_dir} has runs on other images "
                f"({attempt.spec.dataset_sha256[:12]}, not {spec.dataset_sha256[:12]}), which "
                "cannot be compared. Use the same images, or start another study of the "
                "experiment file with --set study=NAME."
            )


def _describe_difference(attempt: Attempt, specs: Sequence[RunSpec], study_dir: Path) -> str:
    """How a run of the study differs from the planned run that is most like it."""
    own = attempt.spec
    names = [name for name in SPEC_FIELDS if name not in _NOT_DESIGN]
    differences: list[list[str]] = [
        [
            f"{name} was {getattr(own, name)!r} and is now {getattr(spec, name)!r}"
            for name in names
            if getattr(own, name) != getattr(spec, name)
        ]
        for spec in specs
    ]
    least = min(differences, key=len)
    place = shell_word(study_dir / PLAN)
    return (
        f"{attempt.run.run_id} in {study_dir} is not in this plan ({', '.join(least)}). "
        f"Continue it with `wbcbench sweep {place}`, or the experiment file with "
        "--set study=NAME."
    )
