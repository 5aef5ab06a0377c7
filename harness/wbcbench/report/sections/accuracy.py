"""Accuracy in depth, and the cost of using the trained network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from wbcbench.compare.design import Configuration
from wbcbench.core.record import Scores
from wbcbench.core.text import UNKNOWN, count_of, energy_scale
from wbcbench.energy.metrics import mean_known
from wbcbench.report import Block, DataTable, Figure, drawing
from wbcbench.report.study import ReportStudy, known_values
from wbcbench.report.summaries import compute_mean, format_mean, format_range
from wbcbench.report.words import MOST_RUNS, Pair, PhotographIntervals, compute_photograph_intervals
from wbcbench.stats.intervals import level_interval
from wbcbench.table.view import TABLE_BATCH, Run

UNUSED = "UNUSED"
MOST_MATRICES = 6  # in one picture: what a printed page holds
MATRICES_ACROSS = 2
_DEEPEST = 0.6  # of the fill: text stays legible on it in light and dark

_ONE = ("energy_per_infer_image_b1_j", "infer_images_per_s_b1")
_MANY = ("energy_per_infer_image_j", "infer_images_per_s")
_IMAGES = 1000
_WANTED_S = 60.0

ALL_IMAGES, LEAKAGE_FREE = "all test images", "leakage-free test subset"
_BY_SEED, _OVER_PHOTOGRAPHS = "95 % CI over seeds", "95 % CI over photographs"

_ROW_IN = 0.2
_GROUP_IN = 0.22

Subset = Literal["test", "test_leakage_free"]


@dataclass(frozen=True, slots=True)
class Depth:
    """The finished runs of one variant that were tested on the same classes."""

    variant: str
    runs: tuple[Run, ...]
    photographs: PhotographIntervals | None

    def scores(self, subset: Subset) -> list[Scores]:
        """Of each run, where known."""
        scores = (getattr(run.record, subset) for run in self.runs)
        return [score for score in scores if score is not None]

    def mean(self, name: str) -> float | None:
        """Mean of one score over the runs that know it."""
        return mean_known([getattr(scores, name) for scores in self.scores("test")])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the matrices."""
        return self.scores("test")[0].classes


@dataclass(frozen=True, slots=True)
class Whisker:
    """One mean of one variant in one group of rows.

    Attributes:
        group: Label of the rows it stands among.
        variant: Whose colour and shape it has.
        mean: Where the mark stands.
        by_seed: 95 % interval over seeds; ``None`` is not drawn.
        over_photographs: The same over photographs (cluster bootstrap).
    """

    group: str
    variant: str
    mean: float
    by_seed: Pair | None
    over_photographs: Pair | None


@dataclass(frozen=True, slots=True)
class Matrix:
    """One variant's counts.

    Attributes:
        title: Above it.
        classes: Names of the rows, which are the true classes.
        answers: Names of the columns: the classes, and the unused output if it was ever given.
        counts: ``[true][answer]``.
    """

    title: str
    classes: tuple[str, ...]
    answers: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def shares(self) -> list[list[float | None]]:
        """Each count as a share of its row; ``None`` in a row without images."""
        rows = [(row, sum(row)) for row in self.counts]
        return [[count / total if total else None for count in row] for row, total in rows]


def collect_depth(study: ReportStudy, variant: str) -> Depth | None:
    """The largest set of this variant's runs with one list of classes."""
    runs = [run for run in study.done if run.spec.variant == variant]
    classes = {run: run.record.test.classes for run in runs if run.record.test}
    if not classes:
        return None
    lists = list(classes.values())
    usual = max(sorted(set(lists)), key=lists.count)
    same = tuple(run for run, own in classes.items() if own == usual)
    paths = [path for run in same if (path := run.predictions_path)]
    return Depth(variant, same, compute_photograph_intervals(paths))


def _build_whisker(
    depth: Depth, group: str, values: Sequence[float], photographs: Pair | None
) -> Whisker:
    interval = level_interval(np.asarray(values, dtype=np.float64), "share")
    by_seed = (interval.low, interval.high) if interval else None
    return Whisker(group, depth.variant, float(np.mean(values)), by_seed, photographs)


