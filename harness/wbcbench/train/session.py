"""One run as the trainer lives it: start-up, idle, warm-up, training, test, inference."""

from __future__ import annotations

from typing import Literal

from wbcbench.core.run_folder import Messenger, RunDir
from wbcbench.core.window import IDLE_CONTEXT, MonotonicClock
from wbcbench.train import device
from wbcbench.train.control import Control
from wbcbench.train.fitting import train, warm_up
from wbcbench.train.phases import Phases
from wbcbench.train.stage import Wire
from wbcbench.train.startup import start_up
from wbcbench.train.testing import infer, score_test

End = Literal["done", "interrupted"]


def carry_out(run: RunDir, messenger: Messenger, control: Control) -> End:
    """Carry out the run of a folder.

    After ``stop`` the epoch in hand is finished with its validation, and the rest is left out.
    """
    clock = MonotonicClock()
    wire = Wire(messenger, control, Phases(messenger, device.synchronise, clock), clock)
    spec = run.read_spec()
    stage = start_up(run, spec, wire)
    wire.progress(IDLE_CONTEXT)
    wire.phases.idle(IDLE_CONTEXT, spec.idle_s)
    wire.progress("ready")
    if not control.wait_for_go():
        return "interrupted"
    warm_up(stage)
    if control.is_stopping or not train(stage) or control.is_stopping:
        return "interrupted"
    score_test(stage)
    return "done" if infer(stage) else "interrupted"
