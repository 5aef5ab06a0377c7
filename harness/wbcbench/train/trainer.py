"""The trainer: the child process that loads TensorFlow, trains one run and reports by messages.

``python -m wbcbench.train.trainer RUN_DIR MARK_FD``. It knows nothing of meters. Messages go over
the pipe ``MARK_FD`` (see ``core.messages``); commands come in words on standard input; what it
prints goes to the run's log. TensorFlow is imported after standard input is being read, so that a
dead recorder is noticed during the import too.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

if __name__ == "__main__":
    # Keras imports it where it can, half a second of each start, for plots that no run draws; and
    # with it the settings of a user.
    sys.modules["matplotlib"] = None  # type: ignore[assignment]

import keras
import numpy as np
import tensorflow as tf

from wbcbench.core.environment import XLA_CACHE, changes_computing
from wbcbench.core.errors import CannotMeasureError, UsageError, WbcbenchError
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
from wbcbench.data.dataset import Dataset
from wbcbench.data.load import load
from wbcbench.registry import load_part
from wbcbench.train.inputs import (
    EVALUATION_BATCH_SIZE,
    HOST,
    Forward,
    Sets,
    count_bytes,
    dataset_facts,
    digest_image_order,
    divide_dataset,
    place_images,
)
from wbcbench.train.loop import measure_inference, score_loops, score_test, train, warm_up
from wbcbench.train.network import OnePassAdam, scale_pixels
from wbcbench.train.paths import FitPath, ResidentPath, TrainingPath
from wbcbench.train.schedule import build_learning_rate
from wbcbench.train.snapshot import digest_weights
from wbcbench.train.stage import Control, Phases, Stage, Wire
from wbcbench.train.variants import (
    ModelSettings,
    Variant,
    flops_per_image,
    has_reduced_pools,
    layer_table,
)

KINDS = {
    "MemoryError": "out-of-memory",
    "ResourceExhaustedError": "out-of-memory",
    "NanLossError": "nan-loss",
}
"""Failures with a name of their own; all others are named after their class."""

GPU = "GPU:0"
VALUE_BYTES = 4
ACTIVATION_COPIES = 3  # of each layer's output: itself, its gradient, what a kernel works on

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
    start = warm_up(stage)
    if control.is_stopping:
        return "interrupted"
    trained = train(stage, start)
    if not trained.is_whole:
        return "interrupted"
    score_test(stage)
    score_loops(stage, trained)
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
    if spec.dataset_sha256 not in ("", dataset.sha256):
        raise UsageError(
            f"{dataset.root} has other images here than the run was planned for. Training was not "
            "started. Copy the same images to every node, or use a folder that all nodes share."
        )
    sets = divide_dataset(dataset, spec)
    wire.messenger.send({"dataset": dataset_facts(dataset, sets)})
    wire.send_phase(STARTUP)
    stage = make_stage(run, spec, dataset, sets, wire, where)
    facts = _describe_model(stage.model, device_name=where, steps_per_epoch=stage.steps_per_epoch)
    order_sha256 = digest_image_order(sets.train, spec)
    streams = stage.images.is_on_host and where != HOST
    path = "streamed" if streams and spec.path == "resident" else spec.path
    facts = replace(facts, image_order_sha256=order_sha256, path=path)
    wire.messenger.send({"model": facts})
    wire.phases.close(STARTUP, wire.phases.edge_s())
    return stage


def make_stage(
    run: RunDir, spec: RunSpec, dataset: Dataset, sets: Sets, wire: Wire, device: str
) -> Stage:
    """Build the network on ``device`` and what trains it; images that fit lie there, too."""
    wire.phases.enter(BUILD, wire.phases.edge_s())
    steps = spec.epochs * math.ceil(len(sets.train) / spec.batch_size)
    model = build_network(spec, steps=steps, jit_compile=compiles(spec, device))
    wire.phases.enter(BATCH, wire.phases.edge_s())
    is_resident = spec.path == "resident" and device != HOST and _fit(sets, model, spec)
    images = place_images(sets, device if is_resident else HOST)
    if spec.path == "fit":
        path: TrainingPath = FitPath(model, images.train, spec.batch_size)
    else:
        path = ResidentPath(model, images.train, spec.batch_size, wire.clock)
    forward = Forward(model, jit_compile=bool(model.jit_compile))
    return Stage(run, spec, dataset, sets, model, path, forward, images, device != HOST, wire)


def compiles(spec: RunSpec, device: str) -> bool:
    """Whether XLA compiles the training: as the spec says, else where a GPU trains and can.

    Left to the device, determinism comes first: see ``ReducedMaxPooling2D``.
    """
    if spec.xla is not None:
        return spec.xla
    is_undetermined = spec.deterministic and not has_reduced_pools(spec)
    if device == HOST or spec.path == "fit" or is_undetermined:
        return False
    try:
        with tf.device(device):
            tf.function(tf.nn.softmax, jit_compile=True)(tf.ones((8, 8)))
    except tf.errors.OpError as error:  # libraries of CUDA that only XLA needs are missing
        print(f"XLA is left out, for it does not work here: {error}", file=sys.stderr)
        return False
    return True


def _fit(sets: Sets, model: keras.Model, spec: RunSpec) -> bool:
    """Whether the images of a run have room on the GPU beside its training."""
    free = free_gpu_bytes()
    values = sum(math.prod(row.output_shape) for row in layer_table(model))
    training = (
        ACTIVATION_COPIES * VALUE_BYTES * values * max(spec.batch_size, EVALUATION_BATCH_SIZE)
    )
    needed = count_bytes(sets) + training
    if free is not None and needed > free:
        print(
            f"The images stay in the machine's memory: they and a step need {needed:,} bytes on "
            f"the GPU, and {free:,} are free.",
            file=sys.stderr,
        )
    return free is None or needed <= free


def _report_loading(wire: Wire) -> Callable[[int, int], None]:
    last_s = 0.0

    def report(done: int, images: int) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= _LOADING_PERIOD_S:
            last_s = time.monotonic()
            progress = {"phase": "loading", "step": done, "steps": images}
            wire.messenger.send({"progress": progress})

    return report


def build_network(spec: RunSpec, *, steps: int = 1, jit_compile: bool = False) -> keras.Model:
    """Build and compile the network, to be trained in ``steps``; equal specs give equal weights.

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
        # On a processor MaxPool is three times as fast.
        reduced_pools=jit_compile and has_reduced_pools(spec) and find_gpu() is not None,
    )
    model = variant.build(settings)
    adam = OnePassAdam if spec.tuned else keras.optimizers.Adam
    model.compile(
        optimizer=adam(build_learning_rate(spec, steps), name="adam"),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=["accuracy"],
        # Keras' own choice, "auto", differs between machines.
        jit_compile=jit_compile,
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
    name = GPU if tf.config.get_visible_devices("GPU") else HOST
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
    gpu = find_gpu()
    return None if gpu is None else pci_bus_id(gpu.physical_device_desc)


def free_gpu_bytes() -> int | None:
    """What TensorFlow may still take of its GPU's memory; ``None`` if that is unknown."""
    gpu = find_gpu()
    if gpu is None or not gpu.memory_limit:
        return None
    return int(gpu.memory_limit) - int(tf.config.experimental.get_memory_info(GPU)["current"])


@cache
def find_gpu() -> Any | None:
    """What TensorFlow says of the GPU it uses; ``None`` without one."""
    if not tf.config.get_visible_devices("GPU"):
        return None
    from tensorflow.python.client import device_lib  # the only place where TensorFlow has it

    return next((d for d in device_lib.list_local_devices() if d.device_type == "GPU"), None)


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