def collect_recalls(depth: Depth) -> list[Whisker]:
    """Recall of each class, averaged over runs."""
    whiskers = []
    for name in depth.classes:
        recalls = [scores.recall.get(name) for scores in depth.scores("test")]
        known = [recall for recall in recalls if recall is not None]
        if known:
            photographs = depth.photographs.recall.get(name) if depth.photographs else None
            whiskers.append(_build_whisker(depth, name.lower(), known, photographs))
    return whiskers


def collect_accuracies(depth: Depth) -> list[Whisker]:
    """Accuracy on all test images and on the leakage-free ones, averaged over runs."""
    intervals = depth.photographs
    subsets: tuple[tuple[str, Subset, Pair | None], ...] = (
        (ALL_IMAGES, "test", intervals.accuracy if intervals else None),
        (LEAKAGE_FREE, "test_leakage_free", intervals.leakage_free if intervals else None),
    )
    return [
        _build_whisker(depth, group, [s.accuracy for s in depth.scores(subset)], interval)
        for group, subset, interval in subsets
        if depth.scores(subset)
    ]


def build_accuracy(study: ReportStudy) -> Block | None:
    """Accuracy in depth: which classes are confused, how sure that is, leakage and calibration."""
    depths = [depth for variant in study.variants if (depth := collect_depth(study, variant))]
    if not depths:
        return None
    recalls = [whisker for depth in depths for whisker in collect_recalls(depth)]
    sets = [whisker for depth in depths for whisker in collect_accuracies(depth)]
    recall_axis = "recall: share of a class that was recognised"
    sets_title = "Accuracy on all test images and on the leakage-free subset"
    figures = (
        *_iterate_confusions(study, depths),
        _build_whiskers(study, "recall", "Recall of each class", recall_axis, recalls),
        _build_whiskers(study, "accuracy-sets", sets_title, "accuracy", sets),
    )
    words = tuple(_iterate_words(depths, recalls))
    return Block("accuracy", "Accuracy in depth", words, (_build_table(study, depths),), figures)


def build_confusion(depth: Depth, title: str) -> Matrix:
    """The variant's counts, summed over its runs; the unused output only if it was ever given."""
    total = np.sum([np.asarray(scores.confusion) for scores in depth.scores("test")], axis=0)
    n = len(depth.classes)
    answers = (*depth.classes, UNUSED) if total[:, n:].any() else depth.classes
    counts = tuple(tuple(int(count) for count in row[: len(answers)]) for row in total)
    return Matrix(title, depth.classes, answers, counts)


def _iterate_confusions(study: ReportStudy, depths: list[Depth]) -> Iterator[Figure]:
    names = drawing.make_short_labels(study.variants)
    matrices = [build_confusion(depth, names[depth.variant]) for depth in depths]
    for start in range(0, len(matrices), MOST_MATRICES):
        part = start // MOST_MATRICES + 1
        number = f"-{part}" if len(matrices) > MOST_MATRICES else ""
        shown = matrices[start : start + MOST_MATRICES]
        yield _build_confusion_figure(study, shown, f"confusion{number}")


def _build_confusion_figure(study: ReportStudy, matrices: list[Matrix], name: str) -> Figure:
    answers = max((matrix.answers for matrix in matrices), key=len)
    keys = ", ".join(f"{_shorten(n)} {n.lower()}" for n in matrices[0].answers)
    caption = (
        "A row is a true class, a column the network's answer; per cent of the row, and below the "
        f"number of answers, summed over the runs of a variant. {keys}. Correct answers are on "
        f"the diagonal.{study.stamp}"
    )
    rows = tuple(
        (matrix.title, true, *map(str, row), *("0",) * (len(answers) - len(row)))
        for matrix in matrices
        for true, row in zip(matrix.classes, matrix.counts, strict=True)
    )
    data = DataTable(
        f"Answers on all test images, summed over the runs of a variant.{study.stamp}",
        ("variant", "true class", *(f"answered {answer.lower()}" for answer in answers)),
        rows,
        (0, 1),
    )
    description = "; ".join(map(_describe_worst, matrices))
    draw = partial(_draw_matrices, matrices)
    return Figure(name, draw, "Confusions on all test images", description, caption, data)


