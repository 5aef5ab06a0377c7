"""Contrasts: estimates, intervals, tests, thresholds; configurations by themselves; photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wbcbench.compare.boards import SPREAD, combine_gains
from wbcbench.compare.design import Blocks, ComparisonDesign, Contrast, notes_on_one_class
from wbcbench.compare.metric import ACCURACY, GPU_ENERGY, PRIMARY, TIME, Metric, Settings
from wbcbench.compare.result import (
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
from wbcbench.stats.boards import estimate_beside_boards
from wbcbench.stats.bootstrap import compare_on_images, compute_image_means
from wbcbench.stats.intervals import (
    Floats,
    Interval,
    Labels,
    compute_censored_median,
    compute_win_rate,
    d_z,
    level_interval,
    mean_interval,
    on_front,
    resample_front,
)
from wbcbench.stats.tests import (
    ThresholdOutcome,
    adjust_holm,
    compute_contrast,
    count_blocks_to_settle,
    equivalence_p,
    evaluate_limit,
    p_floor,
    sign_flip_p,
    stein_interval,
)
from wbcbench.table.view import Run

if TYPE_CHECKING:
    import pyarrow as pa

_IMAGE = "file"
_COLUMNS = [_IMAGE, "original_id", "also_in_train", "y_true", "y_pred"]

_READING, _BOARD = "primary_uncertainty_train_j", "primary_board_uncertainty_train_j"
_LEAKAGE_FREE = "balanced_accuracy_leakage_free"


def scale_values(blocks: Blocks, metric: Metric) -> Floats:
    """``[blocks, configurations]`` values on the scale on which differences are taken.

    Raises:
        CannotMeasureError: A value that is not above zero has no ratio.
    """
    for run in (run for block in blocks.runs for run in block):
        value = run.number(metric.name)
        if value is None or (metric.scale == "ratio" and value <= 0):
            raise CannotMeasureError(
                f"{metric.name} is {value} in {run.run_id}: ratios need values above zero. Compare "
                "another metric, or repeat the block if the run went wrong."
            )
    values = [[run.number(metric.name) or 0.0 for run in block] for block in blocks.runs]
    return np.array([[metric.to_scale(value) for value in row] for row in values])


def _compute_interval(differences: Floats, metric: Metric, settings: Settings) -> Interval | None:
    """The interval of the mean difference, in the metric's unit."""
    interval = mean_interval(differences, settings.method)
    return interval.transform(metric.to_unit) if interval else None


def compute_effects(
    design: ComparisonDesign,
    blocks: Blocks,
    metrics: Sequence[Metric],
    statuses: Mapping[str, str],
    settings: Settings,
) -> tuple[Effect, ...]:
    """Every contrast of every metric, the primary family first; empty without blocks."""
    if not blocks.runs:
        return ()
    values = {metric.name: scale_values(blocks, metric) for metric in metrics}
    has_no_scores = any(notes_on_one_class(design.configurations))
    is_spread = blocks.boards.is_spread
    effects: list[Effect] = []
    for family in ("primary", "secondary"):
        pairs = [(c, m) for c in design.contrasts if c.family == family for m in metrics]
        rows = [compute_contrast(values[metric.name], c.weights) for c, metric in pairs]
        tests = [TestResults()] * len(pairs)
        # What differs from board to board is tested on one board alone.
        can_test = [i for i, (_, m) in enumerate(pairs) if not (is_spread and m.is_speed)]
        if can_test and family == "primary" and not settings.untested:
            tested = np.stack([rows[i] for i in can_test])
            own_metrics = [pairs[i][1] for i in can_test]
            found = _test_family(tested, own_metrics, settings, len(pairs))
            for i, test in zip(can_test, found, strict=True):
                tests[i] = test
        for (contrast, metric), differences, test in zip(pairs, rows, tests, strict=True):
            is_score = has_no_scores and not metric.is_speed
            own = TestResults() if is_score else test
            effect = _estimate_effect(contrast, metric, differences, own, statuses, settings)
            if is_spread and metric.is_speed:
                effect = _estimate_beside_boards(effect, contrast, values[metric.name], blocks)
            effects.append(effect)
    return tuple(effects)


def _estimate_beside_boards(
    effect: Effect, contrast: Contrast, values: Floats, blocks: Blocks
) -> Effect:
    """The same effect without pairing, of runs that were spread over boards."""
    estimate, interval = estimate_beside_boards(values, blocks.boards.numbers, contrast.weights)
    to_unit = effect.metric.to_unit
    return replace(
        effect,
        estimate=to_unit(estimate),
        interval=interval.transform(to_unit) if interval else None,
        d_z=None,
        win_rate=None,
    )


