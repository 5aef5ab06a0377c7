"""Waiting until the measured GPUs are no warmer than asked, before a run begins.

Energy follows temperature: runs that are to be compared should begin in one temperature band. The
wait has an end, for a board in a warm room may never get there; what was reached is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.window import Clock
from wbcbench.power.telemetry import Board

LONGEST_S = 900.0
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Cooldown:
    """How a wait went.

    Attributes:
        asked_c: The temperature asked for, in degrees Celsius.
        reached_c: That of the warmest board at the end.
        waited_s: How long it took.
        is_reached: Whether it was reached within ``LONGEST_S``.
    """

    asked_c: float
    reached_c: float
    waited_s: float
    is_reached: bool


def cool_down(
    boards: Sequence[Board], asked_c: float, clock: Clock, may_wait: Callable[[], bool]
) -> Cooldown:
    """Wait until the warmest board is at most ``asked_c``.

    Args:
        boards: Entered boards.
        asked_c: Degrees Celsius.
        clock: Source of time.
        may_wait: Whether nobody has asked to stop.

    Raises:
        CannotMeasureError: No board tells its temperature.
    """
    start_s = clock.now_s()
    while True:
        warmest_c = _warmest_c(boards, asked_c)
        waited_s = clock.now_s() - start_s
        if warmest_c <= asked_c or waited_s >= LONGEST_S or not may_wait():
            return Cooldown(asked_c, warmest_c, waited_s, warmest_c <= asked_c)
        clock.sleep_until(clock.now_s() + LOOK_S)


def _warmest_c(boards: Sequence[Board], asked_c: float) -> float:
    told = [degrees for board in boards if (degrees := board.read().temperature_c) is not None]
    if told:
        return max(told)
    raise CannotMeasureError(
        f"--cooldown {asked_c:g} needs a GPU that tells its temperature, and none is measured "
        "here. Leave --cooldown out, or measure a GPU with --meters nvml."
    )
