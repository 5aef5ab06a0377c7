"""Synthetic images of blood cells, augmented like the published set, as a folder.

What tells the classes apart is what tells them apart under a microscope, simplified: the shape of
the nucleus and the granules around it. Size, stain and outline vary more within a class than
between classes, so that no single colour or count of dark pixels gives the label away.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from wbcbench.core.cache import machine_mark
from wbcbench.core.errors import UsageError
from wbcbench.core.lock import turn
from wbcbench.data.dataset import CLASSES, LOADED_SPLITS, Progress
from wbcbench.data.jpeg import add_jpeg_comment
from wbcbench.data.read import PHOTOGRAPH_TABLE, all_cores
from wbcbench.data.splits import COLUMNS

Rng: TypeAlias = np.random.Generator
Image: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]
Colour: TypeAlias = tuple[float, float, float]
"""Blue, green, red, 0–255: OpenCV's order."""

GENERATOR_VERSION = 1
"""Raised whenever a change alters the images of a recipe."""

WIDTH, HEIGHT = 320, 240
"""Size of the published images in pixels."""

MARKER = "synthetic.json"

_TURN_S = 600.0  # to wait for another process that draws; it takes half a minute on two cores

_SUBPIXEL_BITS = 4
_ANGLES = np.linspace(0, 2 * np.pi, 48, endpoint=False)
_REACH = 1.3  # radii from the centre within which everything of a cell lies
_LARGEST_TURN_DEG = 20.0
_LARGEST_SHIFT = 0.08
_LARGEST_SHEAR = 0.12
_JPEG_QUALITY = 90
_LEAKING_EVERY = 12  # one in twelve TEST photographs shows a TRAIN cell; published: six of 71
_ACROSS = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :, None]
_DOWN = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None, None]
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
                f"{self.train_images} TRAIN and {self.test_images} TEST images were requested, "
                f"but each split needs at least one image of each of the {len(CLASSES)} classes."
            )
        if min(self.copies_train, self.copies_test) < 1:
            raise UsageError("At least one image must be made from each photograph.")


DEFAULT_RECIPE = Recipe()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a cell lies: centre in pixels, radius in pixels, direction in radians."""

    x: float
    y: float
    radius: float
    turn: float

    def at(self, distance: float, angle: float) -> tuple[float, float]:
        """Return the point at ``distance`` radii from the centre in direction ``angle``."""
        reach, direction = distance * self.radius, angle + self.turn
        return self.x + reach * float(np.cos(direction)), self.y + reach * float(np.sin(direction))


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one class looks: ranges of size, cytoplasm, granules, and how its nucleus is drawn."""

    radius: tuple[float, float]
    cytoplasm: Colour
    granule: Colour
    granule_size: tuple[float, float]
    granule_count: tuple[int, int]
    draw_nucleus: Callable[[Image, Rng, _Place], None]


def _draw_outline(
    rng: Rng, centre: tuple[float, float], radius: float, *, wobble: float, squeeze: float = 1.0
) -> Floats:
    """Return an irregular closed curve around ``centre``: ``[points, 2]``, in pixels.

    Args:
        rng: Decides the irregularities and the direction.
        centre: x and y in pixels.
        radius: Mean radius in pixels.
        wobble: How uneven the radius is, as a share of it.
        squeeze: Short over long axis.
    """
    reach = np.full(len(_ANGLES), radius)
    for wave in (2, 3, 5):
        swell, phase = rng.normal(0, 2 * wobble / wave), rng.uniform(0, 2 * np.pi)
        reach += radius * swell * np.cos(wave * _ANGLES + phase)
    turn = rng.uniform(0, np.pi)
    along, across = reach * np.cos(_ANGLES), squeeze * reach * np.sin(_ANGLES)
    x = centre[0] + along * np.cos(turn) - across * np.sin(turn)
    y = centre[1] + along * np.sin(turn) + across * np.cos(turn)
    return np.stack([x, y], axis=1)


