"""Figure 5: confusion matrices, one a variant, rows in per cent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wbcbench.core.record import Scores
from wbcbench.report import Cells, DataTable, Figure, style
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import build_data_table
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from wbcbench.report.style import Axes, Canvas

HEADINGS = ("variant", "true class", "answer", "images", "share")
UNUSED = "UNUSED"
MOST_MATRICES = 12
_ACROSS = 2
_DEEPEST = 0.6  # of the fill: text stays legible on it in light and dark


def select_tested(study: ReportStudy) -> dict[str, list[tuple[Run, Scores]]]:
    """By variant, those runs of the first table that were tested on one list of classes."""
    chosen = {}
    for configuration in study.configurations:
        label, runs = configuration.label, study.used(configuration)
        tested = [(run, scores) for run in runs if (scores := study.evidence[run].test)]
        lists = [scores.classes for _, scores in tested]
        if lists:
            usual = max(sorted(set(lists)), key=lists.count)
            chosen[label] = [(run, scores) for run, scores in tested if scores.classes == usual]
    return chosen


def build_confusion_figure(study: ReportStudy) -> Figure | None:
    """Answers on all test images, summed over runs; ``None`` where none is known."""
    rows = [row for label, own in select_tested(study).items() for row in _list_cells(label, own)]
    if not rows:
        return None
    variants = list(dict.fromkeys(str(row[0]) for row in rows))
    names = dict.fromkeys(str(name) for row in rows for name in row[1:3])
    keys = ", ".join(f"{_shorten(name)} {name.lower()}" for name in names)
    more = f" {MOST_MATRICES} of {len(variants)} variants." if len(variants) > MOST_MATRICES else ""
    return Figure(
        "confusion",
        "Confusion matrices",
        "; ".join(describe_worst(rows, variant) for variant in variants),
        f"Row: true class; column: answer; per cent of the row. {keys}.{more}{study.stamp}",
        build_data_table(f"Sums over runs.{study.stamp}", HEADINGS, rows, (0, 1, 2)),
        draw_confusion,
    )


def _list_cells(label: str, tested: Sequence[tuple[Run, Scores]]) -> list[Cells]:
    """The unused output is an answer only if it was ever given."""
    total = np.sum([np.asarray(scores.confusion) for _, scores in tested], axis=0)
    classes = tested[0][1].classes
    n = len(classes)
    answers = (*classes, UNUSED) if total[:, n:].any() else classes
    cells: list[Cells] = []
    for true, counts in zip(classes, total[:, : len(answers)], strict=True):
        images = int(counts.sum())
        for answer, count in zip(answers, counts, strict=True):
            share = float(count) / images if images else None
            cells.append((label, true, answer, int(count), share))
    return cells


def describe_worst(rows: Sequence[Cells], variant: str) -> str:
    """The most frequent confusion of one variant."""
    wrong = [
        (row[4], str(row[1]), str(row[2]))
        for row in rows
        if row[0] == variant and row[1] != row[2] and row[4] is not None
    ]
    share, true, answer = max(wrong, default=(0.0, "", ""))
    if not share:
        return f"{variant}: no confusion"
    return f"{variant} takes {100 * float(share):.0f} % of {true.lower()} for {answer.lower()}"


def draw_confusion(data: DataTable) -> Canvas:
    """Draw the rows of ``build_confusion_figure``, two matrices in a row."""
    matrices: dict[str, dict[tuple[str, str], float | None]] = {}
    for variant, true, answer, share in data.select("variant", "true class", "answer", "share"):
        matrices.setdefault(variant, {})[true, answer] = share
    shown = dict(list(matrices.items())[:MOST_MATRICES])
    columns = min(_ACROSS, len(shown))
    lines = -(-len(shown) // columns)
    height_in = 2.35 if columns == _ACROSS else 3.4
    canvas, grid = style.create_plots(lines, columns, (style.WIDTH_IN, height_in * lines))
    plots = [plot for line in grid for plot in line]
    for plot in plots[len(shown) :]:
        plot.remove()
    names = style.make_short_labels(shown)
    for (variant, cells), plot in zip(shown.items(), plots, strict=False):
        _draw_matrix(plot, cells)
        plot.set_title(names[variant], fontsize=10, loc="left")
    canvas.supxlabel("answer", fontsize=10)
    canvas.supylabel("true class", fontsize=10)
    return canvas


def _draw_matrix(plot: Axes, cells: dict[tuple[str, str], float | None]) -> None:
    from matplotlib.patches import Rectangle

    classes = list(dict.fromkeys(true for true, _ in cells))
    answers = list(dict.fromkeys(answer for _, answer in cells))
    plot.grid(visible=False)
    words: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 10}
    for (true, answer), share in cells.items():
        x, y = answers.index(answer), classes.index(true)
        cell = Rectangle(
            (x - 0.5, y - 0.5), 1, 1,
            facecolor=style.COLOURS[0], alpha=_DEEPEST * (share or 0.0), linewidth=0,
        )  # fmt: skip
        percent = "–" if share is None else f"{100 * share:.0f}"
        for artist in (plot.add_patch(cell), plot.text(x, y, percent, **words)):
            artist.set_in_layout(False)  # always inside the axes; to measure it takes a second
    plot.set_xlim(-0.5, len(answers) - 0.5)
    plot.set_ylim(len(classes) - 0.5, -0.5)
    plot.set_xticks(range(len(answers)), list(map(_shorten, answers)), fontsize=9)
    plot.set_yticks(range(len(classes)), list(map(_shorten, classes)), fontsize=9)
    plot.tick_params(length=0)


def _shorten(name: str) -> str:
    """A class name as short as a tick label must be."""
    return name[:3].upper()
