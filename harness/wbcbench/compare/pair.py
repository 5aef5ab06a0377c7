"""Two single runs side by side, which say what they cost and nothing about their variants."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wbcbench.compare.analysis import require_comparable
from wbcbench.compare.effects import read_image_answers
from wbcbench.compare.metric import ACCURACY, PRIMARY, TIME, Metric, find_metric
from wbcbench.compare.render import NONE, format_p, format_signed
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.terminal import (
    TableColumn,
    fill,
    format_table,
    text_column,
)
from wbcbench.core.text import (
    count_of,
    energy_scale,
    format_digits,
    power_scale,
    printable,
    time_scale,
)
from wbcbench.core.units import pct_from_share
from wbcbench.energy.source import name_reading
from wbcbench.stats.bootstrap import compare_on_images
from wbcbench.stats.tests import mcnemar_p
from wbcbench.table.view import ABSENT, Run

POWER = "power_mean_w"
_LABELS = {
    PRIMARY: "energy",
    TIME: "time",
    POWER: "mean power",
    ACCURACY: "balanced accuracy",
    "accuracy": "accuracy",
}
_POWER_METRIC = Metric(POWER, "ratio", lower_is_better=True)
ONE_RUN_EACH = (
    "One run each shows no difference between variants: with another seed it may go the other way. "
    "Plan a study: wbcbench plan"
)


@dataclass(frozen=True, slots=True)
class PairRow:
    """One quantity of both runs.

    Attributes:
        metric: What it is; its unit is that of the difference.
        first, second: Values in the column's own unit; ``None`` is unknown.
        difference: Second minus first, in per cent or percentage points.
    """

    metric: Metric
    first: float | None
    second: float | None
    difference: float | None


@dataclass(frozen=True, slots=True)
class DiscordantImages:
    """How two runs differ on the same test images.

    Attributes:
        images: How many there are.
        only_first, only_second: Images that only one of the two has right.
        p: McNemar's exact test, which takes images for independent.
        photographs: How many the images were made from; ``None`` if unknown.
        p_photographs: By sign flips of whole photographs, which are independent.
    """

    images: int
    only_first: int
    only_second: int
    p: float
    photographs: int | None
    p_photographs: float | None


@dataclass(frozen=True, slots=True)
class RunPair:
    """Two runs side by side.

    Attributes:
        first, second: The runs.
        rows: Their quantities.
        discordant: On the same images; ``None`` where that cannot be worked out.
        why_not: Why it cannot; else empty.
        differing: Fields that differ, and may.
    """

    first: Run
    second: Run
    rows: tuple[PairRow, ...]
    discordant: DiscordantImages | None
    why_not: str
    differing: tuple[str, ...]


def compare_pair(first: Run, second: Run, allowed: Collection[str] = ()) -> RunPair:
    """Set two finished runs side by side.

    Raises:
        UsageError: It is one run, or one is no training.
        CannotMeasureError: One did not end well, or they differ in device, images and the like.
    """
    if first.run_id == second.run_id:
        raise UsageError(f"{first.run_id} is named twice. Name two runs.")
    for run in (first, second):
        if run.spec.is_program:
            raise UsageError(f"{run.run_id} is a measured program, not a training to compare.")
        if not run.is_done:
            raise CannotMeasureError(
                f"not comparable: {run.run_id} is {run.status}. Compare runs that are done."
            )
    has_energy = any(run.train_energy_j is not None for run in (first, second))
    differing = require_comparable((first, second), allowed, energy=has_energy, speed=True)
    discordant, why_not = _compare_predictions(first, second)
    return RunPair(first, second, tuple(_build_rows(first, second)), discordant, why_not, differing)


def _build_rows(first: Run, second: Run) -> Iterator[PairRow]:
    for name in _LABELS:
        metric = _POWER_METRIC if name == POWER else find_metric(name)
        one, other = (
            _read_power_w(run) if name == POWER else run.number(name) for run in (first, second)
        )
        yield PairRow(metric, one, other, _compute_difference(metric, one, other))


def _read_power_w(run: Run) -> float | None:
    time_s, energy_j = run.number(TIME), run.train_energy_j
    return energy_j / time_s if time_s and energy_j is not None else None


def _compute_difference(metric: Metric, first: float | None, second: float | None) -> float | None:
    if first is None or second is None or (metric.scale == "ratio" and min(first, second) <= 0):
        return None
    return metric.to_unit(metric.to_scale(second) - metric.to_scale(first))


def _compare_predictions(first: Run, second: Run) -> tuple[DiscordantImages | None, str]:
    """Image by image, or why not."""
    if first.predictions_path is None or second.predictions_path is None:
        return None, "a run has no predictions"
    one, other = map(read_image_answers, (first.predictions_path, second.predictions_path))
    sets = {run.row["dataset_sha256"] for run in (first, second)}
    if len(sets) > 1 or one.images != other.images:
        return None, "the runs saw different test images"
    only_first = int((one.right & ~other.right).sum())
    only_second = int((other.right & ~one.right).sum())
    photographs = p_photographs = None
    if not (one.photographs < 0).any():
        _, labels = np.unique(one.truth, return_inverse=True)
        paired = compare_on_images(
            other.right[None], one.right[None], labels.astype(np.int64), one.photographs
        )
        photographs, p_photographs = paired.photographs, paired.p
    p = mcnemar_p(only_first, only_second)
    found = DiscordantImages(
        len(one.images), only_first, only_second, p, photographs, p_photographs
    )
    return found, ""


def format_pair(pair: RunPair) -> str:
    """Both runs as columns of one table, the test on the same images, and what it does not show."""
    runs = {"A": pair.first, "B": pair.second}
    names = [text_column("", list(runs)), text_column("run", [run.run_id for run in runs.values()])]
    states = text_column("state", [_describe_state(run) for run in runs.values()], folds=True)
    lines = [*format_table([*names, states]), "", fill(_describe_setting(pair), rest="  "), ""]
    lines += [*format_table(_build_columns(pair)), "", fill(_describe_images(pair), rest="  ")]
    lines += [fill(f"{f} differs between the runs, as allowed.", rest="  ") for f in pair.differing]
    return printable("\n".join([*lines, fill(ONE_RUN_EACH, rest="  ")]))


def _describe_state(run: Run) -> str:
    return f"{run.status}, measurement {run.record.quality.value}"


def _describe_setting(pair: RunPair) -> str:
    row = pair.first.row
    device = str(row["gpu_name"] or row["cpu_model"] or "unknown machine")
    energy = "no energy known"
    if pair.first.origins["primary"] != ABSENT:
        read_by = name_reading(str(row["primary_domain"]), row["primary_method"])
        energy = f"energy of training, {read_by}, {pair.first.origins['primary']}"
    mark = "; synthetic images or simulated sensor" if row["synthetic"] else ""
    return f"{device}; {energy}{mark}"


def _build_columns(pair: RunPair) -> list[TableColumn]:
    labels, firsts, seconds, differences = list[str](), list[str](), list[str](), list[str]()
    for row in pair.rows:
        largest = max(abs(row.first or 0.0), abs(row.second or 0.0))
        divisor, unit = _choose_scale(row.metric, largest)
        labels.append(f"{_LABELS[row.metric.name]} {unit}")
        firsts.append(_format_value(row.metric, row.first, divisor))
        seconds.append(_format_value(row.metric, row.second, divisor))
        signed = "" if row.difference is None else format_signed(row.difference, 1)
        differences.append(f"{signed} {row.metric.unit}" if signed else NONE)
    return [
        text_column("", labels),
        TableColumn("A", firsts, "point"),
        TableColumn("B", seconds, "point"),
        TableColumn("B against A", differences, "right"),
    ]


def _choose_scale(metric: Metric, largest: float) -> tuple[float, str]:
    scales = {PRIMARY: energy_scale, TIME: time_scale, POWER: power_scale}
    return scales[metric.name](largest) if metric.name in scales else (1.0, "%")


def _format_value(metric: Metric, value: float | None, divisor: float) -> str:
    if value is None:
        return NONE
    is_share = metric.scale == "share"
    return f"{pct_from_share(value):.1f}" if is_share else format_digits(value / divisor)


def _describe_images(pair: RunPair) -> str:
    found = pair.discordant
    if found is None:
        return f"No test on the same images: {pair.why_not}."
    text = (
        f"On the same {count_of(found.images, 'test image')}: only A is right on "
        f"{found.only_first}, only B on {found.only_second}; McNemar p {_format_p(found.p)}"
    )
    if found.p_photographs is not None and found.photographs is not None:
        whole = count_of(found.photographs, "photograph")
        text += f", by whole photographs ({whole}) p {_format_p(found.p_photographs)}"
    return f"{text}."


def _format_p(p: float) -> str:
    return format_p(p).removeprefix("0")


def build_pair_document(pair: RunPair) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "runs": [run.run_id for run in (pair.first, pair.second)],
        "energy_status": pair.first.origins["primary"],
        "rows": [
            {
                "metric": row.metric.name,
                "first": row.first,
                "second": row.second,
                "difference": row.difference,
                "unit": row.metric.unit,
            }
            for row in pair.rows
        ],
        "same_images": asdict(pair.discordant) if pair.discordant else None,
        "why_not": pair.why_not or None,
        "differing": pair.differing,
        "note": ONE_RUN_EACH,
    }
