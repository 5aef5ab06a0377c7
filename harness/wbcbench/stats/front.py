"""Who is on the Pareto front of energy and accuracy, and how sure that is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

RESAMPLES = 2_000
SEED = 20_260_303


def on_front(energy_j: Floats, accuracy: Floats) -> Booleans:
    """Which arms none beats, ``[..., arms]`` for means of that shape.

    An arm is beaten when another needs no more joules and is no less accurate, and is better in
    one of the two; equal arms do not beat each other.
    """
    no_worse = (energy_j[..., None, :] <= energy_j[..., :, None]) & (
        accuracy[..., None, :] >= accuracy[..., :, None]
    )
    better = (energy_j[..., None, :] < energy_j[..., :, None]) | (
        accuracy[..., None, :] > accuracy[..., :, None]
    )
    return np.asarray(~(no_worse & better).any(axis=-1))


def front_share(energy_j: Floats, accuracy: Floats, resamples: int = RESAMPLES) -> Floats:
    """Share of resampled sets of blocks in which each arm is on the front, ``[arms]``.

    Args:
        energy_j: ``[blocks, arms]``.
        accuracy: The same shape.
        resamples: How often whole blocks are drawn with replacement.
    """
    blocks = len(energy_j)
    drawn = np.random.default_rng(SEED).multinomial(
        blocks, np.full(blocks, 1 / blocks), size=resamples
    )
    weights = drawn / blocks
    return np.asarray(on_front(weights @ energy_j, weights @ accuracy).mean(axis=0))
