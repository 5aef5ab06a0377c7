"""Sampling in a process of its own, seen from both of its sides.

    wbcbench.measure.sampling_process FOLDER REQUEST PID keep|drop PIPE

For code that measures itself through ``wbcbench.Meter``: a sampling thread beside the work would
wait for Python's lock whenever the work holds it, and would lose readings just when power is high
(harness/decisions/0017-measuring-other-code.md).

It reads lines on standard input: ``mark`` when an edge was written, ``stop`` with how the measured
block ended. At the end of file, or when PID is its parent no more (a forked child may hold the pipe
open), the program is dead: it ends the windows and goes. It answers in JSON lines on its pipe:

    {"ready": {"edge_s": 1.0}}                           sampling
    {"refused": {"kind": "UsageError", "message": "…"}}  it cannot sample
    {"ended": {"error": null}}                           every reading is on disk
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sys
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict
from multiprocessing import current_process, parent_process
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from wbcbench.core.child import MODEST, PythonChild
from wbcbench.core.environment import clean_environment
from wbcbench.core.errors import (
    CannotMeasureError,
    MeasuredElsewhereError,
    UsageError,
    WbcbenchError,
)
from wbcbench.core.messages import parse_lines
from wbcbench.core.ranks import SIBLINGS
from wbcbench.core.record import Failure, Status
from wbcbench.core.run_folder import LOCK_WAIT_S, RunDir
from wbcbench.core.units import ms_from_s
from wbcbench.core.window import MonotonicClock
from wbcbench.energy.account import replay
from wbcbench.measure.program_run import MarkFile, ProgramRun
from wbcbench.power.session import MeteringRequest, MeteringSession, sampling

MARK, STOP, KEEP, DROP = "mark", "stop", "keep", "drop"
END_S = 30.0  # an edge, and a driver that hangs at the end
PARENT_LOOK_S = 1.0
_READ_SIZE = 65536

PROGRAM_ENDED = Failure(
    "program-ended", "The program ended, or was killed, without leaving the Meter's block."
)


def main(folder: str, request: str, program_pid: str, keep: str, pipe: str) -> None:
    """Record into ``folder`` until stopped; ``request`` is a ``MeteringRequest`` in JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end
    program = ProgramRun(RunDir(Path(folder)), is_kept=keep == KEEP)
    answers, pid, clock = int(pipe), int(program_pid), MonotonicClock()
    with program.run.hold_lock(LOCK_WAIT_S):
        if os.getppid() != pid:  # the program is dead already, and its folder accounted for
            return
        try:
            parsed = TypeAdapter(MeteringRequest).validate_json(request)
            with ExitStack() as stack:
                with program.begin():
                    metering = sampling(program.run, parsed, clock, pid, program.facts)
                    session = stack.enter_context(metering)
                    session.rest()
                _send(answers, {"ready": {"edge_s": session.edge_s}})
                status, failure = _follow_program(program.run, pid, session)
                session.rest()
        except WbcbenchError as error:
            _send(answers, {"refused": {"kind": type(error).__name__, "message": str(error)}})
            return
        _send(answers, {"ended": {"error": session.error}})
        program.finish(status, failure, session.error)
    if failure == PROGRAM_ENDED and not program.is_kept:
        program.remove()


def _follow_program(
    run: RunDir, pid: int, session: MeteringSession
) -> tuple[Status, Failure | None]:
    """Keep its marks on disk until it says stop, or is gone; returns how it ended."""
    pending = b""
    with closing(MarkFile(run)) as marks:
        while True:
            is_ready = bool(select.select([0], [], [], PARENT_LOOK_S)[0])
            data = os.read(0, _READ_SIZE) if is_ready else b""
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                word, _, end = line.decode().partition(" ")
                if word == STOP:
                    return TypeAdapter(tuple[Status, Failure | None]).validate_json(end)
            if lines:
                session.read_edge()
                marks.sync()
            if os.getppid() != pid or (is_ready and not data):
                now_s = MonotonicClock().now_s()
                for name in replay(run.read_messages()).opened:
                    marks.write("close", name, now_s)
                return "interrupted", PROGRAM_ENDED


