"""Which images a run trains on, validates on and is tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wbcbench.core.errors import UsageError
from wbcbench.core.record import DatasetFacts
from wbcbench.core.spec import RunSpec
from wbcbench.data.dataset import Dataset, ImageSet
from wbcbench.data.splits import split_validation


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """The three sets of one run; with the ``published`` split, validation is TEST itself."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet


def divide(dataset: Dataset, spec: RunSpec) -> Sets:
    """Divide a data set as ``spec.validation`` says.

    Raises:
        UsageError: Too few images to hold any out, or fewer to train on than one batch.
    """
    if spec.validation == "published":
        sets = Sets(dataset.train, dataset.test, dataset.test)
    else:
        kept, held_out = split_validation(
            dataset.train, fraction=spec.validation_fraction, seed=spec.split_seed
        )
        sets = Sets(dataset.train.take(kept), dataset.train.take(held_out), dataset.test)
    if len(sets.train) < spec.batch_size:
        raise UsageError(
            f"The batch size is {spec.batch_size}, but there are only {len(sets.train)} images to "
            "train on. Choose a smaller --batch-size or give more images."
        )
    return sets


def dataset_facts(dataset: Dataset, sets: Sets) -> DatasetFacts:
    """Return what the record says of the data."""
    leaky = int(np.count_nonzero(dataset.test.seen_in_train))
    return DatasetFacts(
        dataset_id=dataset.dataset_id,
        sha256=dataset.sha256,
        synthetic=dataset.synthetic,
        grouped=dataset.grouped,
        n_train=len(sets.train),
        n_val=len(sets.validation),
        n_test=len(sets.test),
        n_test_leaky=leaky if dataset.grouped else None,
        skipped=dataset.skipped,
    )
