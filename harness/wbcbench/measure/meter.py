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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, validate_call

from wbcbench.core.errors import MeasuredElsewhereError, RunsFailedError, UsageError
from wbcbench.core.messages import Edge
from wbcbench.core.quality import Quality, QualityWarning
from wbcbench.core.settings import find_results
from wbcbench.core.strict_json import first_problem
from wbcbench.core.trace import Trace
from wbcbench.core.window import WHOLE, MonotonicClock, Window, WindowEnergy, find_main
from wbcbench.energy.checks import Evidence
from wbcbench.energy.source import EnergyResult
from wbcbench.measure.program_run import MarkFile, ProgramRun, create_run, describe_error
from wbcbench.measure.sampling_process import SideSampler
from wbcbench.measure.window_result import (
    Recording,
    WindowResult,
    read_recording,
    record_nothing,
)
from wbcbench.power.session import MeteringRequest
from wbcbench.run.finalise import describe_interrupted, finalise_ended, finalise_programs


def _spell(value: object) -> object:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return str(value) if is_number else value


_Word = Annotated[str, BeforeValidator(_spell)]


@validate_call
def _make_request(
    meters: tuple[str, ...],
    gpus: tuple[_Word, ...],
    interval_s: float,
    seed: Annotated[int, Field(ge=0, lt=2**32)],
    options: dict[str, _Word],
    save: bool,
) -> tuple[MeteringRequest, bool]:
    return MeteringRequest(meters, gpus, interval_s, seed, options), save