def _describe_worst(matrix: Matrix) -> str:
    cells = [
        (share, matrix.classes[i], matrix.answers[j])
        for i, row in enumerate(matrix.shares)
        for j, share in enumerate(row)
        if share is not None and i != j
    ]
    share, true, answer = max(cells, default=(0.0, "", ""))
    confusion = f"{true.lower()} taken for {answer.lower()} ({100 * share:.0f} %)"
    return f"{matrix.title}: most often {confusion}"


def _build_whiskers(
    study: ReportStudy, name: str, title: str, axis: str, whiskers: list[Whisker]
) -> Figure:
    description = "; ".join(f"{w.variant}, {w.group}: {w.mean:.3f}" for w in whiskers)
    caption = (
        "Mark: mean over runs. Thick: 95 % CI over seeds (Student's t, from three runs on). Thin: "
        "95 % CI over photographs (cluster bootstrap); it is about the few photographs of TEST, "
        "the same for every run, and has no width where all answers were the same."
        f"{study.stamp}"
    )
    rows = tuple(
        (
            whisker.group,
            whisker.variant,
            f"{whisker.mean:.4f}",
            format_range(whisker.by_seed, 4),
            format_range(whisker.over_photographs, 4),
        )
        for whisker in whiskers
    )
    headings = ("group", "variant", "mean", _BY_SEED, _OVER_PHOTOGRAPHS)
    data = DataTable(f"The marks of the figure.{study.stamp}", headings, rows, (0, 1))
    draw = partial(_draw_whiskers, study.variants, whiskers, axis)
    return Figure(name, draw, title, description, caption, data)


def _iterate_words(depths: list[Depth], recalls: list[Whisker]) -> Iterator[str]:
    worst, best = (extreme(recalls, key=lambda w: w.mean) for extreme in (min, max))
    yield (
        f"The class recognised least often is {worst.group} by {worst.variant}: {worst.mean:.3f} "
        f"of them on average; the class recognised most often is {best.group} by {best.variant}: "
        f"{best.mean:.3f}."
    )
    yield from _describe_intervals(depths)
    facts = [run.record.dataset for depth in depths for run in depth.runs if run.record.dataset]
    leaky = {dataset.n_test_leaky for dataset in facts}
    pairs = [pair for depth in depths if len(pair := collect_accuracies(depth)) > 1]
    changes = sorted({100 * (subset.mean - every.mean) for every, subset in pairs})
    if changes and len(leaky) == 1 and (count := leaky.pop()) is not None:
        is_range = len(pairs) > 1
        span = f"{changes[0]:+.1f} to {changes[-1]:+.1f}" if is_range else f"{changes[0]:+.1f}"
        yield (
            f"{count_of(count, 'test image')} of {facts[0].n_test:,} show cells that TRAIN shows "
            f"as well. Without them accuracy changes by {span} percentage points"
            f"{', by variant' if is_range else ''}."
        )
    errors = [(ece, d.variant) for d in depths if (ece := d.mean("ece")) is not None]
    if errors:
        (low, first), (high, last) = min(errors), max(errors)
        span = f"{low:.3f} ({first}) to {high:.3f} ({last})" if len(errors) > 1 else f"{low:.3f}"
        yield (
            f"Expected calibration error: {span}. It is the difference between the stated "
            "confidence and the share of right answers, on average over 15 bins of confidence; 0 "
            "is best."
        )


def _describe_intervals(depths: list[Depth]) -> Iterator[str]:
    known = [depth for depth in depths if depth.photographs]
    if not known:
        yield (
            "No interval over photographs can be stated: the runs have no predictions, or it is "
            "not known which images come from one photograph. These figures therefore leave out "
            "the uncertainty that comes from the choice of test images."
        )
        return

    accuracies = [collect_accuracies(depth)[0] for depth in known]
    widest = max(accuracies, key=lambda whisker: np.ptp(whisker.over_photographs or 0.0))
    seeds = f", and over seeds {format_range(widest.by_seed, 3)}" if widest.by_seed else ""
    yield (
        f"Two errors of an accuracy, {widest.variant} as the widest: the 95 % CI over photographs "
        f"is {format_range(widest.over_photographs, 3)}{seeds}. They answer different questions: "
        "other photographs, and other seeds of the same network. More runs narrow the second only."
    )
    if any(len(depth.runs) > MOST_RUNS for depth in known):
        yield f"The intervals over photographs are of the first {MOST_RUNS} runs of each variant."


