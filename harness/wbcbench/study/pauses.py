"""The rest between two runs. Cooling down is the run's own: its record tells it."""

from __future__ import annotations

from wbcbench.core.window import Clock
from wbcbench.run.recorder import Interrupts

SLICE_S = 0.2  # how soon a Ctrl-C is noticed


def rest(length_s: float, clock: Clock, interrupts: Interrupts) -> None:
    """Rest for so many seconds, or until the user asks to stop."""
    end_s = clock.now_s() + length_s
    while clock.now_s() < end_s and not interrupts.wants_stop:
        clock.sleep_until(min(end_s, clock.now_s() + SLICE_S))
