"""Scores from predictions: accuracy, recall, calibration, interval, recomputed image by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np

from wbcbench.bundle.answers import Predictions
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.accounts import differences
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.record import RunRecord, Scores
from wbcbench.core.run_folder import RunDir
from wbcbench.data.dataset import UNKNOWN_PHOTOGRAPH
from wbcbench.train.scores import UNUSED, predicted, score

_SUM_SLACK = 0.02  # half-precision outputs


def check(bundle: Bundle) -> Outcome:
    """Score the predictions of every run that was tested."""
    errors, warnings, images = list[str](), list[str](), 0
    for run in bundle.finished:
        record = bundle.record(run)
        found = bundle.predictions(run)
        if record.test is None and found is None:
            continue
        if record.test is None or found is None:
            what = "scores without predictions" if found is None else "predictions without scores"
            killed = record.status != "done" and record.test is None
            (warnings if killed else errors).append(f"{run.run_id} has {what}.")
            continue
        images += len(found.y_true)
        errors += _scored(run, bundle.digest_of(run))
    return outcome(f"Scores of {images:,} predictions found again.", errors, warnings)


@lru_cache(maxsize=4096)
def _scored(run: RunDir, digest: str) -> tuple[str, ...]:
    from wbcbench.bundle.answers import read_predictions

    found = read_predictions(run.predictions_path)
    return tuple(f"{run.run_id}: {said}." for said in _problems(run.read_own_record(), found))


def _problems(record: RunRecord, found: Predictions) -> Iterator[str]:
    if record.test is None:
        return
    classes = record.test.classes
    if found.outputs != ("p_unused", *(f"p_{name.lower()}" for name in classes)):
        yield f"the predictions have other outputs ({', '.join(found.outputs)}) than classes"
        return
    strange = set(found.y_true) - set(classes)
    if strange:
        yield f"images of the class {sorted(strange)[0]!r}, which the scores do not know"
        return
    if np.abs(found.probabilities.sum(axis=1, dtype=np.float64) - 1).max(initial=0) > _SUM_SLACK:
        yield "the probabilities of an image do not add up to one"
    said = [(*classes, UNUSED)[label] for label in predicted(found.probabilities)]
    if said != found.y_pred:
        yield "y_pred is not the most probable output of every image"
    yield from _compared("test", record.test, found, np.ones(len(said), dtype=np.bool_))
    if record.test_leak_free is not None:
        yield from _compared("test_leak_free", record.test_leak_free, found, ~found.seen_in_train)
    elif found.seen_in_train.any() and record.dataset is not None and record.dataset.grouped:
        yield "images that TRAIN shows are tested on, and no scores leave them out"


def _compared(
    name: str, said: Scores, found: Predictions, chosen: np.ndarray[Any, np.dtype[np.bool_]]
) -> Iterator[str]:
    photographs = found.original_id[chosen]
    known = bool((photographs != UNKNOWN_PHOTOGRAPH).all())
    made = score(
        found.probabilities[chosen],
        _labels(found.y_true, said.classes)[chosen],
        photographs if known and said.interval is not None else None,
        said.classes,
    )
    yield from differences(_plain(said), _plain(made), name)


def _labels(names: Sequence[str], classes: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    place = {name: label for label, name in enumerate(classes)}
    return np.array([place[name] for name in names], dtype=np.int64)


def _plain(scores: Scores) -> Any:
    plain = asdict(scores)
    for name in ("confusion", "classes", "interval"):
        plain[name] = _lists(plain[name])
    return plain


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple | list) else value
