"""Contrasts: estimates, intervals, tests, thresholds; each configuration by itself; photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wbcbench.compare.design import Blocks, ComparisonDesign, Contrast
from wbcbench.compare.metric import ACCURACY, PRIMARY, TIME, Metric, Settings, Threshold
from wbcbench.compare.result import (
    AccuracyByPhotograph,
    ConfigurationSummary,
    ContrastResult,
    Effect,
    Level,
    SameImages,
    Split,
    Target,
    ThresholdResult,
)
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.stats.bootstrap import on_same_images, percentile_interval, resample
from wbcbench.stats.intervals import (
    Floats,
    Interval,
    Labels,
    censored_median,
    d_z,
    front_share,
    interval,
    on_front,
    share_won,
    t_interval,
)
from wbcbench.stats.tests import (
    ALPHA,
    ThresholdOutcome,
    blocks_to_settle,
    contrast_values,
    decompose,
    equivalence_p,
    holm,
    judge_limit,
    p_floor,
    pair_weights,
    sign_flip_p,
)
from wbcbench.table.view import Run

_COLUMNS = ("image_sha256", "original_id", "also_in_train", "y_true", "y_pred")

_UNCERTAINTY = "primary_uncertainty_train_j"
_LEAK_FREE = "balanced_accuracy_leakage_free"


def _value_matrix(blocks: Blocks, metric: Metric) -> Floats:
    """``[blocks, arms]`` values on the scale on which differences are taken.

    Raises:
        CannotMeasureError: A value that is not above zero has no ratio.
    """
    return np.array(
        [
            [_inner(run.number(metric.name), metric, run.run_id) for run in block]
            for block in blocks.runs
        ]
    )


def _inner(value: float | None, metric: Metric, run_id: str) -> float:
    if value is None or (metric.scale == "ratio" and value <= 0):
        raise CannotMeasureError(
            f"{metric.name} is {value} in {run_id}: a ratio needs a value above zero. Compare "
            "another metric, or repeat the block if the run went wrong."
        )
    return metric.inner(value)


def effects(
    design: ComparisonDesign,
    blocks: Blocks,
    metrics: Sequence[Metric],
    statuses: Mapping[str, str],
    settings: Settings,
) -> tuple[Effect, ...]:
    """Every contrast of every metric, the primary family first; empty without blocks."""
    if not blocks.runs:
        return ()
    values = {metric.name: _value_matrix(blocks, metric) for metric in metrics}
    found: list[Effect] = []
    for family in ("primary", "secondary"):
        asked = [
            (each, metric)
            for each in design.contrasts
            if each.family == family
            for metric in metrics
        ]
        if asked:
            differences = np.stack([contrast_values(values[m.name], c.weights) for c, m in asked])
            found += _family(asked, differences, statuses, settings)
    return tuple(found)


def _family(
    asked: Sequence[tuple[Contrast, Metric]],
    differences: Floats,
    statuses: Mapping[str, str],
    settings: Settings,
) -> list[Effect]:
    """Test a family together: ``[tests, blocks]`` differences."""
    p = sign_flip_p(differences)
    corrected = holm(p)
    return [
        _effect(each, metric, row, (float(raw), float(holm_p)), statuses[metric.name], settings)
        for (each, metric), row, raw, holm_p in zip(asked, differences, p, corrected, strict=True)
    ]


def _effect(
    asked: Contrast,
    metric: Metric,
    differences: Floats,
    p: tuple[float, float],
    status: str,
    settings: Settings,
) -> Effect:
    n = len(differences)
    inner = interval(differences, settings.method)
    region = settings.region(metric)
    edges = [metric.untold(edge) for edge in region] if region else None
    same_p = equivalence_p(differences, *edges) if edges else None
    won = share_won(differences, lower_is_better=metric.lower_is_better)
    return Effect(
        contrast=asked.name,
        against=asked.against,
        family=asked.family,
        metric=metric,
        status=status,
        n=n,
        estimate=metric.told(float(np.mean(differences))),
        interval=inner.mapped(metric.told) if inner else None,
        p=p[0] if n > 1 else None,
        p_floor=p_floor(n) if n > 1 else None,
        p_holm=p[1] if n > 1 else None,
        d_z=d_z(differences),
        share_won=None if asked.is_interaction else won,
        region=region,
        p_equivalence=same_p,
        finding=_finding(inner, p[1], same_p, settings.alpha)
        if asked.family == "primary"
        else ContrastResult.ESTIMATE,
    )


def _finding(
    inner: Interval | None, p_holm: float, same_p: float | None, alpha: float
) -> ContrastResult:
    """Equivalent goes first: a difference inside the region is shown and does not matter."""
    if same_p is not None and same_p <= ALPHA:
        return ContrastResult.EQUIVALENT
    if inner is None or p_holm > alpha or not inner.excludes(0.0):
        return ContrastResult.INCONCLUSIVE
    return ContrastResult.LESS if inner.high < 0 else ContrastResult.MORE


def split_energy(
    design: ComparisonDesign, blocks: Blocks, energy: Metric, settings: Settings
) -> tuple[Split, ...]:
    """How much of each primary difference in joules is time and how much is power, exactly."""
    if not blocks.runs:
        return ()
    time = Metric(TIME, "ratio", lower_is_better=True)
    log_energy, log_time = _value_matrix(blocks, energy), _value_matrix(blocks, time)
    return tuple(
        _split(each, log_energy, log_time, energy, settings)
        for each in design.contrasts
        if each.family == "primary"
    )


def _split(
    asked: Contrast, log_energy: Floats, log_time: Floats, energy: Metric, settings: Settings
) -> Split:
    parts = decompose(log_energy, log_time, asked.weights)
    by_time = interval(parts.time, settings.method)
    by_power = interval(parts.power, settings.method)
    return Split(
        contrast=asked.name,
        against=asked.against,
        energy=energy.told(float(np.mean(parts.time + parts.power))),
        time=energy.told(float(np.mean(parts.time))),
        time_interval=by_time.mapped(energy.told) if by_time else None,
        power=energy.told(float(np.mean(parts.power))),
        power_interval=by_power.mapped(energy.told) if by_power else None,
    )


def check_thresholds(
    design: ComparisonDesign, blocks: Blocks, settings: Settings, statuses: Mapping[str, str]
) -> tuple[ThresholdResult, ...]:
    """Every gate for every candidate."""
    return tuple(
        _judged(design, blocks, settings, statuses[threshold.metric.name], threshold, positions)
        for threshold in settings.thresholds
        for positions in design.pairs
    )


def _judged(
    design: ComparisonDesign,
    blocks: Blocks,
    settings: Settings,
    status: str,
    threshold: Threshold,
    positions: tuple[int, int],
) -> ThresholdResult:
    candidate, baseline = (design.configurations[i].label for i in positions)
    if not blocks.runs:
        return ThresholdResult(
            threshold, candidate, baseline, None, ThresholdOutcome.INCONCLUSIVE, None, status
        )
    weights = pair_weights(*positions, len(design.configurations))
    differences = contrast_values(_value_matrix(blocks, threshold.metric), weights)
    inner = interval(differences, settings.method)
    told = inner.mapped(threshold.metric.told) if inner else None
    outcome = judge_limit(told, threshold.limit, above_is_worse=threshold.above_is_worse)
    more = None
    if outcome is ThresholdOutcome.INCONCLUSIVE:
        more = blocks_to_settle(differences, threshold.metric.untold(threshold.limit))
    return ThresholdResult(threshold, candidate, baseline, told, outcome, more, status)


# A seed interval says how much the runs differ. It says nothing about the few photographs the test
# set was made from, which are the same for every run; that is what is worked out here.
@dataclass(frozen=True, slots=True)
class CorrectAnswers:
    """Which images each run had right.

    Attributes:
        right: ``[arms, blocks, images]``, 1 or 0.
        labels: ``[images]``, numbers of the true classes.
        photographs: ``[images]``, the photograph of each image.
    """

    right: Floats
    labels: Labels
    photographs: Labels

    def of_configuration(self, configuration: int) -> AccuracyByPhotograph:
        """One arm's accuracy, averaged over its seeds."""
        share = self.right[configuration].mean(axis=0)
        drawn = resample(share, self.labels, self.photographs)
        by_class = [share[self.labels == label].mean() for label in np.unique(self.labels)]
        low, high = percentile_interval(drawn.mean)
        balanced_low, balanced_high = percentile_interval(drawn.balanced)
        return AccuracyByPhotograph(
            accuracy=float(share.mean()),
            low=low,
            high=high,
            balanced=float(np.mean(by_class)),
            balanced_low=balanced_low,
            balanced_high=balanced_high,
        )

    def compare(self, design: ComparisonDesign) -> tuple[SameImages, ...]:
        """Each candidate against its baseline, image by image."""
        return tuple(
            SameImages(
                design.configurations[i].label,
                design.configurations[j].label,
                on_same_images(self.right[i], self.right[j], self.labels, self.photographs),
            )
            for i, j in design.pairs
        )


