"""Set a bundle's study up again in a folder, say what it will take, and compare what came of it.

Its plan, settings, lock, list of images and source are copied, but none of its results. What the
bundle's runs cost and scored is read in a process with limits. Mean accuracies may differ by as
much as the scatter between seeds explains; energy is compared on the same model of GPU only.
"""

from __future__ import annotations

import math
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wbcbench.bundle import document, layout
from wbcbench.bundle.bounds import BOUNDS, require_readable, require_safe
from wbcbench.bundle.document import Submission
from wbcbench.bundle.open import received
from wbcbench.bundle.rerun import ENERGY_TOLERANCE, Sameness
from wbcbench.bundle.verify.summary import (
    RunResult,
    SeedMeans,
    Summary,
    choose_first,
    group_by_seed,
    read_result,
)
from wbcbench.core.errors import UsageError
from wbcbench.core.files import write_atomically
from wbcbench.core.provenance import host_id
from wbcbench.core.run_folder import study_runs
from wbcbench.core.text import count_of, human_duration, human_energy, human_share, one_line
from wbcbench.core.units import gb_from_bytes, mb_from_bytes
from wbcbench.energy.metrics import sum_if_all_known
from wbcbench.run.recorder import LEAST_FREE_BYTES
from wbcbench.stats.intervals import t_quantile
from wbcbench.study import plan
from wbcbench.study.plan import Plan
from wbcbench.table.view import Run

STEPS_FILE = "STEPS.md"
RESULTS_FOLDER = "results"
NOT_VERIFIED = "The bundle itself was not verified: see `wbcbench verify`."
_ROUNDING = 1e-12
_COPIED = (layout.LOCK, layout.RESOLVED, layout.DATASET, layout.IMAGES, layout.SOURCE, layout.DIFF)


@dataclass(frozen=True, slots=True)
class SetUp:
    """A study that was set up again.

    Attributes:
        folder: Where.
        files: What is in it, the plan first.
        commands: What to type there, in order.
        plan: Of the study.
        submission: The bundle's document.
    """

    folder: Path
    files: tuple[str, ...]
    commands: tuple[str, ...]
    plan: Plan
    submission: Submission


def set_up(bundle: Path, into: Path) -> SetUp:
    """Recreate the configuration of a bundle's study; a folder with its plan is left as it is.

    Raises:
        UsageError: There is no such bundle, it has no plan, or the folder holds something else or
            cannot be written.
        VerificationError: The bundle holds what no bundle may hold.
    """
    _refuse_foreign_folder(into)
    with received(bundle) as bag:
        payload = bag / layout.PAYLOAD
        try:
            data = (payload / layout.SUBMISSION).read_bytes()
        except OSError as error:
            raise UsageError(
                f"The bundle has no readable {layout.SUBMISSION}: {error.strerror}. It was not "
                "made by `wbcbench submit`, or is damaged; see `wbcbench verify`."
            ) from error
        submission = document.from_json(data, layout.SUBMISSION)
        plan_name = str(layout.study_dir(submission.study) / layout.PLAN)
        require_safe(plan_name, BOUNDS)  # before it is a path, and a word of a command
        plan_path = payload / plan_name
        if not plan_path.is_file():
            raise UsageError(
                f"The study {submission.study} has no plan to set up again, only single runs. "
                "Each run's spec.json holds the options for `wbcbench run`."
            )
        require_readable(plan_path, plan_name)
        # A plan that was changed by hand is refused before any copy.
        planned = plan.from_json(plan_path)
        if (into / layout.PLAN).exists() and plan.from_json(into / layout.PLAN) != planned:
            raise UsageError(
                f"{into} has the plan of another study. Name another folder with --into."
            )
        try:
            return _copy_setup(payload, plan_path, into, planned, submission)
        except OSError as error:
            raise UsageError(
                f"{into} cannot be written: {error.strerror}. Name another folder with --into."
            ) from error


def _refuse_foreign_folder(into: Path) -> None:
    """Raise ``UsageError`` where a folder holds what was not set up by this command."""
    is_free = into.is_dir() and not any(into.iterdir())
    is_ours = all((into / name).is_file() for name in (layout.PLAN, STEPS_FILE))
    if (into.exists() or into.is_symlink()) and not is_free and not is_ours:
        raise UsageError(
            f"{into} is not an empty folder, and nothing in it is overwritten. Name an empty or "
            "new one with --into."
        )


