"""Synthetic blood cells: drawn smears and cells, augmented like the published set, as a folder.

What tells the classes apart is what tells them apart under a microscope, simplified: the shape of
the nucleus and the granules around it. Size, stain and outline vary more within a class than
between classes, so that no single colour or count of dark pixels gives the label away.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wbcbench.core.errors import UsageError
from wbcbench.data.dataset import CLASSES, LOADED_SPLITS
from wbcbench.data.read import PHOTOGRAPH_TABLE, add_jpeg_comment, all_cores
from wbcbench.data.splits import COLUMNS

Rng = np.random.Generator
Colour = tuple[float, float, float]
"""Blue, green, red, 0–255: OpenCV's order."""

_SUBPIXEL_BITS = 4
_OUTLINE_POINTS = 48
_ANGLES = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False)
_REACH = 1.3  # radii from the centre within which everything of a cell lies

WIDTH, HEIGHT = 320, 240
"""Size of the published images in pixels."""

_LARGEST_TURN_DEG = 20.0
_LARGEST_SHIFT = 0.08
_LARGEST_SHEAR = 0.12

GENERATOR_VERSION = 1
"""Raised whenever a change alters the images of a recipe."""

MARKER = "synthetic.json"
_JPEG_QUALITY = 90

_LEAKING_EVERY = 12  # one in twelve TEST photographs shows a TRAIN cell; published: six of 71


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


def _paint_cell(canvas: NDArray[np.uint8], rng: Rng, label: int, x: float, y: float) -> None:
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
    _fill_outline(
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


def _fill_outline(mask: NDArray[np.uint8], curve: NDArray[np.float64], value: int = 255) -> None:
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
        _fill_outline(
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
    _fill_outline(mask, outline(rng, centre, radius, wobble=0.05, squeeze=rng.uniform(0.84, 1.0)))


def _monocyte_nucleus(mask: NDArray[np.uint8], rng: Rng, place: Place) -> None:
    """Draw a kidney: an oval with a bite taken out of one side."""
    centre = place.at(rng.uniform(0, 0.15), rng.uniform(0, 2 * np.pi))
    radius = place.radius * rng.uniform(0.64, 0.8)
    _fill_outline(mask, outline(rng, centre, radius, wobble=0.07, squeeze=rng.uniform(0.75, 0.95)))
    side = place.at(rng.uniform(0.5, 0.75), 0.0)
    bite = outline(rng, side, place.radius * rng.uniform(0.26, 0.44), wobble=0.08)
    _fill_outline(mask, bite, value=0)


_KINDS = (
    _Kind((44, 58), (186, 176, 214), (92, 112, 212), (1.8, 3.4), (90, 190), _eosinophil_nucleus),
    _Kind((32, 44), (214, 186, 176), (196, 160, 160), (0.8, 1.6), (0, 20), _lymphocyte_nucleus),
    _Kind((50, 66), (200, 170, 164), (190, 160, 170), (0.8, 1.6), (0, 60), _monocyte_nucleus),
    _Kind((44, 58), (210, 194, 218), (176, 150, 204), (0.8, 1.8), (40, 140), _neutrophil_nucleus),
)
"""In the order of the classes: eosinophil, lymphocyte, monocyte, neutrophil."""

_ACROSS = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :, None]
_DOWN = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None, None]


def _draw_photograph(label: int, cell: Rng, field: Rng) -> NDArray[np.uint8]:
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
    _paint_cell(photograph, cell, label, x, y)
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