def read_answers(blocks: Blocks) -> CorrectAnswers | None:
    """The predictions of every used run.

    ``None`` where a run kept none, photographs are unknown, or the runs saw different images.
    """
    paths = [run.predictions_path for block in blocks.runs for run in block]
    known = [path for path in paths if path is not None]
    if not known or len(known) < len(paths):
        return None
    first = read_image_answers(known[0])
    if (first.photographs < 0).any():
        return None
    right = [first.right]
    # One table at a time: the digests of a thousand runs' images would fill the memory.
    for path in known[1:]:
        table = read_image_answers(path)
        if table.images != first.images:
            return None
        right.append(table.right)
    _, labels = np.unique(first.truth, return_inverse=True)
    shape = (len(blocks.runs), len(blocks.runs[0]), len(labels))
    return CorrectAnswers(
        right=np.array(right).reshape(shape).transpose(1, 0, 2),
        labels=labels.astype(np.int64),
        photographs=first.photographs,
    )


@dataclass(frozen=True, slots=True)
class ImageAnswers:
    """What one run said of each test image.

    Attributes:
        images: ``[n]`` digests.
        truth: ``[n]`` class names.
        right: ``[n]``, 1 where it was right.
        photographs: ``[n]``; -1 = unknown.
        seen: ``[n]``, whether TRAIN shows the same cell.
    """

    images: list[str]
    truth: list[str]
    right: Floats
    photographs: Labels
    seen: NDArray[np.bool_]


