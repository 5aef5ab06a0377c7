"""Accuracy in depth, and what using the trained network costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from wbcbench.compare.design import Configuration
from wbcbench.core.record import Scores
from wbcbench.core.text import UNKNOWN, count_of, energy_scale
from wbcbench.energy.metrics import mean_known
from wbcbench.report import Block, DataTable, Figure
from wbcbench.report.drawing import COLOURS, WIDTH_IN, new_plots, short_labels
from wbcbench.report.marks import Whisker, draw_whiskers
from wbcbench.report.study import ReportStudy, known_values
from wbcbench.report.summaries import mean_of, mean_words
from wbcbench.report.words import MOST_RUNS, IntervalsByPhotograph, by_photograph
from wbcbench.stats.intervals import t_interval
from wbcbench.table.view import TABLE_BATCH, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

UNUSED = "UNUSED"
MOST_MATRICES = 6  # in one picture: what a printed page holds

_ONE = ("energy_per_infer_image_b1_j", "infer_images_per_s_b1")
_MANY = ("energy_per_infer_image_j", "infer_images_per_s")
_IMAGES = 1000
_WANTED_S = 60.0

MATRICES_ACROSS = 2
_DEEPEST = 0.6  # of the fill: text stays legible on it in light and dark
_SHORT = 3

ALL_IMAGES, LEAK_FREE = "all test images", "without leaks"

Pair = tuple[float, float]
Which = Literal["test", "test_leakage_free"]


def accuracy_section(study: ReportStudy) -> Block | None:
    """Accuracy in depth: which classes are confused, how sure that is, leaks and calibration."""
    depths = [depth for variant in study.variants if (depth := depth_of(study, variant))]
    if not depths:
        return None
    figures = (
        *_confusions(study, depths),
        _recall_figure(study, depths),
        _accuracies_figure(study, depths),
    )
    return Block(
        "accuracy", "Accuracy in depth", tuple(_words(depths)), (_table(study, depths),), figures
    )


# --- confusion ---------------------------------------------------------------------------------


def confusion_matrix(depth: Depth, title: str) -> Matrix:
    """The variant's counts, summed over its runs; the unused output only if it was ever said."""
    tables = [np.asarray(scores.confusion) for scores in depth.scores("test")]
    total = np.sum(tables, axis=0)
    wide = total.shape[1] > len(depth.classes) and total[:, len(depth.classes) :].any()
    said = (*depth.classes, UNUSED) if wide else depth.classes
    counts = tuple(tuple(int(n) for n in row[: len(said)]) for row in total)
    return Matrix(title, depth.classes, said, counts)


def _confusions(study: ReportStudy, depths: list[Depth]) -> Iterator[Figure]:
    names = short_labels(study.variants)
    every = [confusion_matrix(depth, names[depth.variant]) for depth in depths]
    for part, start in enumerate(range(0, len(every), MOST_MATRICES)):
        number = f"-{part + 1}" if len(every) > MOST_MATRICES else ""
        yield _confusion(study, every[start : start + MOST_MATRICES], f"confusion{number}")


def _confusion(study: ReportStudy, matrices: list[Matrix], name: str) -> Figure:
    title = "What was taken for what, on all test images"
    description = "; ".join(_worst_confusion(each) for each in matrices)
    keys = ", ".join(f"{abbreviated(n)} {n.lower()}" for n in matrices[0].said)
    caption = (
        "A row is a true class, a column what the network said; per cent of the row, and below "
        f"the number of answers, summed over the runs of a variant. {keys}. Right answers stand "
        f"on the diagonal.{study.stamp}"
    )
    draw = partial(_draw_matrices, matrices)
    return Figure(name, draw, title, description, caption, _counts(study, matrices))


def _worst_confusion(each: Matrix) -> str:
    cells = [
        (share, each.classes[i], each.said[j])
        for i, row in enumerate(each.shares())
        for j, share in enumerate(row)
        if share is not None and i != j
    ]
    share, true, said = max(cells, default=(0.0, "", ""))
    return f"{each.title}: most often {true.lower()} taken for {said.lower()} ({100 * share:.0f} %)"


def _counts(study: ReportStudy, matrices: list[Matrix]) -> DataTable:
    rows = tuple(
        (each.title, true, *(str(count) for count in row))
        for each in matrices
        for true, row in zip(each.classes, each.counts, strict=True)
    )
    said = max((each.said for each in matrices), key=len)
    rows = tuple(row + ("0",) * (len(said) + 2 - len(row)) for row in rows)
    headings = ("variant", "true class", *(f"said {name.lower()}" for name in said))
    caption = f"Answers on all test images, summed over the runs of a variant.{study.stamp}"
    return DataTable(caption, headings, rows, frozenset({0, 1}))