def _build_table(study: ReportStudy, depths: list[Depth]) -> DataTable:
    headings = (
        "variant",
        "runs",
        "accuracy",
        _BY_SEED,
        _OVER_PHOTOGRAPHS,
        LEAKAGE_FREE,
        f"{_OVER_PHOTOGRAPHS}, {LEAKAGE_FREE}",
        "balanced accuracy",
        "macro F1",
        "calibration error",
    )
    caption = f"Accuracy on TEST by variant, means over finished runs.{study.stamp}"
    return DataTable(caption, headings, tuple(map(_build_row, depths)))


def _build_row(depth: Depth) -> tuple[str, ...]:
    every, *others = collect_accuracies(depth)
    subset = others[0] if others else None
    means = (depth.mean(name) for name in ("balanced_accuracy", "macro_f1", "ece"))
    return (
        depth.variant,
        str(len(depth.runs)),
        f"{every.mean:.3f}",
        format_range(every.by_seed, 3),
        format_range(every.over_photographs, 3),
        f"{subset.mean:.3f}" if subset else UNKNOWN,
        format_range(subset.over_photographs if subset else None, 3),
        *(UNKNOWN if mean is None else f"{mean:.3f}" for mean in means),
    )


def _shorten(name: str) -> str:
    """A class name as short as a tick label must be."""
    return name[:3].upper()


