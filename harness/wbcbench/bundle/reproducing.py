"""Set a bundle's study up again in an empty folder, ready for `wbcbench sweep`.

Only what is needed to run it is taken: the plan, the settings, the lock, the list of images, the
source. Nothing of the results, so that what is measured again is new.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wbcbench.bundle import document, layout
from wbcbench.bundle.document import Submission
from wbcbench.bundle.opening import opened
from wbcbench.core.errors import UsageError
from wbcbench.core.files import write_whole
from wbcbench.study import plan

STEPS = "STEPS.md"
_TAKEN = (layout.LOCK, layout.RESOLVED, layout.DATASET, layout.IMAGES, layout.SOURCE, layout.DIFF)


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
    write_whole(into / STEPS, _steps(said, commands).encode())
    names = (layout.PLAN, STEPS, *(PurePosixPath(name).name for name in taken))
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
