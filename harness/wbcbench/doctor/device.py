"""The GPUs: which, in what state, and who else is on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from wbcbench.core.errors import CannotMeasureError
from wbcbench.doctor import Facts, Line, State
from wbcbench.power import nvml_device as nvml
from wbcbench.power.limit_note import abandoned_paths
from wbcbench.power.nvml import processes
from wbcbench.power.nvml_device import Gpu, choose, gpu_facts, list_gpus

TENSORFLOW_S = 300.0  # its import takes a minute on a busy machine
_ASK_TENSORFLOW = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"


def check(facts: Facts) -> Iterator[Line]:
    """Every GPU that would be measured, and whether TensorFlow can use it."""
    try:
        with nvml.session():
            gpus = choose(facts.gpus, list_gpus(), os.environ)
            for gpu in gpus:
                yield from _gpu(gpu)
    except CannotMeasureError as error:
        yield Line(
            State.INFO,
            "gpu",
            "no NVIDIA GPU can be read",
            why="training would run on the CPU, whose energy is rarely measured by a sensor",
            fix=str(error),
        )
    else:
        yield _tensorflow(len(gpus))
    yield from _limits_left()


def _gpu(gpu: Gpu) -> Iterator[Line]:
    handle = nvml.device(gpu.uuid)
    facts = gpu_facts(gpu, handle)
    persistence = {True: "on", False: "off", None: "unknown"}[_flag(facts["persistence_mode"])]
    limit = facts["power_limit_enforced_w"]
    yield Line(
        State.OK,
        "gpu",
        f"GPU {gpu.index}  {gpu.name} (driver {facts['driver']}, power limit "
        f"{'unknown' if limit is None else f'{limit:g} W'}, persistence {persistence})",
    )
    if persistence == "off":
        yield Line(
            State.WARN,
            "persistence",
            f"persistence mode of GPU {gpu.index} is off",
            why="the driver is loaded anew for each program: counters restart and start-up varies",
            fix=f"sudo nvidia-smi -i {gpu.index} -pm 1",
            undo=f"sudo nvidia-smi -i {gpu.index} -pm 0",
        )
    yield _others(gpu, handle)


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _others(gpu: Gpu, handle: Any) -> Line:
    seen = processes(handle)
    if seen is None:
        return Line(
            State.INFO,
            "processes",
            f"the driver does not tell who else is on GPU {gpu.index}",
            why="a stranger's joules would be charged to the run unseen",
        )
    if not seen:
        return Line(State.OK, "processes", f"no other process on GPU {gpu.index}")
    pids = ", ".join(str(each.pid) for each in seen)
    return Line(
        State.WARN,
        "processes",
        f"on GPU {gpu.index} there are other processes: {pids}",
        why="a board's counter charges them to the run, which becomes suspect",
        fix="stop them, or name another GPU with --gpus",
    )


def _tensorflow(gpus: int) -> Line:
    if find_spec("tensorflow") is None:
        return Line(State.FAIL, "tensorflow-gpu", "TensorFlow is not installed",
                    why="nothing can be trained", fix="pip install wbcbench[cuda]")  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_TENSORFLOW],
            capture_output=True, text=True, check=False, timeout=TENSORFLOW_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Line(State.WARN, "tensorflow-gpu", "TensorFlow did not answer")
    if done.stdout.strip().isdigit() and int(done.stdout) >= 1:
        return Line(State.OK, "tensorflow-gpu", f"TensorFlow sees {int(done.stdout)} GPU(s)")
    return Line(
        State.WARN,
        "tensorflow-gpu",
        f"the driver shows {gpus} GPU(s), TensorFlow none",
        why="training would run on the CPU while the idle GPU is measured",
        fix="pip install 'wbcbench[cuda]'",
        undo="pip uninstall the nvidia-… packages it brought",
    )


def _limits_left() -> Iterator[Line]:
    for path in abandoned_paths():
        yield Line(
            State.WARN,
            "power-limit",
            f"a run that was killed left its power limit in force ({path.name})",
            why="every run on that board is slower and draws less than it seems to",
            fix="start any `wbcbench run`: it puts the old limit back first",
        )
