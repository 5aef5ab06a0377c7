"""How TensorFlow is set before the first operation, and what it runs on."""

from __future__ import annotations

import re

import keras
import tensorflow as tf

from wbcbench.core.spec import RunSpec


def configure(spec: RunSpec) -> None:
    """Set determinism, threads and precision. Call before anything is computed."""
    if spec.deterministic:
        tf.config.experimental.enable_op_determinism()
    if spec.threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(spec.threads)
    keras.config.set_dtype_policy(spec.precision)


def wake() -> str:
    """Create the device's context by computing something small; return the device's name."""
    name = device_name()
    with tf.device(name):
        tf.linalg.matmul(tf.ones((8, 8)), tf.ones((8, 8)))
    synchronise()
    return name


def synchronise() -> None:
    """Return when every device has done what it was given."""
    tf.test.experimental.sync_devices()


def device_name() -> str:
    """Where TensorFlow puts the network: ``GPU:0``, or ``CPU:0`` without a visible GPU."""
    return "GPU:0" if tf.config.get_visible_devices("GPU") else "CPU:0"


def device_label(name: str) -> str:
    """Return ``name`` with the GPU's model where TensorFlow knows it."""
    for gpu in tf.config.get_visible_devices("GPU"):
        model = tf.config.experimental.get_device_details(gpu).get("device_name")
        return f"{name} {model}" if model else name
    return name


def device_pci_bus_id() -> str | None:
    """The PCI bus id of the GPU TensorFlow uses; ``None`` without one."""
    if not tf.config.get_visible_devices("GPU"):
        return None
    from tensorflow.python.client import device_lib  # the only place where TensorFlow tells it

    descriptions = (device.physical_device_desc for device in device_lib.list_local_devices())
    return next(filter(None, map(pci_bus_id, descriptions)), None)


def pci_bus_id(description: str) -> str | None:
    """Find the bus id in TensorFlow's description of a device, as NVML writes it.

    ``device: 0, name: NVIDIA A100, pci bus id: 0000:07:00.0, …`` → ``00000000:07:00.0``
    """
    found = re.search(r"pci bus id: ([0-9a-fA-F]+):([0-9a-fA-F:.]+)", description)
    return f"{found[1].zfill(8)}:{found[2]}".upper() if found else None
