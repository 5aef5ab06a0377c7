"""Columns: the data and the network, and how it was trained."""

from __future__ import annotations

from collections.abc import Callable

from wbcbench.core.record import DatasetFacts, ModelFacts
from wbcbench.table.column import Cell, Column, ColumnGroup
from wbcbench.table.view import Run

NO_DATA = "ended before the data was read"
NO_MODEL = "ended before the network was built"


def _dataset(read: Callable[[DatasetFacts], Cell]) -> Callable[[Run], Cell]:
    return lambda run: read(run.record.dataset) if run.record.dataset else None


def _model(read: Callable[[ModelFacts], Cell]) -> Callable[[Run], Cell]:
    return lambda run: read(run.record.model) if run.record.model else None


def _n_classes(run: Run) -> int | None:
    return len(run.record.test.classes) if run.record.test else None


def _steps(run: Run) -> int | None:
    model = run.record.model
    return model.steps_per_epoch * len(run.record.epochs) if model else None


def _images_seen(run: Run) -> int:
    return sum(epoch.images_seen for epoch in run.record.epochs)


GROUP = ColumnGroup(
    "Model, data",
    (
        Column("dataset_id", "str", NO_DATA, "which images", _dataset(lambda d: d.dataset_id)),
        Column(
            "dataset_sha256",
            "str",
            NO_DATA,
            "digest of their content",
            _dataset(lambda d: d.sha256),
        ),
        Column("n_train", "int", NO_DATA, "training images", _dataset(lambda d: d.n_train)),
        Column("n_val", "int", NO_DATA, "validation images", _dataset(lambda d: d.n_val)),
        Column("n_test", "int", NO_DATA, "test images", _dataset(lambda d: d.n_test)),
        Column(
            "n_classes",
            "int",
            "not tested",
            "classes that were scored",
            _n_classes,
            formula="classes that were scored",
        ),
        Column(
            "params_total",
            "int",
            NO_MODEL,
            "weights, trainable or not",
            _model(lambda m: m.params_total),
        ),
        Column(
            "flops_per_image",
            "int",
            NO_MODEL,
            "forward pass; a multiply-add is two",
            _model(lambda m: m.flops_per_image),
        ),
        Column("batch_size", "int", "", "images a step", lambda r: r.record.spec.batch_size),
        Column("epochs_planned", "int", "", "asked for", lambda r: r.record.spec.epochs),
        Column(
            "epochs_run",
            "int",
            "",
            "finished",
            lambda r: len(r.record.epochs),
            formula="epochs that the trainer reported as finished",
        ),
        Column(
            "steps_train",
            "int",
            NO_MODEL,
            "optimiser steps in finished epochs",
            _steps,
            formula="{steps_per_epoch} * {epochs_run}",
            terms={"steps_per_epoch": _model(lambda m: m.steps_per_epoch)},
        ),
        Column(
            "images_seen_train",
            "int",
            "",
            "images in finished epochs, repeats counted",
            _images_seen,
            formula="sum of the images of all finished epochs",
        ),
        Column("precision", "str", "", "Keras dtype policy", lambda r: r.record.spec.precision),
        Column("xla", "bool", "", "XLA asked for", lambda r: r.record.spec.xla),
        Column(
            "deterministic_ops",
            "bool",
            "",
            "deterministic ops",
            lambda r: r.record.spec.deterministic,
        ),
        Column("optimizer", "str", NO_MODEL, "Keras optimiser", _model(lambda m: m.optimizer)),
        Column("learning_rate", "float", "", "at the start", lambda r: r.record.spec.learning_rate),
        Column(
            "config_sha256",
            "str",
            "",
            "digest of the spec, its place in the order left out",
            lambda r: r.record.spec.digest,
            formula="SHA-256 of the spec without its place in the order",
        ),
        Column(
            "steps_per_execution",
            "int",
            "",
            "steps in one call into TensorFlow",
            lambda r: r.record.spec.steps_per_execution,
        ),
    ),
)
