"""One stained white blood cell: nucleus, cytoplasm and granules, by class.

What tells the classes apart is what tells them apart under a microscope, simplified: the shape of
the nucleus and the granules around it. Size, stain and outline vary more within a class than
between classes, so that no single colour or count of dark pixels gives the label away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rng = np.random.Generator
Colour = tuple[float, float, float]
"""Blue, green, red, 0–255: OpenCV's order."""

_SUBPIXEL_BITS = 4
_OUTLINE_POINTS = 48
_ANGLES = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False)
_REACH = 1.3  # radii from the centre within which everything of a cell lies


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cell lies: centre in pixels, radius in pixels, direction in radians."""

    x: float
    y: float
    radius: float
    turn: float

    def at(self, distance: float, angle: float) -> tuple[float, float]:
        """Return the point at ``distance`` radii from the centre in direction ``angle``."""
        reach = distance * self.radius
        return (
            self.x + reach * float(np.cos(angle + self.turn)),
            self.y + reach * float(np.sin(angle + self.turn)),
        )


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one class looks: ranges of size, cytoplasm, granules, and how its nucleus is drawn."""

    radius: tuple[float, float]
    cytoplasm: Colour
    granule: Colour
    granule_size: tuple[float, float]
    granule_count: tuple[int, int]
    nucleus: Callable[[NDArray[np.uint8], Rng, Place], None]


def paint_cell(canvas: NDArray[np.uint8], rng: Rng, label: int, x: float, y: float) -> None:
    """Paint a white cell of class ``label`` onto ``canvas``.

    Args:
        canvas: uint8 ``[height, width, 3]``, BGR; changed in place.
        rng: Everything about this cell follows from it.
        label: Index into :data:`wbcbench.data.dataset.CLASSES`.
        x: Centre, pixels from the left.
        y: Centre, pixels from the top.
    """
    kind = _KINDS[label]
    radius, turn = rng.uniform(*kind.radius), rng.uniform(0, 2 * np.pi)
    left, top = max(0, int(x - _REACH * radius)), max(0, int(y - _REACH * radius))
    canvas = canvas[top : int(y + _REACH * radius), left : int(x + _REACH * radius)]
    place = Place(x - left, y - top, radius, turn)
    stain = rng.normal(0, 7, 3)
    body = np.zeros(canvas.shape[:2], np.uint8)
    fill_outline(
        body, outline(rng, (place.x, place.y), radius, wobble=0.05, squeeze=rng.uniform(0.82, 1.0))
    )
    _tint(canvas, body, kind.cytoplasm + stain, rng.uniform(0.75, 0.95))
    _paint_granules(canvas, body, rng, kind, place)
    nucleus = np.zeros(canvas.shape[:2], np.uint8)
    kind.nucleus(nucleus, rng, place)
    cv2.bitwise_and(nucleus, body, dst=nucleus)
    _tint(canvas, nucleus, _nucleus_colour(rng) + stain / 2, rng.uniform(0.82, 0.97))
    _paint_chromatin(canvas, nucleus, rng)


def outline(
    rng: Rng, centre: tuple[float, float], radius: float, *, wobble: float, squeeze: float = 1.0
) -> NDArray[np.float64]:
    """Return an irregular closed curve around ``centre``: ``[points, 2]``, in pixels.

    Args:
        rng: Decides the irregularities and the direction.
        centre: x and y in pixels.
        radius: Mean radius in pixels.
        wobble: How uneven the radius is, as a share of it.
        squeeze: Short over long axis.
    """
    reach = np.full(_OUTLINE_POINTS, radius)
    for wave in (2, 3, 5):
        swell, phase = rng.normal(0, 2 * wobble / wave), rng.uniform(0, 2 * np.pi)
        reach += radius * swell * np.cos(wave * _ANGLES + phase)
    turn = rng.uniform(0, np.pi)
    along, across = reach * np.cos(_ANGLES), squeeze * reach * np.sin(_ANGLES)
    x = centre[0] + along * np.cos(turn) - across * np.sin(turn)
    y = centre[1] + along * np.sin(turn) + across * np.cos(turn)
    return np.stack([x, y], axis=1)