# --- recall and accuracy -----------------------------------------------------------------------


def _recall_figure(study: ReportStudy, depths: list[Depth]) -> Figure:
    return _dots(
        study, "recall", "Recall of each class", "recall: share of a class that was found",
        [each for depth in depths for each in recalls(depth)],
    )  # fmt: skip


def _accuracies_figure(study: ReportStudy, depths: list[Depth]) -> Figure:
    return _dots(
        study, "accuracy-sets", "Accuracy with and without leaked images", "accuracy",
        [each for depth in depths for each in accuracies(depth)],
    )  # fmt: skip


def _dots(study: ReportStudy, name: str, title: str, axis: str, found: list[Whisker]) -> Figure:
    description = "; ".join(f"{each.variant}, {each.group}: {each.mean:.3f}" for each in found)
    caption = (
        "Mark: mean over runs. Thick: 95 % interval by seed (Student's t, from three runs on). "
        "Thin: 95 % interval by photograph, from drawing photographs anew; it is about the few "
        "photographs that TEST shows, the same for every run, and has no width where all answers "
        f"were alike.{study.stamp}"
    )
    rows = tuple(
        (
            e.group,
            e.variant,
            f"{e.mean:.4f}",
            _range_words(e.by_seed, 4),
            _range_words(e.by_photograph, 4),
        )
        for e in found
    )
    headings = ("what", "variant", "mean", "95 % by seed", "95 % by photograph")
    data = DataTable(f"The marks of the figure.{study.stamp}", headings, rows, frozenset({0, 1}))
    draw = partial(draw_whiskers, study.variants, found, axis)
    return Figure(name, draw, title, description, caption, data)


# --- words -------------------------------------------------------------------------------------


def _words(depths: list[Depth]) -> Iterator[str]:
    yield _weakest(depths)
    yield from _two_errors(depths)
    yield from _leaks(depths)
    yield from _calibration(depths)


def _weakest(depths: list[Depth]) -> str:
    every = [each for depth in depths for each in recalls(depth)]
    worst = min(every, key=lambda each: each.mean)
    best = max(every, key=lambda each: each.mean)
    return (
        f"The class found least often is {worst.group} by {worst.variant}: {worst.mean:.3f} of "
        f"them on average; the class found most often is {best.group} by {best.variant}: "
        f"{best.mean:.3f}."
    )


def _two_errors(depths: list[Depth]) -> Iterator[str]:
    known = [depth for depth in depths if depth.photographs]
    if not known:
        yield (
            "No interval by photograph can be stated: the predictions were not kept, or it is not "
            "known which images come from one photograph. What the choice of test images leaves "
            "open is therefore not in these figures."
        )
        return
    widest = max(known, key=lambda depth: _width(accuracies(depth)[0].by_photograph))
    first = accuracies(widest)[0]
    seeds = f", and by seed {_range_words(first.by_seed, 3)}" if first.by_seed else ""
    yield (
        f"Two errors of an accuracy, {widest.variant} as the widest: the test images leave open "
        f"{_range_words(first.by_photograph, 3)} by photograph{seeds}. They are different "
        "questions: other seeds of the same network, and other photographs. More runs narrow the "
        "first only."
    )
    if any(len(d.runs) > MOST_RUNS for d in known):
        yield f"The intervals by photograph are of the first {MOST_RUNS} runs of each variant."


def _width(pair: Pair | None) -> float:
    return pair[1] - pair[0] if pair else 0.0


def _leaks(depths: list[Depth]) -> Iterator[str]:
    facts = [run.record.dataset for depth in depths for run in depth.runs if run.record.dataset]
    leaky = {each.n_test_leaky for each in facts}
    changes = [found[1].mean - found[0].mean for d in depths if len(found := accuracies(d)) > 1]
    if changes and len(leaky) == 1 and (count := leaky.pop()) is not None:
        low, high = 100 * min(changes), 100 * max(changes)
        several = len(changes) > 1
        span = f"{low:+.1f} to {high:+.1f}" if several else f"{low:+.1f}"
        of_whom = ", by variant" if several else ""
        yield (
            f"{count_of(count, 'test image')} of {facts[0].n_test:,} show cells that TRAIN shows "
            f"as well. Without them accuracy changes by {span} percentage "
            f"points{of_whom}."
        )


def _calibration(depths: list[Depth]) -> Iterator[str]:
    known = [(ece, d.variant) for d in depths if (ece := d.mean("ece")) is not None]
    if known:
        (low, best), (high, worst) = min(known), max(known)
        span = f"{low:.3f} ({best}) to {high:.3f} ({worst})" if len(known) > 1 else f"{low:.3f}"
        yield (
            f"Expected calibration error: {span}. It is how far the stated confidence lies from "
            "the share of right answers, on average over 15 bins of confidence; 0 is best."
        )


