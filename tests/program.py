"""The whole program, run as users run it: a process with arguments, output and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wbcbench.core.run_folder import RunDir, study_runs

# Short, but with every phase: what takes time is TensorFlow's own start.
SHORT = ("--epochs", "1", "--idle", "0.5", "--inference", "0.3", "--warmup-steps", "2")


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "wbcbench", *words]


def wbcbench(*words: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ended:
    # In a folder of its own it finds the results there, as it would for a user.
    default = {"WBCBENCH_RESULTS": ""} if cwd else {}
    done = subprocess.run(
        command(*words),
        env={**os.environ, **default, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def start(*words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*words),
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def only_run(results: Path, study: str = "runs") -> RunDir:
    (run,) = study_runs(results, study)
    return run


def wait_for(condition: Callable[[], bool], what: str, within_s: float = 120) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end_s:
            raise AssertionError(f"{what} did not happen within {within_s:.0f} s")
        time.sleep(0.02)


def wait_for_window(results: Path, window: str) -> RunDir:
    """Wait until the only run of ``results`` has opened ``window``."""

    def opened() -> bool:
        runs = study_runs(results, "runs")
        return bool(runs) and any(
            m.get("mark") == "open" and m.get("window") == window for m in runs[0].read_messages()
        )

    wait_for(opened, f"window {window}")
    return only_run(results)


def processes_of(run: RunDir, module: str) -> list[int]:
    """Process ids that carry out ``run``; ``module``: ``wbcbench.train.trainer``, ``work``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            texts = [word.decode(errors="replace") for word in words]
            if str(run.path) in texts and module in texts:
                found.append(int(entry.name))
    return found