def _send(answers: int, message: dict[str, Any]) -> None:
    with suppress(OSError):  # the program is dead
        os.write(answers, json.dumps(message).encode() + b"\n")


class SideSampler:
    """A running sampling process."""

    def __init__(self, program: ProgramRun, request: MeteringRequest) -> None:
        """Start it and wait until it samples.

        Raises:
            CannotMeasureError: No meter works here, one asked for by name does not, or the
                process could not begin.
            MeasuredElsewhereError: Other ranks of the program read everything.
            UsageError: There is no meter or no GPU of that name.
        """
        words = [str(program.run.path), json.dumps(asdict(request)), str(os.getpid())]
        words.append(KEEP if program.is_kept else DROP)
        env = clean_environment(os.environ) | MODEST
        if (parent := parent_process()) is not None:
            number = re.sub(r"\D", "", current_process().name)  # Process-3, ForkPoolWorker-3
            env[SIBLINGS] = f"{parent.pid}:{number or 0}"
        self._process = PythonChild(__name__, *words, env=env)
        assert self._process.stdin is not None
        self._stdin = self._process.stdin.fileno()
        os.set_blocking(self._stdin, False)  # a sampler that hangs never holds up the program
        answer = self._read_message()
        if "ready" in answer:
            return
        self.kill()
        if (refused := answer.get("refused")) is None:
            raise CannotMeasureError(
                "The sampling process ended before it began to sample; its own message is above."
            )
        kinds = {kind.__name__: kind for kind in (UsageError, MeasuredElsewhereError)}
        raise kinds.get(refused["kind"], CannotMeasureError)(refused["message"])

    @property
    def is_alive(self) -> bool:
        """Whether it still samples."""
        return self._process.poll() is None

    def mark(self) -> None:
        """Say that an edge was written: it goes to disk without the program waiting for it."""
        self._tell(MARK)

    def stop(self, status: Status, failure: Failure | None) -> str | None:
        """Let it sample past the edge, make the record and end.

        Args:
            status: How the measured block ended.
            failure: Why not well.

        Returns:
            Why its readings are not complete; ``None`` if they are.
        """
        self._tell(f"{STOP} {json.dumps([status, failure and asdict(failure)])}", END_S)
        if not _wait(self._process.answers.fileno(), select.POLLIN, END_S):
            self.kill()
            return f"the sampling process did not end within {END_S:.0f} s"
        ended = self._read_message().get("ended")
        self._end()
        if ended is None:
            return f"the sampling process ended early, with status {self._process.returncode}"
        return None if ended["error"] is None else str(ended["error"])

    def kill(self) -> None:
        """End it at once; its readings are not wanted."""
        self._process.kill()
        self._end()

    def _end(self) -> None:
        self._process.communicate()
        self._process.answers.close()

    def _read_message(self) -> dict[str, Any]:
        """The next answer; empty at the end."""
        return next(parse_lines(self._process.answers), {})

    def _tell(self, line: str, wait_s: float = 0.0) -> None:
        """Write a line; waits where it has not read those before, as it may hang."""
        data = f"{line}\n".encode()
        with suppress(OSError):  # it is dead, or hangs
            while data and _wait(self._stdin, select.POLLOUT, wait_s):
                data = data[os.write(self._stdin, data) :]


def _wait(descriptor: int, event: int, wait_s: float) -> bool:
    """Whether a pipe was ready in time; unlike ``select`` with any number of files open."""
    ready = select.poll()
    ready.register(descriptor, event)
    return bool(ready.poll(ms_from_s(wait_s)))


if __name__ == "__main__":
    main(*sys.argv[1:])
