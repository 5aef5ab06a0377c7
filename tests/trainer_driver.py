"""Drives a real trainer as the watcher does: a pipe for marks, standard input for words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.energy.account import RunEvents, replay
from wbcbench.run.trainer_process import trainer_environment

Message = dict[str, Any]


@dataclass
class Told:
    """Everything one trainer said, and how it ended."""

    run: RunDir
    messages: list[Message]
    status: int

    @property
    def events(self) -> RunEvents:
        return replay([{"mark": "open", "window": "startup", "t_s": 0.0}, *self.messages])

    def all(self, kind: str) -> list[Any]:
        return [message[kind] for message in self.messages if kind in message]


class TrainerUnderTest:
    """A trainer that was started; ``say`` speaks to it, ``hear`` is everything it says."""

    def __init__(
        self, folder: Path, spec: RunSpec, data: Path, *, cache: str | None = None
    ) -> None:
        self.run = RunDir(folder)
        self.run.create(spec, Local(data=str(data), cache_dir=cache or str(data.parent / "cache")))
        self._pipe, theirs = os.pipe()
        with self.run.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wbcbench.train.trainer", str(folder), str(theirs)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=trainer_environment(spec, os.environ, {"CUDA_VISIBLE_DEVICES": ""}),
                pass_fds=(theirs,),
                start_new_session=True,
            )
        os.close(theirs)

    def say(self, word: str) -> None:
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()

    def hang_up(self) -> None:
        self.process.stdin.close()

    def hear(self, on_message: Callable[[Message], None] = lambda _: None) -> Told:
        """Say ``go`` when it is ready and listen to its end."""
        messages: list[Message] = []
        with os.fdopen(self._pipe) as lines:
            for line in lines:
                messages.append(json.loads(line))
                if messages[-1].get("progress", {}).get("phase") == "ready":
                    self.say("go")
                on_message(messages[-1])
        status = self.process.wait(timeout=60)
        if not self.process.stdin.closed:
            self.hang_up()
        return Told(self.run, messages, status)


def train(folder: Path, spec: RunSpec, data: Path) -> Told:
    """Carry out one run undisturbed."""
    return TrainerUnderTest(folder, spec, data).hear()
