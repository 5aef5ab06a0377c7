"""Contrasts of metrics: estimate, interval, exact test, correction, equivalence, finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from wbcbench.compare.blocks import Blocks
from wbcbench.compare.design import ComparisonDesign, Contrast
from wbcbench.compare.metric import TIME, Metric
from wbcbench.compare.result import ContrastResult, Effect, Split
from wbcbench.compare.settings import Settings
from wbcbench.core.errors import CannotMeasureError
from wbcbench.stats.intervals import Interval, d_z, interval, share_won
from wbcbench.stats.tests import (
    ALPHA,
    contrast,
    decompose,
    equivalence_p,
    holm,
    p_floor,
    sign_flip_p,
)

Floats = NDArray[np.float64]


def matrix(blocks: Blocks, metric: Metric) -> Floats:
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
    values = {metric.name: matrix(blocks, metric) for metric in metrics}
    found: list[Effect] = []
    for family in ("primary", "secondary"):
        asked = [
            (each, metric)
            for each in design.contrasts
            if each.family == family
            for metric in metrics
        ]
        if asked:
            differences = np.stack([contrast(values[m.name], c.weights) for c, m in asked])
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
        return ContrastResult.CANNOT_TELL
    return ContrastResult.LESS if inner.high < 0 else ContrastResult.MORE


def splits(
    design: ComparisonDesign, blocks: Blocks, energy: Metric, settings: Settings
) -> tuple[Split, ...]:
    """How much of each primary difference in joules is time and how much is power, exactly."""
    if not blocks.runs:
        return ()
    time = Metric(TIME, "ratio", lower_is_better=True)
    log_energy, log_time = matrix(blocks, energy), matrix(blocks, time)
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
