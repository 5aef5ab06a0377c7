"""Columns: how good the trained network is."""

from __future__ import annotations

from collections.abc import Callable

from wbcbench.core.record import Scores
from wbcbench.data.dataset import CLASSES
from wbcbench.table.column import Cell, Column, ColumnGroup
from wbcbench.table.view import Run

NOT_TESTED = "not tested"
NO_VALIDATION = "no validation"
NO_PHOTOGRAPHS = "not tested, or photographs unknown"


def _test(read: Callable[[Scores], Cell]) -> Callable[[Run], Cell]:
    return lambda run: read(run.record.test) if run.record.test else None


def _leak_free(read: Callable[[Scores], Cell]) -> Callable[[Run], Cell]:
    return lambda run: read(run.record.test_leak_free) if run.record.test_leak_free else None


def _recall(name: str) -> Callable[[Run], Cell]:
    return _test(lambda scores: scores.recall.get(name))


RECALLS = tuple(
    Column(
        f"recall_{name.lower()}",
        "float",
        NOT_TESTED,
        f"share of {name.lower()}s found",
        _recall(name),
        f"{name.lower()}s classified as such / {name.lower()}s",
    )
    for name in CLASSES
)

GROUP = ColumnGroup(
    "Quality of the model",
    (
        Column(
            "best_epoch",
            "int",
            NO_VALIDATION,
            "highest validation balanced accuracy",
            lambda r: r.best_epoch.index if r.best_epoch else None,
            formula="first epoch with the highest validation balanced accuracy, or "
            "accuracy where that is unknown",
        ),
        Column(
            "val_balanced_accuracy",
            "float",
            NO_VALIDATION,
            "at the best epoch",
            lambda r: r.best_epoch.val_balanced_accuracy if r.best_epoch else None,
            formula="validation balanced accuracy of epoch {best_epoch}",
        ),
        Column(
            "val_loss",
            "float",
            NO_VALIDATION,
            "at the best epoch, nats",
            lambda r: r.best_epoch.val_loss if r.best_epoch else None,
            formula="validation loss of epoch {best_epoch}",
        ),
        Column(
            "balanced_accuracy",
            "float",
            NOT_TESTED,
            "TEST, once, at the end",
            _test(lambda s: s.balanced_accuracy),
            formula="mean of the recalls of the classes that have images",
        ),
        Column(
            "accuracy",
            "float",
            NOT_TESTED,
            "TEST, once, at the end",
            _test(lambda s: s.accuracy),
            formula="{test_correct} / {test_images}",
            terms={"test_images": _test(lambda s: s.images)},
        ),
        Column(
            "macro_f1",
            "float",
            NOT_TESTED,
            "TEST, mean over classes",
            _test(lambda s: s.macro_f1),
            formula="mean over classes of 2 TP / (2 TP + FP + FN)",
        ),
        *RECALLS,
        Column(
            "test_correct",
            "int",
            NOT_TESTED,
            "TEST images classified right",
            _test(lambda s: s.correct),
            formula="images whose most probable class is the true one",
        ),
        Column(
            "ece",
            "float",
            NOT_TESTED,
            "expected calibration error, 15 bins",
            _test(lambda s: s.ece),
            formula="mean over 15 bins of confidence of |accuracy - mean confidence|, "
            "weighted by images",
        ),
        Column(
            "n_test_photographs",
            "int",
            NO_PHOTOGRAPHS,
            "photographs TEST was made from",
            _test(lambda s: s.photographs),
            formula="different photographs among the test images",
        ),
        Column(
            "accuracy_ci_low",
            "float",
            NO_PHOTOGRAPHS,
            "95 % interval of `accuracy`, by photograph",
            _test(lambda s: s.interval[0] if s.interval else None),
            formula="2.5 % percentile of the accuracy over draws of photographs with "
            "replacement, within classes",
        ),
        Column(
            "accuracy_ci_high",
            "float",
            NO_PHOTOGRAPHS,
            "95 % interval of `accuracy`, by photograph",
            _test(lambda s: s.interval[1] if s.interval else None),
            formula="97.5 % percentile of the accuracy over draws of photographs with "
            "replacement, within classes",
        ),
        Column(
            "n_test_leak_free",
            "int",
            NO_PHOTOGRAPHS,
            "TEST images of cells that TRAIN does not show",
            _leak_free(lambda s: s.images),
            formula="test images that are not marked as seen in TRAIN",
        ),
        Column(
            "accuracy_leak_free",
            "float",
            NO_PHOTOGRAPHS,
            "on those images",
            _leak_free(lambda s: s.accuracy),
            formula="share of those images classified right",
        ),
        Column(
            "balanced_accuracy_leak_free",
            "float",
            NO_PHOTOGRAPHS,
            "on those images",
            _leak_free(lambda s: s.balanced_accuracy),
            formula="mean over classes of the recall on those images",
        ),
    ),
)