class Meter:
    """Measures what happens inside its ``with`` block; results are there after it.

    Sampling happens in a process of its own, so the measured code pays for it with no more than
    the other core's time. Entering takes a second or more and leaving at least half a
    one: sampling begins before the block's first edge and ends after its last.

    What is read is kept as a run of the study ``measured``, so that a kill loses nothing. A forked
    child has no part in it: whatever it does with the meter it inherits changes nothing. Of several
    ranks of a program each device is read by one; a rank that reads none goes on, and says so.
    """

    def __init__(
        self,
        meters: Sequence[str] | str = ("auto",),
        *,
        gpus: Sequence[str | int] | str | int = (),
        interval_s: float = 0.1,
        seed: int = 0,
        options: Mapping[str, str | float] | None = None,
        save: bool = True,
    ) -> None:
        """Say what to measure with; nothing is started yet.

        Args:
            meters: Names of meters (``wbcbench list parts``), or ``"auto"`` for all that work.
            gpus: GPU indices, UUIDs or UUID prefixes; empty = every visible one.
            interval_s: Sampling period in seconds, 0.01 to 10.
            seed: For the simulated meter's signal.
            options: Further words for one meter, e.g. ``{"simulated.load_w": "100"}``.
            save: Keep the readings and a record in the results folder.

        Raises:
            UsageError: No meter is named, the period is out of its range, or an argument is of
                another kind.
        """
        given: dict[str, Any] = {
            "meters": (meters,) if isinstance(meters, str) else meters,
            "gpus": (gpus,) if isinstance(gpus, str | Integral) else gpus,
            "options": {} if options is None else options,
        }
        try:
            self._request, self._save = _make_request(
                **given, interval_s=interval_s, seed=seed, save=save
            )
        except ValidationError as error:
            raise UsageError(
                f"This is no argument of a Meter: {first_problem(error)}. "
                "harness/API.md says what each holds."
            ) from None
        self._clock = MonotonicClock()
        self._program: ProgramRun | None = None
        self._elsewhere: str | None = None
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
        if self._program is not None:
            raise UsageError("A Meter measures one block. Make another for the next.")
        self._program, self._pid = self._create_folder(), os.getpid()
        try:
            self._begin_sampling(self._program)
            self._say_where(self._program)
            self.open(WHOLE)
        except BaseException:  # ``__exit__`` is not called
            if self._sampler is not None:
                self._sampler.kill()
            self._program.remove()
            self._program = None
            raise
        return self

    def _begin_sampling(self, program: ProgramRun) -> None:
        """Start the sampling process, unless other ranks of the program read everything."""
        try:
            self._sampler = SideSampler(program, self._request)
        except MeasuredElsewhereError as error:
            self._elsewhere = str(error)
            program.remove(with_study=False)  # another rank may be about to write there
            return
        self._marks = MarkFile(program.run)
        self._marks.write("open", WHOLE, self._clock.now_s(), sync=True)

    def _create_folder(self) -> ProgramRun:
        """Make the folder, and account for what was killed before."""
        name = os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119 - a word, no path
        command = [name if name not in {"", "-", "-c", "-m"} else "python", *sys.argv[1:]]
        try:
            results, problem = find_results() if self._save else None, ""
        except UsageError as error:
            results, problem = None, str(error)
        for note in map(describe_interrupted, finalise_programs(results) if results else ()):
            _print_note(note)
        program = create_run(results, command, self._request)
        program.problem = problem or program.problem
        return program

    def _say_where(self, program: ProgramRun) -> None:
        """Say where this is kept, for the program may run anywhere; or why it is not."""
        if self._elsewhere is not None:
            _print_note(self._elsewhere)
        elif self._save and program.problem:
            _print_note(f"Nothing of this measurement is kept. {program.problem}")
        elif self._save:
            _print_note(f"{program.run.path} keeps this; Meter(save=False) keeps nothing.")

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Stop sampling and read what it left; an error of the block passes through."""
        if self._is_copy:
            return
        if self._program is None:
            raise UsageError("The block of this Meter was never entered: use it in a `with`.")
        with suppress(Exception):  # a device that failed cannot be waited for
            synchronise()
        for name in list(self._opened):
            self._end(name)
        if self._sampler is None:
            self._finished = record_nothing(str(self._elsewhere))
            return
        self._marks.close()
        run, is_stopped = self._program.run, False
        try:
            write_error = self._sampler.stop(*describe_error(error))
            is_stopped = True
            self._finished = read_recording(run, write_error)
        finally:
            if not is_stopped:
                self._sampler.kill()
            if self._program.is_kept:
                try:
                    finalise_ended(run)  # where the sampling process could not
                except (RunsFailedError, OSError) as failed:  # no reason to end a program
                    _print_note(str(failed))
            else:
                self._program.remove()

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
        if self._is_copy:
            return
        if self._program is None or self._finished is not None:
            raise UsageError(f"The window {name!r} is outside the meter's `with` block.")
        word: object = name  # whoever calls may have no type checker
        if not isinstance(word, str) or not word or name in self._windows or name in self._opened:
            raise UsageError(
                f"The window name {name!r} is no text, empty or was used before. "
                "Each window needs its own name, e.g. 'epoch-1', 'epoch-2'."
            )
        synchronise()
        self._opened[name] = self._clock.now_s()
        self._write_mark("open", name, self._opened[name])

    def close(self, name: str) -> None:
        """End a window that ``open`` began.

        Raises:
            UsageError: No window of that name is open.
        """
        if self._is_copy:
            return
        if name not in self._opened:
            raise UsageError(f"No window {name!r} is open, so it cannot be closed.")
        synchronise()
        self._end(name)

    def _end(self, name: str) -> None:
        window = self._windows[name] = Window(name, self._opened.pop(name), self._clock.now_s())
        if self._sampler and self._sampler.is_alive:  # else it ends where the readings do
            self._write_mark("close", name, window.end_s)

    def _write_mark(self, edge: Edge, name: str, t_s: float) -> None:
        if self._sampler:
            self._marks.write(edge, name, t_s)
            self._sampler.mark()

    @property
    def _is_copy(self) -> bool:
        """Whether this is a forked child's: the block is measured by the process that began it."""
        return self._program is not None and os.getpid() != self._pid

    @property
    def run_dir(self) -> Path | None:
        """The folder that keeps the measurement; ``None`` if nothing is kept."""
        is_kept = self._program is not None and self._program.is_kept and self._elsewhere is None
        return self._program.run.path if self._program and is_kept else None

    @property
    def energies(self) -> tuple[WindowEnergy, ...]:
        """Joules ± of every window on every channel, windows in the order they ended.

        Raises:
            UsageError: The block has not ended; so for everything below.
        """
        return self._evidence.energies

    def window_result(self, name: str) -> WindowResult:
        """Everything about one window: readings, energy, warnings, quality.

        Raises:
            UsageError: There is no such window.
        """
        evidence = self._evidence
        if name not in self._windows:
            known = ", ".join(self._windows)
            raise UsageError(f"There is no window {name!r}. Known: {known}.")
        return self._recording.judge_window(evidence, self._windows[name])

    @property
    def windows(self) -> tuple[Window, ...]:
        """Every window that ended, ``whole`` last, in seconds of the monotonic clock."""
        return tuple(self._windows.values())

    @property
    def energy(self) -> EnergyResult:
        """The joules to quote: of ``train`` if there is one, else ``fit``, else ``whole``."""
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
        return self._finished.circumstances.recorder_cpu_s if self._finished else None

    @cached_property
    def _evidence(self) -> Evidence:
        return self._recording.collect_evidence(self.windows, work=self._windows.get(WHOLE))

    @cached_property
    def _main(self) -> WindowResult:
        return self.window_result(find_main(self._windows))

    @property
    def _recording(self) -> Recording:
        if self._finished is None:
            raise UsageError(
                "The energy is known when the meter's `with` block has ended: the last readings "
                "come after the last window."
            )
        return self._finished


def _print_note(note: str) -> None:
    """Say it on standard error, which a program may have closed."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(f"wbcbench: {note}", file=sys.stderr)


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
