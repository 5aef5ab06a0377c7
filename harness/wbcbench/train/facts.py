"""What the record says of the network and of the software that ran it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from wbcbench.core.record import ModelFacts
from wbcbench.train import device
from wbcbench.train.layer_table import flops_per_image

ENVIRONMENT_THAT_MATTERS = (
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "GLIBC_TUNABLES",
    "KERAS_BACKEND",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "TF_CUDNN_DETERMINISTIC",
    "TF_CUDNN_USE_AUTOTUNE",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
    "TF_GPU_THREAD_COUNT",
    "TF_GPU_THREAD_MODE",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
"""They change how TensorFlow computes. A list, not a prefix: other programs use ``TF_`` too."""


def model_facts(model: keras.Model, *, device_name: str, steps_per_epoch: int) -> ModelFacts:
    """Return the facts of a compiled ``model``."""
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return ModelFacts(
        params_total=int(model.count_params()),
        params_trainable=trainable,
        flops_per_image=flops_per_image(model),
        steps_per_epoch=steps_per_epoch,
        optimizer=_optimizer_name(model),
        jit_compile=bool(model.jit_compile),
        device=device.device_label(device_name),
        device_pci_bus_id=device.device_pci_bus_id(),
        versions=versions(),
        environment=environment(os.environ),
    )


def versions() -> dict[str, str | None]:
    """Return versions; CUDA and cuDNN are those TensorFlow was built with, ``None`` without."""
    build = tf.sysconfig.get_build_info()
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "cuda": build.get("cuda_version"),
        "cudnn": build.get("cudnn_version"),
    }


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that change how TensorFlow computes."""
    return {
        name: value for name, value in sorted(variables.items()) if name in ENVIRONMENT_THAT_MATTERS
    }


def _optimizer_name(model: keras.Model) -> str:
    """The optimiser itself, not the loss scaling that half precision wraps around it."""
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return str(inner.name)
