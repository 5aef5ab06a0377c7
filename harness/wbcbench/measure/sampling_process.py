"""Sampling in a process of its own, seen from both of its sides."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from wbcbench.core.errors import CannotMeasureError, UsageError, WbcbenchError
from wbcbench.core.run_folder import RunDir
from wbcbench.core.window import MonotonicClock
from wbcbench.power.session import MeteringRequest, sampling

# Sampling in a process of its own: ``python -m wbcbench.measure.sampling_process FOLDER ASKED``.
#
# For code that measures itself through ``wbcbench.Meter``: a sampling thread beside the work would
# wait for Python's lock whenever the work holds it, and would lose readings just when power is high
# (harness/decisions/0070-sampling-beside-other-peoples-code.md).
#
# It answers in JSON lines on standard output and ends at the word ``stop`` on standard input, or at
# its end of file: then whoever asked is dead, and the folder is removed.
#
#     {"ready": {"edge_s": 1.0}}                           sampling goes on
#     {"refused": {"kind": "UsageError", "message": "…"}}  it will not
#     {"ended": {"error": null, "cpu_s": 0.2}}             every reading is on disk


STOP = "stop"


def main(folder: str, asked: str) -> None:
    """Record into ``folder`` what ``asked``, an ``Asked`` in JSON, names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asked decides when to end
    run = RunDir(Path(folder))
    try:
        was_asked = _record(run, TypeAdapter(MeteringRequest).validate_json(asked))
    except WbcbenchError as error:
        _say({"refused": {"kind": type(error).__name__, "message": str(error)}})
        return
    if not was_asked:
        shutil.rmtree(folder, ignore_errors=True)


def _record(run: RunDir, asked: MeteringRequest) -> bool:
    """Sample until told to stop; returns whether somebody is there to read the result."""
    with sampling(run, asked, MonotonicClock()) as session:
        session.rest()
        _say({"ready": {"edge_s": session.edge_s}})
        was_asked = sys.stdin.readline().strip() == STOP
        if was_asked:
            session.rest()
    if was_asked:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        _say({"ended": {"error": session.error, "cpu_s": usage.ru_utime + usage.ru_stime}})
    return was_asked


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


# The sampling process seen from the code it measures: started, told to stop, its end awaited.


END_S = 30.0  # an edge, and a driver that hangs at the end

_ERRORS: Mapping[str, type[WbcbenchError]] = {
    each.__name__: each for each in (CannotMeasureError, UsageError)
}


class SideSampler:
    """A running sampling process."""

    def __init__(self, folder: Path, asked: MeteringRequest) -> None:
        """Start it and wait until it samples.

        Raises:
            CannotMeasureError: No meter works here, one asked for by name does not, or the
                process could not begin.
            UsageError: There is no meter or no GPU of that name.
        """
        words = ["-m", "wbcbench.measure.sampling_process", str(folder), json.dumps(asdict(asked))]
        # A session of its own keeps the terminal's Ctrl-C from it.
        self._process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # It shares the machine with what it watches, and computes nothing.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        )
        self.cpu_s: float | None = None
        answer = self._answer()
        if "ready" not in answer:
            self.kill()
            raise _refusal(answer)

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
        ended = _parsed(out.splitlines()[-1] if out else "").get("ended")
        if ended is None:
            return f"the sampling process ended early, with status {self._process.returncode}"
        self.cpu_s = float(ended["cpu_s"])
        return None if ended["error"] is None else str(ended["error"])

    def kill(self) -> None:
        """End it at once; its readings are not wanted."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return _parsed(self._process.stdout.readline())


def _parsed(line: str) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _refusal(answer: Mapping[str, Any]) -> WbcbenchError:
    told = answer.get("refused")
    if told is None:
        return CannotMeasureError(
            "The sampling process ended before it began to sample; what it said stands above. "
            "Nothing can be measured without it."
        )
    return _ERRORS.get(told["kind"], WbcbenchError)(told["message"])


if __name__ == "__main__":
    main(*sys.argv[1:])
