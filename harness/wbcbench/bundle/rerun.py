"""Set a bundle's study up again, or train its runs again and compare.

The bundle tells what was asked; meters and boards are those of this machine. Accuracy may differ by
as much as another seed makes it differ; joules are compared on the same model of GPU alone. Only
what is needed to run a study is taken (plan, settings, lock, list of images, source), nothing of
its results.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from statistics import stdev

from wbcbench.bundle import document, layout
from wbcbench.bundle.document import Submission
from wbcbench.bundle.open import opened
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.files import write_atomically
from wbcbench.core.provenance import lock_sha256
from wbcbench.core.record import Epoch, RunRecord
from wbcbench.core.run_folder import Local
from wbcbench.core.spec import RunSpec
from wbcbench.core.text import human_energy, human_share
from wbcbench.run.live_state import Say
from wbcbench.study import limits, plan
from wbcbench.table import row

SEED_DEVIATIONS = 2.0
"""Standard deviations between seeds that count as the same accuracy."""
_APART = 0.05  # of the joules: the accuracy that NVIDIA states for its sensors

Train = Callable[[RunSpec, Local], RunRecord]

STEPS_FILE = "STEPS.md"
_TAKEN = (layout.LOCK, layout.RESOLVED, layout.DATASET, layout.IMAGES, layout.SOURCE, layout.DIFF)


class Sameness(StrEnum):
    """How a run trained again compares."""

    REPRODUCED = "reproduced"  # every epoch and the test, digit by digit
    WITHIN = "within tolerance"
    DIFFERENT = "different"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Again:
    """One run of the bundle, trained again.

    Attributes:
        run_id: Of the bundle's run.
        accuracy, accuracy_again: Balanced, on TEST.
        tolerance: How far apart they may lie; ``None`` where the bundle has too few seeds.
        sameness: What that comes to.
        energy: What can be said of the joules, a whole sentence.
        energy_sameness: What that comes to; ``CANNOT_TELL`` on another machine.
    """

    run_id: str
    accuracy: float
    accuracy_again: float
    tolerance: float | None
    sameness: Sameness
    energy: str
    energy_sameness: Sameness

    @property
    def text(self) -> str:
        """One line."""
        slack = "" if self.tolerance is None else f", ± {human_share(self.tolerance)}"
        return (
            f"{self.run_id}: {self.sameness} (balanced accuracy {human_share(self.accuracy)} in "
            f"the bundle, {human_share(self.accuracy_again)} here{slack}). {self.energy}"
        )


def chosen_runs(bundle: Bundle, block: int | None, run_id: str | None) -> list[RunRecord]:
    """The done runs of a block, in their last attempt, or the run that is named.

    Raises:
        UsageError: There is none.
    """
    done = [r for r in bundle.records.values() if r.status == "done" and r.test is not None]
    if run_id is not None:
        named = [record for record in done if record.run_id == run_id]
        if not named:
            raise unknown_name("done run of the bundle", run_id, [r.run_id for r in done])
        return named
    first = min((record.spec.block for record in done), default=0)
    wanted = first if block is None else block
    inside = [record for record in done if record.spec.block == wanted]
    if not inside:
        blocks = ", ".join(map(str, sorted({r.spec.block for r in done})))
        raise UsageError(f"The bundle has no done run in block {wanted}; it has: {blocks or '-'}.")
    last = max(record.spec.block_attempt for record in inside)
    return [record for record in inside if record.spec.block_attempt == last]


def about_lock(bundle: Bundle) -> str:
    """Whether the packages here are those of the runs."""
    said = {r.provenance.get("lock_sha256") for r in bundle.records.values()}
    here = lock_sha256()
    if here is None or said == {None}:
        return "Lock: not known on both sides, so packages may differ."
    same = said == {here}
    return f"Lock: {'equal' if same else 'different'} ({here[:12]} here)."


def rerun(
    bundle: Bundle, records: Sequence[RunRecord], data: Path | None, train: Train
) -> list[Again]:
    """Train these runs again, one after the other.

    Args:
        bundle: Where they are from.
        records: Which.
        data: The images; ``None`` for the embedded synthetic cells.
        train: Carries out one run and returns its record.

    Raises:
        UsageError: The images here are others than those of the runs.
    """
    local = Local(data=str(data) if data else None, command=("wbcbench", "verify", "--rerun"))
    return [
        _compared(bundle, record, train(_on_this_machine(record.spec), local)) for record in records
    ]


def carry_out(results: Path, work_options: Sequence[str], say: Say) -> Train:
    """The way to train that ``wbcbench run`` has, into a folder of its own."""
    from wbcbench.study import running

    def train(spec: RunSpec, local: Local) -> RunRecord:
        asked = limits.check_spec(replace(spec, dataset_id="", dataset_sha256=""))
        fed = running.with_data(asked, local, say)
        if fed.dataset_sha256 != spec.dataset_sha256:
            raise UsageError(
                f"The bundle's runs were trained on {spec.dataset_id}; here are the images of "
                f"{fed.dataset_id}. Name the folder of the same images with --data."
            )
        run = running.carry_out(results, fed, local, work_options)
        running.raise_if_bad(run)
        return run.read_record()

    return train


def _on_this_machine(spec: RunSpec) -> RunSpec:
    """The same training under this machine's meters and boards."""
    return replace(spec, meters=("auto",), gpus=(), power_limit_w=None, cooldown_c=None, repeat=1)