def compute_differences(blocks: Blocks, contrast: Contrast, metric: Metric) -> Floats:
    """``[blocks]`` differences of a contrast on the metric's scale."""
    return compute_contrast(scale_values(blocks, metric), contrast.weights)


def contrast_interval(
    differences: Floats, metric: Metric, settings: Settings, contrast: str, against: str
) -> Interval | None:
    """95 % interval of a contrast, in the metric's unit; Stein's where it decided the blocks."""
    stages = settings.two_stages
    if stages is None or metric.name not in stages.metrics or len(differences) <= stages.blocks:
        return _compute_interval(differences, metric, settings)
    if not stages.is_about(contrast, against):
        return _compute_interval(differences, metric, settings)
    return stein_interval(differences, stages.blocks).transform(metric.to_unit)


@dataclass(frozen=True, slots=True)
class TestResults:
    """The p of one test, and the same corrected within its family; ``None`` where unknown."""

    is_tested: bool = False
    p: float | None = None
    p_holm: float | None = None
    p_equivalence: float | None = None
    p_equivalence_holm: float | None = None


def _test_family(
    differences: Floats, metrics: Sequence[Metric], settings: Settings, whole: int
) -> list[TestResults]:
    """Both tests of each row of ``[tests, blocks]`` differences, Holm's correction over all rows.

    Equivalence of a metric without a region cannot be shown, and is no test of the family.
    ``whole``: how many tests the family would have, had none fallen away.
    """
    planned = max(settings.plan.tests if settings.plan else 0, whole)
    has_p = differences.shape[-1] > 1
    p = sign_flip_p(differences).tolist() if has_p else [None] * len(metrics)
    rows = zip(differences, metrics, strict=True)
    p_equivalence = [_test_equivalence(*row, settings) for row in rows]
    adjusted = (_adjust_known(column, planned) for column in (p, p_equivalence))
    rows_of_p = zip(p, next(adjusted), p_equivalence, next(adjusted), strict=True)
    return [TestResults(True, *row) for row in rows_of_p]


def _adjust_known(p: Sequence[float | None], planned: int) -> list[float | None]:
    """Holm's correction over the tests that could be made, and those that were planned besides."""
    known = [value for value in p if value is not None]
    lost = [1.0] * (planned - len(p))
    adjusted = iter(adjust_holm(np.array(known + lost)).tolist())
    return [None if value is None else next(adjusted) for value in p]


def _test_equivalence(differences: Floats, metric: Metric, settings: Settings) -> float | None:
    region = settings.region(metric)
    if region is None:
        return None
    return equivalence_p(differences, *(metric.from_unit(edge) for edge in region))


def _estimate_effect(
    contrast: Contrast,
    metric: Metric,
    differences: Floats,
    tests: TestResults,
    statuses: Mapping[str, str],
    settings: Settings,
) -> Effect:
    n = len(differences)
    interval = contrast_interval(differences, metric, settings, contrast.name, contrast.against)
    result = ContrastResult.NOT_TESTED
    if tests.is_tested:
        result = _evaluate_contrast(interval, tests, settings.alpha)
    rate = compute_win_rate(differences, lower_is_better=metric.lower_is_better)
    return Effect(
        contrast=contrast.name,
        against=contrast.against,
        family=contrast.family,
        metric=metric,
        status=statuses[metric.name],
        n=n,
        estimate=metric.to_unit(float(np.mean(differences))),
        interval=interval,
        p=tests.p,
        p_floor=None if tests.p is None else p_floor(n),
        p_holm=tests.p_holm,
        d_z=d_z(differences),
        win_rate=None if contrast.is_interaction else rate,
        region=settings.region(metric),
        p_equivalence=tests.p_equivalence,
        p_equivalence_holm=tests.p_equivalence_holm,
        result=result,
    )


def _evaluate_contrast(
    interval: Interval | None, tests: TestResults, alpha: float
) -> ContrastResult:
    """Equivalent goes first: a difference inside the region is shown and does not matter."""
    if tests.p_equivalence_holm is not None and tests.p_equivalence_holm <= alpha:
        return ContrastResult.EQUIVALENT
    is_significant = tests.p_holm is not None and tests.p_holm <= alpha
    if is_significant and interval is not None and interval.excludes(0.0):
        return ContrastResult.DIFFERENT
    return ContrastResult.INCONCLUSIVE