def _table(study: ReportStudy, depths: list[Depth]) -> DataTable:
    headings = (
        "variant",
        "runs",
        "accuracy",
        "95 % by seed",
        "95 % by photograph",
        "without leaks",
        "95 % by photograph, without leaks",
        "balanced accuracy",
        "macro F1",
        "calibration error",
    )
    caption = f"Accuracy on TEST by variant, means over finished runs.{study.stamp}"
    return DataTable(caption, headings, tuple(_line(depth) for depth in depths))


def _line(depth: Depth) -> tuple[str, ...]:
    first, *others = accuracies(depth)
    rest = others[0] if others else None
    means = (depth.mean(name) for name in ("balanced_accuracy", "macro_f1", "ece"))
    return (
        depth.variant,
        str(len(depth.runs)),
        f"{first.mean:.3f}",
        _range_words(first.by_seed, 3),
        _range_words(first.by_photograph, 3),
        f"{rest.mean:.3f}" if rest else UNKNOWN,
        _range_words(rest.by_photograph if rest else None, 3),
        *(UNKNOWN if mean is None else f"{mean:.3f}" for mean in means),
    )


def _range_words(pair: Pair | None, digits: int) -> str:
    return f"{pair[0]:.{digits}f}–{pair[1]:.{digits}f}" if pair else UNKNOWN


def inference_section(study: ReportStudy) -> Block | None:
    """What using the trained network costs: joules an image, one at a time and in batches."""
    timed = [run for run in study.done if _times_s(run)]
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
    caption = (
        f"Energy for {_IMAGES} images, and speed, mean over runs [95 % t from three runs] "
        f"(lowest–highest of two). {_energy_note(study)}{study.stamp}"
    )
    rows = tuple(_inference_cells(study, each, (one[0], many[0])) for each in study.configurations)
    table = DataTable(caption, headings, rows)
    return Block("inference", "Using the trained network", _inference_words(timed), (table,))


def _energy_note(study: ReportStudy) -> str:
    words = study.energy_words.replace("in training", "in the inference window")
    return f"Energy: {words}."


def _inference_words(timed: Sequence[Run]) -> tuple[str, ...]:
    times_s = [time_s for run in timed for time_s in _times_s(run)]
    ends = dict.fromkeys(f"{time_s:.1f}" for time_s in (min(times_s), max(times_s)))
    told_s = f"{'–'.join(ends)} s"
    short = (
        f" A window of {_WANTED_S:g} s would be wanted, so these joules are rough."
        if min(times_s) < _WANTED_S
        else ""
    )
    return (
        "After training each run forwarded test images, one at a time and in batches; what came "
        f"before the first measured batch is left out. The windows lasted {told_s}.{short}",
    )


def _times_s(run: Run) -> list[float]:
    found = [run.duration_s(each.window) for each in run.record.inference]
    return [time_s for time_s in found if time_s is not None]


def _inference_cells(
    study: ReportStudy, configuration: Configuration, divisors: tuple[float, float]
) -> tuple[str, ...]:
    used, metered = study.used(configuration), study.metered(configuration)
    cells = [
        cell
        for (energy, speed), divisor in zip((_ONE, _MANY), divisors, strict=True)
        for cell in (
            mean_words(mean_of([_IMAGES * j for j in known_values(metered, energy)]), divisor),
            mean_words(mean_of(known_values(used, speed))),
        )
    ]
    return (configuration.label, str(len(used)), *cells)


@dataclass(frozen=True, slots=True)
class Matrix:
    """One variant's counts.

    Attributes:
        title: Above it.
        classes: Names of the rows, which are the true classes.
        said: Names of the columns: the classes, and the unused output if it was ever said.
        counts: ``[true][said]``.
    """

    title: str
    classes: tuple[str, ...]
    said: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def shares(self) -> list[list[float | None]]:
        """Each count as a share of its row; ``None`` in a row without images."""
        sums = [sum(row) for row in self.counts]
        return [
            [count / total if total else None for count in row]
            for row, total in zip(self.counts, sums, strict=True)
        ]


def abbreviated(name: str) -> str:
    """A class name as short as a tick label must be."""
    return name[:_SHORT].upper()


