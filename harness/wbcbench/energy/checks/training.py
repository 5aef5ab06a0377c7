"""Checks of what was trained: a network that names one class has no accuracy to compare."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import QualityWarning
from wbcbench.core.record import Scores
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Evidence
from wbcbench.energy.warnings import make_warning

_CLASSES = 4  # of white blood cells, where no test names them


def check_one_class(evidence: Evidence) -> Iterator[QualityWarning]:
    """Whether all images are taken for one class; without a test, what validation says of it."""
    if not evidence.epochs:
        return
    accuracy, test = evidence.epochs[-1].accuracy, evidence.test
    chance = 1 / (len(test.classes) if test else _CLASSES)
    scores = [epoch.val_balanced_accuracy for epoch in evidence.epochs]
    limit = thresholds.CHANCE_TIMES * chance
    if test is None:
        is_one_class = all(score is not None and score <= limit for score in scores)
        detail = f"Validation stayed at chance in each of {len(scores)} epochs"
    else:
        count, name = _find_commonest(test)
        is_one_class = count >= thresholds.ONE_CLASS_SHARE * test.images
        is_one_class &= test.balanced_accuracy <= limit
        detail = f"{count} of {test.images} test images were taken for {name}"
    if not is_one_class:
        return
    has_learned = accuracy > thresholds.LEARNED_TIMES * chance
    if has_learned or test is not None:
        code = "one-class-predicted" if has_learned else "never-left-chance"
        yield make_warning(code, f"{detail}; the last training accuracy is {accuracy:.3f}.")


def _find_commonest(test: Scores) -> tuple[int, str]:
    """How many images were taken for the class that was named most, and its name."""
    columns = map(sum, zip(*test.confusion, strict=True))
    return max(zip(columns, (*test.classes, "no class"), strict=False))
