"""A load of scripted boards: what TensorFlow would compute is a step of the board's true power.

``ScriptedLoad`` plays in a test's own time. ``loading_python`` is a Python that runs this file, in
real time, wherever ``wbcbench.train.known_load`` is asked for: the same orders, the same answers.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fakes.power_shapes import LivePower
from wbcbench.core.window import Clock
from wbcbench.energy.load_plan import Bout, Played

IDLE_W, CONTEXT_W, STEP_W = 60.0, 15.0, 240.0


class ScriptedLoad:
    """Knows its edges to the microsecond.

    Attributes:
        loaded_on: Where it says that it computes.
        processor_w: By how much a load of the processor moves the board.
    """

    def __init__(
        self,
        power: LivePower,
        clock: Clock,
        *,
        loaded_on: str = "/GPU:0",
        processor_w: float = 0.0,
        bend: float = 0.0,
    ) -> None:
        self.loaded_on, self.processor_w = loaded_on, processor_w
        self._power, self._clock, self._bend = power, clock, bend

    @contextmanager
    def start(self, *_: object) -> Iterator["ScriptedLoad"]:
        """As ``accept_board`` starts a load; its context raises the idle power at once."""
        now_s = self._clock.now_s()
        self._power.step_to(IDLE_W + CONTEXT_W, now_s)
        self._clock.sleep_until(now_s + 1.0)
        yield self

    def play(self, bout: Bout) -> Played:
        """A load is ``bend`` of its step weaker, the longer of the time it is on."""
        start_s = self._clock.now_s() + 0.05
        spans = tuple((start_s + at_s, start_s + at_s + on_s) for at_s, on_s in bout.spans)
        duty = sum(on_s for _, on_s in bout.spans) / bout.loaded_s
        step_w = self.processor_w if bout.where == "processor" else STEP_W
        write_spans(self._power, spans, step_w * (1 - self._bend * duty**2))
        self._clock.sleep_until(start_s + bout.length_s)
        return Played(bout.name, bout.where, start_s, start_s + bout.length_s, spans)


def write_spans(
    power: LivePower, spans: tuple[tuple[float, float], ...], step_w: float, epoch_s: float = 0.0
) -> None:
    """The steps of a load, before their time."""
    for on_s, off_s in spans:
        power.step_to(IDLE_W + CONTEXT_W + step_w, on_s - epoch_s)
        power.step_to(IDLE_W + CONTEXT_W, off_s - epoch_s)


def loading_python(
    folder: Path, power: LivePower, epoch_s: float, loaded_on: str = "/GPU:0"
) -> str:
    """A Python in which this file stands for the load's program.

    Args:
        folder: Where it is written.
        power: Of the board that it loads.
        epoch_s: The monotonic time of the scenario's second 0.
        loaded_on: Where it says that it computes.
    """
    script = folder / "python"
    words = f"{power.path} {epoch_s!r} {loaded_on}"
    here = Path(__file__)
    script.write_text(
        "#!/bin/sh\n"
        'case " $* " in *" wbcbench.train.known_load "*)\n'
        f"  for pipe; do :; done; PYTHONPATH={here.parents[1]} "
        f"exec {sys.executable} {here} {words} $pipe;; esac\n"
        f'exec {sys.executable} "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


def main() -> None:
    """Answer orders as the real program does."""
    path, epoch, loaded_on, pipe = sys.argv[1:]
    power, epoch_s = LivePower(Path(path)), float(epoch)

    def say(message: dict[str, object]) -> None:
        os.write(int(pipe), json.dumps(message).encode() + b"\n")

    power.step_to(IDLE_W + CONTEXT_W, time.monotonic() - epoch_s)
    say({"loaded_on": loaded_on})
    for line in sys.stdin:
        order = json.loads(line)
        at_s = order["at_s"]
        spans = tuple((at_s + on_s, at_s + on_s + length_s) for on_s, length_s in order["spans"])
        step_w = STEP_W if order["where"] == "board" else 0.0
        write_spans(power, spans, step_w, epoch_s)
        time.sleep(max(spans[-1][1] - time.monotonic(), 0.0))
        say({"spans": spans})


if __name__ == "__main__":
    main()