def _draw_matrices(matrices: Sequence[Matrix]) -> Canvas:
    """Two in a row; one alone takes the whole width."""
    columns = min(MATRICES_ACROSS, len(matrices))
    rows = -(-len(matrices) // columns)
    height_in = 3.0 if columns == MATRICES_ACROSS else 3.8
    canvas, grid = new_plots(rows, columns, (WIDTH_IN, height_in * rows))
    plots = [plot for line in grid for plot in line]
    for plot in plots[len(matrices) :]:
        plot.remove()
    for matrix, plot in zip(matrices, plots, strict=False):
        _draw(plot, matrix)
    canvas.supxlabel("what the network said", fontsize="medium")
    canvas.supylabel("true class", fontsize="medium")
    return canvas


def _draw(plot: Axes, matrix: Matrix) -> None:
    plot.grid(visible=False)
    for i, row in enumerate(matrix.shares()):
        for j, share in enumerate(row):
            _cell(plot, (j, i), share, matrix.counts[i][j])
    plot.set_xlim(-0.5, len(matrix.said) - 0.5)
    plot.set_ylim(len(matrix.classes) - 0.5, -0.5)
    for ticks, names in ((plot.set_xticks, matrix.said), (plot.set_yticks, matrix.classes)):
        ticks(range(len(names)), [abbreviated(name) for name in names], fontsize="small")
    plot.tick_params(length=0)
    plot.set_title(matrix.title, fontsize="small", loc="left")


def _cell(plot: Axes, at: tuple[int, int], share: float | None, count: int) -> None:
    """One cell: filled as deep as its share, with the share above the count."""
    from matplotlib.patches import Rectangle

    x, y = at
    told = "–" if share is None else f"{100 * share:.0f} %"
    fill = {"facecolor": COLOURS[0], "alpha": _DEEPEST * (share or 0.0), "linewidth": 0}
    cell = plot.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **fill))  # type: ignore[arg-type]
    words = {"horizontalalignment": "center", "verticalalignment": "center"}
    for artist in (
        cell,
        plot.text(x, y - 0.14, told, fontsize=10.5, **words),  # type: ignore[arg-type]
        plot.text(x, y + 0.24, f"{count:,}", fontsize=8.5, **words),  # type: ignore[arg-type]
    ):
        artist.set_in_layout(False)  # inside the axes whatever they say; asking takes a second


@dataclass(frozen=True, slots=True)
class Depth:
    """The finished runs of one variant that were tested on the same classes."""

    variant: str
    runs: tuple[Run, ...]
    photographs: IntervalsByPhotograph | None

    def scores(self, which: Which) -> list[Scores]:
        """Of each run, where known."""
        found = (getattr(run.record, which) for run in self.runs)
        return [scores for scores in found if scores is not None]

    def mean(self, name: str, which: Which = "test") -> float | None:
        """Mean of one score over the runs that know it."""
        return mean_known([getattr(scores, name) for scores in self.scores(which)])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the matrices."""
        return self.scores("test")[0].classes


def depth_of(study: ReportStudy, variant: str) -> Depth | None:
    """The largest set of this variant's runs with one list of classes."""
    tested = [run for run in study.done if run.spec.variant == variant and run.record.test]
    lists = [run.record.test.classes for run in tested if run.record.test]
    if not lists:
        return None
    usual = max(sorted(set(lists)), key=lists.count)
    runs = tuple(run for run, own in zip(tested, lists, strict=True) if own == usual)
    paths = [path for run in runs if (path := run.predictions_path)]
    return Depth(variant, runs, by_photograph(paths))


def by_seed(values: Sequence[float]) -> Pair | None:
    """95 % interval of the mean over runs, within 0 and 1; ``None`` with fewer than three."""
    found = t_interval(np.asarray(values, dtype=np.float64))
    return (max(found.low, 0.0), min(found.high, 1.0)) if found else None


def recalls(depth: Depth) -> list[Whisker]:
    """Recall of each class, averaged over runs."""
    found: list[Whisker] = []
    for name in depth.classes:
        every = [scores.recall.get(name) for scores in depth.scores("test")]
        known = [value for value in every if value is not None]
        if known:
            photographs = depth.photographs.recall.get(name) if depth.photographs else None
            mean = float(np.mean(known))
            found.append(Whisker(name.lower(), depth.variant, mean, by_seed(known), photographs))
    return found


def accuracies(depth: Depth) -> list[Whisker]:
    """Accuracy on all test images and on those without leaks, averaged over runs."""
    sets: list[tuple[str, Which, Pair | None]] = [
        (ALL_IMAGES, "test", depth.photographs.accuracy if depth.photographs else None),
        (
            LEAK_FREE,
            "test_leakage_free",
            depth.photographs.leakage_free if depth.photographs else None,
        ),
    ]
    found: list[Whisker] = []
    for group, which, interval in sets:
        values = [scores.accuracy for scores in depth.scores(which)]
        if values:
            mean = float(np.mean(values))
            found.append(Whisker(group, depth.variant, mean, by_seed(values), interval))
    return found
