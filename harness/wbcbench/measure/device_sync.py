"""Wait until every accelerator has done what it was given, in whatever library is loaded.

A GPU works on while Python has long gone on: an edge stamped without waiting belongs to another
moment. Nothing is imported here; a library that is not loaded has given nothing to do.
"""

from __future__ import annotations

import sys


def synchronise() -> None:
    """Return when TensorFlow's and PyTorch's devices are idle, as far as they are loaded."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and tensorflow.executing_eagerly():
        tensorflow.test.experimental.sync_devices()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
