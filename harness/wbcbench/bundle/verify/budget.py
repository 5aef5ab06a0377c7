"""Verify a bundle in a child process that may use so much time and memory and no more.

Whatever a third party's file makes a library do, here it ends. The child has a temporary folder of
its own, which is removed however the child ends; what it prints is dropped, for it may be words of
the bundle.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import TypeAdapter

from wbcbench.bundle import layout
from wbcbench.bundle.bounds import BOUNDS
from wbcbench.bundle.verify.inspect import Inspection, read_summary, refuse, verify
from wbcbench.bundle.verify.summary import Summary
from wbcbench.core import run_folder
from wbcbench.core.child import MODEST, PythonChild
from wbcbench.core.environment import clean_environment
from wbcbench.core.errors import VerificationError, WbcbenchError, error_named
from wbcbench.core.text import count_of
from wbcbench.core.units import mb_from_bytes

_LOAD = b"load "  # begins the child's first line
_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a whole verification may use, the report made again included.

    Long runs have more to integrate again than short ones. What a bundle sends decides, never what
    it states.

    Attributes:
        cpu_s, memory_bytes: Of any bundle; memory is what lies in the machine's, resident.
        cpu_run_s, memory_run_bytes: And for each of its runs.
        cpu_mb_s, most_traces_s: And for each megabyte of traces, up to so much.
        packed_factor: Bytes that count for a byte of a zip, for nothing packs as well as zeros.
        reserved_factor: Bytes that libraries may reserve, used or not, for one resident byte.
        wall_factor: Seconds that may pass for a second of processor time, on a busy machine.
    """

    cpu_s: float = 60.0
    cpu_run_s: float = 0.2
    memory_bytes: int = 500_000_000
    memory_run_bytes: int = 100_000
    cpu_mb_s: float = 8.0
    most_traces_s: float = 1800.0
    packed_factor: int = 4
    reserved_factor: int = 3
    wall_factor: float = 20.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be checked, as far as the list of files tells."""

    runs: int = 0
    trace_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one verification, by its load."""

    cpu_s: int
    wall_s: int
    memory_bytes: int
    reserved_bytes: int


def compute_limits(budget: Allowance, load: Load) -> Limits:
    """What a load may use of a budget."""
    traces_s = min(budget.cpu_mb_s * mb_from_bytes(load.trace_bytes), budget.most_traces_s)
    cpu_s = math.ceil(budget.cpu_s + budget.cpu_run_s * load.runs + traces_s)
    memory_bytes = budget.memory_bytes + budget.memory_run_bytes * load.runs
    return Limits(
        cpu_s=cpu_s,
        wall_s=math.ceil(cpu_s * budget.wall_factor),
        memory_bytes=memory_bytes,
        reserved_bytes=budget.reserved_factor * memory_bytes,
    )


def measure_load(bag: Path, source: Path, budget: Allowance) -> Load:
    """Count the runs of an opened bundle, and the bytes of their traces.

    Args:
        bag: The opened bundle.
        source: What was submitted: its folder, or what holds its zip.
        budget: How much a zip's bytes count.
    """
    runs = f"{layout.PAYLOAD}/{layout.RESULTS}/*/*"
    most_bytes = math.inf
    if not bag.resolve().is_relative_to(source.resolve()):  # unpacked
        sent = layout.list_files(source).values() if source.is_dir() else [source]
        most_bytes = budget.packed_factor * sum(path.stat().st_size for path in sent)

    records = sum(1 for _ in bag.glob(f"{runs}/{layout.RECORD}"))
    trace_bytes = sum(path.stat().st_size for path in bag.glob(f"{runs}/{run_folder.TRACES}"))
    return Load(min(records, BOUNDS.runs), int(min(trace_bytes, most_bytes)))


ALLOWANCE = Allowance()


class MemoryWatch(threading.Thread):
    """Kills a process once more of it lies in memory than it may use.

    From outside, for a library that fills memory may let nothing else of its process run.

    Attributes:
        most_bytes: What it may use.
        was_exceeded: Whether it was killed for that.
        is_over: Set to end the watch.
    """

    def __init__(self, pid: int, most_bytes: int) -> None:
        super().__init__(daemon=True)
        self.most_bytes, self.was_exceeded, self.is_over = most_bytes, False, False
        self._pid = pid
        self.start()

    def run(self) -> None:
        """Look at it again and again."""
        with suppress(psutil.Error):
            process = psutil.Process(self._pid)
            while not self.is_over:
                if process.memory_info().rss > self.most_bytes:
                    self.was_exceeded = True
                    process.kill()
                    return
                time.sleep(_EVERY_S)


def verify_within_budget(
    source: Path,
    *,
    strict: bool = False,
    allowed_signers: Path | None = None,
    plan_digest: str | None = None,
    is_compared: bool = False,
    budget: Allowance = ALLOWANCE,
) -> Inspection:
    """Check a bundle as ``inspect.verify`` does; one that needs more than ``budget`` is refused.

    Raises:
        UsageError: There is no such bundle.
    """
    asked = {
        "strict": strict,
        "allowed_signers": str(allowed_signers.resolve()) if allowed_signers else None,
        "plan_digest": plan_digest,
        "is_compared": is_compared,
    }
    found, problem = _ask_child(source, verify.__name__, asked, budget)
    if found is None:
        return refuse(problem, "The check stopped.", strict=strict)
    return TypeAdapter(Inspection).validate_python(found)


