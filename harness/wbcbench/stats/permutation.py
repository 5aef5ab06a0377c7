"""The exact paired sign-flip test: if nothing differs, a block's difference may as well be negated.

With n blocks there are 2ⁿ equally likely sets of signs, so p cannot be smaller than 2 / 2ⁿ however
large the effect: 0.0625 for five blocks, 0.0078 for eight.

The p are those of ``scipy.stats.permutation_test(permutation_type="samples")``, as a test checks;
that function is not called because importing ``scipy.stats`` takes longer than all the rest.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXACT_UP_TO = 16
RESAMPLES = 2**EXACT_UP_TO
SEED = 20_260_302
# Sums of the same numbers in another order differ by rounding; equal ones must count as equal.
_ROUNDING = 1e-12


def sign_flip_p(differences: Floats, resamples: int = RESAMPLES) -> Floats:
    """Two-sided p of each row of ``[..., n]`` differences; all sign patterns up to sixteen blocks.

    Where 2ⁿ exceeds ``resamples``, that many patterns are drawn with a fixed seed instead, and the
    observed one is counted among them. Rows share the patterns.
    """
    n = differences.shape[-1]
    exact = 2**n <= resamples
    signs = _all_signs(n) if exact else _drawn_signs(n, resamples)
    sums = differences @ signs.T
    observed = differences.sum(axis=-1, keepdims=True)
    rounding = _ROUNDING * np.abs(differences).sum(axis=-1, keepdims=True)
    above = (sums >= observed - rounding).sum(axis=-1)
    below = (sums <= observed + rounding).sum(axis=-1)
    drawn = 0 if exact else 1
    one_sided = (np.minimum(above, below) + drawn) / (len(signs) + drawn)
    return np.asarray(np.minimum(2 * one_sided, 1.0), dtype=np.float64)


def p_floor(n: int) -> float:
    """The least p that ``n`` blocks can give."""
    return min(1.0, 2.0 / 2.0**n) if n <= EXACT_UP_TO else 2.0 / (RESAMPLES + 1)


def least_blocks(level: float) -> int:
    """The fewest blocks whose floor is not above ``level``."""
    return next(n for n in range(1, EXACT_UP_TO + 1) if p_floor(n) <= level)


@cache
def _all_signs(n: int) -> Floats:
    """Every pattern, ``[2ⁿ, n]``: the binary digits of 0 … 2ⁿ − 1."""
    bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)


@cache
def _drawn_signs(n: int, resamples: int) -> Floats:
    return np.random.default_rng(SEED).choice((-1.0, 1.0), (resamples, n))
