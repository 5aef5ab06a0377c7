"""Copies of a photograph: turned, shifted, sheared and flipped, black where nothing was taken.

The published images were made from their photographs in this way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from wbcbench.data.cells import Rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST_TURN_DEG = 20.0
_LARGEST_SHIFT = 0.08
_LARGEST_SHEAR = 0.12


def augment(photograph: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
    """Return one randomly moved copy of ``photograph``, of the same shape."""
    height, width = photograph.shape[:2]
    moved: NDArray[np.uint8] = cv2.warpAffine(
        photograph, _movement(rng, width, height), (width, height), flags=cv2.INTER_LINEAR
    ).astype(np.uint8, copy=False)
    return moved


def _movement(rng: Rng, width: int, height: int) -> NDArray[np.float64]:
    """Return the 2 × 3 matrix of turn, shear, flips and shift about the middle of the image."""
    turn = np.deg2rad(rng.uniform(-_LARGEST_TURN_DEG, _LARGEST_TURN_DEG))
    cosine, sine = np.cos(turn), np.sin(turn)
    shear = np.array([[1.0, rng.uniform(-_LARGEST_SHEAR, _LARGEST_SHEAR)], [0.0, 1.0]])
    flip = np.diag(rng.choice([-1.0, 1.0], 2))
    linear = np.array([[cosine, -sine], [sine, cosine]]) @ shear @ flip
    middle = np.array([width, height]) / 2
    shift = rng.uniform(-_LARGEST_SHIFT, _LARGEST_SHIFT, 2) * (width, height)
    return np.column_stack([linear, middle - linear @ middle + shift])
