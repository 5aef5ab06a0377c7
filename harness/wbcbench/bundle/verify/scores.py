"""Checks of the scores: recomputed image by image, splits apart, training plausible."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np

from wbcbench.bundle import layout
from wbcbench.bundle.open import Predictions, read_predictions
from wbcbench.bundle.verify import Outcome, not_checked, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.records import differences
from wbcbench.core.record import RunRecord, Scores
from wbcbench.core.run_folder import RunDir
from wbcbench.data.dataset import UNKNOWN_PHOTOGRAPH
from wbcbench.data.read import PUBLISHED_ID, dataset_sha256
from wbcbench.data.splits import published_images
from wbcbench.train.scores import UNUSED, predicted, score

_SUM_SLACK = 0.02  # half-precision outputs

_Image = Mapping[str, str]


def check_scores(bundle: Bundle) -> Outcome:
    """Scores from predictions: accuracy, recall, calibration, interval, image by image."""
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
    if record.test_leakage_free is not None:
        yield from _compared(
            "test_leakage_free", record.test_leakage_free, found, ~found.also_in_train
        )
    elif found.also_in_train.any() and record.dataset is not None and record.dataset.grouped:
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


def check_leakage(bundle: Bundle) -> Outcome:
    """Splits apart: no image, and no photograph unannounced, on both sides of a split."""
    dataset = bundle.document.dataset
    if dataset is None:
        return not_checked("No run got as far as its images.")
    images = _read_images(bundle)
    errors = [*_twice(images), *_published(images, dataset.dataset_id), *_digest(bundle, images)]
    leaks = set[str]()
    for run in bundle.finished:
        found = bundle.predictions(run)
        if found is not None:
            errors += (f"{run.run_id}: {said}" for said in _tested(images, found))
            leaks |= {
                s for s, seen in zip(found.image_sha256, found.also_in_train, strict=True) if seen
            }
    shared = list(_shared(images, leaks))
    warnings = [*_leak_notes(bundle, leaks), *_incomplete(bundle)]
    if dataset.dataset_id == PUBLISHED_ID and shared:
        # As published: fields that overlap without showing the same cell.
        warnings.append(f"{len(shared)} more test images are of photographs near those of TRAIN.")
    else:
        errors += shared
    return outcome(f"{len(images):,} images, each photograph on one side.", errors, warnings)


def _read_images(bundle: Bundle) -> list[_Image]:
    text = bundle.read(layout.IMAGES).decode("utf-8")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(rows.fieldnames or ()) != layout.IMAGE_COLUMNS:
        raise ValueError(
            f"{layout.IMAGES} has other columns than {', '.join(layout.IMAGE_COLUMNS)}"
        )
    return list(rows)


def _twice(images: Sequence[_Image]) -> Iterator[str]:
    """The published set repeats images inside a split; across splits nothing may be repeated."""
    splits = defaultdict[str, set[str]](set)
    paths = set[str]()
    for image in images:
        if image["path"] in paths:
            yield f"{image['path']} is listed twice."
        paths.add(image["path"])
        splits[image["sha256"]].add(image["split"].lower())
    for sha256, found in splits.items():
        if len(found) > 1:
            yield f"The image {sha256[:12]} is in {' and '.join(sorted(found))}."


def _shared(images: Sequence[_Image], leaks: set[str]) -> Iterator[str]:
    """A test image of a photograph group that TRAIN shows must be marked as seen."""
    train = {i["group_id"] for i in images if i["split"].lower() == "train" and i["group_id"]}
    for image in images:
        is_test = image["split"].lower() == "test"
        if is_test and image["group_id"] in train and image["sha256"] not in leaks:
            yield f"{image['path']} shows photograph group {image['group_id']}, which TRAIN shows."


def _tested(images: Sequence[_Image], found: Predictions) -> Iterator[str]:
    known = {image["sha256"]: image for image in images}
    rows = zip(
        found.image_sha256, found.file, found.split, found.y_true, found.group_id, strict=True
    )
    for sha256, file, split, label, group in rows:
        image = known.get(sha256)
        if image is None:
            yield f"{file} is predicted and in no list of images."
        elif split != "test" or image["split"].lower() != "test":
            yield f"{file} is predicted as {split} and listed as {image['split']}."
        elif image["label"] != label:
            yield f"{file} is predicted as {label} and listed as {image['label']}."
        elif image["group_id"] and image["group_id"] != str(group):
            yield f"{file} is of photograph group {group} here and {image['group_id']} there."
    if len(set(found.file)) < len(found.file):
        yield "an image is predicted twice."


def _published(images: Sequence[_Image], dataset_id: str) -> Iterator[str]:
    """What is known of the published set, whatever the bundle says of it."""
    if dataset_id != PUBLISHED_ID:
        return
    known = published_images()
    for image in images:
        origin = known.get(image["sha256"])
        if origin is None:
            yield f"{image['path']} is no image of the published set."
            continue
        split, label, _ = origin.name.split("/", maxsplit=2)
        told = (image["split"].upper(), image["label"], image["original_id"], image["group_id"])
        if told != (split, label, str(origin.original_id), str(origin.group_id)):
            yield f"{image['path']} is {origin.name} of photograph {origin.original_id}."


def _digest(bundle: Bundle, images: Sequence[_Image]) -> Iterator[str]:
    dataset = bundle.document.dataset
    if dataset is not None and dataset.complete:
        found = dataset_sha256((image["path"], image["sha256"]) for image in images)
        if found != dataset.sha256:
            yield f"The images make the digest {found[:12]}, not {dataset.sha256[:12]}."
    plain = json.loads(bundle.read(layout.DATASET))
    told = {k: v for k, v in plain.items() if k != "facts"}
    if dataset is not None and told != json.loads(json.dumps(asdict(dataset))):
        yield f"{layout.DATASET} says other than submission.json."
    facts = [asdict(r.dataset) for r in bundle.records.values() if r.dataset is not None]
    if plain.get("facts") not in json.loads(json.dumps(facts)):
        yield f"{layout.DATASET} says of the images what no run says."
    for record in bundle.records.values():
        if dataset is not None and record.dataset and record.dataset.sha256 != dataset.sha256:
            yield f"{record.run_id} was fed other images than the bundle lists."


def _leak_notes(bundle: Bundle, leaks: set[str]) -> Iterator[str]:
    if leaks:
        yield f"{len(leaks)} test images show cells of TRAIN; scores without them stand beside."
    if any(record.spec.validation == "published" for record in bundle.records.values()):
        yield "Validation is TEST itself, as published: energy to the target knows the test set."


def _incomplete(bundle: Bundle) -> Iterator[str]:
    dataset = bundle.document.dataset
    if dataset is not None and not dataset.complete:
        yield f"Images outside TEST are not listed (known from {dataset.listed_from})."


def check_convergence(bundle: Bundle) -> Outcome:
    """Training plausible: networks learnt more than the commonest class, and no loss was lost."""
    warnings = list[str]()
    done = [record for record in bundle.records.values() if record.status == "done"]
    for record in done:
        warnings += _doubts(record)
    return outcome(f"{len(done)} done runs beat the commonest class.", [], warnings)


def _doubts(record: RunRecord) -> Iterator[str]:
    if any(epoch.loss is None for epoch in record.epochs):
        yield f"{record.run_id}: the loss of an epoch was not finite."
    if len(record.epochs) < record.spec.epochs:
        yield f"{record.run_id}: {len(record.epochs)} of {record.spec.epochs} epochs."
    if record.test is None:
        yield f"{record.run_id}: was not tested."
        return
    commonest = max(sum(row) for row in record.test.confusion) / max(record.test.images, 1)
    if record.test.accuracy <= commonest:
        yield (
            f"{record.run_id}: accuracy {record.test.accuracy:.3f} is not above the share of the "
            f"commonest class ({commonest:.3f})."
        )
    best = max((e.val_accuracy for e in record.epochs if e.val_accuracy is not None), default=None)
    if best is not None and best <= commonest:
        yield f"{record.run_id}: no epoch validated above the commonest class."
