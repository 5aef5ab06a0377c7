"""The power limit of GPUs, set for a run and put back on every way out.

Before a limit is touched, a note of the old one is on disk, locked by the open file while the limit
is in force. Leaving the context puts the old limit back. A note whose lock is free belongs to a run
that was killed: the next command puts its limit back, by ``restore_abandoned``.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from wbcbench.core.errors import CannotMeasureError, UsageError, WbcbenchError
from wbcbench.core.spec import RunSpec
from wbcbench.power.device import Device, known_limit_w
from wbcbench.power.meter import AUTO, MeterRequest, explain_absence, find_meters

_MOST_BYTES = 4096  # a longer note was not written here


@dataclass(frozen=True, slots=True)
class PowerLimit:
    """A limit that a run sets on one board, and what to put back.

    Attributes:
        uuid: The board.
        before_w: What is put back.
        target_w: What was set.
        enforced_w: What the driver says is in force; ``None`` if it does not say.
    """

    uuid: str
    before_w: float
    target_w: float
    enforced_w: float | None = None


def require_power_limit(spec: RunSpec) -> None:
    """Check that a run's limit can be set, before anything else is done; changes nothing.

    Raises:
        CannotMeasureError: No GPU, one without power limits, or no permission.
        UsageError: Outside the board's range, or ``spec.gpus`` name no GPU.
    """
    if spec.power_limit_w is not None:
        for device in _find_devices(spec.gpus):
            with device:
                _check_range(device, spec.power_limit_w)
                # Setting the present limit changes nothing and shows whether this user may.
                device.set_power_limit(_present_limit_w(device))


@contextmanager
def hold_power_limit(spec: RunSpec) -> Iterator[dict[str, JsonValue]]:
    """Hold the limit that a run asks for on every chosen GPU; yields facts for its provenance.

    Raises:
        CannotMeasureError: It cannot be set here, or another run holds one; nothing is left
            changed. Never a warning, for the run would be another.
        UsageError: Outside the board's range, or ``spec.gpus`` name no GPU.
    """
    if spec.power_limit_w is None:
        yield {}
        return
    with ExitStack() as stack:
        devices = _find_devices(spec.gpus)
        limits = [stack.enter_context(_hold(device, spec.power_limit_w)) for device in devices]
        yield {
            "power_limits": [asdict(limit) for limit in limits],
            "gpu_power_limit_w": limits[0].enforced_w,
        }


def _find_devices(names: Sequence[str]) -> list[Device]:
    available = find_meters((AUTO,), MeterRequest(gpus=tuple(names), for_training=True))
    answering = [device for device in available.devices if not device.gpu.problem]
    if answering:
        return answering
    raise CannotMeasureError(
        f"--power-limit needs a GPU that can be trained on. {explain_absence(available.absent)}"
    )


@contextmanager
def _hold(device: Device, limit_w: float) -> Iterator[PowerLimit]:
    with device, ExitStack() as stack:
        try:
            note = stack.enter_context(open_note(device.gpu.uuid))
        except BlockingIOError as error:
            raise CannotMeasureError(
                f"Another run holds the power limit of {device.gpu}. Wait for it to end."
            ) from error
        except OSError as error:
            raise CannotMeasureError(
                f"The power limit of {device.gpu} was not changed: no note of the old one can be "
                f"kept ({error}). Set WBCBENCH_LOCK_DIR to a folder of your own."
            ) from error
        abandoned = note.read()
        if abandoned is not None:
            device.set_power_limit(abandoned.before_w)
            note.clear()
        _check_range(device, limit_w)
        before_w = _present_limit_w(device)
        limit = PowerLimit(device.gpu.uuid, before_w, limit_w)
        note.write(limit)
        try:
            device.set_power_limit(limit_w)
            yield replace(limit, enforced_w=device.enforced_limit_w())
        finally:
            # A driver that has gone must not cost the run its record: then the note stays, and
            # the next command tries again.
            with suppress(CannotMeasureError):
                if _present_limit_w(device) != before_w:
                    device.set_power_limit(before_w)
                note.clear()


def _present_limit_w(device: Device) -> float:
    limit_w = device.power_limit_w()
    if limit_w is None:
        raise CannotMeasureError(
            f"{device.gpu} does not report its power limit, so it could not be put back. Leave "
            "--power-limit out for this GPU."
        )
    return limit_w


def _check_range(device: Device, limit_w: float) -> None:
    low_w, high_w = device.power_limit_range_w() or (limit_w, limit_w)
    if not low_w <= limit_w <= high_w:
        raise UsageError(
            f"--power-limit must lie between {low_w:g} and {high_w:g} W on {device.gpu}; it is "
            f"{limit_w:g}."
        )


def restore_abandoned() -> list[PowerLimit]:
    """Put back the limits of killed runs; those that cannot be keep their notes."""
    return [*filter(None, map(_restore, abandoned_paths()))]


def _restore(path: Path) -> PowerLimit | None:
    with suppress(OSError, WbcbenchError), _open_locked(path) as note:
        if (abandoned := note.read()) is None:
            return None
        for device in find_meters((AUTO,), MeterRequest(gpus=(abandoned.uuid,))).devices:
            with device:
                device.set_power_limit(abandoned.before_w)
                note.clear()
                return abandoned
    return None


class OpenNote:
    """A note that this process holds."""

    def __init__(self, handle: int) -> None:
        """Take over an open and locked file."""
        self._handle = handle

    def read(self) -> PowerLimit | None:
        """What a killed run left; ``None`` if nothing, or nothing that makes sense."""
        try:
            note = json.loads(os.pread(self._handle, _MOST_BYTES, 0))
            limit = PowerLimit(str(note["uuid"]), float(note["before_w"]), float(note["target_w"]))
            return limit if known_limit_w(limit.before_w) else None
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def write(self, note: PowerLimit) -> None:
        """Put the note on disk; only when this returns may the limit be changed."""
        self.clear()
        os.pwrite(self._handle, json.dumps(asdict(note)).encode(), 0)
        os.fsync(self._handle)

    def clear(self) -> None:
        """Say that nothing is to be put back."""
        os.ftruncate(self._handle, 0)


def abandoned_paths() -> list[Path]:
    """Notes that hold something to put back and that no process holds."""
    pattern, abandoned = _note_path("*"), list[Path]()
    for path in sorted(pattern.parent.glob(pattern.name)):
        with suppress(OSError), _open_locked(path) as note:
            abandoned += [path] if note.read() else []
    return abandoned


def open_note(uuid: str) -> AbstractContextManager[OpenNote]:
    """Hold the note of one board.

    Raises:
        BlockingIOError: Another process holds it: its limit is in force.
        OSError: It cannot be opened, or belongs to another user.
    """
    path = _note_path(uuid)
    path.parent.mkdir(parents=True, exist_ok=True)
    return _open_locked(path, os.O_CREAT)


def _note_path(uuid: str) -> Path:
    """The note of one board: the same for every command of this user, unlike temporary folders."""
    import platformdirs

    folder = os.environ.get("WBCBENCH_LOCK_DIR") or platformdirs.user_state_dir("wbcbench")
    return Path(folder) / f"wbcbench-power-limit-{uuid}.lock"


@contextmanager
def _open_locked(path: Path, flags: int = 0) -> Iterator[OpenNote]:
    """Open and lock; a link or another user's file could make us set what we never changed."""
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    try:
        if os.fstat(handle).st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield OpenNote(handle)
    finally:
        os.close(handle)
