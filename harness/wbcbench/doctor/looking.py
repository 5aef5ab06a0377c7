"""A few quiet seconds of every meter that works here, for the groups to look at."""

from __future__ import annotations

import tempfile
from pathlib import Path

from wbcbench import registry
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.record import AbsentMeter
from wbcbench.core.run_folder import RunDir
from wbcbench.core.window import IDLE, Clock, Window
from wbcbench.doctor import Facts
from wbcbench.measure.spans import recorded
from wbcbench.power.meter import NEVER_AUTO
from wbcbench.power.session import Asked, Recording

LOOK_S = 3.0


def look(
    asked: Asked, results: Path, data: Path | None, clock: Clock, for_s: float = LOOK_S
) -> Facts:
    """Record for ``for_s`` seconds with what works; without any meter, say why none does.

    Raises:
        CannotMeasureError: A meter that was asked for by name does not work here.
        UsageError: There is no meter or GPU of that name.
    """
    with tempfile.TemporaryDirectory(prefix="wbcbench-") as folder:
        run = RunDir(Path(folder))
        try:
            with Recording(run, asked, clock) as recording:
                recording.rest()
                start_s = clock.now_s()
                clock.sleep_until(start_s + for_s)
                window = Window(IDLE, start_s, clock.now_s())
                recording.rest()
        except CannotMeasureError:
            if asked.meters != ("auto",):
                raise
            return Facts(results, data, asked.gpus, absent=_reasons(asked))
        kept = recorded(run)
    return Facts(
        results=results,
        data=data,
        gpus=asked.gpus,
        channels=tuple(trace.channel for trace in kept.traces),
        absent=kept.seen.absent,
        recorded=kept,
        idle=kept.span(window),
    )


def _reasons(asked: Asked) -> tuple[AbsentMeter, ...]:
    """Why each meter does not work, where none does."""
    return tuple(
        AbsentMeter(name, _reason(name, asked))
        for name in registry.METERS
        if name not in NEVER_AUTO
    )


def _reason(name: str, asked: Asked) -> str:
    try:
        for meter in registry.load_part("meter", name)(asked.request):
            with meter:
                pass
    except CannotMeasureError as error:
        return str(error)
    return "it did not begin just now; try again"
