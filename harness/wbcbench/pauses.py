"""Between two runs: a rest, and a wait until the machine is as cool as the plan wants it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from wbcbench.clock import Clock
from wbcbench.errors import CannotMeasureError
from wbcbench.experiment import Pauses
from wbcbench.interrupts import Interrupts

Thermometer = Callable[[], float | None]
Say = Callable[[str], None]

SLICE_S = 0.2  # how soon a Ctrl-C is noticed
LOOK_S = 2.0  # between two looks at the thermometer
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


def pause(
    pauses: Pauses,
    thermometer: Thermometer,
    clock: Clock,
    interrupts: Interrupts,
    say: Say,
    *,
    rest: bool,
) -> None:
    """Rest, then wait for the temperature; a Ctrl-C ends both.

    Args:
        pauses: What the plan wants.
        thermometer: Degrees Celsius of the hottest board; ``None`` if nothing can be read.
        clock: Source of time.
        interrupts: Whether the user asked to stop.
        say: Told what is waited for.
        rest: Whether there was a run before, to rest from.
    """
    if rest and pauses.rest_s > 0:
        say(f"resting {pauses.rest_s:g} s")
        _wait(pauses.rest_s, clock, interrupts)
    if pauses.temperature_c is not None:
        _cool(pauses, pauses.temperature_c[1], thermometer, clock, interrupts, say)


def _cool(
    pauses: Pauses,
    most_c: float,
    thermometer: Thermometer,
    clock: Clock,
    interrupts: Interrupts,
    say: Say,
) -> None:
    end_s = clock.now_s() + pauses.temperature_wait_s
    told = False
    while not interrupts.wants_stop:
        now_c = thermometer()
        if now_c is None:
            say("no temperature can be read here: the plan's temperature band is not kept")
            return
        if now_c <= most_c:
            return
        if clock.now_s() >= end_s:
            say(f"still {now_c:.0f} C after {pauses.temperature_wait_s:g} s; going on")
            return
        if not told:
            told = True
            say(f"waiting to cool from {now_c:.0f} C to {most_c:.0f} C")
        _wait(min(LOOK_S, end_s - clock.now_s()), clock, interrupts)


def _wait(length_s: float, clock: Clock, interrupts: Interrupts) -> None:
    end_s = clock.now_s() + length_s
    while clock.now_s() < end_s and not interrupts.wants_stop:
        clock.sleep_until(min(end_s, clock.now_s() + SLICE_S))


def thermometer(gpus: Sequence[str]) -> Thermometer:
    """What reads the hottest of these GPUs, or of the processors where there is no GPU."""

    def read() -> float | None:
        found = _gpus_c(gpus)
        return max(found or _cpus_c(), default=None)

    return read


def _gpus_c(words: Sequence[str]) -> list[float]:
    from wbcbench.gpu import nvml_library as nvml
    from wbcbench.gpu.identity import choose, list_gpus
    from wbcbench.gpu.telemetry import temperature_c

    try:
        with nvml.session():
            gpus = choose(tuple(words), list_gpus(), os.environ, first_visible=True)
            found = [temperature_c(nvml.device(gpu.uuid)) for gpu in gpus]
    except CannotMeasureError:
        return []
    return [each for each in found if each is not None]


def _cpus_c() -> list[float]:
    import psutil

    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    return [each.current for name in _CPU_SENSORS for each in sensors.get(name, [])]
