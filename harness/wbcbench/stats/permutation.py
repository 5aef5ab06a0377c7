"""The exact paired sign-flip test: if nothing differs, a block's difference may as well be negated.

With n blocks there are 2ⁿ equally likely sets of signs, so p cannot be smaller than 2 / 2ⁿ however
large the effect: 0.0625 for five blocks, 0.0078 for eight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXACT_UP_TO = 16
RESAMPLES = 2**EXACT_UP_TO
SEED = 20_260_302
_BATCH = 4_096


def sign_flip_p(differences: Floats, resamples: int = RESAMPLES) -> Floats:
    """Two-sided p of each row of ``[..., n]`` differences; all sign patterns up to sixteen blocks.

    Where 2ⁿ exceeds ``resamples``, that many patterns are drawn with a fixed seed instead. Rows
    share the patterns.
    """
    from scipy import stats

    if differences.shape[-1] < 2:  # one block can be flipped in two ways that are equally extreme
        return np.ones(differences.shape[:-1])
    found = stats.permutation_test(
        (differences,),
        _mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=_BATCH,
        axis=-1,
        rng=np.random.default_rng(SEED),
    )
    return np.asarray(found.pvalue, dtype=np.float64)


def p_floor(n: int) -> float:
    """The least p that ``n`` blocks can give."""
    return min(1.0, 2.0 / 2.0**n) if n <= EXACT_UP_TO else 2.0 / (RESAMPLES + 1)


def least_blocks(level: float) -> int:
    """The fewest blocks whose floor is not above ``level``."""
    return next(n for n in range(1, EXACT_UP_TO + 1) if p_floor(n) <= level)


def _mean(values: Floats, axis: int = -1) -> Floats:
    return np.asarray(np.mean(values, axis=axis))
