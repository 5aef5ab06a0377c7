"""The power limit that a spec asks for; loads the driver's library only if one does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from pydantic import JsonValue

from wbcbench.core.spec import RunSpec
from wbcbench.power.limit_note import LimitNote, abandoned_paths


def require(spec: RunSpec) -> None:
    """See that the limit can be set, before images are read; changes nothing.

    Raises:
        CannotMeasureError: It cannot be set here.
        UsageError: It is out of the board's range.
    """
    if spec.power_limit_w is not None:
        from wbcbench.power import power_limit

        power_limit.require(spec.gpus, spec.power_limit_w)


@contextmanager
def power_limits(spec: RunSpec) -> Iterator[dict[str, JsonValue]]:
    """Hold the limit for the length of a run; yields facts for its provenance.

    Raises:
        CannotMeasureError: It cannot be set here; never a warning, for the run would be another.
        UsageError: It is out of the board's range.
    """
    if spec.power_limit_w is None:
        yield {}
        return
    from wbcbench.power import power_limit

    with power_limit.power_limit(spec.gpus, spec.power_limit_w) as limits:
        yield {
            "power_limits": [asdict(each) for each in limits],
            "gpu_power_limit_w": limits[0].enforced_w,
        }


def put_back_abandoned() -> list[LimitNote]:
    """Put back the limits of runs that were killed; nothing is loaded if there are none."""
    if not abandoned_paths():
        return []
    from wbcbench.power import power_limit

    return power_limit.put_back_abandoned()