def read_image_answers(path: Path) -> ImageAnswers:
    """One run's predictions.

    Raises:
        UsageError: They cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read(columns=list(_COLUMNS))
        table = table.select(list(_COLUMNS))  # what is not there was left out without a word
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UsageError(
            f"{path} cannot be read as predictions: {error}. Move it away to compare without the "
            "intervals by photograph, or repeat the run."
        ) from error
    truth, said = (np.asarray(table[name].to_pylist()) for name in ("y_true", "y_pred"))
    # Arrow's own ``fill_null`` imports pandas, which takes longer than all the rest.
    photographs = table["original_id"].to_pylist()
    return ImageAnswers(
        images=table["image_sha256"].to_pylist(),
        truth=truth.tolist(),
        right=(truth == said).astype(np.float64),
        photographs=np.asarray([-1 if p is None else p for p in photographs], dtype=np.int64),
        seen=np.asarray(table["also_in_train"].to_pylist(), dtype=np.bool_),
    )


def summarise_configurations(
    design: ComparisonDesign,
    blocks: Blocks,
    metrics: Sequence[Metric],
    energy: Metric | None,
    answers: CorrectAnswers | None,
) -> tuple[ConfigurationSummary, ...]:
    """One summary for each arm; empty without blocks."""
    if not blocks.runs:
        return ()
    on, share = _front(blocks, energy)
    columns = list(zip(*blocks.runs, strict=True))
    return tuple(
        ConfigurationSummary(
            label=configuration.label,
            levels={metric.name: _level(runs, metric) for metric in metrics},
            target=_target(runs, by_energy=energy is not None),
            on_front=on[i] if on else None,
            front_share=share[i] if share else None,
            by_photograph=answers.of_configuration(i) if answers else None,
            leakage_free=_mean(runs, _LEAK_FREE),
        )
        for i, (configuration, runs) in enumerate(zip(design.configurations, columns, strict=True))
    )


def _level(runs: Sequence[Run], metric: Metric) -> Level:
    values = np.array([run.number(metric.name) for run in runs], dtype=np.float64)
    found = t_interval(values)
    meter = _mean(runs, _UNCERTAINTY) if metric.part in {"gpu", "primary"} else None
    is_train = metric.name.endswith("energy_gpu_train_j") or metric.name == PRIMARY
    return Level(
        mean=float(values.mean()),
        runs=(found.high - found.low) / 2 if found else None,
        # The devices' gain is the same in every run: it does not shrink with more of them.
        meter=meter if is_train else None,
    )


def _target(runs: Sequence[Run], *, by_energy: bool) -> Target | None:
    """``None`` where nobody can say whether a run reached the target, or the targets differ."""
    if len({(run.spec.target_metric, run.spec.target_value) for run in runs}) > 1:
        return None
    reached = [run.row.get("target_reached") for run in runs]
    cost, total = ("energy_to_target_j", PRIMARY) if by_energy else ("time_to_target_s", TIME)
    costs = [run.number(cost if hit else total) for run, hit in zip(runs, reached, strict=True)]
    known = [value for value in costs if value is not None]
    if None in reached or len(known) < len(costs):
        return None
    found = censored_median(known, [bool(hit) for hit in reached])
    return Target("J" if by_energy else "s", found.reached, found.runs, found.median)


def _front(blocks: Blocks, energy: Metric | None) -> tuple[list[bool] | None, list[float] | None]:
    """Whether each arm is on the front of the means, and in which share of resampled blocks."""
    if energy is None:
        return None, None
    joules = _values(blocks, energy.name)
    accuracy = _values(blocks, ACCURACY)
    if joules is None or accuracy is None:
        return None, None
    on = on_front(joules.mean(axis=0), accuracy.mean(axis=0))
    if len(joules) < 2:
        return [bool(each) for each in on], None
    return [bool(each) for each in on], [float(s) for s in front_share(joules, accuracy)]


def _values(blocks: Blocks, column: str) -> np.ndarray | None:
    cells = [[run.number(column) for run in block] for block in blocks.runs]
    if any(value is None for row in cells for value in row):
        return None
    return np.array(cells, dtype=np.float64)


def _mean(runs: Sequence[Run], column: str) -> float | None:
    values = [value for run in runs if (value := run.number(column)) is not None]
    return sum(values) / len(runs) if values and len(values) == len(runs) else None
