"""One run's folder: the only module that knows its file names, and how it appears complete.

    results/<study>/<run_id>/
        spec.json            what was requested
        state.json           who submitted the run, and which process carries it out
        local.json           where the images lie on this machine, and the like
        began.json           under which circumstances
        channels.json        what the traces hold
        trace/<meter>.csv    every poll, appended half a second's at a time; until the record is
        traces.parquet       written: then the same in one file (see ``core.trace_file``)
        telemetry/<gpu>.csv  a board's samples: temperature, clocks, throttling, load, processes
        telemetry/cpu.csv    the processor's time, ours and everybody's (see ``core.cpu_load``)
        marks.jsonl          every message of the trainer, synced to disk at each edge
        record.json          the result; its presence alone says that the run is accounted for
        attached.json        an external meter's joules, added later; its polls: attached.parquet
        epochs.csv  predictions.parquet  log.txt  tb/

A folder appears complete and belongs to one run. Without a record the run waits, goes on, or was
left by its runner; ``core.run_condition`` tells which.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import JsonValue, TypeAdapter

from wbcbench.core import cpu_load
from wbcbench.core import record as records
from wbcbench.core.board_state import BoardSample, sample_from_line
from wbcbench.core.cache import read_stamp
from wbcbench.core.cpu_load import CpuSample
from wbcbench.core.errors import RunExistsError, RunsFailedError, UsageError
from wbcbench.core.files import open_lock, read_file, sync_folder, write_atomically, write_new
from wbcbench.core.messages import parse_lines
from wbcbench.core.record import Attachment, Circumstances, RunRecord
from wbcbench.core.run_state import Liveness, RunState, submitted, this_process, token_liveness
from wbcbench.core.spec import MEASURED, RunSpec
from wbcbench.core.strict_json import read_document
from wbcbench.core.trace import Channel, Trace
from wbcbench.core.trace_file import (
    Polls,
    pack_csv_files,
    parquet_from_polls,
    read_csv_names,
    read_csv_polls,
    read_parquet_names,
    read_parquet_polls,
    require_parquet_polls,
)

T = TypeVar("T")

# The names in a run's folder. Everything else takes them from here; so does ``bundle.layout``, for
# a bundle holds the same folders.
SPEC = "spec.json"
STATE = "state.json"
LOCAL = "local.json"
BEGAN = "began.json"
CHANNELS = "channels.json"
GROWING_TRACES = "trace"
TRACES = "traces.parquet"
TELEMETRY = "telemetry"
CPU_TIME = "cpu.csv"
_CPU = CPU_TIME.removesuffix(".csv")
MARKS = "marks.jsonl"
RECORD = "record.json"
ATTACHMENT = "attached.json"
ATTACHED_TRACE = "attached.parquet"
EPOCHS = "epochs.csv"
PREDICTIONS = "predictions.parquet"
LOG = "log.txt"
TENSORBOARD = "tb"
LOCK = ".lock"
CLAIM = ".claim"  # made by the process that carries it out, on a disk that may know no locks

WAY_OUT = "To be rid of it, remove its folder by hand."  # of a run that cannot be read

LOCK_WAIT_S = 2.0  # nobody who only tests a lock holds it as long
_RETRY_S = 0.02
_NEW = ".new"  # begins the name of a folder that is not complete yet
_DELETED = ".deleted"  # and of one that is being deleted
_TEMPORARY = "wbcbench-temporary"  # and of one in the system's temporary folder
_PROGRAM_NAME = re.compile(r".*-\d{8}-\d{6}(-\d+)?")  # by the moment; see ``measure.program_run``
_DIGEST = re.compile("[0-9a-f]{8}")
_log = logging.getLogger(__name__)
_GROWING = frozenset({GROWING_TRACES, TRACES, TELEMETRY, ATTACHED_TRACE, TENSORBOARD})


@dataclass(frozen=True, slots=True)
class Local:
    """What a run needs to know of this machine and what is no part of its identity.

    Attributes:
        data: Folder of the images; ``None`` for the embedded synthetic set.
        skip_unreadable: Skip and record unreadable images instead of refusing them.
        cache_dir: Where decoded images are kept; ``None`` for the user's cache folder.
        command: The command line, for provenance.
        share: Run although another harness uses this machine; both are marked contaminated.
        plan_sha256: Digest of the plan that the run belongs to; ``None`` for a single run.
    """

    data: str | None = None
    skip_unreadable: bool = False
    cache_dir: str | None = None
    command: tuple[str, ...] = ()
    share: bool = False
    plan_sha256: str | None = None

    @property
    def facts(self) -> dict[str, JsonValue]:
        """What of this belongs into the provenance of a run."""
        return {"plan_sha256": self.plan_sha256} if self.plan_sha256 else {}


class _Inside:
    """Where something of a run lies: a property by its name in the run's folder."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __get__(self, run: RunDir, _: type[RunDir]) -> Path:
        return run.path.joinpath(*self._names)