def _fill(image: Image, curve: Floats, *colour: float) -> None:
    """Fill a closed curve with smooth edges."""
    points = np.round(curve * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(image, [points], colour, cv2.LINE_AA, _SUBPIXEL_BITS)


def _tint(canvas: Image, mask: Image, colour: Floats, opacity: float) -> None:
    """Blend ``colour`` into ``canvas`` where ``mask`` is set."""
    weight = (mask.astype(np.float32) * np.float32(opacity / 255))[..., None]
    blended = canvas + weight * (np.asarray(colour, np.float32) - canvas)
    canvas[...] = np.clip(blended, 0, 255).astype(np.uint8)


def _draw_lobes(mask: Image, rng: Rng, place: _Place, count: int, size: float) -> None:
    """Draw ``count`` lobes along an arc, joined by threads."""
    spread = rng.uniform(0.75, 1.1) * (np.pi if count == 2 else 0.6 * np.pi * (count - 1) / 1.5)
    centres = [
        place.at(rng.uniform(0.36, 0.5), spread * (i / (count - 1) - 0.5)) for i in range(count)
    ]
    for centre in centres:
        radius, squeeze = place.radius * size * rng.uniform(0.85, 1.15), rng.uniform(0.72, 1.0)
        _fill(mask, _draw_outline(rng, centre, radius, wobble=0.06, squeeze=squeeze), 255)
    thread = max(2, round(place.radius * rng.uniform(0.08, 0.3)))
    joined = np.round(np.array(centres)).astype(np.int32)
    cv2.polylines(mask, [joined], False, (255,), thread, cv2.LINE_AA)


def _draw_lymphocyte_nucleus(mask: Image, rng: Rng, place: _Place) -> None:
    """Draw an oval that nearly fills the cell."""
    centre = place.at(rng.uniform(0, 0.12), rng.uniform(0, 2 * np.pi))
    radius, squeeze = place.radius * rng.uniform(0.7, 0.9), rng.uniform(0.84, 1.0)
    _fill(mask, _draw_outline(rng, centre, radius, wobble=0.05, squeeze=squeeze), 255)


def _draw_monocyte_nucleus(mask: Image, rng: Rng, place: _Place) -> None:
    """Draw a kidney: an oval with a bite taken out of one side."""
    centre = place.at(rng.uniform(0, 0.15), rng.uniform(0, 2 * np.pi))
    radius, squeeze = place.radius * rng.uniform(0.64, 0.8), rng.uniform(0.75, 0.95)
    _fill(mask, _draw_outline(rng, centre, radius, wobble=0.07, squeeze=squeeze), 255)
    side = place.at(rng.uniform(0.5, 0.75), 0.0)
    _fill(mask, _draw_outline(rng, side, place.radius * rng.uniform(0.26, 0.44), wobble=0.08), 0)


_KINDS = {
    "EOSINOPHIL": _Kind(
        (44, 58), (186, 176, 214), (92, 112, 212), (1.8, 3.4), (90, 190),
        lambda mask, rng, place: _draw_lobes(
            mask, rng, place, 3 if rng.uniform() < 0.1 else 2, rng.uniform(0.34, 0.42)
        ),
    ),
    "LYMPHOCYTE": _Kind(
        (32, 44), (214, 186, 176), (196, 160, 160), (0.8, 1.6), (0, 20), _draw_lymphocyte_nucleus
    ),
    "MONOCYTE": _Kind(
        (50, 66), (200, 170, 164), (190, 160, 170), (0.8, 1.6), (0, 60), _draw_monocyte_nucleus
    ),
    "NEUTROPHIL": _Kind(
        (44, 58), (210, 194, 218), (176, 150, 204), (0.8, 1.8), (40, 140),
        lambda mask, rng, place: _draw_lobes(
            mask, rng, place, int(rng.integers(3, 6)), rng.uniform(0.25, 0.33)
        ),
    ),
}  # fmt: skip


def _paint_cell(canvas: Image, rng: Rng, name: str, x: float, y: float) -> None:
    """Paint a white cell.

    Args:
        canvas: uint8 ``[height, width, 3]``, BGR; changed in place.
        rng: Everything about this cell follows from it.
        name: Its class.
        x: Centre, pixels from the left.
        y: Centre, pixels from the top.
    """
    kind = _KINDS[name]
    radius, turn = rng.uniform(*kind.radius), rng.uniform(0, 2 * np.pi)
    left, top = max(0, int(x - _REACH * radius)), max(0, int(y - _REACH * radius))
    canvas = canvas[top : int(y + _REACH * radius), left : int(x + _REACH * radius)]
    place = _Place(x - left, y - top, radius, turn)
    stain = rng.normal(0, 7, 3)
    body, granules, nucleus = np.zeros((3, *canvas.shape[:2]), np.uint8)

    squeeze = rng.uniform(0.82, 1.0)
    centre = (place.x, place.y)
    _fill(body, _draw_outline(rng, centre, radius, wobble=0.05, squeeze=squeeze), 255)
    _tint(canvas, body, kind.cytoplasm + stain, rng.uniform(0.75, 0.95))

    scale = 1 << _SUBPIXEL_BITS
    for _ in range(int(rng.integers(*kind.granule_count))):
        point = place.at(float(np.sqrt(rng.uniform(0, 0.95))), rng.uniform(0, 2 * np.pi))
        middle = (round(point[0] * scale), round(point[1] * scale))
        size = max(1, round(rng.uniform(*kind.granule_size) * scale))
        cv2.circle(granules, middle, size, (255,), -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.bitwise_and(granules, body, dst=granules)
    _tint(canvas, granules, kind.granule + rng.normal(0, 14, 3), rng.uniform(0.55, 0.95))

    kind.draw_nucleus(nucleus, rng, place)
    cv2.bitwise_and(nucleus, body, dst=nucleus)
    colour = np.array([150.0, 62.0, 112.0]) + rng.normal(0, 9, 3) + stain / 2
    _tint(canvas, nucleus, colour, rng.uniform(0.82, 0.97))

    height, width = nucleus.shape  # chromatin: a coarse, uneven texture
    clumps = rng.normal(0, 13, (height // 6, width // 6)).astype(np.float32)
    texture = cv2.resize(clumps, (width, height), interpolation=cv2.INTER_CUBIC)
    uneven = canvas + (texture * (nucleus > 0))[..., None]
    canvas[...] = np.clip(uneven, 0, 255).astype(np.uint8)


def _draw_photograph(name: str, cell: Rng, field: Rng) -> Image:
    """Draw one photograph.

    Args:
        name: Class of the white cell.
        cell: Decides the white cell alone, so that two photographs can show the same one.
        field: Decides everything else: red cells, position, light, focus, noise.

    Returns:
        uint8 ``[240, 320, 3]``, BGR.
    """
    pale = np.array([224.0, 218.0, 228.0]) + field.normal(0, 5, 3)
    photograph = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    photograph[...] = np.clip(pale, 0, 255).astype(np.uint8)
    _paint_red_cells(photograph, field, int(field.integers(6, 24)))
    x, y = WIDTH / 2 + field.uniform(-36, 36), HEIGHT / 2 + field.uniform(-24, 24)
    _paint_cell(photograph, cell, name, x, y)
    _paint_red_cells(photograph, field, int(field.integers(0, 2)))
    for _ in range(int(field.integers(0, 7))):  # platelets
        centre = (field.uniform(0, WIDTH), field.uniform(0, HEIGHT))
        colour = np.clip(np.array([160.0, 90.0, 140.0]) + field.normal(0, 15, 3), 0, 255)
        _fill(photograph, _draw_outline(field, centre, field.uniform(3, 8), wobble=0.12), *colour)
    return _expose(photograph, field)


def _paint_red_cells(canvas: Image, rng: Rng, count: int) -> None:
    """Paint discs with a pale middle; later ones lie on earlier ones."""
    stain = np.array([172.0, 160.0, 214.0]) + rng.normal(0, 10, 3)
    for _ in range(count):
        centre = (rng.uniform(-20, WIDTH + 20), rng.uniform(-20, HEIGHT + 20))
        radius, squeeze = rng.uniform(24, 36), rng.uniform(0.75, 1.0)
        for share, shade in ((1.0, 0.0), (rng.uniform(0.3, 0.6), rng.uniform(5, 28))):
            curve = _draw_outline(rng, centre, radius * share, wobble=0.04, squeeze=squeeze)
            _fill(canvas, curve, *np.clip(stain + shade, 0, 255))


def _expose(photograph: Image, rng: Rng) -> Image:
    """Take the picture: focus, uneven light, white balance, sensor noise."""
    sharp = cv2.GaussianBlur(photograph, (0, 0), rng.uniform(0.8, 1.7))
    slope_x, slope_y = rng.normal(0, 0.05, 2).astype(np.float32)
    light = np.float32(rng.uniform(0.8, 1.08)) * (1 + slope_x * _ACROSS + slope_y * _DOWN)
    balance = rng.normal(1, 0.02, 3).astype(np.float32)
    lit = cv2.multiply(sharp, light * balance, dtype=cv2.CV_32F)
    noise = rng.standard_normal((HEIGHT, WIDTH), dtype=np.float32) * np.float32(rng.uniform(1, 4))
    return np.asarray(cv2.add(lit, cv2.merge([noise] * 3), dtype=cv2.CV_8U), np.uint8)


def _augment(photograph: Image, rng: Rng) -> Image:
    """Return a copy with random turn, shear, flips and shift about the middle of the image."""
    turn = np.deg2rad(rng.uniform(-_LARGEST_TURN_DEG, _LARGEST_TURN_DEG))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shear = np.array([[1.0, rng.uniform(-_LARGEST_SHEAR, _LARGEST_SHEAR)], [0.0, 1.0]])
    linear = rotation @ shear @ np.diag(rng.choice([-1.0, 1.0], 2))
    middle = np.array([WIDTH, HEIGHT]) / 2
    shift = rng.uniform(-_LARGEST_SHIFT, _LARGEST_SHIFT, 2) * (WIDTH, HEIGHT)
    movement = np.column_stack([linear, middle - linear @ middle + shift])
    moved = cv2.warpAffine(photograph, movement, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    return np.asarray(moved, np.uint8)


@dataclass(frozen=True, slots=True)
class _Photograph:
    """One photograph to draw: its number, its class, and the names of its copies.

    ``cell`` is the photograph whose white cell it shows: itself, or a TRAIN photograph.
    """

    number: int
    cell: int
    split: str
    name: str
    files: list[str]


def default_cells(
    cache_root: Path, on_progress: Progress | None = None, recipe: Recipe = DEFAULT_RECIPE
) -> Path:
    """Return the folder of ``recipe`` in the cache; drawn when it is not there yet."""
    size = f"{recipe.train_images}-{recipe.test_images}"
    target = cache_root / f"synthetic-cells-v{GENERATOR_VERSION}-s{recipe.seed}-{size}"
    marker = target / "images" / MARKER
    if marker.is_file():
        return target
    place = sha256(os.fsencode(target.absolute())).hexdigest()[:32]
    with turn(f"cells/{place}", _TURN_S) as is_ours:  # of this machine; others may draw, too
        if is_ours:
            for left in cache_root.glob(f".{target.name}.*.{machine_mark()}"):
                shutil.rmtree(left, ignore_errors=True)
        if not marker.is_file():
            _draw_into_place(recipe, target, on_progress)
    return target


def write_cells(destination: Path, recipe: Recipe, on_progress: Progress | None = None) -> Path:
    """Draw the images of ``recipe`` into ``destination/images``.

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
            f"{destination} is not an empty folder, and synthetic images must never be mixed with "
            "other images. Name a new folder."
        )
    try:
        _draw_into_place(recipe, destination, on_progress)
    except OSError as error:
        raise UsageError(
            f"The synthetic images cannot be written to {destination}: {error}. Name a folder "
            "that you may write to and that has room."
        ) from error
    return destination


def _draw_into_place(recipe: Recipe, target: Path, on_progress: Progress | None) -> None:
    """Draw next to ``target`` and rename, so that a half-drawn set is never mistaken for one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    name, mark = f".{target.name}.", f".{machine_mark()}"
    with tempfile.TemporaryDirectory(mark, name, target.parent) as scratch:
        drawn = Path(scratch) / "drawn"
        _draw(recipe, drawn / "images", on_progress)
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        try:
            drawn.rename(target)
        except OSError:
            if not (target / "images" / MARKER).is_file():  # else another process was faster
                raise


def _draw(recipe: Recipe, images: Path, on_progress: Progress | None) -> None:
    for folder in (f"{split}/{name}" for split in LOADED_SPLITS for name in CLASSES):
        (images / folder).mkdir(parents=True)
    rows: list[tuple[object, ...]] = []
    with all_cores() as pool:
        for copies in pool.map(
            lambda p: _write_copies(recipe, p, images), _list_photographs(recipe)
        ):
            rows += copies
            if on_progress is not None:
                on_progress(len(rows), recipe.train_images + recipe.test_images)
    with (images / PHOTOGRAPH_TABLE).open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *rows])
    marker = {"synthetic": True, "generator_version": GENERATOR_VERSION, **asdict(recipe)}
    (images / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def _list_photographs(recipe: Recipe) -> Iterator[_Photograph]:
    """Yield every photograph with the names of its copies, TRAIN first."""
    number = 0
    first_of_class: dict[str, int] = {}
    sizes = (recipe.train_images, recipe.test_images)
    copies = (recipe.copies_train, recipe.copies_test)
    for split, size, copy_count in zip(LOADED_SPLITS, sizes, copies, strict=True):
        for label, name in enumerate(CLASSES):
            files = _draw_file_names(recipe, split, label, size)
            first_of_class.setdefault(name, number)
            for i, start in enumerate(range(0, len(files), copy_count)):
                leaks = split == "TEST" and i % _LEAKING_EVERY == _LEAKING_EVERY - 1
                cell = first_of_class[name] + i // _LEAKING_EVERY if leaks else number
                yield _Photograph(number, cell, split, name, files[start : start + copy_count])
                number += 1


def _draw_file_names(recipe: Recipe, split: str, label: int, size: int) -> list[str]:
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
    picture = _draw_photograph(photograph.name, cell, field)
    leaks = str(photograph.cell != photograph.number).lower()
    comment = f"wbcbench synthetic cells v{GENERATOR_VERSION} seed {recipe.seed}"
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    rows: list[tuple[object, ...]] = []
    for file in photograph.files:
        _, jpeg = cv2.imencode(".jpeg", _augment(picture, moves), quality)
        data = add_jpeg_comment(jpeg.tobytes(), comment)
        place = (photograph.split, photograph.name, file)
        images.joinpath(*place).write_bytes(data)
        origin = (sha256(data).hexdigest(), photograph.number, photograph.cell, leaks)
        rows.append((*place, *origin))
    return rows
