"""Sampling in a process of its own: ``python -m wbcbench.measure.sampling_process FOLDER ASKED``.

For code that measures itself through ``wbcbench.Meter``: a sampling thread beside the work would
wait for Python's lock whenever the work holds it, and would lose readings just when power is high
(harness/decisions/0070-sampling-beside-other-peoples-code.md).

It answers in JSON lines on standard output and ends at the word ``stop`` on standard input, or at
its end of file: then whoever asked is dead, and the folder is removed.

    {"ready": {"edge_s": 1.0}}                           sampling goes on
    {"refused": {"kind": "UsageError", "message": "…"}}  it will not
    {"ended": {"error": null, "cpu_s": 0.2}}             every reading is on disk
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from wbcbench.core.errors import WbcbenchError
from wbcbench.core.run_folder import RunDir
from wbcbench.core.window import MonotonicClock
from wbcbench.power.session import Asked, Recording

STOP = "stop"


def main(folder: str, asked: str) -> None:
    """Record into ``folder`` what ``asked``, an ``Asked`` in JSON, names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asked decides when to end
    run = RunDir(Path(folder))
    try:
        was_asked = _record(run, TypeAdapter(Asked).validate_json(asked))
    except WbcbenchError as error:
        _say({"refused": {"kind": type(error).__name__, "message": str(error)}})
        return
    if not was_asked:
        shutil.rmtree(folder, ignore_errors=True)


def _record(run: RunDir, asked: Asked) -> bool:
    """Sample until told to stop; returns whether somebody is there to read the result."""
    with Recording(run, asked, MonotonicClock()) as recording:
        recording.rest()
        _say({"ready": {"edge_s": recording.edge_s}})
        was_asked = sys.stdin.readline().strip() == STOP
        if was_asked:
            recording.rest()
    if was_asked:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        error = recording.error.strerror if recording.error else None
        _say({"ended": {"error": error, "cpu_s": usage.ru_utime + usage.ru_stime}})
    return was_asked


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
