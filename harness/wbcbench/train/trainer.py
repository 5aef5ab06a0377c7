"""The trainer: the child process that loads TensorFlow, trains one run and reports by messages.

``python -m wbcbench.train.trainer RUN_DIR MARK_FD``. It knows nothing of meters. Messages go over
the pipe ``MARK_FD`` (see ``core.messages``); commands come in words on standard input; what it
prints goes to the run's log. TensorFlow is imported after standard input is being read, so that a
dead recorder is noticed during the import too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

if __name__ == "__main__":
    # Keras imports it where it can, half a second of each start, for plots that no run draws; and
    # with it the settings of a user.
    sys.modules["matplotlib"] = None  # type: ignore[assignment]

import keras
import numpy as np
import tensorflow as tf

from wbcbench.core.environment import XLA_CACHE, changes_computing
from wbcbench.core.errors import CannotMeasureError, WbcbenchError
from wbcbench.core.messages import Messenger
from wbcbench.core.record import Failure, ModelFacts
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.text import encodable
from wbcbench.core.window import (
    BATCH,
    BUILD,
    COMPILE_INFERENCE,
    CONTEXT,
    DATA,
    EXIT,
    IDLE_CONTEXT,
    IMPORT,
    INFERENCE_BATCHES,
    STARTUP,
    MonotonicClock,
)
from wbcbench.data.load import load
from wbcbench.registry import load_part
from wbcbench.train.inputs import (
    Forward,
    batches,
    dataset_facts,
    digest_image_order,
    divide_dataset,
)
from wbcbench.train.loop import measure_inference, score_test, train, warm_up
from wbcbench.train.network import OnePassAdam, scale_pixels
from wbcbench.train.stage import Control, Phases, Stage, Wire
from wbcbench.train.variants import ModelSettings, Variant, flops_per_image

KINDS = {
    "MemoryError": "out-of-memory",
    "ResourceExhaustedError": "out-of-memory",
    "NanLossError": "nan-loss",
}
"""Failures with a name of their own; all others are named after their class."""

End = Literal["done", "interrupted"]

_LOADING_PERIOD_S = 0.5


def main(arguments: Sequence[str]) -> int:
    """Carry out one run and return the exit status: 0, or that of the error."""
    # The recorder decides what Ctrl-C on the terminal does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = Control()
    folder, descriptor = arguments
    # The pipe stays open until the process is gone: its end tells the recorder that it is.
    stream = open(int(descriptor), "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    messenger = Messenger(stream)
    try:
        end = carry_out(RunDir(Path(folder)), messenger, control)
    except Exception as error:
        with contextlib.suppress(BrokenPipeError):
            messenger.send({"failure": failure_of(error)})
        if not isinstance(error, WbcbenchError):
            raise
        traceback.print_exc()
        return error.exit_code
    control.release()
    messenger.send({"end": end})
    return 0


def failure_of(error: Exception) -> Failure:
    """Return why a run failed."""
    name = type(error).__name__
    return Failure(
        kind=KINDS.get(name, name),
        message=encodable(str(error) or name),
        traceback=encodable("".join(traceback.format_exception(error))),
    )


def carry_out(run: RunDir, messenger: Messenger, control: Control) -> End:
    """Carry out the run of a folder.

    After ``stop`` the epoch in hand is finished with its validation, and the rest is left out.
    """
    clock = MonotonicClock()
    wire = Wire(messenger, control, Phases(messenger, synchronise, clock, entered=IMPORT), clock)
    stage = _start_up(run, run.read_spec(), wire)
    end = _measure(stage)
    wire.phases.enter(EXIT, wire.phases.edge_s())
    return end


def _measure(stage: Stage) -> End:
    spec, wire, control = stage.spec, stage.wire, stage.wire.control
    wire.send_phase(IDLE_CONTEXT)
    wire.phases.idle(IDLE_CONTEXT, spec.idle_s)
    wire.send_phase("ready")
    if not control.wait_for_go():
        return "interrupted"
    warm_up(stage)
    if control.is_stopping or not train(stage) or control.is_stopping:
        return "interrupted"
    score_test(stage)
    _compile_inference(stage)
    return "done" if measure_inference(stage) else "interrupted"


def _compile_inference(stage: Stage) -> None:
    """Call the network with each batch size of inference once: XLA compiles for each."""
    if stage.spec.inference_s > 0 and not stage.wire.control.is_stopping:
        with stage.wire.phases.window(COMPILE_INFERENCE):
            for size in INFERENCE_BATCHES:
                stage.forward(scale_pixels(stage.sets.test.images[:size])).numpy()


def _start_up(run: RunDir, spec: RunSpec, wire: Wire) -> Stage:
    """Make device context, data and network ready, and close the ``startup`` window.

    The recorder opened that window, and ``import`` in it, when it started this process.

    Raises:
        CannotMeasureError: A GPU was asked for that TensorFlow cannot use.
        UsageError: The data cannot be read or does not fit the spec.
    """
    wire.phases.enter(CONTEXT, wire.clock.now_s())  # there is no device to wait for yet
    configure_tensorflow(spec)
    if spec.gpus and not tf.config.list_physical_devices("GPU"):
        raise CannotMeasureError(
            f"GPU {', '.join(spec.gpus)} was asked for, but TensorFlow finds no GPU that it can "
            "use; its log says why. Training was not started. Install TensorFlow with CUDA, or "
            "leave --gpus out."
        )
    where = wake_device()
    local = run.read_local()
    wire.send_phase("loading")
    wire.phases.enter(DATA, wire.phases.edge_s())
    dataset = load(
        Path(local.data) if local.data else None,
        image_size=spec.image_size,
        cache_dir=Path(local.cache_dir) if local.cache_dir else None,
        skip_unreadable=local.skip_unreadable,
        on_progress=_report_loading(wire),
    )
    sets = divide_dataset(dataset, spec)
    wire.messenger.send({"dataset": dataset_facts(dataset, sets)})
    wire.send_phase(STARTUP)
    wire.phases.enter(BUILD, wire.phases.edge_s())
    model = build_network(spec)
    forward = Forward(model, jit_compile=spec.xla)
    wire.phases.enter(BATCH, wire.phases.edge_s())
    stage = Stage(run, spec, dataset, sets, model, forward, batches(sets, spec), wire)
    facts = _describe_model(model, device_name=where, steps_per_epoch=stage.steps_per_epoch)
    order_sha256 = digest_image_order(sets.train, spec)
    wire.messenger.send({"model": replace(facts, image_order_sha256=order_sha256)})
    wire.phases.close(STARTUP, wire.phases.edge_s())
    return stage


def _report_loading(wire: Wire) -> Callable[[int, int], None]:
    last_s = 0.0

    def report(done: int, images: int) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= _LOADING_PERIOD_S:
            last_s = time.monotonic()
            progress = {"phase": "loading", "step": done, "steps": images}
            wire.messenger.send({"progress": progress})

    return report


def build_network(spec: RunSpec) -> keras.Model:
    """Build and compile the network; equal specs give equal weights.

    Seeds are set here, right before the weights are drawn, so that nothing that was done earlier
    (drawing synthetic images, reading a cache) can move them.
    """
    keras.utils.set_random_seed(spec.seed)
    variant: Variant = load_part("variant", spec.variant)
    settings = ModelSettings(
        image_size=spec.image_size,
        leaky_slope=spec.leaky_slope,
        dropout_conv=spec.dropout_conv,
        dropout_dense=spec.dropout_dense,
        batchnorm_momentum=spec.batchnorm_momentum,
        tuned=spec.tuned,
    )
    model = variant.build(settings)
    adam = OnePassAdam if spec.tuned else keras.optimizers.Adam
    model.compile(
        optimizer=adam(spec.learning_rate, name="adam"),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=["accuracy"],
        # Keras' own choice, "auto", differs between machines.
        jit_compile=spec.xla,
        steps_per_execution=spec.steps_per_execution,
    )
    return model


def _describe_model(model: keras.Model, *, device_name: str, steps_per_epoch: int) -> ModelFacts:
    """Return the facts of a compiled ``model``."""
    build = tf.sysconfig.get_build_info()  # CUDA and cuDNN are those TensorFlow was built with
    # The optimiser itself, not the loss scaling that half precision wraps around it.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return ModelFacts(
        params_total=int(model.count_params()),
        params_trainable=sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        flops_per_image=flops_per_image(model),
        steps_per_epoch=steps_per_epoch,
        optimizer=str(optimizer.name),
        jit_compile=bool(model.jit_compile),
        device=_format_device(device_name),
        device_pci_bus_id=device_pci_bus_id(),
        versions={
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "cuda": build.get("cuda_version"),
            "cudnn": build.get("cudnn_version"),
        },
        environment=relevant_environment(os.environ),
        first_weights_sha256=digest_weights(model),
    )


def digest_weights(model: keras.Model) -> str:
    """Return the SHA-256 of each weight's name, shape and bytes, in the network's order."""
    total = hashlib.sha256()
    for weight in model.weights:
        values = np.asarray(weight.numpy())
        total.update(f"{weight.name} {values.dtype} {values.shape}\n".encode())
        total.update(values.tobytes())
    return total.hexdigest()


def relevant_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that change how TensorFlow computes; where XLA keeps things does not."""
    return {
        name: encodable(value)
        for name, value in sorted(variables.items())
        if changes_computing(name) and not value.startswith(XLA_CACHE)
    }