def _copy_setup(
    payload: Path, plan_path: Path, into: Path, planned: Plan, submission: Submission
) -> SetUp:
    copied = {name: PurePosixPath(name).name for name in _COPIED if (payload / name).is_file()}
    commands = tuple(_list_commands(submission, with_lock=layout.LOCK in copied))
    if not (into / STEPS_FILE).exists():  # written last
        into.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(plan_path, into / layout.PLAN)
        for name, file in copied.items():
            shutil.copyfile(payload / name, into / file)
        write_atomically(into / STEPS_FILE, _describe_steps(submission, commands).encode())
    files = (layout.PLAN, STEPS_FILE, *copied.values())
    return SetUp(into, files, commands, planned, submission)


def _list_commands(submission: Submission, *, with_lock: bool) -> list[str]:
    """Install the source of the runs first, if it is there; then run the study itself."""
    lock = ["pip install --require-hashes -r requirements.lock"] if with_lock else []
    program = f"pip install {'--no-deps ' if with_lock else ''}./source"
    study = shlex.quote(submission.study)
    install = ["mkdir source && tar -xf source.tar -C source", *lock, program]
    return [
        *(install if submission.git.source else []),
        f"wbcbench sweep {layout.PLAN} --data FOLDER_OF_THE_IMAGES",
        "wbcbench reproduce BUNDLE --into . --compare",
        f"wbcbench report {study}",
    ]


def _describe_steps(submission: Submission, commands: tuple[str, ...]) -> str:
    dataset = submission.dataset
    gpu_name = submission.gpu_name or "a machine without a GPU meter"
    images = (
        f"the data set {dataset.dataset_id}, sha256 `{dataset.sha256}`" if dataset else "images"
    )
    typed = "\n".join(f"    {command}" for command in commands)
    spent = ", ".join(
        f"{energy_j:.3g} J {status}"
        for status, energy_j in sorted(submission.energy_total_j.study.items())
    )
    origin = (
        f"Set up from a bundle of {submission.created_utc[:10]}, made with wbcbench "
        f"{submission.wbcbench_version}. {submission.n_runs.done} runs were finished on "
        f"{gpu_name} ({spent or 'energy unknown'})."
    )
    needed = f"Needed: {images}; `files.csv` lists what is known of its images."
    if submission.synthetic:
        needed += " Without --data, the embedded synthetic images are taken."
    # The bundle's words stay in their paragraph: they must not look like one more step.
    title, origin, needed = (one_line(text) for text in (f"# {submission.title}", origin, needed))
    return (
        f"{title}\n\n{origin}\n\n{needed}\n\n"
        f"{typed}\n\n"
        "Energy and time will be those of this machine; compare contrasts in per cent, and "
        "accuracies. Other versions of wbcbench or of its packages give other results: "
        "`requirements.lock`, where it is here, has the versions of the original runs.\n"
    )


@dataclass(frozen=True, slots=True)
class Needs:
    """What is left of a plan takes, as its runs took it in the bundle; ``None`` is unknown.

    Attributes:
        left, based_on: How many runs, and how many done ones they are reckoned from.
        may_follow: How many more the plan's stopping rule may ask for.
        time_s: With the rests between runs.
        energy_j: Status → joules of the primary energy source.
        disk_bytes, free_bytes: Of results, and on the disk of the folder.
        where: The model of the bundle's board or processor.
        is_same_machine: Whether this is a machine of the bundle.
    """

    left: int
    may_follow: int
    based_on: int
    time_s: float | None
    energy_j: Mapping[str, float]
    disk_bytes: float | None
    free_bytes: int
    where: str
    is_same_machine: bool

    @property
    def text(self) -> str:
        """In lines."""
        more = (
            f" (and up to {self.may_follow} more, by its stopping rule)" if self.may_follow else ""
        )
        if not self.left:
            return f"Every run that was asked for is done here{more}."
        disk = "unknown" if self.disk_bytes is None else f"{mb_from_bytes(self.disk_bytes):.3g} MB"
        here = "this machine" if self.is_same_machine else "another machine than this"
        differ = "" if self.is_same_machine else "; here time and energy will differ"
        return (
            f"Time    about {human_duration(self.time_s)}\n"
            f"Energy  {_format_energy(self.energy_j)}\n"
            f"Disk    {disk}; {gb_from_bytes(self.free_bytes):.1f} GB are free\n"
            f"For {count_of(self.left, 'run')} to do{more}, as {self.based_on} took in the bundle, "
            f"on {here} ({self.where or 'unknown model'}){differ}."
        )


def _format_energy(energy_j: Mapping[str, float]) -> str:
    """Joules by status, side by side."""
    known = (f"{human_energy(joules)} {status}" for status, joules in sorted(energy_j.items()))
    return " and ".join(known) or "unknown"