def _compared(bundle: Bundle, said: RunRecord, found: RunRecord) -> Again:
    energy, energy_sameness = _energy(said, found)
    tolerance = _tolerance(bundle, said)
    return Again(
        run_id=said.run_id,
        accuracy=_accuracy(said),
        accuracy_again=_accuracy(found),
        tolerance=tolerance,
        sameness=_sameness(said, found, tolerance),
        energy=energy,
        energy_sameness=energy_sameness,
    )


def _sameness(said: RunRecord, found: RunRecord, tolerance: float | None) -> Sameness:
    if said.test == found.test and _learnt(said.epochs) == _learnt(found.epochs):
        return Sameness.REPRODUCED
    if tolerance is None:
        return Sameness.INCONCLUSIVE
    apart = abs(_accuracy(said) - _accuracy(found))
    return Sameness.WITHIN if apart <= tolerance else Sameness.DIFFERENT


def _learnt(epochs: Sequence[Epoch]) -> list[Epoch]:
    """The epochs without their times, which no machine repeats."""
    return [replace(each, start_s=0.0, end_s=0.0, evaluate_end_s=0.0) for each in epochs]


def _tolerance(bundle: Bundle, said: RunRecord) -> float | None:
    """Twice the standard deviation between the seeds of the same network in the bundle."""
    by_seed = {
        record.spec.seed: _accuracy(record)
        for record in bundle.records.values()
        if record.status == "done" and record.test and record.spec.variant == said.spec.variant
    }
    return SEED_DEVIATIONS * stdev(by_seed.values()) if len(by_seed) > 1 else None


def _accuracy(record: RunRecord) -> float:
    return record.test.balanced_accuracy if record.test else 0.0


def _energy(said: RunRecord, found: RunRecord) -> tuple[str, Sameness]:
    """Joules beside each other where both were measured on the same model of GPU."""
    one, other = row(said), row(found)
    boards = (one["gpu_name"], other["gpu_name"])
    statuses = {one["gpu_energy_status"], other["gpu_energy_status"]}
    one_j, other_j = one["energy_gpu_train_j"], other["energy_gpu_train_j"]
    if boards[0] is None or boards[0] != boards[1] or statuses != {"measured"}:
        told = f"{boards[0] or 'no GPU'} there, {boards[1] or 'no GPU'} here"
        return f"Energy was not compared ({told}).", Sameness.INCONCLUSIVE
    if not isinstance(one_j, float) or not isinstance(other_j, float):
        return "Energy is not known on both sides.", Sameness.INCONCLUSIVE
    apart = abs(one_j - other_j) / one_j
    sameness = Sameness.WITHIN if apart <= _APART else Sameness.DIFFERENT
    return (
        f"Energy {sameness}: {human_energy(one_j)} there, {human_energy(other_j)} here.",
        sameness,
    )


