"""Energy against accuracy: what the joules bought."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wbcbench.joules.metrics import mean_known, pareto_front
from wbcbench.report import Block, DataTable, Figure
from wbcbench.report.page.drawing import axes
from wbcbench.report.page.evidence import Evidence, Run
from wbcbench.report.page.labels import in_margin, labels
from wbcbench.report.page.palette import INK, style
from wbcbench.writing.show_units import energy_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAME = "energy-accuracy"
TITLE = "Energy in training against balanced accuracy on TEST"

_LEAST_SPAN = 0.12
_LEAST_SHARE = 0.2  # of the largest energy

Mean = tuple[str, float, float]


def section(study: Evidence) -> Block | None:
    """Every run as a point, every variant as its mean, the front through the means."""
    runs = [run for run in study.comparable if run.row["balanced_accuracy"] is not None]
    if not runs:
        return None
    return Block(
        "trade-off", "What the joules bought", _words(runs), figures=(_figure(study, runs),)
    )


def means(runs: list[Run]) -> list[Mean]:
    """Variant, mean joules and mean balanced accuracy, by variant."""
    found: list[Mean] = []
    for variant in sorted({run.variant for run in runs}):
        own = [run for run in runs if run.variant == variant]
        energy_j = mean_known([run.row["headline_energy_train_j"] for run in own])
        accuracy = mean_known([run.row["balanced_accuracy"] for run in own])
        if energy_j is not None and accuracy is not None:
            found.append((variant, energy_j, accuracy))
    return found


def front(found: list[Mean]) -> list[str]:
    """The variants that none beats on both energy and accuracy, by rising energy."""
    return [found[i][0] for i in pareto_front([(e, a) for _, e, a in found])]


def _words(runs: list[Run]) -> tuple[str, ...]:
    found = means(runs)
    if len(found) < 2:
        return ()
    names = ", ".join(front(found))
    return (
        f"Beaten by none on both energy and accuracy, on average: {names}. The means are "
        "themselves uncertain, so this front may change with further runs.",
    )


def _figure(study: Evidence, runs: list[Run]) -> Figure:
    found = means(runs)
    description = "; ".join(f"{v}: {e:.4g} J, balanced accuracy {a:.3f}" for v, e, a in found)
    caption = (
        f"{_legend(runs, found)}Further left costs less, further up is better. "
        f"Energy: {study.energy_words}.{study.stamp}"
    )
    data = _data(study, runs)
    return Figure(NAME, lambda: _picture(study, runs, found), TITLE, description, caption, data)


def _picture(study: Evidence, runs: list[Run], found: list[Mean]) -> Canvas:
    canvas, plot = axes()
    _draw(plot, study, runs, found)
    return canvas


def _legend(runs: list[Run], found: list[Mean]) -> str:
    words = "Faint: runs. Solid: mean of a variant. " if len(runs) > len(found) else ""
    dashed = "Dashed: means that none beats on both axes. " if len(front(found)) > 1 else ""
    return words + dashed


def _draw(plot: Axes, study: Evidence, runs: list[Run], found: list[Mean]) -> None:
    largest_j = max(run.row["headline_energy_train_j"] for run in runs)
    divisor, unit = energy_scale(largest_j)
    energies = [run.row["headline_energy_train_j"] / divisor for run in runs]
    _frame(plot, unit, energies, [run.row["balanced_accuracy"] for run in runs])
    for run in runs:
        look = style(study.variants, run.variant)
        point = ([run.row["headline_energy_train_j"] / divisor], [run.row["balanced_accuracy"]])
        plot.plot(
            *point, look.shape, color=look.colour, alpha=0.55, markersize=4.5, markeredgewidth=0
        )
    _draw_front(plot, found, divisor)
    for variant, energy_j, accuracy in found:
        look = style(study.variants, variant)
        mark = {"color": look.colour, "markersize": 9, "markeredgecolor": INK, "zorder": 3}
        plot.plot([energy_j / divisor], [accuracy], look.shape, **mark)  # type: ignore[arg-type]
    names = labels(v for v, _, _ in found)
    in_margin(plot, [(names[v], energy_j / divisor, accuracy) for v, energy_j, accuracy in found])


def _frame(plot: Axes, unit: str, energies: list[float], accuracies: list[float]) -> None:
    """Room around the points, and never so little that noise looks like a difference."""
    plot.set_ylim(*_limits(accuracies, _LEAST_SPAN))
    plot.set_xlim(*_limits(energies, _LEAST_SHARE * max(energies)))
    plot.set_xlabel(f"energy in training ({unit})")
    plot.set_ylabel("balanced accuracy, TEST")


def _limits(values: list[float], least_span: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    span = max(high - low, least_span)
    middle = (low + high) / 2
    return middle - 0.62 * span, middle + 0.62 * span


def _draw_front(plot: Axes, found: list[Mean], divisor: float) -> None:
    on_front = front(found)
    steps = [(e / divisor, a) for v in on_front for name, e, a in found if name == v]
    if len(steps) > 1:
        x, y = zip(*steps, strict=True)
        plot.step(x, y, where="post", color=INK, linestyle="--", linewidth=1.0, alpha=0.7)


def _data(study: Evidence, runs: list[Run]) -> DataTable:
    rows = tuple(
        (
            run.record.run_id,
            f"{run.row['headline_energy_train_j']:.1f}",
            str(run.row["headline_status"]),
            f"{run.row['balanced_accuracy']:.4f}",
        )
        for run in runs
    )
    headings = ("run", "energy in training (J)", "status", "balanced accuracy")
    caption = f"The points of the figure. {study.energy_words}.{study.stamp}"
    return DataTable(caption, headings, rows, frozenset({0, 2}))
