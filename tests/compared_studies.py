"""Studies of known truth as record folders: what a sweep of four variants leaves behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from records_factory import CLASSES, GPU_MACHINE, make_record, make_scores, make_spec, save
from wbcbench.joules.energy import Channel
from wbcbench.runs.records import RunRecord
from wbcbench.runs.rundir import RunDir

VARIANTS = ("relu-dropout", "relu-batchnorm", "leaky-dropout", "leaky-batchnorm")


@dataclass(frozen=True)
class Truth:
    """What a study's runs are drawn from.

    ``joules`` are log ratios to relu-dropout, ``shares`` differences of the balanced accuracy.
    """

    joules: Mapping[str, float]
    shares: Mapping[str, float]
    noise_j: float = 0.004
    noise_share: float = 0.004


CLEAR = Truth(
    joules={"leaky-dropout": 0.04, "relu-batchnorm": -0.08, "leaky-batchnorm": -0.04},
    shares={"leaky-dropout": 0.02, "relu-batchnorm": 0.0, "leaky-batchnorm": 0.02},
)
NOTHING = Truth({}, {})


def scaled(record: RunRecord, factor: float) -> RunRecord:
    """The same run with every joule times ``factor``."""
    energies = tuple(
        replace(each, energy_j=None if each.energy_j is None else each.energy_j * factor)
        for each in record.energies
    )
    return replace(record, energies=energies)


def draw(
    blocks: int,
    truth: Truth = CLEAR,
    *,
    variants: Sequence[str] = VARIANTS,
    channels: Sequence[Channel] = GPU_MACHINE,
    study: str = "study",
    seed: int = 1,
    **spec: object,
) -> list[RunRecord]:
    """Records of every variant in every block; what a block shares is drawn, too."""
    rng = np.random.default_rng(seed)
    records = []
    for block in range(1, blocks + 1):
        shared = rng.normal(0, 0.05)
        for variant in variants:
            log_j = shared + truth.joules.get(variant, 0.0) + truth.noise_j * rng.normal()
            share = 0.8 + truth.shares.get(variant, 0.0) + truth.noise_share * rng.normal()
            asked = make_spec(variant, 1000 + block, block=block, study=study, **spec)
            record = make_record(spec=asked, channels=channels, test=make_scores(share - 0.01))
            records.append(scaled(record, math.exp(log_j)))
    return records


def saved(results: Path, records: Sequence[RunRecord]) -> Path:
    """Write them as run folders; returns the study's folder."""
    return save(results, *records)


def changed(
    records: Sequence[RunRecord], which: Callable[[RunRecord], bool], **fields: object
) -> list[RunRecord]:
    """The records, those that ``which`` names with other fields."""
    return [replace(r, **fields) if which(r) else r for r in records]  # type: ignore[arg-type]


def write_predictions(
    results: Path, record: RunRecord, right: np.ndarray, photographs: Sequence[int | None]
) -> None:
    """A predictions table in which image ``i`` is right or not; classes go round by photograph."""
    truth = [CLASSES[(p or 0) % 4] for p in photographs]
    said = [
        t if ok else CLASSES[(CLASSES.index(t) + 1) % 4] for t, ok in zip(truth, right, strict=True)
    ]
    table = pa.table(
        {
            "image_sha256": [f"{i:064x}" for i in range(len(truth))],
            "original_id": pa.array(photographs, type=pa.int64()),
            "seen_in_train": [False] * len(truth),
            "y_true": truth,
            "y_pred": said,
        }
    )
    run = RunDir(results / record.spec.study / record.run_id)
    pq.write_table(table, run.predictions_path)
