"""From a recipe to a folder of synthetic cells, with the layout of the published set."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.core.errors import UsageError
from wbcbench.data import jpeg
from wbcbench.data.dataset import CLASSES, LOADED_SPLITS
from wbcbench.data.layout import PHOTOGRAPH_TABLE
from wbcbench.data.photographs import COLUMNS
from wbcbench.data.reading import all_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GENERATOR_VERSION = 1
"""Raised whenever a change alters the images of a recipe."""

MARKER = "synthetic.json"
_JPEG_QUALITY = 90
_CELL, _FIELD, _COPIES, _NAMES = range(4)  # independent streams of random numbers
_LEAKING_EVERY = 12  # one in twelve TEST photographs shows a TRAIN cell; published: six of 71


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
    import numpy as np

    count = size // len(CLASSES) + (label < size % len(CLASSES))
    stream = np.random.default_rng([recipe.seed, _NAMES, LOADED_SPLITS.index(split), label])
    tails = stream.permutation(max(10_000, count))[:count]
    return [f"_{stream.integers(0, 100)}_{tail}.jpeg" for tail in tails]


def _write_copies(
    recipe: Recipe, photograph: _Photograph, images: Path
) -> list[tuple[object, ...]]:
    """Draw one photograph, write its copies, and return their rows of the table."""
    import numpy as np

    from wbcbench.data.augment import augment
    from wbcbench.data.smears import draw_photograph

    cell = np.random.default_rng([recipe.seed, _CELL, photograph.cell])
    field = np.random.default_rng([recipe.seed, _FIELD, photograph.number])
    moves = np.random.default_rng([recipe.seed, _COPIES, photograph.number])
    picture = draw_photograph(photograph.label, cell, field)
    rows: list[tuple[object, ...]] = []
    for file in photograph.files:
        data = _encoded(augment(picture, moves), recipe.seed)
        split, name = photograph.split, CLASSES[photograph.label]
        (images / split / name / file).write_bytes(data)
        origin = (sha256(data).hexdigest(), photograph.number, photograph.cell)
        leaks = photograph.cell != photograph.number
        rows.append((split, name, file, *origin, str(leaks).lower()))
    return rows


def _encoded(image: NDArray[np.uint8], seed: int) -> bytes:
    import cv2

    _, data = cv2.imencode(".jpeg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    text = f"wbcbench synthetic cells v{GENERATOR_VERSION} seed {seed}"
    return jpeg.with_comment(data.tobytes(), text)
