"""Accuracy in depth: which classes are confused, how sure that is, leaks and calibration."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from wbcbench.core.text import UNKNOWN, count_of
from wbcbench.report import Block, DataTable, Figure, whiskers
from wbcbench.report.by_photograph import MOST_RUNS
from wbcbench.report.evidence import ReportStudy
from wbcbench.report.labels import labels
from wbcbench.report.sections import confusion
from wbcbench.report.sections.confusion import Matrix, abbreviated
from wbcbench.report.sections.depths import Depth, Pair, accuracies, depth_of, recalls
from wbcbench.report.whiskers import Whisker

UNUSED = "UNUSED"
MOST_MATRICES = 6  # in one picture: what a printed page holds


def section(study: ReportStudy) -> Block | None:
    """Confusion, recall and the two errors of an accuracy; ``None`` if nothing was tested."""
    depths = [depth for variant in study.variants if (depth := depth_of(study, variant))]
    if not depths:
        return None
    figures = (*_confusions(study, depths), _recall(study, depths), _sets(study, depths))
    return Block(
        "accuracy", "Accuracy in depth", tuple(_words(depths)), (_table(study, depths),), figures
    )


# --- confusion ---------------------------------------------------------------------------------


def matrix(depth: Depth, title: str) -> Matrix:
    """The variant's counts, summed over its runs; the unused output only if it was ever said."""
    tables = [np.asarray(scores.confusion) for scores in depth.scores("test")]
    total = np.sum(tables, axis=0)
    wide = total.shape[1] > len(depth.classes) and total[:, len(depth.classes) :].any()
    said = (*depth.classes, UNUSED) if wide else depth.classes
    counts = tuple(tuple(int(n) for n in row[: len(said)]) for row in total)
    return Matrix(title, depth.classes, said, counts)


def _confusions(study: ReportStudy, depths: list[Depth]) -> Iterator[Figure]:
    names = labels(study.variants)
    every = [matrix(depth, names[depth.variant]) for depth in depths]
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
    draw = partial(confusion.picture, matrices)
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


def _recall(study: ReportStudy, depths: list[Depth]) -> Figure:
    return _dots(
        study, "recall", "Recall of each class", "recall: share of a class that was found",
        [each for depth in depths for each in recalls(depth)],
    )  # fmt: skip


def _sets(study: ReportStudy, depths: list[Depth]) -> Figure:
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
        (e.group, e.variant, f"{e.mean:.4f}", _told(e.by_seed, 4), _told(e.by_photograph, 4))
        for e in found
    )
    headings = ("what", "variant", "mean", "95 % by seed", "95 % by photograph")
    data = DataTable(f"The marks of the figure.{study.stamp}", headings, rows, frozenset({0, 1}))
    draw = partial(whiskers.picture, study.variants, found, axis)
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
    seeds = f", and by seed {_told(first.by_seed, 3)}" if first.by_seed else ""
    yield (
        f"Two errors of an accuracy, {widest.variant} as the widest: the test images leave open "
        f"{_told(first.by_photograph, 3)} by photograph{seeds}. They are different questions: "
        "other seeds of the same network, and other photographs. More runs narrow the first only."
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
        _told(first.by_seed, 3),
        _told(first.by_photograph, 3),
        f"{rest.mean:.3f}" if rest else UNKNOWN,
        _told(rest.by_photograph if rest else None, 3),
        *(UNKNOWN if mean is None else f"{mean:.3f}" for mean in means),
    )


def _told(pair: Pair | None, digits: int) -> str:
    return f"{pair[0]:.{digits}f}–{pair[1]:.{digits}f}" if pair else UNKNOWN
