"""The power limit of GPUs, set for a run and put back on every way out.

Before a limit is touched, a note of the old one is on disk (``limit_note``). Leaving the context
puts it back; after a SIGKILL the next command does, by ``put_back_abandoned``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml

from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.units import mw_from_w, w_from_mw
from wbcbench.power import nvml_device as nvml
from wbcbench.power.limit_note import (
    LimitNote,
    NoteInUseError,
    OpenNote,
    abandoned_paths,
    open_abandoned,
    open_note,
)
from wbcbench.power.nvml_device import Gpu, choose_gpus, enforced_limit_w, list_gpus


@dataclass(frozen=True, slots=True)
class PowerLimit:
    """A limit in force on one board.

    Attributes:
        uuid: The board.
        asked_w: What was asked for.
        enforced_w: What the driver says is in force; ``None`` if it does not say.
        before_w: What is put back.
    """

    uuid: str
    asked_w: float
    enforced_w: float | None
    before_w: float


def require(words: Sequence[str], limit_w: float) -> None:
    """See that a limit can be set, before anything else is done; changes nothing.

    Raises:
        CannotMeasureError: No NVIDIA GPU, one without power limits, or no permission.
        UsageError: Outside the board's range, or ``words`` name no GPU.
    """
    with nvml.session():
        for gpu in choose_gpus(words, list_gpus(), os.environ):
            handle = nvml.device(gpu.uuid)
            _check_range(gpu, handle, limit_w)
            # Setting what is set already changes nothing and tells whether we may.
            _set(gpu, handle, _present_w(gpu, handle))


@contextlib.contextmanager
def power_limit(words: Sequence[str], limit_w: float) -> Iterator[tuple[PowerLimit, ...]]:
    """Hold the limit of every chosen GPU at ``limit_w`` watts.

    Args:
        words: GPU indices, UUIDs or UUID prefixes; empty = every visible one.
        limit_w: The limit in watts.

    Raises:
        CannotMeasureError: No NVIDIA GPU, one without power limits, no permission, or another
            run holds its limit; nothing is left changed.
        UsageError: Outside the board's range, or ``words`` name no GPU.
    """
    with nvml.session(), ExitStack() as stack:
        gpus = choose_gpus(words, list_gpus(), os.environ)
        yield tuple([stack.enter_context(_held(gpu, limit_w)) for gpu in gpus])


@contextlib.contextmanager
def _held(gpu: Gpu, limit_w: float) -> Iterator[PowerLimit]:
    handle = nvml.device(gpu.uuid)
    with _note(gpu) as note:
        left = note.read()
        if left is not None:
            _set(gpu, handle, left.before_w)
            note.clear()
        _check_range(gpu, handle, limit_w)
        before_w = _present_w(gpu, handle)
        note.write(LimitNote(gpu.uuid, before_w, limit_w))
        try:
            _set(gpu, handle, limit_w)
            yield PowerLimit(gpu.uuid, limit_w, enforced_limit_w(handle), before_w)
        finally:
            _leave(gpu, handle, before_w, note)


def _leave(gpu: Gpu, handle: Any, before_w: float, note: OpenNote) -> None:
    """Put the limit back.

    A driver that has gone must not cost the run its record: then the note stays, and the next
    command tries again.
    """
    with contextlib.suppress(CannotMeasureError):
        if _present_w(gpu, handle) != before_w:
            _set(gpu, handle, before_w)
        note.clear()


def put_back_abandoned() -> list[LimitNote]:
    """Put back the limits of killed runs; those that cannot be keep their notes."""
    paths = abandoned_paths()
    if not paths:
        return []
    try:
        with nvml.session():
            found = [_put_back(path) for path in paths]
    except CannotMeasureError:
        return []
    return [note for note in found if note is not None]


def _put_back(path: Path) -> LimitNote | None:
    try:
        with open_abandoned(path) as note:
            left = note.read()
            if left is None:
                return None
            handle = nvml.device(left.uuid)
            pynvml.nvmlDeviceSetPowerManagementLimit(handle, round(mw_from_w(left.before_w)))
            note.clear()
            return left
    except (NoteInUseError, OSError, CannotMeasureError, pynvml.NVMLError):
        return None


@contextlib.contextmanager
def _note(gpu: Gpu) -> Iterator[OpenNote]:
    with ExitStack() as stack:
        try:
            note = stack.enter_context(open_note(gpu.uuid))
        except NoteInUseError as error:
            raise CannotMeasureError(
                f"Another run holds the power limit of GPU {gpu.index} (note {error}). Two "
                "limits at once cannot both be measured. Wait for it to end."
            ) from error
        except OSError as error:
            raise CannotMeasureError(
                f"The power limit of GPU {gpu.index} was not changed, because no note of the old "
                f"one could be kept: {error}. A killed run would leave the limit behind. Set "
                "WBCBENCH_LOCK_DIR to a folder of your own."
            ) from error
        yield note


def _present_w(gpu: Gpu, handle: Any) -> float:
    limit_mw = nvml.ask(pynvml.nvmlDeviceGetPowerManagementLimit, handle)
    if limit_mw is None:
        raise CannotMeasureError(
            f"GPU {gpu.index} ({gpu.name}) does not tell its power limit, so it could not be put "
            "back. Leave --power-limit out for this GPU."
        )
    return w_from_mw(limit_mw)


def _check_range(gpu: Gpu, handle: Any, limit_w: float) -> None:
    bounds = nvml.ask(pynvml.nvmlDeviceGetPowerManagementLimitConstraints, handle)
    if bounds is None:
        return
    low_w, high_w = (w_from_mw(bound) for bound in bounds)
    if not low_w <= limit_w <= high_w:
        raise UsageError(
            f"--power-limit must lie between {low_w:g} and {high_w:g} W on GPU {gpu.index} "
            f"({gpu.name}); it is {limit_w:g}."
        )


def _set(gpu: Gpu, handle: Any, limit_w: float) -> None:
    try:
        pynvml.nvmlDeviceSetPowerManagementLimit(handle, round(mw_from_w(limit_w)))
    except pynvml.NVMLError_NoPermission as error:
        raise CannotMeasureError(
            f"This user may not set the power limit of GPU {gpu.index} ({gpu.name}), so the run "
            "would not be the one that was asked for. Run as root, or have it set for you "
            f"(`sudo nvidia-smi -i {gpu.index} -pl {limit_w:g}`; the old one is told by "
            f"`nvidia-smi -q -d POWER`) and leave --power-limit out: the enforced limit is "
            "recorded with every run."
        ) from error
    except pynvml.NVMLError as error:
        raise CannotMeasureError(
            f"The power limit of GPU {gpu.index} ({gpu.name}) could not be set to {limit_w:g} W: "
            f"{error}. Leave --power-limit out for this GPU, or check `nvidia-smi -q -d POWER`."
        ) from error
