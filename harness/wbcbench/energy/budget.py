"""The parts of an uncertainty, and how they combine.

Every part is a half-width at about 95 %. Parts are independent and add in quadrature. The gain of
a sensor is kept apart: it shifts every number of one card alike, cancels in ratios on that card,
and would hide in a sum what does not cancel.
"""

from __future__ import annotations

import math

# Two edges, each off by an even distribution of width w: their difference is triangular, and 95 %
# of it lie within w × (1 − √0.05).
TRIANGULAR_95 = 1 - math.sqrt(0.05)


def t_95(degrees: float) -> float:
    """Two-sided 95 % quantile of Student's t for ``degrees`` of freedom, at least one.

    Expansion about the normal quantile (Abramowitz and Stegun 26.7.5): right within 1 % from
    three degrees on, 3 % low at two, a quarter low at one.
    """
    z, n = 1.959964, max(degrees, 1.0)
    first = (z**3 + z) / (4 * n)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    return z + first + second + third