def split_energy(
    design: ComparisonDesign, blocks: Blocks, energy: Metric, settings: Settings
) -> tuple[Split, ...]:
    """How much of each primary difference in joules is time and how much is power, exactly.

    A difference of log energy is one of log time plus one of log mean power.
    """
    if not blocks.runs or blocks.boards.is_spread:
        return ()
    log_energy = scale_values(blocks, energy)
    log_time = scale_values(blocks, Metric(TIME, "ratio", lower_is_better=True))
    splits = []
    for contrast in design.contrasts:
        if contrast.family != "primary":
            continue
        time = compute_contrast(log_time, contrast.weights)
        power = compute_contrast(log_energy - log_time, contrast.weights)
        split = Split(
            contrast=contrast.name,
            against=contrast.against,
            energy=energy.to_unit(float(np.mean(time + power))),
            time=energy.to_unit(float(np.mean(time))),
            time_interval=_compute_interval(time, energy, settings),
            power=energy.to_unit(float(np.mean(power))),
            power_interval=_compute_interval(power, energy, settings),
        )
        splits.append(split)
    return tuple(splits)


def check_thresholds(
    design: ComparisonDesign, blocks: Blocks, settings: Settings, statuses: Mapping[str, str]
) -> tuple[ThresholdResult, ...]:
    """Every threshold for every configuration that has a baseline."""
    results = []
    for threshold in settings.thresholds:
        metric = threshold.metric
        why = SPREAD if blocks.boards.is_spread and metric.is_speed else ""
        values = scale_values(blocks, metric) if blocks.runs and not why else None
        for i, j in design.pairs:
            interval = more = None
            outcome = ThresholdOutcome.INCONCLUSIVE
            if values is not None:
                differences = values[:, i] - values[:, j]
                pair = design.configurations[i].label, design.configurations[j].label
                interval = contrast_interval(differences, metric, settings, *pair)
                worse = threshold.above_is_worse
                outcome = evaluate_limit(interval, threshold.limit, above_is_worse=worse)
                if outcome is ThresholdOutcome.INCONCLUSIVE:
                    more = count_blocks_to_settle(differences, metric.from_unit(threshold.limit))
            pair = design.configurations[i].label, design.configurations[j].label
            status = statuses[metric.name]
            results.append(ThresholdResult(threshold, *pair, interval, outcome, more, status, why))
    return tuple(results)


# An interval over seeds says how much the runs differ. It says nothing about the few photographs
# the test set was made from, which are the same for every run; the intervals here do.
@dataclass(frozen=True, slots=True)
class CorrectAnswers:
    """Which images each run had right.

    Attributes:
        right: ``[configurations, blocks, images]``.
        labels: ``[images]``, numbers of the true classes.
        photographs: ``[images]``, the photograph of each image.
    """

    right: NDArray[np.bool_]
    labels: Labels
    photographs: Labels

    def compare(self, design: ComparisonDesign) -> tuple[SameImages, ...]:
        """Each configuration against its baseline, image by image."""
        return tuple(
            SameImages(
                design.configurations[i].label,
                design.configurations[j].label,
                compare_on_images(self.right[i], self.right[j], self.labels, self.photographs),
            )
            for i, j in design.pairs
        )


def read_answers(blocks: Blocks) -> CorrectAnswers | None:
    """The predictions of every used run.

    ``None`` where a run has none, photographs are unknown, or the runs saw different images.
    """
    runs = [run for block in blocks.runs for run in block]
    if len({run.row["dataset_sha256"] for run in runs}) > 1:
        return None
    paths = [run.predictions_path for run in runs]
    known = [path for path in paths if path is not None]
    if not known or len(known) < len(paths):
        return None
    first = _read_predictions(known[0])
    answers = _list_answers(first)
    if (answers.photographs < 0).any():
        return None
    right = np.empty((len(known), len(answers.right)), dtype=np.bool_)
    # One table at a time: the names of a thousand runs' images would fill the memory.
    for place, path in enumerate(known):
        table = _read_predictions(path)
        if not table[_IMAGE].equals(first[_IMAGE]):
            return None
        right[place] = _find_right(table)
    _, labels = np.unique(answers.truth, return_inverse=True)
    shape = (len(blocks.runs), len(blocks.runs[0]), len(labels))
    return CorrectAnswers(
        right=right.reshape(shape).transpose(1, 0, 2),
        labels=labels.astype(np.int64),
        photographs=answers.photographs,
    )


@dataclass(frozen=True, slots=True)
class ImageAnswers:
    """What one run predicted for each test image.

    Attributes:
        images: ``[n]`` names of their files.
        truth: ``[n]`` class names.
        right: ``[n]``, where it was right.
        photographs: ``[n]``; -1 = unknown.
        is_in_train: ``[n]``, whether TRAIN shows the same cell.
    """

    images: list[str]
    truth: list[str]
    right: NDArray[np.bool_]
    photographs: Labels
    is_in_train: NDArray[np.bool_]


