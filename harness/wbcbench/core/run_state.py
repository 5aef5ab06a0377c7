"""How far a run is, and which process carries it out, so that it can be recognised later.

``submitted`` says who submitted the run, where and when; ``running`` says which process carries it
out. The record (done, failed, interrupted) is the end.

A process id alone identifies nothing: it is used again, it means another process in a container,
and machines may share a results folder. So it is stored with the host, the boot, the namespace and
the moment at which the process started. Only what is proven counts: a process that cannot be
observed from here is neither alive nor gone.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from wbcbench.core.files import read_if_any
from wbcbench.core.window import utc_now

_SALT = "wbcbench-machine-1"
_PROC = Path("/proc")
_MACHINE_ID = Path("/etc/machine-id")
_STATE, _STARTTIME = 0, 19  # fields of /proc/PID/stat, counted after the command's name
_UNKNOWN = "-"
_DEAD = frozenset("ZXx")  # ended, but not yet reaped by its parent: holds no file any more


@dataclass(frozen=True, slots=True)
class RunState:
    """What stands in ``state.json``.

    Attributes:
        submitter: The process that submitted the run.
        user: Who that process belonged to.
        submitted_utc: When.
        is_queued: Whether a queue starts the run, so that the submitter's end says nothing of it.
        launcher, job: Which queue, and the name of the job that it belongs to; empty without one.
        runner: The process that carries the run out; ``None`` as long as none has begun.
        running_utc: Since when.
    """

    submitter: ProcessIdentity
    user: str
    submitted_utc: str
    is_queued: bool = False
    runner: ProcessIdentity | None = None
    running_utc: str | None = None
    launcher: str = ""
    job: str = ""

    def running(self) -> RunState:
        """The next state: this process carries the run out."""
        return replace(self, runner=this_process(), running_utc=utc_now())


def submitted(launcher: str = "", job: str = "") -> RunState:
    """The first state: this process submits the run, to a queue if it names one and its job."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its user
        user = "unknown"
    submitter, is_queued = this_process(), bool(launcher)
    return RunState(submitter, user, utc_now(), is_queued, launcher=launcher, job=job)


class Liveness(StrEnum):
    """What is known of a process."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one boot of one machine. ``None`` where the system does not say.

    Attributes:
        hostname: Name of the host.
        machine: Salted hash of the machine's own id.
        boot_id: The kernel's id of this boot.
        namespace: In which process ids and start times count.
        pid: Process id.
        start_ticks: When it started, in clock ticks since the boot.
    """

    hostname: str
    machine: str | None
    boot_id: str | None
    namespace: str | None
    pid: int
    start_ticks: int | None

    @property
    def token(self) -> str:
        """This identity as a word that may stand in a file's name."""
        parts = (self.boot_id, self.namespace, self.pid, self.start_ticks)
        return "_".join([self.host_key, *(_UNKNOWN if p is None else str(p) for p in parts)])

    @property
    def host_key(self) -> str:
        """Equal for two processes of one host."""
        return hashlib.sha256(f"{self.hostname}:{self.machine}".encode()).hexdigest()[:12]


def this_process() -> ProcessIdentity:
    """The identity of the process that runs this code."""
    return identify(os.getpid())


def identify(pid: int) -> ProcessIdentity:
    """The identity of a process that is alive, as this process sees it."""
    stat = _read_stat(pid)
    machine = read_if_any(_MACHINE_ID)
    return ProcessIdentity(
        hostname=os.uname().nodename,
        machine=machine and hashlib.sha256(f"{_SALT}:{machine}".encode()).hexdigest()[:12],
        boot_id=read_if_any(_PROC / "sys/kernel/random/boot_id"),
        namespace=_read_namespace(),
        pid=pid,
        start_ticks=stat[1] if stat else None,
    )


def find_start_s() -> float | None:
    """When this process started, in seconds of the monotonic clock; ``None`` if nothing says so."""
    ticks = this_process().start_ticks
    if ticks is None:
        return None
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - max(age_s, 0.0)


def liveness(process: ProcessIdentity) -> Liveness:
    """Whether a process is alive or gone, as far as that can be proven from here.

    A reboot is believed only of a machine that has an id of its own: two hosts may share a name.
    """
    here = this_process()
    known = (process.boot_id, process.namespace, process.start_ticks, here.boot_id, here.namespace)
    if process.host_key != here.host_key or None in known:
        return Liveness.UNKNOWN
    if process.boot_id != here.boot_id:
        return Liveness.GONE if process.machine is not None else Liveness.UNKNOWN
    if process.namespace != here.namespace:
        return Liveness.UNKNOWN
    with contextlib.suppress(PermissionError):  # it exists, and belongs to another user
        try:
            os.kill(process.pid, 0)
        except ProcessLookupError:
            return Liveness.GONE
    stat = _read_stat(process.pid)
    if stat is None:
        return Liveness.UNKNOWN
    state, start_ticks = stat
    is_same = start_ticks == process.start_ticks and state not in _DEAD
    return Liveness.ALIVE if is_same else Liveness.GONE


def token_liveness(token: str) -> Liveness:
    """``liveness`` of a process of which only the ``token`` is left."""
    here = this_process()
    try:
        host_key, boot_id, namespace, pid, start_ticks = token.split("_")
        process = replace(
            here,
            boot_id=None if boot_id == _UNKNOWN else boot_id,
            namespace=namespace,
            pid=int(pid),
            start_ticks=int(start_ticks),
        )
    except ValueError:
        return Liveness.UNKNOWN
    return liveness(process) if host_key == here.host_key else Liveness.UNKNOWN


def _read_stat(pid: int) -> tuple[str, int] | None:
    """State and start of a process; ``None`` where they cannot be read."""
    text = read_if_any(_PROC / str(pid) / "stat")
    try:
        # The command's name may hold spaces and brackets; what follows the last one does not.
        fields = (text or "").rpartition(")")[2].split()
        return fields[_STATE], int(fields[_STARTTIME])
    except (IndexError, ValueError):
        return None


def _read_namespace() -> str | None:
    """In which namespaces process ids and start times count; ``None`` where it cannot be read."""
    ids = []
    for kind in ("pid", "time"):
        try:
            link = (_PROC / "self/ns" / kind).readlink()
            ids.append(str(link).partition("[")[2].rstrip("]"))
        except FileNotFoundError:
            ids.append("0")  # a kernel without this kind has one of it
        except OSError:
            return None
    return "-".join(ids)
