"""Accuracy in depth, and the cost of using the trained network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wbcbench.compare.design import Configuration
from wbcbench.compare.effects import read_image_answers
from wbcbench.core.record import Scores
from wbcbench.core.text import UNKNOWN, count_of, energy_scale
from wbcbench.energy.metrics import mean_known
from wbcbench.report import DataTable, Part, Place, Section
from wbcbench.report.figures.confusion import build_confusion_figure, select_tested
from wbcbench.report.study import ReportStudy, known_values
from wbcbench.report.summaries import NONE, compute_mean, format_mean, format_range
from wbcbench.stats.bootstrap import compute_percentile_interval, resample
from wbcbench.table.view import TABLE_BATCH, Run

MOST_RUNS = 10
"""Of one variant: further runs change the average of a few images, and reading them takes time."""

_ONE = ("energy_per_infer_image_b1_j", "infer_images_per_s_b1")
_MANY = ("energy_per_infer_image_j", "infer_images_per_s")
_IMAGES = 1000
_WANTED_S = 60.0

Ends = tuple[float, float]


# The runs of a variant are averaged image by image; then whole photographs are resampled. More runs
# do not make this interval narrower, because all of them were tested on the same photographs.
@dataclass(frozen=True, slots=True)
class PhotographIntervals:
    """95 % intervals of one variant over photographs (cluster bootstrap).

    Attributes:
        accuracy: On all test images.
        leakage_free: On those of cells that TRAIN does not show; ``None`` if there are none.
        recall: By class name.
    """

    accuracy: Ends
    leakage_free: Ends | None
    recall: Mapping[str, Ends]


def compute_photograph_intervals(paths: Sequence[Path]) -> PhotographIntervals | None:
    """The intervals of runs that were tested on the same images.

    ``None`` without predictions, where photographs are unknown, or where the images differ.

    Raises:
        UsageError: A file of predictions is damaged.
    """
    answers = [read_image_answers(path) for path in paths[:MOST_RUNS]]
    if not answers or any(answer.images != answers[0].images for answer in answers):
        return None
    first = answers[0]
    if not first.images or (first.photographs < 0).any():
        return None
    share = np.mean([answer.right for answer in answers], axis=0)
    names, labels = np.unique(first.truth, return_inverse=True)

    def compute_interval(mask: NDArray[np.bool_]) -> Ends:
        drawn = resample(share[mask], labels[mask], first.photographs[mask])
        return compute_percentile_interval(drawn.mean)

    return PhotographIntervals(
        accuracy=compute_interval(np.ones(len(labels), dtype=np.bool_)),
        leakage_free=None if first.is_in_train.all() else compute_interval(~first.is_in_train),
        recall={str(name): compute_interval(labels == i) for i, name in enumerate(names)},
    )


def build_confusion(study: ReportStudy) -> Section | None:
    """Which classes are taken for which others."""
    figure = build_confusion_figure(study)
    if figure is None:
        return None
    return Section("confusion", "Confusion", (f"{figure.description}.{study.stamp}", figure))


def build_accuracy(study: ReportStudy) -> Section | None:
    """Accuracy in depth: both its intervals, recall of each class, leakage and calibration."""
    tested = select_tested(study)
    if not tested:
        return None
    intervals = {
        label: compute_photograph_intervals([p for run, _ in own if (p := run.predictions_path)])
        if len({run.row["dataset_sha256"] for run, _ in own}) == 1
        else None
        for label, own in tested.items()
    }
    balanced = [mean_known([s.balanced_accuracy for _, s in own]) for own in tested.values()]
    known = [share for share in balanced if share is not None]
    ends = dict.fromkeys(f"{100 * share:.1f}" for share in (min(known), max(known)))
    summary = f"balanced accuracy {' to '.join(ends)} %"
    parts: list[Part] = [
        *_iterate_words(study, intervals),
        _build_scores(study, tested, intervals),
        _build_recalls(study, tested, intervals),
    ]
    return Section("accuracy", "Accuracy in depth", tuple(parts), Place.FOLDED, summary)


def _iterate_words(
    study: ReportStudy, intervals: Mapping[str, PhotographIntervals | None]
) -> Iterator[str]:
    if not any(intervals.values()):
        yield (
            "No interval over photographs: the runs have no predictions, or it is not known which "
            "images come from one photograph."
        )
    else:
        yield (
            "Two intervals answer two questions: other seeds of the same network (Student's t), "
            "and other photographs (cluster bootstrap of whole photographs). More runs narrow the "
            "first only."
        )
    known = (study.evidence[run].dataset for run in study.done)
    facts = {dataset for dataset in known if dataset is not None}
    leaky = {dataset.n_test_leaky for dataset in facts}
    if len(leaky) == 1 and (count := leaky.pop()):
        total = max(dataset.n_test for dataset in facts)
        yield (
            f"Leakage-free: without the {count_of(count, 'test image')} of {total:,} whose cells "
            "TRAIN shows as well."
        )


def _build_scores(
    study: ReportStudy,
    tested: Mapping[str, list[tuple[Run, Scores]]],
    intervals: Mapping[str, PhotographIntervals | None],
) -> DataTable:
    rows = []
    for label, own in tested.items():
        over = intervals[label]
        free = [s.accuracy for run, _ in own if (s := study.evidence[run].leakage_free)]
        scores = [scores for _, scores in own]
        accuracy = compute_mean([s.accuracy for s in scores], "share")
        free_mean = mean_known(list(free))
        others = [mean_known([getattr(s, n) for s in scores]) for n in ("balanced_accuracy", "ece")]
        f1 = mean_known(known_values([run for run, _ in own], "macro_f1"))
        rows.append(
            (
                label,
                str(len(own)),
                format_mean(accuracy, 0.01),
                _format_percent(over.accuracy if over else None),
                NONE if free_mean is None else f"{100 * free_mean:.1f}",
                _format_percent(over.leakage_free if over else None),
                *(NONE if n is None else f"{100 * n:.1f}" for n in (others[0], f1)),
                NONE if others[1] is None else f"{others[1]:.3f}",
            )
        )
    headings = (
        "Variant", "Runs", "Accuracy, %", "over photographs", "Leakage-free, %",
        "over photographs", "Balanced, %", "Macro-F1, %", "Calibration error",
    )  # fmt: skip
    caption = "Means over finished runs [95 % CI over seeds]; 95 % CI over photographs beside."
    return DataTable(f"{caption}{study.stamp}", headings, tuple(rows))


def _format_percent(ends: Ends | None) -> str:
    return NONE if ends is None else format_range([100 * end for end in ends], 1)


def _build_recalls(
    study: ReportStudy,
    tested: Mapping[str, list[tuple[Run, Scores]]],
    intervals: Mapping[str, PhotographIntervals | None],
) -> DataTable:
    classes = list(dict.fromkeys(name for own in tested.values() for name in own[0][1].classes))
    rows, values = [], []
    for label, own in tested.items():
        over = intervals[label]
        means = [mean_known([scores.recall.get(name) for _, scores in own]) for name in classes]
        spans = [over.recall.get(name) if over else None for name in classes]
        cells = [
            NONE
            if mean is None
            else f"{100 * mean:.0f}"
            + (f" [{100 * span[0]:.0f}, {100 * span[1]:.0f}]" if span else "")
            for mean, span in zip(means, spans, strict=True)
        ]
        rows.append((label, *cells))
        values.append((label, *means))
    return DataTable(
        f"Recall of each class, % [95 % CI over photographs].{study.stamp}",
        ("Variant", *(name.lower() for name in classes)),
        tuple(rows),
        values=tuple(values),
    )


def build_inference(study: ReportStudy) -> Section | None:
    """The cost of using the trained network: joules an image, one at a time and in batches."""
    lengths_s = [length_s for run in study.done for length_s in study.evidence[run].inference_s]
    timed = [run for run in study.done if study.evidence[run].inference_s]
    if not timed:
        return None
    scales = [
        energy_scale(_IMAGES * max(known_values(timed, columns[0]), default=0.0))
        for columns in (_ONE, _MANY)
    ]
    rows = tuple(
        _build_inference_row(study, configuration, [divisor for divisor, _ in scales])
        for configuration in study.configurations
    )
    ends = dict.fromkeys(f"{length_s:.1f}" for length_s in (min(lengths_s), max(lengths_s)))
    rough = f" {_WANTED_S:g} s are wanted: rough." if min(lengths_s) < _WANTED_S else ""
    caption = (
        f"Energy of {_IMAGES} images, warm-up left out; mean over runs [95 % CI]. Windows of "
        f"{'–'.join(ends)} s.{rough}{study.energy_stamp}"
    )
    headings = (
        "Variant",
        "Runs",
        f"Batch 1, {scales[0][1]}",
        "images/s",
        f"Batch {TABLE_BATCH}, {scales[1][1]}",
        "images/s",
    )
    table = DataTable(caption, headings, rows)
    cells = sorted({row[4].partition(" ")[0] for row in rows if row[4] != UNKNOWN}, key=float)
    span = " to ".join(cells[:1] + cells[1:][-1:])
    kind = f" ({study.energy_status})" if study.energy_kind else ""
    words = f"{span} {scales[1][1]}{kind} for {_IMAGES} images in batches of {TABLE_BATCH}"
    summary = words if cells else ""
    return Section("inference", "Inference energy", (table,), Place.FOLDED, summary)


def _build_inference_row(
    study: ReportStudy, configuration: Configuration, divisors: Sequence[float]
) -> tuple[str, ...]:
    used, metered = study.used(configuration), study.metered(configuration)
    cells = []
    for (energy, speed), divisor in zip((_ONE, _MANY), divisors, strict=True):
        energies = [_IMAGES * energy_j for energy_j in known_values(metered, energy)]
        cells.append(format_mean(compute_mean(energies, "ratio"), divisor))
        cells.append(format_mean(compute_mean(known_values(used, speed), "ratio")))
    return (configuration.label, str(len(used)), *cells)
