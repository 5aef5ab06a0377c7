"""Columns: which run this is, its data and network, how it was trained, how long that took."""

from __future__ import annotations

from collections.abc import Callable

from wbcbench.core.quality import Quality, Severity
from wbcbench.core.record import DatasetFacts, ModelFacts
from wbcbench.core.window import STARTUP, TRAIN, WARMUP
from wbcbench.table.column import Cell, Column, ColumnGroup, from_provenance, unfilled
from wbcbench.table.view import Run

TABLE_SCHEMA = "2.0"

NO_DATA = "ended before the data was read"
NO_MODEL = "ended before the network was built"

NOT_THERE = "the run did not get there"


def status(run: Run) -> str:
    """How the run ended; a finished run whose verdict is invalid counts as invalid."""
    ended = run.record.status
    spoiled = ended == "done" and run.record.quality is Quality.INVALID
    return "invalid" if spoiled else ended


def invalid_reason(run: Run) -> str | None:
    """Code of the first caution that makes a run invalid; ``None`` if none does."""
    codes = sorted(c.code for c in run.record.warnings if c.severity is Severity.INVALID)
    return codes[0] if codes else None


IDENTITY = ColumnGroup(
    "Identity",
    (
        Column(
            "schema_version", "str", "", "version of this table's format", lambda _: TABLE_SCHEMA
        ),
        Column(
            "run_id", "str", "", "variant, seed and digest of the spec", lambda r: r.record.run_id
        ),
        Column(
            "study_id", "str", "", "the study; its folder's name", lambda r: r.record.spec.study
        ),
        from_provenance("plan_sha256", "str", "run outside a plan", "digest of the study's plan"),
        Column("variant", "enum", "", "network of the catalogue", lambda r: r.record.spec.variant),
        Column(
            "activation",
            "enum",
            "variant unknown to this version",
            "first factor: leaky-relu or relu",
            lambda r: r.variant.activation if r.variant else None,
            formula="what variant {variant} is built with, by the catalogue",
        ),
        Column(
            "regulariser",
            "enum",
            "variant unknown to this version",
            "second factor: dropout or batchnorm",
            lambda r: r.variant.regulariser if r.variant else None,
            formula="what variant {variant} is built with, by the catalogue",
        ),
        Column(
            "block", "int", "", "block of the study; 0 = single run", lambda r: r.record.spec.block
        ),
        Column(
            "order_in_block",
            "int",
            "",
            "place in the block",
            lambda r: r.record.spec.order_in_block,
        ),
        Column(
            "order_global", "int", "", "place in the study", lambda r: r.record.spec.order_global
        ),
        Column("seed", "int", "", "initialisation, order, dropout", lambda r: r.record.spec.seed),
        Column(
            "split_seed",
            "int",
            "",
            "draw of the validation set",
            lambda r: r.record.spec.split_seed,
        ),
        Column(
            "status",
            "enum",
            "",
            "done, failed, interrupted or invalid",
            status,
            formula="how the run ended; done with an invalid verdict counts as invalid",
        ),
        Column(
            "invalid_reason",
            "str",
            "run is valid",
            "code of the first invalid caution",
            invalid_reason,
            formula="first by name of the cautions that make a run invalid",
        ),
        Column(
            "synthetic",
            "bool",
            "",
            "drawn images or a made-up signal",
            lambda r: r.record.synthetic,
        ),
        Column(
            "started_utc",
            "datetime",
            "",
            "wall clock, provenance only",
            lambda r: r.record.started_utc,
        ),
        Column(
            "ended_utc", "datetime", "", "wall clock, provenance only", lambda r: r.record.ended_utc
        ),
    ),
)


def _dataset(read: Callable[[DatasetFacts], Cell]) -> Callable[[Run], Cell]:
    return lambda run: read(run.record.dataset) if run.record.dataset else None


def _model(read: Callable[[ModelFacts], Cell]) -> Callable[[Run], Cell]:
    return lambda run: read(run.record.model) if run.record.model else None


def _n_classes(run: Run) -> int | None:
    return len(run.record.test.classes) if run.record.test else None


def _steps(run: Run) -> int | None:
    model = run.record.model
    return model.steps_per_epoch * len(run.record.epochs) if model else None


def images_seen(run: Run) -> int:
    """Images that the training steps of all epochs took in."""
    return sum(epoch.images_seen for epoch in run.record.epochs)


SETUP = ColumnGroup(
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
            images_seen,
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


def _total_s(run: Run) -> float | None:
    windows = run.record.windows
    if not windows:
        return None
    return max(w.end_s for w in windows) - min(w.start_s for w in windows)


TIME = ColumnGroup(
    "Time",
    (
        Column(
            "time_total_s",
            "float",
            NOT_THERE,
            "start of the first window to end of the last",
            _total_s,
            formula="end of the last window - start of the first",
        ),
        Column(
            "time_train_s",
            "float",
            NOT_THERE,
            "training steps of all epochs: window `train` without its validation passes",
            lambda r: r.duration_s(TRAIN),
            formula="seconds of train - sum of the seconds of validate-k",
        ),
        Column(
            "time_eval_s",
            "float",
            NOT_THERE,
            "validation passes of all epochs",
            lambda r: r.validation_s,
            formula="sum of the seconds of validate-k",
        ),
        Column(
            "time_setup_s",
            "float",
            NOT_THERE,
            "window `startup`",
            lambda r: r.duration_s(STARTUP),
            formula="end - start of window startup",
        ),
        Column(
            "time_warmup_s",
            "float",
            NOT_THERE,
            "window `warmup`",
            lambda r: r.duration_s(WARMUP),
            formula="end - start of window warmup",
        ),
        unfilled("time_step_median_ms", "float", "steady training step"),
    ),
)
