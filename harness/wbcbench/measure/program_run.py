"""The folder of a program that is measured: the files of a run, in the study ``measured``.

A kill at any moment leaves what was read so far, and the next command makes a record from it.
Where the results folder cannot be written, or nothing shall be kept, a temporary folder takes its
place.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from pydantic import JsonValue

from wbcbench.core.errors import (
    MeasuredElsewhereError,
    RunExistsError,
    RunsFailedError,
    UsageError,
    WbcbenchError,
)
from wbcbench.core.messages import Edge, encode_mark
from wbcbench.core.provenance import hide_secrets, provenance
from wbcbench.core.record import Failure, Status
from wbcbench.core.run_folder import LOCK_WAIT_S, Local, RunDir, create_temporary
from wbcbench.core.spec import MEASURED, RunSpec
from wbcbench.core.text import encodable
from wbcbench.core.window import utc_now
from wbcbench.power.session import MeteringRequest
from wbcbench.run.finalise import account_from_disk

MACHINE_NAME = "machine"  # of what is measured without a command
LEAST_FREE_BYTES = 10_000_000  # a channel's polls of some hours
LEAST_PACKED_BYTES = 2_000_000  # less is read as quickly as the library that packs it
_LONGEST_NAME = 40
_LONGEST_ERROR = 1000  # characters of what was raised
_ASKED_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass
class ProgramRun:
    """The folder of one measurement.

    Attributes:
        run: The folder.
        is_kept: Whether it stays, with a record.
        problem: Why it is not kept although it should be, or has no record; empty if all is well.
        facts: Provenance of the record, once it has begun.
    """

    run: RunDir
    is_kept: bool
    problem: str = ""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def run_dir(self) -> str | None:
        """The folder as a command names it; ``None`` if nothing is kept."""
        return os.path.relpath(self.run.path) if self.is_kept else None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the folder's lock; leaves no folder where nothing was measured or none is kept."""
        try:
            with self.run.hold_lock(LOCK_WAIT_S):
                yield
        except WbcbenchError as error:  # refused before anything was measured
            self.remove(with_study=not isinstance(error, MeasuredElsewhereError))
            raise
        finally:
            if not self.is_kept:
                self.remove()

    @contextmanager
    def begin(self) -> Iterator[None]:
        """Say in the folder that this process samples; the block begins to.

        Raises:
            UsageError: Something cannot be written there.
        """
        with _refuse_unwritable(self.run.path):
            self.run.write_state(self.run.read_state().running())
            self.facts = provenance(self.run.read_local().command)
            yield

    def finish(self, status: Status, failure: Failure | None, error: str | None) -> None:
        """Write the record, if it is kept; ``error``: why the readings are not complete."""
        if not self.is_kept:
            return
        if error is not None:
            message = f"The readings are not complete: {error}."
            status, failure = "failed", Failure("trace-not-written", message)
        is_long = self.run.bytes_on_disk()[0] >= LEAST_PACKED_BYTES
        try:
            self.run.write_record(account_from_disk(self.run, status, failure), pack=is_long)
        except RunsFailedError as failed:
            self.problem = str(failed)

    def remove(self, *, with_study: bool = True) -> None:
        """Leave nothing: no folder and, ``with_study``, none above that holds nothing else."""
        shutil.rmtree(self.run.path, ignore_errors=True)
        if self.is_kept and with_study:
            with suppress(OSError):
                self.run.path.parent.rmdir()
                self.run.path.parent.parent.rmdir()


def create_run(
    results: Path | None, command: Sequence[str], request: MeteringRequest
) -> ProgramRun:
    """Make the folder of a measurement that is about to begin.

    Args:
        results: Where studies lie; ``None`` keeps nothing.
        command: What is measured; secrets in it are not written down.
        request: What it is measured with.

    Raises:
        UsageError: No folder can be written, not even a temporary one.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(command[0]).name).strip("._-")[:_LONGEST_NAME]
    spec = RunSpec(
        variant=name or "program",
        study=MEASURED,
        seed=request.seed,
        epochs=0,
        batch_size=0,
        learning_rate=0.0,
        image_size=0,
        meters=request.meters,
        gpus=request.gpus,
        interval_s=request.interval_s,
        idle_s=0.0,
        warmup_steps=0,
        inference_s=0.0,
        country="",
    )
    local, problem = Local(command=hide_secrets(command)), ""
    if results is not None:
        try:
            return ProgramRun(_create_kept(results.absolute(), spec, local), is_kept=True)
        except UsageError as error:
            problem = str(error)
    with _refuse_unwritable(Path(os.environ.get("TMPDIR", "/tmp"))):
        return ProgramRun(create_temporary(spec, local), is_kept=False, problem=problem)


@contextmanager
def _refuse_unwritable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written: {error.strerror or error}. Nothing was measured. Free "
            "space, or choose another folder: --results, or TMPDIR where nothing is kept."
        ) from error


def _create_kept(results: Path, spec: RunSpec, local: Local) -> RunDir:
    """A folder called by the program and the moment; two of one second are told apart."""
    digits = re.sub(r"\D", "", utc_now())
    for number in count(1):
        again = f"-{number}" if number > 1 else ""
        run = RunDir(results / MEASURED / f"{spec.variant}-{digits[:8]}-{digits[8:]}{again}")
        with suppress(RunExistsError):
            run.create(spec, local)
            break
    if shutil.disk_usage(run.path).free < LEAST_FREE_BYTES:
        ProgramRun(run, is_kept=True).remove()
        raise UsageError(f"The disk of {results} is full. Free space, or choose another folder.")
    return run


# Written by whoever stamps the windows, straight to the system: what was written is there after a
# kill of any process, and a forked child has nothing of it in a buffer.
class MarkFile:
    """``marks.jsonl`` of a measured program."""

    def __init__(self, run: RunDir) -> None:
        """Open it for appending."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._handle = os.open(run.marks_path, flags, 0o644)

    def write(self, edge: Edge, window: str, t_s: float, *, sync: bool = False) -> None:
        """Append one edge; with ``sync`` it outlives a power cut, too, when this returns.

        A disk that is full takes nothing; the sampler says so, for it writes there as well.
        """
        with suppress(OSError):
            os.write(self._handle, encode_mark(edge, window, t_s))
            if sync:
                os.fsync(self._handle)

    def sync(self) -> None:
        """Have what was written outlive a power cut, too."""
        with suppress(OSError):
            os.fsync(self._handle)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def describe_exit(exit_status: int | None) -> tuple[Status, Failure | None]:
    """How a command ended, by its exit status: 128 + n after signal n."""
    if not exit_status:
        return "done", None
    if (number := exit_status - 128) not in set(signal.Signals):
        message = f"The command ended with status {exit_status}."
        return "failed", Failure("program-failed", message, exit_status)
    message = f"The command was ended by {signal.Signals(number).name}."
    failure = Failure("program-killed", message, -number)
    return ("interrupted" if number in _ASKED_TO_END else "failed"), failure


def describe_error(error: BaseException | None) -> tuple[Status, Failure | None]:
    """How a block of Python ended, by what was raised in it, whatever that does when asked."""
    code = error.code if isinstance(error, SystemExit) else error
    if code is None or (isinstance(code, int) and code == 0):
        return "done", None
    status: Status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    try:
        text = encodable(f"{type(error).__name__}: {error}".rstrip(": "))
    except Exception:  # noqa: BLE001 - what it does is theirs
        text = type(error).__name__
    if len(text) > _LONGEST_ERROR:
        text = f"{text[:_LONGEST_ERROR]}…"
    return status, Failure("program-failed", f"The measured block ended with {text}.")