def forecast_needs(summary: Summary, setup: SetUp, blocks: int | None = None) -> Needs:
    """What will be taken: as often the mean of a run as runs are not done yet, and their rests.

    Args:
        summary: Of the bundle.
        setup: Its plan, and what is done of it.
        blocks: Stop after so many.
    """
    done, planned = summary.results, setup.plan
    most = min(blocks or planned.most_blocks, planned.most_blocks)
    count = _count_left(setup, min(most, planned.blocks))
    factor = count / len(done) if done else 0.0
    time_s = sum_if_all_known([run.whole_time_s for run in done])
    rest_s = planned.pauses.rest_s * max(count - 1, 0)
    gpu_name = next((run.gpu_name for run in done if run.gpu_name), None)
    return Needs(
        left=count,
        may_follow=_count_left(setup, most) - count,
        based_on=len(done),
        time_s=None if time_s is None else factor * time_s + rest_s,
        energy_j={status: factor * joules for status, joules in _sum_energy(done).items()},
        disk_bytes=factor * sum(run.size_bytes for run in done) if done else None,
        free_bytes=shutil.disk_usage(setup.folder).free,
        where=one_line(gpu_name or summary.cpu_name),
        is_same_machine=host_id() in summary.host_ids,
    )


def _count_left(setup: SetUp, blocks: int) -> int:
    """Runs of the first blocks that are not done here in the last attempt at their block."""
    runs = [run for run in _read_runs(setup) if run.spec.block <= blocks]
    last = dict[int, int]()
    for run in runs:
        last[run.spec.block] = max(run.spec.block_attempt, last.get(run.spec.block, 0))
    done = {
        (run.spec.block, setup.plan.label(run.spec))
        for run in runs
        if run.is_done and run.spec.block_attempt == last[run.spec.block]
    }
    return sum(run.block <= blocks for run in setup.plan.runs) - len(done)


def _sum_energy(runs: Sequence[RunResult]) -> dict[str, float]:
    """Joules of whole runs by status, where they are known."""
    energy_j: dict[str, float] = {}
    for run in runs:
        if run.whole_energy_j is not None:
            energy_j[run.status] = energy_j.get(run.status, 0.0) + run.whole_energy_j
    return energy_j