def summarise_within_budget(source: Path, budget: Allowance = ALLOWANCE) -> Summary:
    """Read what a bundle is about as ``inspect.read_summary`` does.

    Raises:
        UsageError: There is no such bundle.
        VerificationError: It cannot be read, or not within ``budget``.
    """
    found, problem = _ask_child(source, read_summary.__name__, {}, budget)
    if found is None:
        raise VerificationError(problem)
    return TypeAdapter(Summary).validate_python(found)


def _ask_child(
    source: Path, what: str, asked: dict[str, Any], budget: Allowance
) -> tuple[dict[str, Any] | None, str]:
    """What a child finds out within its limits, as plain values; or nothing, and why."""
    with tempfile.TemporaryDirectory(prefix="wbcbench-verify-") as room:
        environment = clean_environment(os.environ) | MODEST | {"TMPDIR": room}
        limits = {"budget": asdict(budget), "room": room}
        order = json.dumps({"what": what, "asked": asked, **limits})
        child = PythonChild(
            __name__, str(source), order, env=environment, stderr=subprocess.DEVNULL
        )
        watch = MemoryWatch(child.pid, compute_limits(budget, Load()).memory_bytes)
        load = Load()
        try:
            line = child.answers.readline()
            if line.startswith(_LOAD):
                load = Load(**json.loads(line.removeprefix(_LOAD)))
                watch.most_bytes = compute_limits(budget, load).memory_bytes
                line = child.answers.read()
            status = child.wait()
        finally:
            watch.is_over = True
            child.kill()
            child.wait()
            child.answers.close()
    result: dict[str, Any] = {} if watch.was_exceeded else json.loads(line or b"{}")
    if "found" in result:
        return result["found"], ""
    if "error" in result:
        raise error_named(result["error"])(result["text"])
    status = 0 if watch.was_exceeded else status
    return None, _describe_end(status, result, load, budget)


def _describe_end(status: int, result: dict[str, Any], load: Load, budget: Allowance) -> str:
    """Why a child ended that found nothing out."""
    limits = compute_limits(budget, load)
    size = f"for {count_of(load.runs, 'run')} of this size"
    memory = f"more than {mb_from_bytes(limits.memory_bytes):.0f} MB of memory, the limit {size}"
    problem = {
        -signal.SIGXCPU: f"takes more than {limits.cpu_s} s of processor time, the limit {size}",
        -signal.SIGALRM: f"takes more than {limits.wall_s} s, the limit {size}",
        0: result.get("crash") or f"needs {memory}",
    }.get(status)
    if problem is None:  # without memory a library aborts, or the system kills
        end = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        problem = f"ended with {end}, as where it needs {memory}"
    return (
        f"Checking this bundle {problem}. Do not rely on it; ask its author for the bundle as "
        "`wbcbench submit` wrote it, which stays within the limits."
    )


def _main(source: str, order: str, descriptor: str) -> None:
    """Verify in this process; answers with the load, and with what was found."""
    options = json.loads(order)
    budget, asked = Allowance(**options["budget"]), options["asked"]
    if asked.get("allowed_signers"):
        asked["allowed_signers"] = Path(asked["allowed_signers"])
    carry_out = {each.__name__: each for each in (verify, read_summary)}[options["what"]]
    end = threading.Thread(target=_end_with_parent, args=[Path(options["room"])], daemon=True)
    end.start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(compute_limits(budget, Load()))
    # Nobody reads any more: then the other thread removes the folder, and ends this process.
    with suppress(BrokenPipeError), os.fdopen(int(descriptor), "wb") as answers:

        def allow_for_load(bag: Path) -> None:
            load = measure_load(bag, Path(source), budget)
            _limit(compute_limits(budget, load))
            answers.write(_LOAD + json.dumps(asdict(load)).encode() + b"\n")
            answers.flush()

        try:
            found = carry_out(Path(source), **asked, on_open=allow_for_load)
            result = {"found": TypeAdapter(type(found)).dump_python(found, mode="json")}
        except WbcbenchError as error:
            result = {"error": type(error).__name__, "text": str(error)}
        except MemoryError:
            result = {}
        except Exception as error:  # noqa: BLE001 whatever it was, nothing was verified
            result = {"crash": f"ended with an error of the program ({type(error).__name__})"}
        answers.write(json.dumps(result).encode())
        return
    end.join()


def _limit(limits: Limits) -> None:
    """Let the system end this process beyond its limits; without memory, an allocation fails."""
    amounts = {resource.RLIMIT_CPU: limits.cpu_s, resource.RLIMIT_DATA: limits.reserved_bytes}
    for kind, amount in amounts.items():
        hard = resource.getrlimit(kind)[1]
        soft = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (soft, hard))
    signal.setitimer(signal.ITIMER_REAL, limits.wall_s)


def _end_with_parent(room: Path) -> None:
    """Its end of the pipe closes when it is killed, and nobody else would remove the folder.

    The folder is the one that the parent made and named. ``tempfile.gettempdir`` is not asked: it
    names the folder of all users where ours is gone or the disk is full.
    """
    sys.stdin.buffer.read()
    while room.exists():  # the check goes on meanwhile, and may write a file behind the remover
        shutil.rmtree(room, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
