"""Checks of the scores: recomputed image by image, splits disjoint, training plausible."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from wbcbench.bundle import layout
from wbcbench.bundle.document import DatasetState, to_plain
from wbcbench.bundle.inputs import make_images
from wbcbench.bundle.make import Files
from wbcbench.bundle.open import Predictions, read_predictions
from wbcbench.bundle.verify import Outcome, report_outcome
from wbcbench.bundle.verify.bundle import Bundle, cache_by_files
from wbcbench.bundle.verify.likeness import compare_files, find_differences
from wbcbench.bundle.verify.records import group_values
from wbcbench.core.record import RunRecord, Scores
from wbcbench.core.run_folder import RunDir
from wbcbench.data.dataset import UNKNOWN_PHOTOGRAPH
from wbcbench.data.read import PUBLISHED_ID, dataset_sha256
from wbcbench.data.splits import Provenance, published_images
from wbcbench.train.scores import UNUSED, predicted, score

_SUM_TOLERANCE = 0.02  # half-precision outputs

_Image = Mapping[str, str]


def check_scores(bundle: Bundle) -> Outcome:
    """Scores from predictions: accuracy, recall, calibration, interval, image by image."""
    errors, warnings, images = list[str](), list[str](), 0
    for run in bundle.finished:
        record, predictions = bundle.record(run), bundle.predictions(run)
        if record.test is not None and predictions is not None:
            images += len(predictions.y_true)
            errors += _check_predictions(bundle, run)
        elif predictions is not None:
            problem = f"{run.run_id} has predictions without scores."
            (errors if record.status == "done" else warnings).append(problem)
        elif record.test is not None:
            errors.append(f"{run.run_id} has scores without predictions.")
    good = f"Scores computed again from {images:,} predictions."
    return report_outcome(good, errors, warnings)


@cache_by_files
def _check_predictions(run: RunDir) -> tuple[str, ...]:
    problems = _find_problems(run.read_own_record(), read_predictions(run.predictions_path))
    return tuple(f"{run.run_id}: {problem}." for problem in problems)


def _find_problems(record: RunRecord, predictions: Predictions) -> Iterator[str]:
    if record.test is None:
        return
    classes = record.test.classes
    if predictions.outputs != ("p_unused", *(f"p_{name.lower()}" for name in classes)):
        outputs = ", ".join(predictions.outputs)
        yield f"the predictions have other outputs ({outputs}) than classes"
        return
    unknown = set(predictions.y_true) - set(classes)
    if unknown:
        yield f"images have the class {min(unknown)!r}, which the scores do not have"
        return
    sums = predictions.probabilities.sum(axis=1, dtype=np.float64)
    if np.abs(sums - 1).max(initial=0) > _SUM_TOLERANCE:
        yield "the probabilities of an image do not add up to one"
    labels = [(*classes, UNUSED)[label] for label in predicted(predictions.probabilities)]
    if labels != predictions.y_pred:
        yield "y_pred is not the most probable output of every image"
    every_image = np.ones(len(labels), dtype=np.bool_)
    yield from _compare_scores("test", record.test, predictions, every_image)
    if record.test_leakage_free is not None:
        yield from _compare_scores(
            "test_leakage_free", record.test_leakage_free, predictions, ~predictions.also_in_train
        )
    elif predictions.also_in_train.any() and record.dataset is not None and record.dataset.grouped:
        yield "TRAIN shows some test images, and there are no leakage-free scores"


def _compare_scores(
    name: str, stated: Scores, table: Predictions, chosen: NDArray[np.bool_]
) -> Iterator[str]:
    photographs = table.original_id[chosen]
    is_known = bool((photographs != UNKNOWN_PHOTOGRAPH).all())
    label_of = {name: label for label, name in enumerate(stated.classes)}
    labels = np.array([label_of[name] for name in table.y_true], dtype=np.int64)
    expected = score(
        table.probabilities[chosen],
        labels[chosen],
        photographs if is_known and stated.interval is not None else None,
        stated.classes,
    )
    yield from find_differences(to_plain(stated), to_plain(expected), name)


def check_leakage(bundle: Bundle) -> Outcome:
    """Splits disjoint: no image, and no unmarked photograph, on both sides of a split."""
    dataset = bundle.document.dataset
    if dataset is None:
        return report_outcome("No run read its images, so there are no splits.")
    rows = csv.DictReader(io.StringIO(bundle.read(layout.IMAGES).decode("utf-8"), newline=""))
    if tuple(rows.fieldnames or ()) != layout.IMAGE_COLUMNS:
        raise ValueError(
            f"{layout.IMAGES} has other columns than {', '.join(layout.IMAGE_COLUMNS)}"
        )
    images = list(rows)
    errors = [*_find_duplicates(images), *_check_dataset(bundle, images)]
    errors += compare_files(bundle, remake_images(bundle)[1])[0]
    known = published_images() if dataset.dataset_id == PUBLISHED_ID else {}
    errors += _compare_published(images, known) if known else ()
    leaks = set[str]()
    for run in bundle.finished:
        if (predictions := bundle.predictions(run)) is not None:
            errors += (f"{run.run_id}: {problem}" for problem in _compare_list(images, predictions))
            pairs = [*zip(predictions.image_sha256, predictions.also_in_train, strict=True)]
            leaks |= {sha256 for sha256, in_train in pairs if in_train}
            wrong = sum(h in known and known[h].also_in_train != marked for h, marked in pairs)
            if wrong:
                errors.append(
                    f"{run.run_id}: {wrong:,} images have another mark of TRAIN than published."
                )
    warnings = []
    if leaks:
        warnings.append(f"TRAIN shows cells of {len(leaks)} test images; see leakage-free scores.")
    if any(record.spec.validation == "published" for record in bundle.records):
        warnings.append("Validation is TEST, as published, so energy to target uses the test set.")
    if not dataset.complete:
        warnings.append(f"Images outside TEST are not listed (source: {dataset.listed_from}).")
    unmarked = _find_unmarked(images, leaks)
    if dataset.dataset_id == PUBLISHED_ID and unmarked:
        # As published: fields that overlap without showing the same cell.
        warnings.append(f"{len(unmarked)} more test images are of photographs near those of TRAIN.")
    else:
        errors += unmarked
    good = f"{len(images):,} images, each photograph on one side."
    return report_outcome(good, errors, warnings)


def remake_images(bundle: Bundle) -> tuple[DatasetState | None, Files]:
    """The list of images; what was listed from a folder counts if it gives the runs' digest."""
    return make_images(bundle.study, listed=bundle.read(layout.IMAGES))