@dataclass(frozen=True, slots=True)
class RunDir:
    """The folder of one run."""

    path: Path

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.path.name

    record_path = _Inside(RECORD)
    attachment_path = _Inside(ATTACHMENT)
    epochs_path = _Inside(EPOCHS)
    predictions_path = _Inside(PREDICTIONS)
    marks_path = _Inside(MARKS)
    cpu_time_path = _Inside(TELEMETRY, CPU_TIME)  # where its samples are appended
    log_path = _Inside(LOG)  # what the trainer and its libraries printed
    tensorboard_dir = _Inside(TENSORBOARD)

    @property
    def is_finished(self) -> bool:
        """Whether the run is accounted for."""
        return self.record_path.exists()

    def create(self, spec: RunSpec, local: Local, launcher: str = "", job: str = "") -> None:
        """Submit a run: make its folder with what was asked, whole and for this run alone.

        Args:
            spec: What is asked.
            local: What belongs to this machine.
            launcher: The queue that starts the run; empty where its submitter does.
            job: The name of its job there.

        Raises:
            RunExistsError: There is a folder of this name.
            UsageError: The folder cannot be written.
        """
        try:
            with create_folder(self.path) as folder:
                RunDir(folder)._fill(spec, local, launcher, job)
        except OSError as error:
            if isinstance(error, FileExistsError) and self.path.is_dir():
                raise RunExistsError(f"There is a run in {self.path} already.") from error
            raise UsageError(
                f"The results folder {self.path} cannot be written: {error.strerror}. "
                "Choose another with --results, or free space and permissions."
            ) from error

    def _fill(self, spec: RunSpec, local: Local, launcher: str = "", job: str = "") -> None:
        (self.path / GROWING_TRACES).mkdir()
        self.write_requested(spec, local)
        self.write_state(submitted(launcher, job))

    def write_requested(self, spec: RunSpec, local: Local) -> None:
        """Write what was requested."""
        write_atomically(self.path / SPEC, to_json(asdict(spec)))
        write_atomically(self.path / LOCAL, to_json(asdict(local)))

    def delete(self) -> None:
        """Delete the folder: it is no run any more in one step, and then emptied.

        What a kill leaves of it is removed as ``remove_left_behind`` does.

        Raises:
            OSError: It cannot be renamed; then it stays as it is.
        """
        delete_folder(self.path)

    def read_state(self) -> RunState:
        """How far the run is."""
        return _read_json(self.path / STATE, RunState)

    def write_state(self, state: RunState) -> None:
        """Write how far the run is."""
        write_atomically(self.path / STATE, to_json(asdict(state)))

    def claim(self) -> None:
        """Begin the run, as the one process that does: a file that only one can make says so.

        Raises:
            UsageError: Another process has begun it, perhaps on another machine.
        """
        try:
            write_new(self.path / CLAIM, to_json(asdict(this_process())))
        except FileExistsError as error:
            raise UsageError(f"{self.run_id} was begun by another process.") from error

    def read_spec(self) -> RunSpec:
        """What was requested; read again only if the file has changed."""
        path = self.path / SPEC
        return _read_spec(path, *map(tuple, filter(None, read_stamp([path]))))

    def read_local(self) -> Local:
        """What belongs to this machine."""
        return _read_json(self.path / LOCAL, Local)

    def write_record(self, record: RunRecord, *, pack: bool = True) -> None:
        """Write the record, then ``pack`` the traces; a finished record is never overwritten.

        Raises:
            UsageError: There is one already.
            RunsFailedError: It cannot be written; traces and marks stay, and the next command
                writes it from them.
        """
        try:
            write_new(self.record_path, records.to_json(record))
        except FileExistsError as error:
            raise UsageError(f"{self.record_path} exists and is never overwritten.") from error
        except OSError as error:
            raise RunsFailedError(
                f"{self.record_path} cannot be written: {error.strerror}. What was measured so far "
                "is kept. Free space; the next command writes the record."
            ) from error
        if pack:
            self.pack_traces()

    def read_record(self) -> RunRecord:
        """The record with what was attached to it later; raises like ``read_own_record``."""
        record, attachment = self.read_own_record(), self.read_attachment()
        return records.with_attachment(record, attachment) if attachment else record

    def read_own_record(self) -> RunRecord:
        """The record.

        Raises:
            UsageError: It is missing, damaged, of another schema, or of another run than the folder
                is named after: a run that counts under two names counts twice.
        """
        try:
            record = records.from_json(read_file(self.record_path), str(self.record_path))
        except OSError as error:
            raise UsageError(f"{self.record_path} cannot be read: {error.strerror}.") from error
        if record.run_id != self.path.resolve().name:
            raise _refuse_name(self.path, record.run_id)
        return record

    def require_own_name(self) -> None:
        """Raise ``UsageError`` where the folder was copied or renamed."""
        spec = self.read_spec()
        if not _is_named_after(self, spec):
            raise _refuse_name(self.path, spec.run_id)

    @property
    def has_attachment(self) -> bool:
        """Whether an external meter was attached."""
        return self.attachment_path.exists()

    def read_attachment(self) -> Attachment | None:
        """An external meter's joules; ``None`` if none was attached."""
        path = self.attachment_path
        try:
            data = read_file(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
        return records.attachment_from_json(data, str(path))

    def write_attachment(self, attachment: Attachment, trace: Trace) -> None:
        """Write an external meter's polls and, once they are on disk, its joules."""
        polls = [(trace.channel.name, trace.t_s, trace.value)]
        write_atomically(self.path / ATTACHED_TRACE, parquet_from_polls(polls))
        write_atomically(self.attachment_path, records.attachment_to_json(attachment))

    def read_attached_trace(self) -> Trace | None:
        """The external meter's polls; ``None`` if none was attached."""
        if (attachment := self.read_attachment()) is None:
            return None
        channel = attachment.channel
        [(_, t_s, value)] = read_parquet_polls(self.path / ATTACHED_TRACE, [channel.name])
        return Trace(channel, t_s, value)

    def write_channels(self, channels: Sequence[Channel]) -> None:
        """Write what the traces hold, before the first sample."""
        write_atomically(self.path / CHANNELS, to_json([asdict(c) for c in channels]))

    def write_began(self, began: Circumstances) -> None:
        """Write under which circumstances the run began, in case the recorder is killed."""
        write_atomically(self.path / BEGAN, _circumstances_adapter().dump_json(began, indent=1))

    def read_began(self) -> Circumstances | None:
        """The circumstances; ``None`` when the recorder died before it wrote them."""
        path = self.path / BEGAN
        return _read_json(path, Circumstances) if path.exists() else None

    def read_end(self) -> dict[str, Any]:
        """Circumstances that the recorder knew at the end; empty where it was killed or is older.

        A damaged message is none, as for every other.
        """
        said = [m["recorder"] for m in self.read_messages() if isinstance(m.get("recorder"), dict)]
        known = {"started_utc": "", "provenance": {}, **(said[-1] if said else {})}
        with contextlib.suppress(ValueError):
            at_end = _circumstances_adapter().validate_python(known)
            return {name: getattr(at_end, name) for name in records.AT_END if name in known}
        return {}

    def find_run_before(self, host_id: str) -> str | None:
        """The run of this study that began last on this host; ``None`` if none did."""
        begun = list[tuple[str, str]]()
        for run in list_folders(self.path.parent.parent, self.path.parent.name):
            with contextlib.suppress(UsageError):
                began = run.read_began()
                if began is not None and began.provenance.get("host_id") == host_id:
                    begun.append((began.started_utc, run.run_id))
        return max(begun)[1] if begun else None

    def trace_path(self, meter: str) -> Path:
        """Where one meter's polls are appended; ``meter`` may hold slashes."""
        return self.path / GROWING_TRACES / f"{meter.replace('/', '-')}.csv"

    @property
    def has_traces(self) -> bool:
        """Whether any meter's polls are kept."""
        return (self.path / TRACES).exists() or any((self.path / GROWING_TRACES).glob("*.csv"))

    def read_traces(self, names: Collection[str] | None = None) -> list[Trace]:
        """The polls of the channels of these names, or of every one.

        Raises:
            UsageError: The file is damaged.
        """
        known = {c.name: c for c in self._read_channels() if names is None or c.name in names}
        polls = self._read_polls(None if names is None else known)
        return [Trace(known[name], t_s, value) for name, t_s, value in polls if name in known]

    def iterate_parts(self) -> Iterator[list[Trace]]:
        """The same part by part, for those of a long run are not held all at once."""
        channels = self.list_traced()
        for part in dict.fromkeys(channel.part for channel in channels):
            yield self.read_traces([c.name for c in channels if c.part == part])

    def read_part(self, name: str) -> list[Trace]:
        """Those of the part that a channel is of."""
        channels = self._read_channels()
        parts = {channel.part for channel in channels if channel.name == name}
        return self.read_traces([c.name for c in channels if c.part in parts])

    def list_traced(self) -> list[Channel]:
        """The channels of which there are polls, in their order; raises as ``read_traces``."""
        known = {channel.name: channel for channel in self._read_channels()}
        names = self._read_files(read_csv_names, read_parquet_names)
        return [known[name] for name in names if name in known]

    def _read_channels(self) -> list[Channel]:
        path = self.path / CHANNELS
        return _read_json(path, list[Channel]) if path.exists() else []

    def _read_polls(self, names: Collection[str] | None = None) -> list[Polls]:
        return self._read_files(
            lambda path: read_csv_polls(path, names), lambda path: read_parquet_polls(path, names)
        )

    def _read_files(
        self, read_csv: Callable[[Path], list[T]], read_parquet: Callable[[Path], list[T]]
    ) -> list[T]:
        parquet = self.path / TRACES
        with contextlib.suppress(FileNotFoundError):  # another process packed them meanwhile
            if not parquet.exists():
                found = [each for path in self._list_growing() for each in read_csv(path)]
                if not parquet.exists():
                    return found
        return read_parquet(parquet)

    def _list_growing(self) -> list[Path]:
        return sorted((self.path / GROWING_TRACES).glob("*.csv"))

    def pack_traces(self) -> None:
        """Put the traces of a finished run into one Parquet file, then remove the CSV files.

        A kill at any moment leaves a folder that reads the same, and the next call completes it.
        Where the disk is full or read-only, the CSV files stay.
        """
        growing, parquet = self.path / GROWING_TRACES, self.path / TRACES
        if not growing.exists():
            return
        with contextlib.suppress(OSError, UsageError):
            paths = self._list_growing()
            if any(map(read_csv_names, paths)):
                if not parquet.exists():
                    write_new(parquet, partial(pack_csv_files, paths))
                require_parquet_polls(parquet)
            shutil.rmtree(growing)

    def telemetry_path(self, device: str) -> Path:
        """Where the samples of one board are appended."""
        return self.path / TELEMETRY / f"{device.replace('/', '-')}.csv"

    @property
    def has_telemetry(self) -> bool:
        """Whether any sample of any board is kept."""
        return any((self.path / TELEMETRY).glob("*.csv"))

    def read_telemetry(self) -> dict[str, list[BoardSample]]:
        """Every sample of every board, by its name; a line torn by a kill is left out."""
        return {device: self.read_samples(device) for device in self.list_boards()}

    def list_boards(self) -> list[str]:
        """The boards of which there are samples, by name."""
        return sorted({each.stem for each in (self.path / TELEMETRY).glob("*.csv")} - {_CPU})

    def read_samples(self, device: str) -> list[BoardSample]:
        """Every sample of one board."""
        text = self.telemetry_path(device).read_text(encoding="ascii", errors="replace")
        return [s for s in map(sample_from_line, text.split("\n")[1:-1]) if s is not None]

    def read_cpu_time(self) -> list[CpuSample] | None:
        """Every sample of the processor's time; ``None`` if nobody asked for it."""
        if not self.cpu_time_path.exists():
            return None
        polls = read_csv_polls(self.cpu_time_path)
        if [name for name, _, _ in polls] != [*cpu_load.COLUMNS[1:]]:
            return []
        rows = zip(polls[0][1], *(values for _, _, values in polls), strict=True)
        return [CpuSample(t_s, *row) for t_s, *row in rows if None not in row]

    def read_messages(self) -> list[dict[str, Any]]:
        """The trainer's messages, from disk."""
        try:
            text = read_file(self.marks_path).decode(errors="replace")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UsageError(f"{self.marks_path} cannot be read: {error.strerror}.") from error
        return list(parse_lines(text.split("\n")))

    def bytes_on_disk(self) -> tuple[int, int]:
        """Size of what grows with the length of a run, and of the rest."""
        sizes = {True: 0, False: 0}
        folders = [self.path]
        while folders:
            folder = folders.pop()
            # Traces are packed meanwhile; what may not be read is not counted.
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    else:
                        grows = folder.name in _GROWING or entry.name in _GROWING
                        sizes[grows] += entry.stat(follow_symlinks=False).st_size
        return sizes[True], sizes[False]

    @contextlib.contextmanager
    def hold_lock(self, wait_s: float = 0.0) -> Iterator[bool]:
        """Hold the folder's lock; yields ``False`` when somebody else does, even after ``wait_s``.

        Who must not be turned away by somebody that only looks waits for ``LOCK_WAIT_S``.
        """
        with open_lock(self.path / LOCK) as stream:
            end_s = time.monotonic() + wait_s
            while not (is_ours := _try_lock(stream, fcntl.LOCK_EX)) and time.monotonic() < end_s:
                time.sleep(_RETRY_S)
            yield is_ours

    @property
    def is_locked(self) -> bool:
        """Whether somebody holds the lock; a look that writes nothing and needs no permission to.

        ``False`` where there is no lock or none that may be read: nobody is seen to hold it.
        """
        try:
            with (self.path / LOCK).open() as stream:
                return not _try_lock(stream, fcntl.LOCK_SH)
        except OSError:
            return False


@cache
def _circumstances_adapter() -> TypeAdapter[Circumstances]:
    return TypeAdapter(Circumstances)


def _try_lock(stream: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def list_folders(results: Path, study: str) -> list[RunDir]:
    """Every folder of a study that holds a run, by name; empty when there is none."""
    return list(_iterate_folders(results / study))


def holds_runs(folder: Path) -> bool:
    """Whether a folder is that of a study with a run in it."""
    return any(True for _ in _iterate_folders(folder))


def _iterate_folders(study: Path, prefix: str = "") -> Iterator[RunDir]:
    with contextlib.suppress(OSError), os.scandir(study) as entries:
        # One that is still being made or copied, or was left while it was, is no run yet.
        names = [entry.name for entry in entries if entry.name.startswith(prefix)]
        for path in (study / name for name in sorted(names) if not name.startswith(".")):
            if (path / SPEC).exists():
                yield RunDir(path)


def study_runs(results: Path, study: str, prefix: str = "") -> list[RunDir]:
    """Every run of a study, by name; a copy beside its run is left out, and said to be.

    Args:
        results: Where studies lie.
        study: Its name.
        prefix: Only runs whose name begins so are read.

    Raises:
        UsageError: The folder of a run was renamed.
    """
    runs, copies, specs = list[RunDir](), list[RunDir](), dict[RunDir, RunSpec]()
    for run in _iterate_folders(results / study, prefix):
        with contextlib.suppress(UsageError):  # whoever reads its spec says that it is damaged
            specs[run] = run.read_spec()
        is_run = run not in specs or _is_named_after(run, specs[run])
        (runs if is_run else copies).append(run)
    for copy in copies:
        if not any(specs.get(run) == specs[copy] for run in runs) and study != MEASURED:
            if copy.is_finished:
                copy.read_own_record()  # raises, with the id that its version gave it
            raise _refuse_name(copy.path, specs[copy].run_id)
        _report_copy(copy.path)
    return runs


def _refuse_name(path: Path, run_id: str) -> UsageError:
    return UsageError(
        f"{path} holds the run {run_id}: it was copied or renamed. Give the folder its run's name, "
        "or move a copy out of the results."
    )


def _is_named_after(run: RunDir, spec: RunSpec) -> bool:
    """Whether a folder has the name of its run; the digest may be that of another version."""
    start, _, digest = run.run_id.rpartition("-")
    if spec.is_program:
        is_usual = bool(_PROGRAM_NAME.fullmatch(run.run_id))
    else:
        is_usual = start == f"{spec.variant}-s{spec.seed}" and bool(_DIGEST.fullmatch(digest))
    with contextlib.suppress(UsageError):
        return is_usual or bool(run.read_own_record())
    return False


@cache
def _report_copy(path: Path) -> None:
    """Say once that a folder does not count."""
    _log.warning("Left out: %s is a copy of another run. Move it out of the results.", path)


# A folder is made under a name that says which process makes it, and renamed when it is whole. A
# rename onto a folder that holds something fails, so that of two makers one gets the name.
@contextlib.contextmanager
def create_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill, which becomes ``path`` at the end; nothing stays after an error.

    Raises:
        FileExistsError: There is such a folder.
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.parent / f"{_NEW}.{this_process().token}.{secrets.token_hex(4)}"
    new.mkdir()
    try:
        yield new
        new.rename(path)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, "exists", str(path)) from error
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    sync_folder(path.parent)


def delete_folder(path: Path) -> None:
    """Rename a folder so that nobody takes it for what it was, then remove it; see ``delete``."""
    hidden = path.parent / f"{_DELETED}.{this_process().token}.{secrets.token_hex(4)}"
    path.rename(hidden)
    sync_folder(path.parent)
    shutil.rmtree(hidden, ignore_errors=True)


def list_left_behind(parent: Path) -> dict[Path, Liveness]:
    """Folders in ``parent`` that were being made or deleted, and whether somebody is still at it.

    Nothing was measured in them, or they are no run any more.
    """
    paths = [path for name in (_NEW, _DELETED) for path in parent.glob(f"{name}.*")]
    folders = sorted(path for path in paths if path.is_dir() and not path.is_symlink())
    return {path: token_liveness(path.name.split(".")[-2]) for path in folders}


def remove_left_behind(parent: Path) -> list[Path]:
    """Remove the folders in ``parent`` whose makers are gone; returns those of unknown makers.

    Nothing was measured in them. A maker that cannot be seen from here may still be at it.
    """
    found = list_left_behind(parent)
    for path, maker in found.items():
        if maker is Liveness.GONE:
            shutil.rmtree(path, ignore_errors=True)
    return [
        path
        for path, maker in found.items()
        if maker is Liveness.UNKNOWN and path.name.startswith(_NEW)
    ]


def create_temporary(spec: RunSpec, local: Local) -> RunDir:
    """A folder in the system's temporary one, for whoever keeps nothing and removes it.

    Those of killed processes are removed here.
    """
    parent = Path(tempfile.gettempdir())
    for abandoned in parent.glob(f"{_TEMPORARY}.*"):
        if token_liveness(abandoned.name.split(".")[-2]) is Liveness.GONE:
            shutil.rmtree(abandoned, ignore_errors=True)
    run = RunDir(parent / f"{_TEMPORARY}.{this_process().token}.{secrets.token_hex(4)}")
    run.path.mkdir(mode=0o700)
    run._fill(spec, local)
    return run


def to_json(value: object) -> bytes:
    """The value as indented JSON with a line's end; what UTF-8 cannot hold is replaced."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    return f"{text}\n".encode(errors="replace")


@lru_cache(maxsize=50_000)
def _read_spec(path: Path, *_stamp: tuple[int, ...]) -> RunSpec:
    return _read_json(path, RunSpec)


def _read_json(path: Path, kind: type[T]) -> T:
    """What a file holds.

    Raises:
        UsageError: It cannot be read, or holds something else.
    """
    try:
        return read_document(kind, read_file(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path} cannot be read: {reason}.") from error
