"""From the process's start to a network that waits for ``go``."""

from __future__ import annotations

import time
from pathlib import Path

from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.window import STARTUP
from wbcbench.data.dataset import Dataset
from wbcbench.data.load import load
from wbcbench.train import device, feed, training_network
from wbcbench.train.facts import model_facts
from wbcbench.train.forward import Forward
from wbcbench.train.sets import dataset_facts, divide
from wbcbench.train.stage import Stage, Wire

_TELL_LOADING_EVERY_S = 0.5


def start_up(run: RunDir, spec: RunSpec, wire: Wire) -> Stage:
    """Make data, device context and network ready, and close the ``startup`` window.

    The watcher opened that window when it started this process.

    Raises:
        UsageError: The data cannot be read or does not fit the spec.
    """
    device.configure(spec)
    dataset = _load(run, spec, wire)
    sets = divide(dataset, spec)
    wire.messenger.send({"dataset": dataset_facts(dataset, sets)})
    wire.progress(STARTUP)
    where = device.wake()
    model = training_network.build(spec)
    forward = Forward(model, jit_compile=spec.xla)
    stage = Stage(run, spec, dataset, sets, model, forward, feed.batches(sets, spec), wire)
    facts = model_facts(model, device_name=where, steps_per_epoch=stage.steps_per_epoch)
    wire.messenger.send({"model": facts})
    wire.phases.close(STARTUP, wire.phases.edge_s())
    return stage


def _load(run: RunDir, spec: RunSpec, wire: Wire) -> Dataset:
    local = run.read_local()
    last_s = 0.0

    def tell(done: int, images: int) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= _TELL_LOADING_EVERY_S:
            last_s = time.monotonic()
            place = {"phase": "loading", "step": done, "steps": images}
            wire.messenger.send({"progress": place})

    wire.progress("loading")
    return load(
        Path(local.data) if local.data else None,
        image_size=spec.image_size,
        cache_dir=Path(local.cache_dir) if local.cache_dir else None,
        skip_unreadable=local.skip_unreadable,
        on_progress=tell,
    )