def _find_duplicates(images: Sequence[_Image]) -> Iterator[str]:
    """The published set repeats images inside a split; across splits none may be repeated."""
    paths = Counter(image["path"] for image in images)
    yield from (f"{path} is listed twice." for path, count in paths.items() if count > 1)
    splits = group_values((image["sha256"], image["split"].lower()) for image in images)
    for sha256, names in splits.items():
        if len(names) > 1:
            yield f"The image {sha256[:12]} is in {' and '.join(sorted(names))}."


def _find_unmarked(images: Sequence[_Image], leaks: set[str]) -> list[str]:
    """Test images of a photograph group that TRAIN shows, which are not marked as such."""
    train = {i["group_id"] for i in images if i["split"].lower() == "train" and i["group_id"]}
    return [
        f"{image['path']} is of photograph group {image['group_id']}, which TRAIN shows."
        for image in images
        if image["split"].lower() == "test"
        and image["group_id"] in train
        and image["sha256"] not in leaks
    ]


def _compare_list(images: Sequence[_Image], table: Predictions) -> Iterator[str]:
    images_by_sha256 = {image["sha256"]: image for image in images}
    columns = (table.image_sha256, table.file, table.split, table.y_true, table.group_id)
    for sha256, file, split, label, group in zip(*columns, strict=True):
        image = images_by_sha256.get(sha256)
        if image is None:
            yield f"{file} is predicted but not listed."
        elif split != "test" or image["split"].lower() != "test":
            yield f"{file} is predicted as {split} and listed as {image['split']}."
        elif image["label"] != label:
            yield f"{file} is predicted as {label} and listed as {image['label']}."
        elif image["group_id"] and image["group_id"] != str(group):
            yield f"{file} has photograph group {group}, but {image['group_id']} in the list."
    if len(set(table.file)) < len(table.file):
        yield "an image is predicted twice."


def _compare_published(images: Sequence[_Image], known: Mapping[str, Provenance]) -> Iterator[str]:
    for image in images:
        origin = known.get(image["sha256"])
        if origin is None:
            yield f"{image['path']} is not an image of the published set."
            continue
        split, label, _ = origin.name.split("/", maxsplit=2)
        stated = (image["split"].upper(), image["label"], image["original_id"], image["group_id"])
        if stated != (split, label, str(origin.original_id), str(origin.group_id)):
            yield f"{image['path']} is {origin.name} of photograph {origin.original_id}."


def _check_dataset(bundle: Bundle, images: Sequence[_Image]) -> Iterator[str]:
    dataset = bundle.document.dataset
    if dataset is None:
        return
    if dataset.complete:
        sha256 = dataset_sha256((image["path"], image["sha256"]) for image in images)
        if sha256 != dataset.sha256:
            yield f"The images have the digest {sha256[:12]}, not {dataset.sha256[:12]}."
    for record in bundle.records:
        if record.dataset and record.dataset.sha256 != dataset.sha256:
            yield f"{record.run_id} was trained on other images than the bundle lists."


def check_convergence(bundle: Bundle) -> Outcome:
    """Training plausible: accuracy above the share of the commonest class, finite losses."""
    done = (record for record in bundle.records if record.status == "done")
    found = [(record.run_id, [*_check_training(record)]) for record in done]
    warnings = [f"{run_id}: {problem}." for run_id, problems in found for problem in problems]
    return report_outcome(f"{len(found)} done runs beat the commonest class.", [], warnings)


def _check_training(record: RunRecord) -> Iterator[str]:
    if any(epoch.loss is None for epoch in record.epochs):
        yield "the loss of an epoch was not finite"
    if len(record.epochs) < record.spec.epochs:
        yield f"{len(record.epochs)} of {record.spec.epochs} epochs"
    if record.test is None:
        yield "was not tested"
        return
    commonest = max(map(sum, record.test.confusion)) / max(record.test.images, 1)
    if record.test.accuracy <= commonest:
        yield (
            f"accuracy {record.test.accuracy:.3f} is not above the share of the commonest class "
            f"({commonest:.3f})"
        )
    best = max((e.val_accuracy for e in record.epochs if e.val_accuracy is not None), default=None)
    if best is not None and best <= commonest:
        yield "no epoch validated above the commonest class"
