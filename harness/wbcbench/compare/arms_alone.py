"""Each arm by itself: means with both their errors, the cost of the target, the front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wbcbench.compare.blocks import Blocks
from wbcbench.compare.design import ComparisonDesign
from wbcbench.compare.metric import ACCURACY, HEADLINE, TIME, Metric
from wbcbench.compare.photographs import CorrectAnswers
from wbcbench.compare.result import ArmSummary, Level, Target
from wbcbench.stats.intervals import censored_median, front_share, on_front, t_interval
from wbcbench.table.view import Run

_UNCERTAINTY = "headline_uncertainty_train_j"
_LEAK_FREE = "balanced_accuracy_leak_free"


def arms_alone(
    design: ComparisonDesign,
    blocks: Blocks,
    metrics: Sequence[Metric],
    energy: Metric | None,
    answers: CorrectAnswers | None,
) -> tuple[ArmSummary, ...]:
    """One summary for each arm; empty without blocks."""
    if not blocks.runs:
        return ()
    on, share = _front(blocks, energy)
    columns = list(zip(*blocks.runs, strict=True))
    return tuple(
        ArmSummary(
            label=arm.label,
            levels={metric.name: _level(runs, metric) for metric in metrics},
            target=_target(runs, by_energy=energy is not None),
            on_front=on[i] if on else None,
            front_share=share[i] if share else None,
            by_photograph=answers.of_arm(i) if answers else None,
            leak_free=_mean(runs, _LEAK_FREE),
        )
        for i, (arm, runs) in enumerate(zip(design.arms, columns, strict=True))
    )


def _level(runs: Sequence[Run], metric: Metric) -> Level:
    values = np.array([run.number(metric.name) for run in runs], dtype=np.float64)
    found = t_interval(values)
    meter = _mean(runs, _UNCERTAINTY) if metric.part in {"gpu", "headline"} else None
    is_train = metric.name.endswith("energy_gpu_train_j") or metric.name == HEADLINE
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
    cost, total = ("energy_to_target_j", HEADLINE) if by_energy else ("time_to_target_s", TIME)
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
