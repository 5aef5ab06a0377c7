"""Columns: how good the trained network is."""

from __future__ import annotations

from collections.abc import Callable

from wbcbench.data import CLASSES
from wbcbench.runs.records import Scores
from wbcbench.table.columns import Cell, Column, Group
from wbcbench.table.view import RunView

NOT_TESTED = "not tested"
NO_VALIDATION = "no validation"
NO_PHOTOGRAPHS = "not tested, or photographs unknown"


def _test(read: Callable[[Scores], Cell]) -> Callable[[RunView], Cell]:
    return lambda run: read(run.record.test) if run.record.test else None


def _leak_free(read: Callable[[Scores], Cell]) -> Callable[[RunView], Cell]:
    return lambda run: read(run.record.test_leak_free) if run.record.test_leak_free else None


def _recall(name: str) -> Callable[[RunView], Cell]:
    return _test(lambda scores: scores.recall.get(name))


RECALLS = tuple(
    Column(
        f"recall_{name.lower()}",
        "float",
        NOT_TESTED,
        f"share of {name.lower()}s found",
        _recall(name),
    )
    for name in CLASSES
)

GROUP = Group(
    "Quality of the model",
    (
        Column(
            "best_epoch",
            "int",
            NO_VALIDATION,
            "highest validation balanced accuracy",
            lambda r: r.best_epoch.index if r.best_epoch else None,
        ),
        Column(
            "val_balanced_accuracy",
            "float",
            NO_VALIDATION,
            "at the best epoch",
            lambda r: r.best_epoch.val_balanced_accuracy if r.best_epoch else None,
        ),
        Column(
            "val_loss",
            "float",
            NO_VALIDATION,
            "at the best epoch, nats",
            lambda r: r.best_epoch.val_loss if r.best_epoch else None,
        ),
        Column(
            "balanced_accuracy",
            "float",
            NOT_TESTED,
            "TEST, once, at the end",
            _test(lambda s: s.balanced_accuracy),
        ),
        Column(
            "accuracy", "float", NOT_TESTED, "TEST, once, at the end", _test(lambda s: s.accuracy)
        ),
        Column(
            "macro_f1", "float", NOT_TESTED, "TEST, mean over classes", _test(lambda s: s.macro_f1)
        ),
        *RECALLS,
        Column(
            "test_correct",
            "int",
            NOT_TESTED,
            "TEST images classified right",
            _test(lambda s: s.correct),
        ),
        Column(
            "ece",
            "float",
            NOT_TESTED,
            "expected calibration error, 15 bins",
            _test(lambda s: s.ece),
        ),
        Column(
            "n_test_photographs",
            "int",
            NO_PHOTOGRAPHS,
            "photographs TEST was made from",
            _test(lambda s: s.photographs),
        ),
        Column(
            "accuracy_ci_low",
            "float",
            NO_PHOTOGRAPHS,
            "95 % interval of `accuracy`, by photograph",
            _test(lambda s: s.interval[0] if s.interval else None),
        ),
        Column(
            "accuracy_ci_high",
            "float",
            NO_PHOTOGRAPHS,
            "95 % interval of `accuracy`, by photograph",
            _test(lambda s: s.interval[1] if s.interval else None),
        ),
        Column(
            "n_test_leak_free",
            "int",
            NO_PHOTOGRAPHS,
            "TEST images of cells that TRAIN does not show",
            _leak_free(lambda s: s.images),
        ),
        Column(
            "accuracy_leak_free",
            "float",
            NO_PHOTOGRAPHS,
            "on those images",
            _leak_free(lambda s: s.accuracy),
        ),
        Column(
            "balanced_accuracy_leak_free",
            "float",
            NO_PHOTOGRAPHS,
            "on those images",
            _leak_free(lambda s: s.balanced_accuracy),
        ),
    ),
)