def read_image_answers(path: Path) -> ImageAnswers:
    """One run's predictions.

    Raises:
        UsageError: They cannot be read.
    """
    return _list_answers(_read_predictions(path))


def _read_predictions(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Reading passes over columns that are missing; selecting does not.
        with path.open("rb") as stream:
            return pq.ParquetFile(stream).read(columns=_COLUMNS, use_threads=False).select(_COLUMNS)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UsageError(
            f"{path} cannot be read as predictions: {error}. Repeat the run, or move the file away "
            "to compare without intervals over photographs."
        ) from error


def _list_answers(table: pa.Table) -> ImageAnswers:
    columns = table.to_pydict()
    photographs = columns["original_id"]
    return ImageAnswers(
        images=columns[_IMAGE],
        truth=columns["y_true"],
        right=_find_right(table),
        photographs=np.array([-1 if p is None else p for p in photographs], dtype=np.int64),
        is_in_train=np.array(columns["also_in_train"], dtype=np.bool_),
    )


def _find_right(table: pa.Table) -> NDArray[np.bool_]:
    import pyarrow.compute as pc

    right = pc.equal(table["y_true"], table["y_pred"])
    return np.array(pc.fill_null(right, fill_value=False), dtype=np.bool_)


def summarise_configurations(
    design: ComparisonDesign,
    blocks: Blocks,
    metrics: Sequence[Metric],
    energy: Metric | None,
    answers: CorrectAnswers | None,
) -> tuple[ConfigurationSummary, ...]:
    """One summary for each configuration; empty without blocks."""
    # Of runs that were spread, means stand for unlike boards, so none beats another by them.
    is_spread = blocks.boards.is_spread
    joules = _collect_values(blocks, energy.name) if energy and not is_spread else None
    accuracy = _collect_values(blocks, ACCURACY)
    is_on_front = share = None
    if joules is not None and accuracy is not None:
        is_on_front = on_front(joules.mean(axis=0), accuracy.mean(axis=0)).tolist()
        share = resample_front(joules, accuracy).tolist() if len(joules) > 1 else None
    columns = zip(*blocks.runs, strict=True)
    return tuple(
        ConfigurationSummary(
            label=configuration.label,
            levels={metric.name: _compute_level(runs, metric) for metric in metrics},
            target=_compute_target(runs, by_energy=energy is not None),
            on_front=is_on_front[i] if is_on_front else None,
            front_share=share[i] if share else None,
            accuracy=compute_image_means(
                answers.right[i].mean(axis=0), answers.labels, answers.photographs
            )
            if answers
            else None,
            leakage_free=_mean(runs, _LEAKAGE_FREE),
        )
        for i, (configuration, runs) in enumerate(zip(design.configurations, columns, strict=False))
    )


def _compute_level(runs: Sequence[Run], metric: Metric) -> Level:
    values = np.array([run.number(metric.name) for run in runs], dtype=np.float64)
    has_meter_error = metric.name in {GPU_ENERGY, PRIMARY}
    return Level(
        mean=float(values.mean()),
        runs=level_interval(values, metric.scale),
        reading=_mean(runs, _READING) if has_meter_error else None,
        board=combine_gains(runs, _BOARD) if has_meter_error else None,
    )


def _compute_target(runs: Sequence[Run], *, by_energy: bool) -> Target | None:
    """``None`` where it is unknown whether a run reached the target, or the targets differ."""
    reached = [run.row.get("target_reached") for run in runs]
    to_target, total = ("energy_to_target_j", PRIMARY) if by_energy else ("time_to_target_s", TIME)
    costs = [
        run.number(to_target if hit else total) for run, hit in zip(runs, reached, strict=True)
    ]
    known = [cost for cost in costs if cost is not None]
    targets = {(run.spec.target_metric, run.spec.target_value) for run in runs}
    if len(targets) > 1 or None in reached or len(known) < len(costs):
        return None
    median = compute_censored_median(known, [bool(hit) for hit in reached])
    return Target(**asdict(median), unit="J" if by_energy else "s")


def _collect_values(blocks: Blocks, column: str) -> Floats | None:
    """``[blocks, configurations]`` cells; ``None`` without blocks or if one is unknown."""
    cells = [[run.number(column) for run in block] for block in blocks.runs]
    is_known = cells and all(value is not None for row in cells for value in row)
    return np.array(cells, dtype=np.float64) if is_known else None


def _mean(runs: Sequence[Run], column: str) -> float | None:
    values = [value for run in runs if (value := run.number(column)) is not None]
    return sum(values) / len(runs) if values and len(values) == len(runs) else None
