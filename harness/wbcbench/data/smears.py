"""A photograph of a stained smear: background, red cells, one white cell, and the camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from wbcbench.data.cells import Rng, outline, paint_cell

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH, HEIGHT = 320, 240
"""Size of the published images in pixels."""

_ACROSS = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :, None]
_DOWN = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None, None]


def draw_photograph(label: int, cell: Rng, field: Rng) -> NDArray[np.uint8]:
    """Draw one photograph.

    Args:
        label: Class of the white cell.
        cell: Decides the white cell alone, so that two photographs can show the same one.
        field: Decides everything else: red cells, position, light, focus, noise.

    Returns:
        uint8 ``[240, 320, 3]``, BGR.
    """
    pale = np.array([224.0, 218.0, 228.0]) + field.normal(0, 5, 3)
    photograph = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    photograph[...] = np.clip(pale, 0, 255).astype(np.uint8)
    _paint_red_cells(photograph, field, int(field.integers(6, 24)))
    x = WIDTH / 2 + field.uniform(-36, 36)
    y = HEIGHT / 2 + field.uniform(-24, 24)
    paint_cell(photograph, cell, label, x, y)
    _paint_red_cells(photograph, field, int(field.integers(0, 2)))
    _paint_platelets(photograph, field)
    return _expose(photograph, field)


def _paint_red_cells(canvas: NDArray[np.uint8], rng: Rng, count: int) -> None:
    """Paint discs with a pale middle; later ones lie on earlier ones."""
    stain = np.array([172.0, 160.0, 214.0]) + rng.normal(0, 10, 3)
    for _ in range(count):
        centre = (rng.uniform(-20, WIDTH + 20), rng.uniform(-20, HEIGHT + 20))
        radius, squeeze = rng.uniform(24, 36), rng.uniform(0.75, 1.0)
        for share, shade in ((1.0, 0.0), (rng.uniform(0.3, 0.6), rng.uniform(5, 28))):
            colour = np.clip(stain + shade, 0, 255)
            curve = outline(rng, centre, radius * share, wobble=0.04, squeeze=squeeze)
            _fill(canvas, curve, colour)


def _paint_platelets(canvas: NDArray[np.uint8], rng: Rng) -> None:
    for _ in range(int(rng.integers(0, 7))):
        centre = (rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT))
        colour = np.array([160.0, 90.0, 140.0]) + rng.normal(0, 15, 3)
        _fill(canvas, outline(rng, centre, rng.uniform(3, 8), wobble=0.12), np.clip(colour, 0, 255))


def _fill(
    canvas: NDArray[np.uint8], curve: NDArray[np.float64], colour: NDArray[np.float64]
) -> None:
    points = np.round(curve * 16).astype(np.int32)
    cv2.fillPoly(canvas, [points], tuple(colour.tolist()), cv2.LINE_AA, 4)


def _expose(photograph: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
    """Take the picture: focus, uneven light, white balance, sensor noise."""
    sharp = cv2.GaussianBlur(photograph, (0, 0), rng.uniform(0.8, 1.7))
    slope_x, slope_y = rng.normal(0, 0.05, 2).astype(np.float32)
    light = np.float32(rng.uniform(0.8, 1.08)) * (1 + slope_x * _ACROSS + slope_y * _DOWN)
    balance = rng.normal(1, 0.02, 3).astype(np.float32)
    lit = cv2.multiply(sharp, light * balance, dtype=cv2.CV_32F)
    noise = rng.standard_normal((HEIGHT, WIDTH), dtype=np.float32) * np.float32(rng.uniform(1, 4))
    taken: NDArray[np.uint8] = cv2.add(lit, cv2.merge([noise] * 3), dtype=cv2.CV_8U).astype(
        np.uint8, copy=False
    )
    return taken