def _draw_matrices(matrices: Sequence[Matrix]) -> drawing.Canvas:
    """Two in a row; one alone takes the whole width."""
    columns = min(MATRICES_ACROSS, len(matrices))
    rows = -(-len(matrices) // columns)
    height_in = 3.0 if columns == MATRICES_ACROSS else 3.8
    canvas, grid = drawing.create_plots(rows, columns, (drawing.WIDTH_IN, height_in * rows))
    plots = [plot for line in grid for plot in line]
    for plot in plots[len(matrices) :]:
        plot.remove()
    for matrix, plot in zip(matrices, plots, strict=False):
        _draw_matrix(plot, matrix)
    canvas.supxlabel("the network's answer", fontsize="medium")
    canvas.supylabel("true class", fontsize="medium")
    return canvas


def _draw_matrix(plot: drawing.Axes, matrix: Matrix) -> None:
    plot.grid(visible=False)
    for i, row in enumerate(matrix.shares):
        for j, share in enumerate(row):
            _draw_cell(plot, (j, i), share, matrix.counts[i][j])
    plot.set_xlim(-0.5, len(matrix.answers) - 0.5)
    plot.set_ylim(len(matrix.classes) - 0.5, -0.5)
    for ticks, names in ((plot.set_xticks, matrix.answers), (plot.set_yticks, matrix.classes)):
        ticks(range(len(names)), list(map(_shorten, names)), fontsize="small")
    plot.tick_params(length=0)
    plot.set_title(matrix.title, fontsize="small", loc="left")


def _draw_cell(plot: drawing.Axes, at: tuple[int, int], share: float | None, count: int) -> None:
    """One cell: filled as deep as its share, with the share above the count."""
    from matplotlib.patches import Rectangle

    x, y = at
    alpha = _DEEPEST * (share or 0.0)
    cell = Rectangle(
        (x - 0.5, y - 0.5), 1, 1, facecolor=drawing.COLOURS[0], alpha=alpha, linewidth=0
    )
    percent = "–" if share is None else f"{100 * share:.0f} %"
    words: dict[str, Any] = {"horizontalalignment": "center", "verticalalignment": "center"}
    for artist in (
        plot.add_patch(cell),
        plot.text(x, y - 0.14, percent, fontsize=10.5, **words),
        plot.text(x, y + 0.24, f"{count:,}", fontsize=8.5, **words),
    ):
        artist.set_in_layout(False)  # always inside the axes; to measure it takes a second


def _draw_whiskers(variants: list[str], whiskers: list[Whisker], axis: str) -> drawing.Canvas:
    """Groups from the top down, in each the variants in order; a share from 0 to 1 across."""
    groups = list(dict.fromkeys(whisker.group for whisker in whiskers))
    known = {whisker.variant for whisker in whiskers}
    shown = [variant for variant in variants if variant in known]
    height_in = 0.9 + 0.25 * len(shown) / 2 + len(groups) * (_GROUP_IN + _ROW_IN * len(shown))
    canvas, plot = drawing.create_plot((drawing.WIDTH_IN, height_in))
    rows = len(shown) + _GROUP_IN / _ROW_IN  # of a group, with the room below it
    for whisker in whiskers:
        style = drawing.choose_style(variants, whisker.variant)
        y = groups.index(whisker.group) * rows + shown.index(whisker.variant)
        line: dict[str, Any] = {"color": style.colour, "solid_capstyle": "butt"}
        if whisker.over_photographs:
            plot.plot(whisker.over_photographs, [y, y], linewidth=1.1, **line)
        if whisker.by_seed:
            plot.plot(whisker.by_seed, [y, y], linewidth=4.5, alpha=0.55, **line)
        mark = {"color": style.colour, "markersize": 7, "markeredgecolor": drawing.INK}
        plot.plot([whisker.mean], [y], style.shape, **mark)  # type: ignore[arg-type]
    middle = (len(shown) - 1) / 2
    plot.set_yticks([i * rows + middle for i in range(len(groups))], groups)
    plot.set_ylim(len(groups) * rows - _GROUP_IN / _ROW_IN / 2 - 0.5, -1.0)
    plot.set_xlabel(axis)
    names = drawing.make_short_labels(shown)
    for variant in shown:
        style = drawing.choose_style(variants, variant)
        plot.plot([], [], style.shape, color=style.colour, label=names[variant])
    canvas.legend(loc="outside upper left", ncols=2, frameon=False)
    return canvas


def build_inference(study: ReportStudy) -> Block | None:
    """The cost of using the trained network: joules an image, one at a time and in batches."""
    windows = [(run, run.duration_s(i.window)) for run in study.done for i in run.record.inference]
    times_s = [time_s for _, time_s in windows if time_s is not None]
    timed = [run for run, time_s in windows if time_s is not None]
    if not timed:
        return None
    one, many = (
        energy_scale(_IMAGES * max(known_values(timed, columns[0]), default=0.0))
        for columns in (_ONE, _MANY)
    )
    headings = (
        "variant",
        "runs",
        f"one at a time ({one[1]})",
        "images/s",
        f"batches of {TABLE_BATCH} ({many[1]})",
        "images/s",
    )
    energy = study.energy_words.replace("in training", "in the inference window")
    caption = (
        f"Energy for {_IMAGES} images, and speed, mean over runs [95 % t from three runs] "
        f"(lowest–highest of two). Energy: {energy}.{study.stamp}"
    )
    divisors = (one[0], many[0])
    rows = tuple(_build_inference_row(study, c, divisors) for c in study.configurations)
    table = DataTable(caption, headings, rows)
    ends = dict.fromkeys(f"{time_s:.1f}" for time_s in (min(times_s), max(times_s)))
    short = f" They should last {_WANTED_S:g} s, so these joules are rough."
    words = (
        "After training each run forwarded test images, one at a time and in batches; everything "
        f"before the first measured batch is left out. The windows lasted {'–'.join(ends)} s."
        f"{short if min(times_s) < _WANTED_S else ''}"
    )
    return Block("inference", "Using the trained network", (words,), (table,))


def _build_inference_row(
    study: ReportStudy, configuration: Configuration, divisors: tuple[float, float]
) -> tuple[str, ...]:
    used, metered = study.used(configuration), study.metered(configuration)
    cells = []
    for (energy, speed), divisor in zip((_ONE, _MANY), divisors, strict=True):
        energies = [_IMAGES * energy_j for energy_j in known_values(metered, energy)]
        cells.append(format_mean(compute_mean(energies, "ratio"), divisor))
        cells.append(format_mean(compute_mean(known_values(used, speed), "ratio")))
    return (configuration.label, str(len(used)), *cells)
