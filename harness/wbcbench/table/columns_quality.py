"""Columns: how good the trained network is, how well it was sampled, which warnings there are."""

from __future__ import annotations

from collections.abc import Callable

from wbcbench.core.quality import Quality, Severity
from wbcbench.core.record import Scores
from wbcbench.core.trace import Domain
from wbcbench.core.units import ms_from_s
from wbcbench.core.window import TRAIN
from wbcbench.data.dataset import CLASSES
from wbcbench.energy.metrics import disagreement_pct
from wbcbench.energy.source import EnergySource, source_energy_j, source_gap_s, source_samples
from wbcbench.table.column import Cell, Column, ColumnGroup
from wbcbench.table.columns_energy import integral_j
from wbcbench.table.view import Run

NOT_TESTED = "not tested"
NO_VALIDATION = "no validation"
NO_PHOTOGRAPHS = "not tested, or photographs unknown"

NO_METER = "no meter"

_QUALITY = {Quality.VALID: "ok", Quality.SUSPECT: "warn", Quality.INVALID: "bad"}


def _test(read: Callable[[Scores], Cell]) -> Callable[[Run], Cell]:
    return lambda run: read(run.record.test) if run.record.test else None


def _leak_free(read: Callable[[Scores], Cell]) -> Callable[[Run], Cell]:
    return lambda run: read(run.record.test_leakage_free) if run.record.test_leakage_free else None


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

QUALITY = ColumnGroup(
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
            "n_test_leakage_free",
            "int",
            NO_PHOTOGRAPHS,
            "TEST images of cells that TRAIN does not show",
            _leak_free(lambda s: s.images),
            formula="test images that are not marked as seen in TRAIN",
        ),
        Column(
            "accuracy_leakage_free",
            "float",
            NO_PHOTOGRAPHS,
            "on those images",
            _leak_free(lambda s: s.accuracy),
            formula="share of those images classified right",
        ),
        Column(
            "balanced_accuracy_leakage_free",
            "float",
            NO_PHOTOGRAPHS,
            "on those images",
            _leak_free(lambda s: s.balanced_accuracy),
            formula="mean over classes of the recall on those images",
        ),
    ),
)


def _period_ms(run: Run) -> float | None:
    period_s = run.sampling.period_s if run.sampling else None
    return None if period_s is None else ms_from_s(period_s)


def _gap_ms(run: Run) -> float | None:
    gap_s = source_gap_s(run.record, run.primary, TRAIN)
    return None if gap_s is None else ms_from_s(gap_s)


def _counter(run: Run) -> EnergySource | None:
    who = run.source(Domain.GPU)
    return who if who and who.method == "counter" else None


def _counter_vs_integral_pct(run: Run) -> float | None:
    counter_j = source_energy_j(run.record, _counter(run), TRAIN)
    return disagreement_pct(counter_j, integral_j(run))


def _flags(run: Run) -> str:
    doubts = {c.code for c in run.record.warnings if c.severity is not Severity.INFO}
    return ";".join(sorted(doubts))


SAMPLING = ColumnGroup(
    "Sampling quality",
    (
        Column(
            "samples_train",
            "int",
            NO_METER,
            "good readings of the headline in `train`",
            lambda r: source_samples(r.record, r.primary, TRAIN),
            formula="good readings inside train less those inside validate-k; of several "
            "devices the fewest",
        ),
        Column(
            "sample_period_ms",
            "float",
            NO_METER,
            "mean period the headline's meter achieved",
            _period_ms,
            formula="mean time between polls of the headline's meter over the whole run",
        ),
        Column(
            "sample_gap_max_ms",
            "float",
            NO_METER,
            "longest gap of the headline in `train`",
            _gap_ms,
            formula="longest time without a good reading that touches train; of several "
            "devices the longest",
        ),
        Column(
            "counter_vs_integral_pct",
            "float",
            "no GPU counter, or no second witness",
            "GPU counter above integrated power in `train`",
            _counter_vs_integral_pct,
            formula="100 * ({energy_gpu_train_j} - {energy_gpu_train_integral_j}) / "
            "{energy_gpu_train_integral_j}",
        ),
        Column(
            "quality",
            "enum",
            "",
            "ok, warn or bad",
            lambda r: _QUALITY[r.record.quality],
            formula="ok, warn or bad as {verdict} is valid, suspect or invalid",
        ),
        Column(
            "quality_flags",
            "str",
            "",
            "codes of cautions that weigh, by `;`; empty = none",
            _flags,
            formula="codes of all cautions that are not mere information",
        ),
        Column(
            "verdict",
            "enum",
            "",
            "valid, suspect or invalid",
            lambda r: r.record.quality.value,
            formula="valid without cautions that weigh, else as the gravest of them",
        ),
        Column(
            "recorder_cpu_s",
            "float",
            "the watcher died",
            "processor time that watching cost",
            lambda r: r.record.recorder_cpu_s,
        ),
    ),
)