def configure_tensorflow(spec: RunSpec) -> None:
    """Set determinism, threads and precision. Call before anything is computed."""
    if spec.deterministic:
        tf.config.experimental.enable_op_determinism()
    if spec.threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(spec.threads)
    keras.config.set_dtype_policy(spec.precision)


def wake_device() -> str:
    """Create the device's context by computing something small; ``GPU:0``, or ``CPU:0``."""
    name = "GPU:0" if tf.config.get_visible_devices("GPU") else "CPU:0"
    with tf.device(name):
        tf.linalg.matmul(tf.ones((8, 8)), tf.ones((8, 8)))
    synchronise()
    return name


def synchronise() -> None:
    """Return when every device has done what it was given."""
    tf.test.experimental.sync_devices()


def _format_device(name: str) -> str:
    """Return ``name`` with the GPU's model where TensorFlow knows it."""
    for gpu in tf.config.get_visible_devices("GPU"):
        model = tf.config.experimental.get_device_details(gpu).get("device_name")
        return f"{name} {model}" if model else name
    return name


def device_pci_bus_id() -> str | None:
    """The PCI bus id of the GPU TensorFlow uses; ``None`` without one."""
    if not tf.config.get_visible_devices("GPU"):
        return None
    from tensorflow.python.client import device_lib  # the only place where TensorFlow has it

    descriptions = (device.physical_device_desc for device in device_lib.list_local_devices())
    return next(filter(None, map(pci_bus_id, descriptions)), None)


def pci_bus_id(description: str) -> str | None:
    """Find the bus id in TensorFlow's description of a device, as NVML writes it.

    ``device: 0, name: NVIDIA A100, pci bus id: 0000:07:00.0, …`` → ``00000000:07:00.0``
    """
    match = re.search(r"pci bus id: ([0-9a-fA-F]+):([0-9a-fA-F:.]+)", description)
    return f"{match[1].zfill(8)}:{match[2]}".upper() if match else None


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # all is sent and on disk; to take TensorFlow apart would take a second
