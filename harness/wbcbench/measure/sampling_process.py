"""Sampling in a process of its own, seen from both of its sides.

    python -m wbcbench.measure.sampling_process FOLDER REQUEST

For code that measures itself through ``wbcbench.Meter``: a sampling thread beside the work would
wait for Python's lock whenever the work holds it, and would lose readings just when power is high
(harness/decisions/0017-measuring-other-code.md).

It answers in JSON lines on standard output and ends at the word ``stop`` on standard input, or at
its end of file: then its parent is dead, and the folder is removed.

    {"ready": {"edge_s": 1.0}}                           sampling
    {"refused": {"kind": "UsageError", "message": "…"}}  it cannot sample
    {"ended": {"error": null, "cpu_s": 0.2}}             every reading is on disk
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from wbcbench.core.errors import CannotMeasureError, UsageError, WbcbenchError
from wbcbench.core.run_folder import RunDir
from wbcbench.core.window import MonotonicClock
from wbcbench.power.session import MeteringRequest, sampling

STOP = "stop"
END_S = 30.0  # an edge, and a driver that hangs at the end


def main(folder: str, request: str) -> None:
    """Record into ``folder`` until stopped; ``request`` is a ``MeteringRequest`` in JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end
    run = RunDir(Path(folder))
    try:
        parsed = TypeAdapter(MeteringRequest).validate_json(request)
        with sampling(run, parsed, MonotonicClock(), os.getppid()) as session:
            session.rest()
            _send({"ready": {"edge_s": session.edge_s}})
            has_parent = sys.stdin.readline().strip() == STOP
            if has_parent:
                session.rest()
    except WbcbenchError as error:
        _send({"refused": {"kind": type(error).__name__, "message": str(error)}})
        return
    if has_parent:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        _send({"ended": {"error": session.error, "cpu_s": usage.ru_utime + usage.ru_stime}})
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _send(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


class SideSampler:
    """A running sampling process."""

    def __init__(self, folder: Path, request: MeteringRequest) -> None:
        """Start it and wait until it samples.

        Raises:
            CannotMeasureError: No meter works here, one asked for by name does not, or the
                process could not begin.
            UsageError: There is no meter or no GPU of that name.
        """
        words = [
            "-m",
            "wbcbench.measure.sampling_process",
            str(folder),
            json.dumps(asdict(request)),
        ]
        # A session of its own keeps the terminal's Ctrl-C from it.
        self._process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # It shares the machine with what it measures, and computes nothing.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        )
        assert self._process.stdout is not None
        self.cpu_s: float | None = None
        answer = _parse_message(self._process.stdout.readline())
        if "ready" in answer:
            return
        self.kill()
        if (refused := answer.get("refused")) is None:
            raise CannotMeasureError(
                "The sampling process ended before it began to sample; its own message is above."
            )
        kind = UsageError if refused["kind"] == UsageError.__name__ else CannotMeasureError
        raise kind(refused["message"])

    def stop(self) -> str | None:
        """Let it sample past the edge and end.

        Returns:
            Why its readings are not complete; ``None`` if they are.
        """
        try:
            out, _ = self._process.communicate(f"{STOP}\n", timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            return f"the sampling process did not end within {END_S:.0f} s"
        ended = _parse_message(out.splitlines()[-1] if out else "").get("ended")
        if ended is None:
            return f"the sampling process ended early, with status {self._process.returncode}"
        self.cpu_s = float(ended["cpu_s"])
        return None if ended["error"] is None else str(ended["error"])

    def kill(self) -> None:
        """End it at once; its readings are not wanted."""
        self._process.kill()
        self._process.communicate()


def _parse_message(line: str) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


if __name__ == "__main__":
    main(*sys.argv[1:])
