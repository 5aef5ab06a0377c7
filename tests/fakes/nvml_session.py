"""Talking to the scripted driver through the real pynvml."""

from collections.abc import Iterator
from contextlib import contextmanager

import pynvml

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Scenario


@contextmanager
def opened() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def first() -> object:
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def still(nvml: ScriptedNvml, gpu: FakeGpu, at_s: float = 0.0) -> None:
    """Play one GPU at a moment that does not pass."""
    nvml.play(Scenario((gpu,), clock=nvml.clock(at_s).path))
