"""Energy of any Python code: ``Meter``, with the device synchronised at both edges.

    with Meter() as m:
        with m.window("train"):
            train()
    print(m.energy.energy_j, m.energy.uncertainty_j, m.energy.status)

Documented in harness/API.md.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Self

import psutil

from wbcbench.core.board_state import BoardSample
from wbcbench.core.errors import UsageError
from wbcbench.core.quality import Quality, QualityWarning
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Trace
from wbcbench.core.window import TRAIN, WHOLE, MonotonicClock, Window, WindowEnergy
from wbcbench.energy.appraise import appraise
from wbcbench.measure.sampling_process import SideSampler
from wbcbench.measure.window_result import EnergyResult, Recording, WindowResult, read_recording
from wbcbench.power.session import MeteringRequest


class Meter:
    """Measures what happens inside its ``with`` block; results are there after it.

    Sampling happens in a process of its own, so the measured code pays for it with no more than
    the other core's time. Entering takes some seconds and leaving at least one: sampling
    begins before the block's first edge and ends after its last.
    """

    def __init__(
        self,
        meters: Sequence[str] | str = ("auto",),
        *,
        gpus: Sequence[str | int] | str | int = (),
        interval_s: float = 0.1,
        seed: int = 0,
        options: Mapping[str, str | float] | None = None,
    ) -> None:
        """Say what to measure with; nothing is started yet.

        Args:
            meters: Names of meters (``wbcbench list parts``), or ``"auto"`` for all that work.
            gpus: GPU indices, UUIDs or UUID prefixes; empty = every visible one.
            interval_s: Sampling period in seconds, 0.01 to 10.
            seed: For the simulated meter's signal.
            options: Further words for one meter, e.g. ``{"simulated.load_w": "100"}``.

        Raises:
            UsageError: No meter is named, or the period is out of its range.
        """
        names = (meters,) if isinstance(meters, str) else tuple(meters)
        boards = (gpus,) if isinstance(gpus, str | int) else gpus
        words = {name: str(value) for name, value in (options or {}).items()}
        self._request = MeteringRequest(names, tuple(map(str, boards)), interval_s, seed, words)
        self._clock = MonotonicClock()
        self._sampler: SideSampler | None = None
        self._finished: Recording | None = None
        self._opened: dict[str, float] = {}
        self._windows: dict[str, Window] = {}

    def __enter__(self) -> Self:
        """Start sampling.

        Raises:
            CannotMeasureError: No meter works here, or one asked for by name does not.
            UsageError: There is no meter or GPU of that name, or this meter was used before.
        """
        if self._sampler is not None:
            raise UsageError("A Meter measures one block. Make another for the next.")
        self._folder = tempfile.TemporaryDirectory(prefix="wbcbench-", ignore_cleanup_errors=True)
        try:
            self._sampler = SideSampler(Path(self._folder.name), self._request)
        except BaseException:
            self._folder.cleanup()
            raise
        self.open(WHOLE)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sampling and read what it left; an error of the block passes through."""
        assert self._sampler is not None
        for name in list(self._opened):
            self.close(name)
        try:
            write_error = self._sampler.stop()
            recording = read_recording(RunDir(Path(self._folder.name)), write_error)
        except BaseException:
            self._sampler.kill()
            raise
        finally:
            self._folder.cleanup()
        pids = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
        samples = {
            device: [_with_own_processes(sample, pids) for sample in device_samples]
            for device, device_samples in recording.samples.items()
        }
        self._finished = replace(recording, samples=samples)

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Measure a named part of the block; windows may nest and overlap.

        Args:
            name: Any text but ``"whole"``; each name once a block.

        Raises:
            UsageError: The name is taken or empty, or the meter is not running.
        """
        self.open(name)
        try:
            yield
        finally:
            self.close(name)

    def open(self, name: str) -> None:
        """Begin a window, where a ``with`` does not fit; raises like ``window``.

        Accelerators are synchronised before the edge is stamped.
        """
        if self._sampler is None or self._finished is not None:
            raise UsageError(f"The window {name!r} is outside the meter's `with` block.")
        if not name or name in self._windows or name in self._opened:
            raise UsageError(
                f"The window name {name!r} is empty or was used before. "
                "Each window needs its own name, e.g. 'epoch-1', 'epoch-2'."
            )
        synchronise()
        self._opened[name] = self._clock.now_s()

    def close(self, name: str) -> None:
        """End a window that ``open`` began.

        Raises:
            UsageError: No window of that name is open.
        """
        if name not in self._opened:
            raise UsageError(f"No window {name!r} is open, so it cannot be closed.")
        synchronise()
        self._windows[name] = Window(name, self._opened.pop(name), self._clock.now_s())

    @cached_property
    def energies(self) -> tuple[WindowEnergy, ...]:
        """Joules ± of every window on every channel, windows in the order they ended.

        Raises:
            UsageError: The block has not ended; so for everything below.
        """
        return appraise(self._recording.traces, list(self._windows.values())).energies

    def window_result(self, name: str) -> WindowResult:
        """Everything about one window: readings, energy, warnings, quality.

        Raises:
            UsageError: There is no such window.
        """
        recording = self._recording
        if name not in self._windows:
            known = ", ".join(self._windows)
            raise UsageError(f"There is no window {name!r}. Known: {known}.")
        return recording.measure_window(self._windows[name], work=self._windows.get(WHOLE))

    @property
    def windows(self) -> tuple[Window, ...]:
        """Every window that ended, ``whole`` last, in seconds of the monotonic clock."""
        return tuple(self._windows.values())

    @property
    def energy(self) -> EnergyResult:
        """The joules to quote: of the window ``train`` if there is one, else of the whole block."""
        return self._main.energy

    @property
    def warnings(self) -> tuple[QualityWarning, ...]:
        """Every warning about the window of ``energy``, each with its advice."""
        return self._main.warnings

    @property
    def limits(self) -> tuple[str, ...]:
        """What the sensors can never tell, one sentence a board; no fault of this measurement."""
        return self._main.limits

    @property
    def quality(self) -> Quality:
        """What the warnings add up to: valid, suspect or invalid."""
        return self._main.quality

    @property
    def traces(self) -> tuple[Trace, ...]:
        """Every reading of every channel."""
        return self._recording.traces

    @property
    def sampler_cpu_s(self) -> float | None:
        """Processor seconds that sampling took; ``None`` until the block has ended."""
        return self._sampler.cpu_s if self._sampler else None

    @cached_property
    def _main(self) -> WindowResult:
        return self.window_result(TRAIN if TRAIN in self._windows else WHOLE)

    @property
    def _recording(self) -> Recording:
        if self._finished is None:
            raise UsageError(
                "The energy is known when the meter's `with` block has ended: the last readings "
                "come after the last window."
            )
        return self._finished


def _with_own_processes(sample: BoardSample, pids: set[int]) -> BoardSample:
    """Count this process and its children as the program's own, not as foreign.

    The sampling process, which is a child of this one, cannot know whom it works for.
    """
    if sample.own is None or sample.foreign is None:
        return sample
    foreign = set(sample.foreign)
    return replace(
        sample,
        own=tuple(sorted({*sample.own, *foreign & pids})),
        foreign=tuple(pid for pid in sample.foreign if pid not in pids),
    )


# A GPU works on while Python goes on: an edge stamped without waiting belongs to another moment.
# Nothing is imported here: a library that is not loaded has given the device nothing to do.
def synchronise() -> None:
    """Return when TensorFlow's and PyTorch's devices are idle, as far as they are loaded."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and tensorflow.executing_eagerly():
        tensorflow.test.experimental.sync_devices()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
