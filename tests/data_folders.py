"""Small data sets for the tests of the data package, written as real files."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from wbcbench.data.dataset import CLASSES, ImageSet

REAL_SET = Path(
    os.environ.get("WBCBENCH_TEST_DATA")
    or Path(__file__).resolve().parents[2] / "shared" / "data" / "wbc"
)

needs_real_set = pytest.mark.skipif(
    not REAL_SET.is_dir(),
    reason=f"the real images are not in {REAL_SET}; set WBCBENCH_TEST_DATA to their folder",
)


def jpeg_bytes(seed: int, width: int = 320, height: int = 240) -> bytes:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(blocks, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpeg", image)[1].tobytes()


def write_folder(root: Path, per_class: int = 3, first_seed: int = 0) -> Path:
    """Write TRAIN and TEST with ``per_class`` different images in each class folder."""
    seed = first_seed
    for split in ("TRAIN", "TEST"):
        for name in CLASSES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(per_class):
                (folder / f"_{number}_{seed}.jpeg").write_bytes(jpeg_bytes(seed))
                seed += 1
    return root


def write_table(root: Path, rows: dict[str, tuple[int, int, bool]]) -> None:
    """Write the table of photographs: name → (original_id, group_id, cell_seen_in_train)."""
    with (root / "image_to_original.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["split", "class", "file", "sha256", "original_id", "group_id", "cell_seen_in_train"]
        )
        for name, (original, group, seen) in rows.items():
            digest = hashlib.sha256((root / name).read_bytes()).hexdigest()
            writer.writerow([*name.split("/"), digest, original, group, str(seen).lower()])


def image_set(groups: list[int], labels: list[int]) -> ImageSet:
    """Return a TRAIN of black pixels with these photograph groups and labels."""
    n = len(groups)
    return ImageSet(
        images=np.zeros((n, 1, 1, 3), np.uint8),
        labels=np.array(labels, dtype=np.int64),
        files=tuple(f"TRAIN/{CLASSES[label]}/_{i}_{i}.jpeg" for i, label in enumerate(labels)),
        sha256=tuple(hashlib.sha256(str(i).encode()).hexdigest() for i in range(n)),
        group_id=np.array(groups, dtype=np.int64),
        original_id=np.array(groups, dtype=np.int64),
        also_in_train=np.zeros(n, dtype=np.bool_),
    )
