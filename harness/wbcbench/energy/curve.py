"""Cumulative joules over time, from the power readings or the moves of a counter."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from wbcbench.energy.counter import Break, Unwrapped


@dataclass(frozen=True, slots=True)
class EnergyCurve:
    """Cumulative energy at knots, with the power slope that joins them.

    ``power_w`` holds the power at each knot for a sampled channel (linear between knots) and is
    ``None`` for a counter (energy linear between knots). No window may reach into a break.
    """

    t_s: list[float]
    energy_j: list[float]
    power_w: list[float] | None
    breaks: tuple[Break, ...] = ()

    def at(self, t_s: float) -> float:
        """Joules accumulated at ``t_s``; constant beyond the last knot of a staircase."""
        i = bisect_right(self.t_s, t_s) - 1
        if i >= len(self.t_s) - 1:
            return self.energy_j[-1]
        step_s = self.t_s[i + 1] - self.t_s[i]
        into_s = t_s - self.t_s[i]
        if self.power_w is None:
            share = into_s / step_s
            return self.energy_j[i] + share * (self.energy_j[i + 1] - self.energy_j[i])
        slope = (self.power_w[i + 1] - self.power_w[i]) / step_s
        return self.energy_j[i] + into_s * (self.power_w[i] + 0.5 * slope * into_s)


def integral(times: list[float], power_w: list[float]) -> EnergyCurve:
    """Trapezoids between all good readings."""
    energy = [0.0] if times else []
    for i in range(1, len(times)):
        step_s = times[i] - times[i - 1]
        energy.append(energy[-1] + 0.5 * step_s * (power_w[i] + power_w[i - 1]))
    return EnergyCurve(times, energy, power_w)


def staircase(counter: Unwrapped, age_s: float) -> EnergyCurve:
    """Knots where the counter moved: between two moves energy is taken to grow evenly.

    A counter polled faster than it updates repeats its value; joining the moves instead of the
    polls spreads each step over the time it was collected in. Both sides of a break are knots, so
    that no joule is spread across it.
    """
    edges = {t for each in counter.breaks for t in (each.before_s, each.after_s)}
    knots_t, knots_e = list[float](), list[float]()
    for t, total_j in zip(counter.t_s, counter.total_j, strict=True):
        if not knots_e or total_j != knots_e[-1] or t in edges:
            knots_t.append(t - age_s)
            knots_e.append(total_j)
    return EnergyCurve(knots_t, knots_e, None, counter.breaks)