def fill_outline(mask: NDArray[np.uint8], curve: NDArray[np.float64], value: int = 255) -> None:
    """Fill ``curve`` in ``mask`` with smooth edges."""
    points = np.round(curve * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(mask, [points], (value,), cv2.LINE_AA, _SUBPIXEL_BITS)


def _tint(
    canvas: NDArray[np.uint8], mask: NDArray[np.uint8], colour: NDArray[np.float64], opacity: float
) -> None:
    """Blend ``colour`` into ``canvas`` where ``mask`` is set."""
    weight = (mask.astype(np.float32) * np.float32(opacity / 255))[..., None]
    blended = canvas + weight * (np.asarray(colour, np.float32) - canvas)
    np.clip(blended, 0, 255, out=blended)
    canvas[...] = blended.astype(np.uint8)


def _nucleus_colour(rng: Rng) -> NDArray[np.float64]:
    return np.array([150.0, 62.0, 112.0]) + rng.normal(0, 9, 3)


def _paint_chromatin(canvas: NDArray[np.uint8], nucleus: NDArray[np.uint8], rng: Rng) -> None:
    """Give the nucleus its coarse, uneven texture."""
    height, width = nucleus.shape
    clumps = rng.normal(0, 13, (height // 6, width // 6)).astype(np.float32)
    texture = cv2.resize(clumps, (width, height), interpolation=cv2.INTER_CUBIC)
    uneven = canvas + (texture * (nucleus > 0))[..., None]
    canvas[...] = np.clip(uneven, 0, 255).astype(np.uint8)


def _paint_granules(
    canvas: NDArray[np.uint8], body: NDArray[np.uint8], rng: Rng, kind: _Kind, place: Place
) -> None:
    layer = np.zeros_like(body)
    for _ in range(int(rng.integers(*kind.granule_count))):
        x, y = place.at(float(np.sqrt(rng.uniform(0, 0.95))), rng.uniform(0, 2 * np.pi))
        _disc(layer, x, y, rng.uniform(*kind.granule_size))
    cv2.bitwise_and(layer, body, dst=layer)
    colour = np.array(kind.granule) + rng.normal(0, 14, 3)
    _tint(canvas, layer, colour, rng.uniform(0.55, 0.95))


def _disc(mask: NDArray[np.uint8], x: float, y: float, radius: float) -> None:
    scale = 1 << _SUBPIXEL_BITS
    centre = (round(x * scale), round(y * scale))
    cv2.circle(mask, centre, max(1, round(radius * scale)), (255,), -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _lobes(mask: NDArray[np.uint8], rng: Rng, place: Place, count: int, size: float) -> None:
    """Draw ``count`` lobes along an arc, joined by threads."""
    spread = rng.uniform(0.75, 1.1) * (np.pi if count == 2 else 0.6 * np.pi * (count - 1) / 1.5)
    centres = [
        place.at(rng.uniform(0.36, 0.5), spread * (i / (count - 1) - 0.5)) for i in range(count)
    ]
    for centre in centres:
        radius = place.radius * size * rng.uniform(0.85, 1.15)
        fill_outline(
            mask, outline(rng, centre, radius, wobble=0.06, squeeze=rng.uniform(0.72, 1.0))
        )
    thread = max(2, round(place.radius * rng.uniform(0.08, 0.3)))
    joined = np.round(np.array(centres)).astype(np.int32)
    cv2.polylines(mask, [joined], False, (255,), thread, cv2.LINE_AA)


def _eosinophil_nucleus(mask: NDArray[np.uint8], rng: Rng, place: Place) -> None:
    _lobes(mask, rng, place, 3 if rng.uniform() < 0.1 else 2, rng.uniform(0.34, 0.42))


def _neutrophil_nucleus(mask: NDArray[np.uint8], rng: Rng, place: Place) -> None:
    _lobes(mask, rng, place, int(rng.integers(3, 6)), rng.uniform(0.25, 0.33))


def _lymphocyte_nucleus(mask: NDArray[np.uint8], rng: Rng, place: Place) -> None:
    centre = place.at(rng.uniform(0, 0.12), rng.uniform(0, 2 * np.pi))
    radius = place.radius * rng.uniform(0.7, 0.9)
    fill_outline(mask, outline(rng, centre, radius, wobble=0.05, squeeze=rng.uniform(0.84, 1.0)))


def _monocyte_nucleus(mask: NDArray[np.uint8], rng: Rng, place: Place) -> None:
    """Draw a kidney: an oval with a bite taken out of one side."""
    centre = place.at(rng.uniform(0, 0.15), rng.uniform(0, 2 * np.pi))
    radius = place.radius * rng.uniform(0.64, 0.8)
    fill_outline(mask, outline(rng, centre, radius, wobble=0.07, squeeze=rng.uniform(0.75, 0.95)))
    side = place.at(rng.uniform(0.5, 0.75), 0.0)
    bite = outline(rng, side, place.radius * rng.uniform(0.26, 0.44), wobble=0.08)
    fill_outline(mask, bite, value=0)


_KINDS = (
    _Kind((44, 58), (186, 176, 214), (92, 112, 212), (1.8, 3.4), (90, 190), _eosinophil_nucleus),
    _Kind((32, 44), (214, 186, 176), (196, 160, 160), (0.8, 1.6), (0, 20), _lymphocyte_nucleus),
    _Kind((50, 66), (200, 170, 164), (190, 160, 170), (0.8, 1.6), (0, 60), _monocyte_nucleus),
    _Kind((44, 58), (210, 194, 218), (176, 150, 204), (0.8, 1.8), (40, 140), _neutrophil_nucleus),
)
"""In the order of the classes: eosinophil, lymphocyte, monocyte, neutrophil."""
