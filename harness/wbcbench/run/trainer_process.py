"""The trainer from outside: the environment it starts in, its messages, its end.

The child gets three things: the write end of a pipe for its messages, a pipe as standard input for
``go`` and ``stop`` (its end of file means that the recorder is gone), and ``log.txt`` as its
standard output and error. It runs in its own session, so a Ctrl-C on the terminal reaches the
recorder alone, which decides.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wbcbench.core.cache import cache_root
from wbcbench.core.child import PythonChild
from wbcbench.core.environment import (
    OWN_KERAS,
    XLA_CACHE,
    changes_computing,
    clean_environment,
)
from wbcbench.core.files import read_if_any
from wbcbench.core.provenance import host_id, read_version
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.units import bytes_from_kib

_READ_SIZE = 65536
_CHOOSE_GPUS = {"CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"}  # their joules are those measured


@dataclass(frozen=True, slots=True)
class Exit:
    """How the trainer ended, and what it used.

    Attributes:
        status: As in subprocess: negative = signal.
        cpu_s, rss_peak_bytes: Of the process.
        was_memory_short: Whether the kernel killed a process for want of memory meanwhile.
    """

    status: int
    cpu_s: float
    rss_peak_bytes: int
    was_memory_short: bool = False

    def describe(self) -> str:
        """``was ended by signal 9 (Killed)``, and who may have sent it."""
        if self.status >= 0:
            return f"ended with status {self.status}"
        ended = f"was ended by signal {-self.status} ({signal.strsignal(-self.status)})"
        if self.status != -signal.SIGKILL:
            return ended
        if self.was_memory_short:
            return f"{ended}, most likely by the kernel, which ended a process for want of memory"
        return f"{ended}, by somebody else"


def count_memory_kills(proc: Path = Path("/proc")) -> int:
    """How many processes the kernel has killed for want of memory; 0 where it does not say."""
    lines = (read_if_any(proc / "vmstat") or "").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


class TrainerProcess:
    """A running trainer."""

    def __init__(self, run: RunDir, environment: Mapping[str, str]) -> None:
        """Start it on ``run`` with ``environment`` (complete, set before TensorFlow loads)."""
        self._memory_kills = count_memory_kills()
        with run.log_path.open("ab") as log:
            how = {"env": environment, "stdout": log, "stderr": log}
            self._process = PythonChild("wbcbench.train.trainer", str(run.path), **how)
        assert self._process.stdin is not None
        self._stdin, self._pipe = self._process.stdin, self._process.answers.fileno()
        os.set_blocking(self._pipe, False)
        self._partial_line = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self.is_silent = False  # the pipe is at its end: no message can follow

    def read_lines(self, wait_s: float) -> list[str]:
        """Messages that came within ``wait_s`` seconds, one line each."""
        if self.is_silent or not self._selector.select(wait_s):
            return []
        try:
            data = os.read(self._pipe, _READ_SIZE)
        except BlockingIOError:
            return []
        self.is_silent = not data
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def send(self, word: str) -> None:
        """Send ``go`` or ``stop``; nothing happens where the trainer is gone."""
        with contextlib.suppress(OSError):
            self._stdin.write(f"{word}\n".encode())

    def kill(self) -> None:
        """End it at once, with everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def reap(self) -> Exit:
        """Wait for its end and close the pipes."""
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._selector.close()
        self._process.answers.close()
        return Exit(
            status=self._process.returncode,
            cpu_s=usage.ru_utime + usage.ru_stime,
            rss_peak_bytes=bytes_from_kib(usage.ru_maxrss),
            was_memory_short=count_memory_kills() > self._memory_kills,
        )


def trainer_environment(
    spec: RunSpec, base: Mapping[str, str], visible: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return ``base`` with everything the trainer's process needs set, and no user's settings.

    TensorFlow, CUDA and the C library read these variables once, at their start. What can be set
    later (determinism of operations, precision, XLA) is set by the trainer itself.

    Args:
        spec: The run.
        base: The environment to start from, usually ``os.environ``.
        visible: Variables that hide all GPUs but those that are measured; ``None`` leaves the
            choice to ``base`` and the driver.
    """
    # What the user has set stays where only speed or logging changes.
    defaults = {"TF_CPP_MIN_LOG_LEVEL": "1"}  # start-up messages fill the log; warnings stay
    if spec.tuned:  # the rest of it is in ``train.network``
        # Off by default on processors without AVX-512, where it saves almost half the CPU time.
        defaults["TF_ENABLE_ONEDNN_OPTS"] = "1"
        # Large buffers in huge pages: a fraction of the page faults. Ignored before glibc 2.35.
        defaults["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    # Left to the device, XLA compiles where a GPU trains.
    compiles = any((visible or {}).values()) if spec.xla is None else spec.xla
    if compiles and (folder := find_xla_cache(visible or {})):
        defaults["TF_XLA_FLAGS"] = f"{XLA_CACHE}{folder}"
    required = {
        # The order of sets must not differ between two runs of one seed; Python takes 32 bits.
        "PYTHONHASHSEED": str(spec.seed % 2**32),
        **OWN_KERAS,
        # CUDA otherwise counts the fastest GPU first, and NVML would measure another one.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    if spec.deterministic:  # libraries read it before the trainer can enable_op_determinism
        required["TF_DETERMINISTIC_OPS"] = "1"
    if spec.threads is not None:  # rounding depends on how work is divided
        required |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"), str(spec.threads))
    given = clean_environment(base).items()
    chosen = {name: value for name, value in given if value or name not in defaults}
    return {**defaults, **chosen, **required, **(visible or {})}


def find_xla_cache(visible: Mapping[str, str]) -> str:
    """The folder of what XLA has compiled; empty where its name cannot stand among flags.

    TensorFlow finds a program there by its operations alone: each machine, with its driver, boards
    and TensorFlow, has a folder of its own.
    """
    driver = read_if_any(Path("/proc/driver/nvidia/version")) or ""
    facts = [read_version("tensorflow"), host_id(), driver, *sorted(visible.items())]
    folder = cache_root() / "xla" / hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    return "" if any(map(str.isspace, str(folder))) else str(folder)


def list_computing_variables(spec: RunSpec, base: Mapping[str, str]) -> dict[str, str]:
    """Variables of the user's that reach the trainer and change how it computes."""
    environment = trainer_environment(spec, base)
    return {
        name: value
        for name, value in sorted(base.items())
        if value and changes_computing(name) and environment.get(name) == value
        if name not in _CHOOSE_GPUS
    }
