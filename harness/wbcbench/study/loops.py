"""How often each run of a plan trains in its window, decided once: before the plan is digested.

A number that each run decided for itself would be another one each time. So it is a number of the
plan, one for each configuration, told by steps that a trainer makes and undoes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wbcbench.core.errors import CannotMeasureError, WbcbenchError, error_named
from wbcbench.core.lock import HOST, machine_lock
from wbcbench.core.messages import parse_lines
from wbcbench.core.run_folder import Local, create_temporary
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import PLAN
from wbcbench.core.window import TRAIN
from wbcbench.power.meter import MeterRequest, find_meters
from wbcbench.run.live_state import Say
from wbcbench.run.recorder import READY
from wbcbench.run.trainer_process import TrainerProcess, trainer_environment
from wbcbench.study.plan import Plan, from_json

SYNTHETIC = "synthetic-"  # begins the names of images that are made here
MESSAGE_S = 600.0  # without a message of the trainer: it hangs


TimeElsewhere = Callable[[Sequence[RunSpec]], Sequence[int | None]]
"""How often each training would be repeated where it will run; ``None``: each run decides."""


def fix_loops(
    plan: Plan,
    local: Local,
    results: Path,
    say: Say,
    *,
    may_train: bool = True,
    time_elsewhere: TimeElsewhere | None = None,
) -> Plan:
    """The plan with a number of loops for each run of which the device or its speed decides.

    A study that has begun keeps its numbers. Runs stay as they are where a plan's meters or images
    are not here; and, where it is left to the device, on a machine without a GPU and in a plan that
    tests nothing: there each run decides, for a search has more recipes than are worth timing.

    Args:
        plan: The plan of a file.
        local: What belongs to this machine: its images are trained on.
        results: Where the study lies.
        say: Is told what is timed.
        may_train: Whether trainers may be started where nothing is known.
        time_elsewhere: Times trainings where the runs go, if that is not this machine.

    Raises:
        WbcbenchError: A trainer failed, or somebody else measures here.
    """
    kept = results / plan.study / PLAN
    numbers = {
        _drop_place(run): run.loops
        for run in (from_json(kept).runs if kept.exists() else ())
        if isinstance(run.loops, int)
    }
    undecided = [
        run
        for run in plan.runs
        if run.loops == "auto" or (run.loops is None and not plan.analysis.exploratory)
        if _drop_place(run) not in numbers
    ]
    if may_train and undecided and time_elsewhere is not None:
        specs = {_drop_place(run): run for run in reversed(undecided)}
        found = zip(specs, time_elsewhere([*specs.values()]), strict=True)
        numbers |= {key: loops for key, loops in found if loops is not None}
    elif may_train and undecided and _can_be_timed(undecided[0], local, say):
        with machine_lock(HOST, share=local.share):
            for run in undecided:
                if (key := _drop_place(run)) not in numbers:
                    say(f"timing a training of {plan.label(run)}, to know how often it is repeated")
                    numbers[key] = time_loops(run, local)
    runs = tuple(
        run
        if isinstance(run.loops, int)
        else replace(run, loops=numbers.get(_drop_place(run), run.loops))
        for run in plan.runs
    )
    return plan if runs == plan.runs else replace(plan, runs=runs)


def decide_loops(spec: RunSpec, local: Local) -> int | None:
    """The same on the node of a job; ``None`` where each run decides, for there is no GPU."""
    if not _can_be_timed(spec, local, lambda _: None):
        return None
    with machine_lock(HOST, share=local.share, alone=False):
        return time_loops(spec, local)


def time_loops(spec: RunSpec, local: Local) -> int:
    """How often a run would train in its window; its trainer says so, and is stopped then.

    Raises:
        WbcbenchError: The trainer failed.
    """
    run = create_temporary(replace(spec, idle_s=0.0), local)
    visible = dict(device.visible_as for device in _find_devices(spec)[:1])
    trainer = TrainerProcess(run, trainer_environment(spec, os.environ, visible))
    try:
        for message in _read_messages(trainer):
            if "failure" in message:
                failure = message["failure"]
                raise error_named(failure["kind"])(f"A training was timed: {failure['message']}")
            if "loops" in message:
                return int(message["loops"])
            phase = message.get("progress", {}).get("phase")
            if phase == READY:
                trainer.send("go")
            if phase == TRAIN:  # once
                return 1
        log = run.log_path.read_text(errors="replace").strip().splitlines()[-1:]
        raise WbcbenchError(f"A training was timed, and its trainer ended: {' '.join(log)}")
    finally:
        trainer.kill()
        trainer.reap()
        shutil.rmtree(run.path, ignore_errors=True)


def _read_messages(trainer: TrainerProcess) -> Iterator[dict[str, Any]]:
    while not trainer.is_silent:
        lines = trainer.read_lines(MESSAGE_S)
        if not lines and not trainer.is_silent:
            raise WbcbenchError(f"A training was timed, and said nothing for {MESSAGE_S:.0f} s.")
        yield from parse_lines(iter(lines))


def _drop_place(run: RunSpec) -> RunSpec:
    """What runs of one configuration have in common."""
    return replace(
        run,
        seed=0,
        block=0,
        block_attempt=1,
        order_in_block=0,
        order_global=0,
        repeat=1,
        dataset_id="",
        dataset_sha256="",
        loops=None,
    )


def _can_be_timed(spec: RunSpec, local: Local, say: Say) -> bool:
    """Whether the machine is here that decides, and its images are."""
    try:
        has_gpu = any(device.can_train for device in _find_devices(spec))
    except CannotMeasureError as error:
        say(f"loops are decided where the meters are: {error}")
        return False
    if spec.loops is None and not has_gpu:
        return False
    if spec.dataset_id and local.data is None and not spec.dataset_id.startswith(SYNTHETIC):
        say(f"loops are decided where the images of {spec.dataset_id} are: give --data")
        return False
    return True


def _find_devices(spec: RunSpec) -> list[Any]:
    request = MeterRequest(gpus=spec.gpus, one_gpu=True, for_training=True)
    return list(find_meters(spec.meters, request).devices)