@dataclass(frozen=True, slots=True)
class SetUp:
    """What was set up.

    Attributes:
        folder: Where.
        files: What is in it, the plan or the spec files first.
        commands: What to type there, in order.
        submission: What the bundle says of itself.
    """

    folder: Path
    files: tuple[str, ...]
    commands: tuple[str, ...]
    submission: Submission


def reproduce(bundle: Path, into: Path) -> SetUp:
    """Recreate the configuration of a bundle's study.

    Raises:
        UsageError: There is no such bundle, it has no plan, or the folder is not empty or cannot
            be written.
        VerificationError: The bundle holds what no bundle may hold.
    """
    _refuse_used(into)
    with opened(bundle) as bag:
        payload = bag / layout.PAYLOAD
        path = payload / layout.SUBMISSION
        said = document.from_json(_bytes(path), layout.SUBMISSION)
        kept = payload / layout.study_dir(said.study) / layout.PLAN
        if not kept.is_file():
            raise UsageError(
                f"The study {said.study} was made of single runs: its bundle has no plan to set up "
                "again. Each run's spec.json says what to ask of `wbcbench run`."
            )
        plan.from_json(kept)  # a plan that was changed by hand is refused before anything is made
        try:
            return _set_up(payload, kept, into, said)
        except OSError as error:
            raise UsageError(
                f"{into} cannot be written: {error.strerror}. Name another folder with --into."
            ) from error


def _set_up(payload: Path, kept: Path, into: Path, said: Submission) -> SetUp:
    into.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(kept, into / layout.PLAN)
    taken = [name for name in _TAKEN if (payload / name).is_file()]
    for name in taken:
        target = into / PurePosixPath(name).name
        shutil.copyfile(payload / name, target)
    commands = tuple(_commands(said, with_lock=layout.LOCK in taken))
    write_atomically(into / STEPS_FILE, _steps(said, commands).encode())
    names = (layout.PLAN, STEPS_FILE, *(PurePosixPath(name).name for name in taken))
    return SetUp(into, names, commands, said)


def _commands(said: Submission, *, with_lock: bool) -> list[str]:
    """The program of the runs first, if its source is there; then the study itself."""
    own = []
    if said.git.source:
        own = ["mkdir source && tar -xf source.tar -C source"]
        if with_lock:
            own += ["pip install --require-hashes -r requirements.lock"]
        own += [f"pip install {'--no-deps ' if with_lock else ''}./source"]
    return [
        *own,
        f"wbcbench sweep {layout.PLAN} --data FOLDER_OF_THE_IMAGES",
        f"wbcbench compare {said.study}",
        f"wbcbench report {said.study}",
    ]


def _steps(said: Submission, commands: tuple[str, ...]) -> str:
    """What to do here, for people."""
    images = "the images" if said.dataset is None else f"the data set {said.dataset.dataset_id}"
    digest = "" if said.dataset is None else f", sha256 `{said.dataset.sha256}`"
    typed = "\n".join(f"    {command}" for command in commands)
    spent = ", ".join(
        f"{j:.3g} J {status}" for status, j in sorted(said.energy_total_j.study.items())
    )
    return (
        f"# {' '.join(said.title.split())}\n\n"
        f"Set up from a bundle of {said.created_utc[:10]}, made with wbcbench "
        f"{said.wbcbench_version}. {said.n_runs.done} runs were finished on "
        f"{said.gpu_name or 'a machine without a GPU meter'} ({spent or 'joules unknown'}).\n\n"
        f"Needed: {images}{digest}; `files.csv` lists what is known of its images.\n\n"
        f"{typed}\n\n"
        "Joules and seconds will be those of this machine; compare contrasts in per cent, and "
        "accuracies. With another version of the program or of its packages the runs are other "
        "runs: `requirements.lock`, where it is here, has the versions of the first.\n"
    )


def _refuse_used(into: Path) -> None:
    """Raise ``UsageError`` unless the folder is empty or not there yet."""
    if into.is_dir() and not any(into.iterdir()):
        return
    if into.exists() or into.is_symlink():
        raise UsageError(
            f"{into} is not an empty folder, and nothing in it is overwritten. Name an empty or "
            "new one with --into."
        )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The bundle has no readable {layout.SUBMISSION}: {error.strerror}. It was not made by "
            "`wbcbench submit`, or is damaged; `wbcbench verify` says more."
        ) from error
