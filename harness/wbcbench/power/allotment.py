"""Whether the boards that are measured are those that a cluster gave to the job, and its alone.

The engine's list says which boards are the job's. Where it constrains devices, a job sees no other,
and their numbers in ``CUDA_VISIBLE_DEVICES`` begin at 0; the list has those of the node. A board
outside the list is refused: to train there would take it from another job.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.job import JOB
from wbcbench.energy.checks.job import iterate_sharing
from wbcbench.power.device import Device

_DEVICE_FILES = Path("/dev")


def state_allotment(
    provenance: Mapping[str, JsonValue], devices: Sequence[Device], *, is_run: bool = True
) -> dict[str, JsonValue]:
    """The facts of the job with what is seen of each measured board; empty outside of a job.

    Args:
        provenance: Of this process; ``core.job`` says what it has of a job.
        devices: The boards, open.
        is_run: Whether they are idle yet and nothing of the run is on them. The program of a user
            may have been there before, and may use any board: it is only told.

    Returns:
        ``{"job": …}``, with ``boards``: of each its UUID, whether it ``is_listed`` (``None`` where
        Slurm lists none, or not by the numbers of device files), and, before a run, how many
        ``processes`` and ``used_bytes`` of memory were on it (``None``: the driver does not say);
        ``is_constrained``: whether the system keeps the job from other boards (``None``: there are
        none, or it cannot be seen); ``shared``: whether anything speaks against the boards being
        the job's own.

    Raises:
        CannotMeasureError: Slurm gave the job other boards than one that a run would use.
    """
    job = provenance.get(JOB)
    if not isinstance(job, dict):
        return {}
    boards = list[JsonValue]()
    for device in devices:
        is_listed = _is_listed(device, str(job["gpus"])) if job.get("gpus") else None
        if is_listed is False and is_run:
            raise CannotMeasureError(
                f"{device.gpu} is not one of the GPUs that Slurm gave to job {job['id']}: "
                f"{job['gpus']}. Training there would take it from another job. Leave --gpus and "
                "CUDA_VISIBLE_DEVICES alone, or ask Slurm for that GPU."
            )
        pids = device.read_telemetry().pids if is_run else None
        boards.append({
            "device": device.gpu.uuid,
            "is_listed": is_listed,
            "processes": None if pids is None else len(set(pids)),
            "used_bytes": device.used_bytes if is_run else None,
        })  # fmt: skip
    seen = {**job, "boards": boards, "is_constrained": is_constrained(_DEVICE_FILES)}
    return {JOB: {**seen, "shared": any(iterate_sharing(seen))}}


def _is_listed(device: Device, listed: str) -> bool | None:
    """Whether a board is in the engine's list, such as ``0,2``; ``None`` without its number.

    Of a job that is kept from other boards the driver shows as many as are listed.
    """
    numbers, number = _parse_numbers(listed), device.number
    is_shown_alone = device.boards_shown <= len(numbers)
    return is_shown_alone or (None if number is None else number in numbers)


def _parse_numbers(listed: str) -> set[int]:
    """``0,2-3`` as numbers."""
    edges = (word.split("-") for word in listed.split(",") if word.replace("-", "").isdecimal())
    return {number for own in edges for number in range(int(own[0]), int(own[-1]) + 1)}


def is_constrained(folder: Path) -> bool | None:
    """Whether the system keeps this process from some board's device file.

    A control group denies it whatever the file's mode; asked without opening the device, which
    would wake it. ``None`` where every board may be opened: that is so without other boards, too.
    """
    files = [*folder.glob("nvidia[0-9]*"), *folder.glob("dri/renderD[0-9]*")]
    if files and not all(os.access(path, os.R_OK | os.W_OK) for path in files):
        return True
    return None
