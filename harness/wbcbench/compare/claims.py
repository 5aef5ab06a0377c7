"""Claims of others as data, and what is read off one run to test them."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.record import Epoch, RunRecord
from wbcbench.core.window import TRAIN
from wbcbench.energy.metrics import mean_known

FILE = Path("experiments") / "claims.toml"

Kind = Literal["difference", "share", "region"]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Check:
    """One thing that would have to be so.

    Attributes:
        says: In words.
        kind: ``difference`` within blocks, ``share`` of runs, or mean in a ``region``.
        measure: A name of ``MEASURES``.
        at: The measure's number, where it has one.
        factor, upper, lower: Of a difference.
        where: Factor → level: which runs a share or a region speaks of.
        expect, limit: Of a difference or a share.
        low, high: Of a region.
        decides: Whether the claim depends on it.
    """

    __pydantic_config__ = _STRICT

    says: str
    kind: Kind
    measure: str
    at: float | None = None
    factor: str = ""
    upper: str = ""
    lower: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    expect: Literal["above", "below"] | None = None
    limit: float | None = None
    low: float | None = None
    high: float | None = None
    decides: bool = True


@dataclass(frozen=True)
class Requires:
    """Without this a claim is not about these runs.

    Attributes:
        real_images: Drawn cells say nothing of it.
        min_epochs: Shorter runs say nothing of it.
        gpu: A word the GPU's name must hold.
    """

    __pydantic_config__ = _STRICT

    real_images: bool = False
    min_epochs: int = 0
    gpu: str = ""


@dataclass(frozen=True)
class Claim:
    """What was claimed and what would have to be so."""

    __pydantic_config__ = _STRICT

    id: str
    text: str
    check: tuple[Check, ...]
    requires: Requires = Requires()


def find_file(named: Path | None) -> Path:
    """The file that was named, else the one here, else the one this package came with."""
    if named is not None:
        return named
    shipped = Path(__file__).parent / FILE.name  # a link in a checkout, a copy in a wheel
    return FILE if FILE.is_file() else shipped


def read_claims(path: Path) -> tuple[Claim, ...]:
    """Read and check a file of claims.

    Raises:
        UsageError: It is missing, no TOML, holds an unknown key or measure, or leaves one out.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
        claims = TypeAdapter(tuple[Claim, ...]).validate_python(plain.get("claim", ()))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}. Name a file of claims with --claims."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise UsageError(f"{path} is not a file of claims: {error}") from error
    if not claims:
        raise UsageError(f"{path} holds no [[claim]].")
    for claim in claims:
        for check in claim.check:
            _require_whole(path, claim.id, check)
    return claims


def _require_whole(path: Path, claim: str, check: Check) -> None:
    if check.measure not in MEASURES:
        raise unknown_name(f"measure (claim {claim} in {path})", check.measure, MEASURES)
    needed = {
        "difference": ("factor", "upper", "lower", "expect", "limit"),
        "share": ("expect", "limit"),
        "region": ("low", "high"),
    }[check.kind]
    if MEASURES[check.measure].needs_at:
        needed = (*needed, "at")
    missing = [name for name in needed if getattr(check, name) in ("", None)]
    if missing:
        raise UsageError(
            f"{path}: a check of claim {claim} lacks {', '.join(missing)} ('{check.says}')."
        )


# Accuracies of training are Keras': running means over the epoch, dropout active, so that with
# dropout they lie below what the same weights would reach without it.
@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity of a run.

    Attributes:
        meaning: One line for people.
        read: From a record and the check's ``at``.
        needs_at: Whether ``at`` must be given.
        unit: For people; empty for shares and counts.
    """

    meaning: str
    read: Callable[[RunRecord, float], float | None]
    needs_at: bool = False
    unit: str = ""


def _final_train_accuracy(record: RunRecord, _: float) -> float | None:
    return record.epochs[-1].accuracy if record.epochs else None


def _stuck(record: RunRecord, times_chance: float) -> float | None:
    if not record.epochs or record.test is None:
        return None
    return float(record.epochs[-1].accuracy < times_chance / len(record.test.classes))


def _epochs_below(record: RunRecord, accuracy: float) -> float | None:
    """A run that never gets there spent all its epochs below: nothing is made up for it."""
    values = _validation(record.epochs)
    reached = (i for i, value in enumerate(values) if value >= accuracy)
    return float(next(reached, len(values))) if values else None


def _generalisation_gap(record: RunRecord, last_share: float) -> float | None:
    gaps = [
        None if epoch.val_accuracy is None else epoch.accuracy - epoch.val_accuracy
        for epoch in _last(record.epochs, last_share)
    ]
    return mean_known(gaps)


def _validation_movement(record: RunRecord, last_share: float) -> float | None:
    values = _validation(_last(record.epochs, last_share))
    moves = [abs(b - a) for a, b in pairwise(values)]
    return sum(moves) / len(moves) if moves else None


def _test_accuracy(record: RunRecord, _: float) -> float | None:
    return record.test.accuracy if record.test else None


def _test_accuracy_leak_free(record: RunRecord, _: float) -> float | None:
    return record.test_leakage_free.accuracy if record.test_leakage_free else None


def _epochs_until_near_best(record: RunRecord, within: float) -> float | None:
    values = _validation(record.epochs)
    if not values:
        return None
    return float(1 + next(i for i, value in enumerate(values) if value >= max(values) - within))


def _train_time_s(record: RunRecord, _: float) -> float | None:
    window = record.window(TRAIN)
    return window.duration_s if window else None


def _validation(epochs: tuple[Epoch, ...]) -> list[float]:
    return [epoch.val_accuracy for epoch in epochs if epoch.val_accuracy is not None]


def _last(epochs: tuple[Epoch, ...], share: float) -> tuple[Epoch, ...]:
    return epochs[len(epochs) - math.ceil(share * len(epochs)) :]


MEASURES: Mapping[str, Measure] = {
    "final_train_accuracy": Measure("training accuracy of the last epoch", _final_train_accuracy),
    "stuck": Measure(
        "whether the last training accuracy is below `at` × chance", _stuck, needs_at=True
    ),
    "epochs_below": Measure(
        "epochs before validation accuracy first reaches `at`; all if never",
        _epochs_below,
        needs_at=True,
    ),
    "generalisation_gap": Measure(
        "training minus validation accuracy, mean over the last `at` of the epochs",
        _generalisation_gap,
        needs_at=True,
    ),
    "validation_movement": Measure(
        "mean absolute change of validation accuracy from epoch to epoch, last `at` of the epochs",
        _validation_movement,
        needs_at=True,
    ),
    "test_accuracy": Measure("accuracy on TEST as published", _test_accuracy),
    "test_accuracy_leakage_free": Measure(
        "accuracy on TEST without cells that TRAIN shows", _test_accuracy_leak_free
    ),
    "epochs_until_near_best": Measure(
        "first epoch within `at` of the run's best validation accuracy",
        _epochs_until_near_best,
        needs_at=True,
    ),
    "train_time_s": Measure("length of the window `train`", _train_time_s, unit="s"),
}
