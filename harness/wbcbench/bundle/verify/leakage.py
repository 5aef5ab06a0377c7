"""Splits apart: no image, and no photograph unannounced, on both sides of a split."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from wbcbench.bundle import layout
from wbcbench.bundle.answers import Predictions
from wbcbench.bundle.verify import Outcome, not_checked, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.data.read import PUBLISHED_ID, dataset_sha256
from wbcbench.data.splits import published_images

_Image = Mapping[str, str]
_SPLITS = ("train", "test")


def check(bundle: Bundle) -> Outcome:
    """Hold the list of images against itself, the predictions and the published tables."""
    dataset = bundle.document.dataset
    if dataset is None:
        return not_checked("No run got as far as its images.")
    images = _listed(bundle)
    errors = [*_twice(images), *_published(images, dataset.dataset_id), *_digest(bundle, images)]
    leaks = set[str]()
    for run in bundle.finished:
        found = bundle.predictions(run)
        if found is not None:
            errors += (f"{run.run_id}: {said}" for said in _tested(images, found))
            leaks |= {
                s for s, seen in zip(found.image_sha256, found.seen_in_train, strict=True) if seen
            }
    shared = list(_shared(images, leaks))
    warnings = [*_told(bundle, leaks), *_incomplete(bundle)]
    if dataset.dataset_id == PUBLISHED_ID and shared:
        # As published: fields that overlap without showing the same cell.
        warnings.append(f"{len(shared)} more test images are of photographs near those of TRAIN.")
    else:
        errors += shared
    return outcome(f"{len(images):,} images, each photograph on one side.", errors, warnings)


def _listed(bundle: Bundle) -> list[_Image]:
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


def _told(bundle: Bundle, leaks: set[str]) -> Iterator[str]:
    if leaks:
        yield f"{len(leaks)} test images show cells of TRAIN; scores without them stand beside."
    if any(record.spec.validation == "published" for record in bundle.records.values()):
        yield "Validation is TEST itself, as published: energy to the target knows the test set."


def _incomplete(bundle: Bundle) -> Iterator[str]:
    dataset = bundle.document.dataset
    if dataset is not None and not dataset.complete:
        yield f"Images outside TEST are not listed (known from {dataset.listed_from})."