def _augment(photograph: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
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


_CELL, _FIELD, _COPIES, _NAMES = range(4)  # independent streams of random numbers


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to draw. Equal recipes give equal bytes on one version of OpenCV and numpy.

    Attributes:
        seed: Everything random follows from it.
        train_images: Images in TRAIN, shared equally among the four classes.
        test_images: Images in TEST, likewise.
        copies_train: Images made from each TRAIN photograph (the last may get fewer).
        copies_test: Images made from each TEST photograph.
    """

    seed: int = 0
    train_images: int = 2400
    test_images: int = 600
    copies_train: int = 4
    copies_test: int = 5

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"The seed is {self.seed}, but it must not be negative.")
        if min(self.train_images, self.test_images) < len(CLASSES):
            raise UsageError(
                f"{self.train_images} TRAIN and {self.test_images} TEST images were asked for, "
                f"but each split needs at least one image of each of the {len(CLASSES)} classes."
            )
        if min(self.copies_train, self.copies_test) < 1:
            raise UsageError("At least one image must be made from each photograph.")


DEFAULT_RECIPE = Recipe()


@dataclass(frozen=True, slots=True)
class _Photograph:
    """One photograph to draw: its number, its class, and the names of its copies.

    ``cell`` is the photograph whose white cell it shows: itself, or a TRAIN photograph.
    """

    number: int
    cell: int
    split: str
    label: int
    files: tuple[str, ...]


def default_cells(
    cache_root: Path,
    on_progress: Callable[[int, int], None] | None = None,
    recipe: Recipe = DEFAULT_RECIPE,
) -> Path:
    """Return the folder of ``recipe`` in the cache; drawn when it is not there yet."""
    size = f"{recipe.train_images}-{recipe.test_images}"
    target = cache_root / f"synthetic-cells-v{GENERATOR_VERSION}-s{recipe.seed}-{size}"
    if not (target / "images" / MARKER).is_file():
        _draw_into_place(recipe, target, on_progress)
    return target


def write_cells(
    destination: Path, recipe: Recipe, on_progress: Callable[[int, int], None] | None = None
) -> Path:
    """Draw the cells of ``recipe`` into ``destination/images``.

    Args:
        destination: A folder that does not exist yet or is empty.
        recipe: What to draw.
        on_progress: Called on this thread with (images done, images in all).

    Returns:
        ``destination``.

    Raises:
        UsageError: The destination holds files already, or cannot be written.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UsageError(
            f"{destination} is not an empty folder, and synthetic cells must never be mixed with "
            "other images. Name a new folder."
        )
    try:
        _draw_into_place(recipe, destination, on_progress)
    except OSError as error:
        raise UsageError(
            f"The synthetic cells cannot be written to {destination}: {error}. Name a folder "
            "that you may write to and that has room."
        ) from error
    return destination


def _draw_into_place(
    recipe: Recipe, target: Path, on_progress: Callable[[int, int], None] | None
) -> None:
    """Draw next to ``target`` and rename, so that a half-drawn set is never mistaken for one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        drawn = Path(scratch) / "drawn"
        _draw(recipe, drawn / "images", on_progress)
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        try:
            drawn.rename(target)
        except OSError:
            if not (target / "images" / MARKER).is_file():  # else another process was faster
                raise


def _draw(recipe: Recipe, images: Path, on_progress: Callable[[int, int], None] | None) -> None:
    for folder in (f"{split}/{name}" for split in LOADED_SPLITS for name in CLASSES):
        (images / folder).mkdir(parents=True)
    photographs = list(_photographs(recipe))
    rows: list[tuple[object, ...]] = []
    with all_cores() as pool:
        for drawn in pool.map(lambda p: _write_copies(recipe, p, images), photographs):
            rows += drawn
            if on_progress is not None:
                on_progress(len(rows), recipe.train_images + recipe.test_images)
    with (images / PHOTOGRAPH_TABLE).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    marker = {"synthetic": True, "generator_version": GENERATOR_VERSION, **asdict(recipe)}
    (images / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def _photographs(recipe: Recipe) -> Iterator[_Photograph]:
    """Yield every photograph with the names of its copies, TRAIN first."""
    number = 0
    first_of_class: dict[int, int] = {}
    sizes = (recipe.train_images, recipe.test_images)
    copies = (recipe.copies_train, recipe.copies_test)
    for split, size, copy_count in zip(LOADED_SPLITS, sizes, copies, strict=True):
        for label in range(len(CLASSES)):
            names = _names(recipe, split, label, size)
            first_of_class.setdefault(label, number)
            for i, start in enumerate(range(0, len(names), copy_count)):
                leaks = split == "TEST" and i % _LEAKING_EVERY == _LEAKING_EVERY - 1
                cell = first_of_class[label] + i // _LEAKING_EVERY if leaks else number
                files = tuple(names[start : start + copy_count])
                yield _Photograph(number, cell, split, label, files)
                number += 1


def _names(recipe: Recipe, split: str, label: int, size: int) -> list[str]:
    """Return file names like the published ones, which say nothing about the photograph."""
    count = size // len(CLASSES) + (label < size % len(CLASSES))
    stream = np.random.default_rng([recipe.seed, _NAMES, LOADED_SPLITS.index(split), label])
    tails = stream.permutation(max(10_000, count))[:count]
    return [f"_{stream.integers(0, 100)}_{tail}.jpeg" for tail in tails]


def _write_copies(
    recipe: Recipe, photograph: _Photograph, images: Path
) -> list[tuple[object, ...]]:
    """Draw one photograph, write its copies, and return their rows of the table."""
    cell = np.random.default_rng([recipe.seed, _CELL, photograph.cell])
    field = np.random.default_rng([recipe.seed, _FIELD, photograph.number])
    moves = np.random.default_rng([recipe.seed, _COPIES, photograph.number])
    picture = _draw_photograph(photograph.label, cell, field)
    rows: list[tuple[object, ...]] = []
    for file in photograph.files:
        data = _encoded(_augment(picture, moves), recipe.seed)
        split, name = photograph.split, CLASSES[photograph.label]
        (images / split / name / file).write_bytes(data)
        origin = (sha256(data).hexdigest(), photograph.number, photograph.cell)
        leaks = photograph.cell != photograph.number
        rows.append((split, name, file, *origin, str(leaks).lower()))
    return rows


def _encoded(image: NDArray[np.uint8], seed: int) -> bytes:
    _, data = cv2.imencode(".jpeg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    text = f"wbcbench synthetic cells v{GENERATOR_VERSION} seed {seed}"
    return add_jpeg_comment(data.tobytes(), text)