def require_room(needs: Needs, into: Path) -> None:
    """Raise ``UsageError`` where the disk has no room for what is needed."""
    wanted = (needs.disk_bytes or 0.0) + LEAST_FREE_BYTES
    if needs.free_bytes < wanted:
        raise UsageError(
            f"The disk of {into} has {gb_from_bytes(needs.free_bytes):.1f} GB left; the study "
            f"needs {gb_from_bytes(wanted):.1f} GB. Nothing was started. Free space, or name "
            "a folder on a larger disk with --into."
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """A configuration in the bundle and here.

    Attributes:
        configuration: In words.
        there, here: Its runs; ``None`` where none is done here, or was there.
        equal: How many runs here have every score of the bundle's run of that seed.
        tolerance: The largest difference of mean accuracies that counts as the same; ``None`` where
            the bundle has one seed, whose scatter is unknown.
        sameness: The result for the accuracy.
        energy: The result for the energy, as a sentence.
        energy_sameness: ``INCONCLUSIVE`` where it was not compared.
    """

    configuration: str
    there: SeedMeans | None
    here: SeedMeans | None
    equal: int
    tolerance: float | None
    sameness: Sameness
    energy: str
    energy_sameness: Sameness

    @property
    def is_different(self) -> bool:
        """Whether anything differs that was compared."""
        return Sameness.DIFFERENT in {self.sameness, self.energy_sameness}

    @property
    def text(self) -> str:
        """One line."""
        if self.there is None or self.here is None:
            where = "here" if self.here is None else "in the bundle"
            return f"{self.configuration}: {self.sameness}; no run of it is done {where}."
        equal = f"{self.equal} of {count_of(self.here.runs, 'run')} equal digit by digit"
        within = (
            "; the scatter is unknown, for the bundle has one seed"
            if self.tolerance is None
            else f", ± {human_share(self.tolerance)} allowed"
        )
        return (
            f"{self.configuration}: {self.sameness} (balanced accuracy "
            f"{human_share(self.there.accuracy)} in the bundle, {human_share(self.here.accuracy)} "
            f"here{within}; {equal}). {self.energy}"
        )


def compare_results(there: Sequence[RunResult], here: Sequence[RunResult]) -> list[Compared]:
    """Every configuration, by the means over its seeds: where it can be, over those done here."""
    here = choose_first(here)
    scores = {(run.configuration, run.seed, run.scores_sha256) for run in there}
    seeds = {(run.configuration, run.seed) for run in here}
    paired = [run for run in there if (run.configuration, run.seed) in seeds]
    full, old, new = group_by_seed(there), group_by_seed(paired), group_by_seed(here)
    equal = dict.fromkeys(new, 0)
    for run in here:
        equal[run.configuration] += (run.configuration, run.seed, run.scores_sha256) in scores
    pairs = [
        (label, full.get(label), old.get(label, full.get(label)), new.get(label))
        for label in dict.fromkeys([*full, *new])
    ]
    tests = sum(bool(whole and mine) for _, whole, _, mine in pairs)
    return [
        _compare_means(label, theirs, mine, equal.get(label, 0), _allow(whole, theirs, mine, tests))
        for label, whole, theirs, mine in pairs
    ]


def _allow(
    whole: SeedMeans | None, there: SeedMeans | None, here: SeedMeans | None, tests: int
) -> float | None:
    """How far means of equal networks lie apart: in 95 % of cases in no configuration farther.

    By Student's t with the scatter of both sides, and never less than a single test image.

    Args:
        whole: All seeds of the bundle, which say how accuracies scatter.
        there: Its seeds that are compared.
        here: Those that were carried out here.
        tests: How many configurations are compared.
    """
    if not (whole and there and here) or whole.accuracy_sd is None:
        return None
    sides = [(side.runs - 1, side.accuracy_sd or 0.0) for side in (whole, here)]
    freedom = sum(own for own, _ in sides)
    variance = sum(own * sd**2 for own, sd in sides) / freedom
    error = math.sqrt(variance * (1 / there.runs + 1 / here.runs))
    least = max(there.image_share, here.image_share) + _ROUNDING
    return max(t_quantile(freedom + 1, tests) * error, least)


def _compare_means(
    label: str,
    there: SeedMeans | None,
    here: SeedMeans | None,
    equal: int,
    tolerance: float | None,
) -> Compared:
    sameness = Sameness.INCONCLUSIVE
    energy, energy_sameness = "", Sameness.INCONCLUSIVE
    if there and here:
        if equal == here.runs:
            sameness = Sameness.REPRODUCED
        elif tolerance is not None and there.accuracy is not None and here.accuracy is not None:
            is_within = abs(there.accuracy - here.accuracy) <= tolerance
            sameness = Sameness.WITHIN if is_within else Sameness.DIFFERENT
        energy, energy_sameness = _compare_energy(there, here)
    return Compared(label, there, here, equal, tolerance, sameness, energy, energy_sameness)


def _compare_energy(there: SeedMeans, here: SeedMeans) -> tuple[str, Sameness]:
    """Joules of training on the GPU, measured on one model on both sides; else why not."""
    unknown = [
        place
        for place, means in (("in the bundle", there), ("here", here))
        if means.gpu_name is None or means.gpu_energy_j is None
    ]
    if unknown:
        why = f"no joules of one model of GPU were measured {' and '.join(unknown)}"
    elif there.gpu_name != here.gpu_name:
        why = f"{one_line(str(there.gpu_name))} in the bundle, {here.gpu_name} here"
    else:
        old_j, new_j = float(there.gpu_energy_j or 0.0), float(here.gpu_energy_j or 0.0)
        is_within = abs(old_j - new_j) <= ENERGY_TOLERANCE * old_j
        sameness = Sameness.WITHIN if is_within else Sameness.DIFFERENT
        joules = f"{human_energy(old_j)} in the bundle, {human_energy(new_j)} here"
        return f"Energy of training {sameness}: {joules}.", sameness
    return f"Energy was not compared: {why}.", Sameness.INCONCLUSIVE


def read_own_results(setup: SetUp) -> tuple[RunResult, ...]:
    """What came of the plan's runs in the folder.

    Raises:
        UsageError: None of them is done.
    """
    done = (run for run in _read_runs(setup) if run.is_done)
    results = tuple(read_result(run, setup.plan.label(run.spec)) for run in done)
    if not results:
        raise UsageError(
            f"No run of {setup.plan.study} is done in {setup.folder / RESULTS_FOLDER}, so there is "
            "nothing to compare. Carry it out with --run."
        )
    return results


def _read_runs(setup: SetUp) -> Iterator[Run]:
    """The runs of the plan in the folder that have a record."""
    folders = study_runs(setup.folder / RESULTS_FOLDER, setup.plan.study)
    runs = (Run(run.read_record(), run) for run in folders if run.is_finished)
    return (run for run in runs if run.spec.block)


def describe_spent(results: Sequence[RunResult]) -> str:
    """What runs took."""
    time = human_duration(sum_if_all_known([run.whole_time_s for run in results]))
    energy = _format_energy(_sum_energy(results))
    return f"Carried out here: {count_of(len(results), 'run')}, {time}, {energy}."
