"""Runs → one ``Comparison``: which runs may be compared, and the protocol in its order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from wbcbench.compare.boards import LIMIT
from wbcbench.compare.design import (
    Configuration,
    configurations,
    find_complete_blocks,
)
from wbcbench.compare.effects import (
    check_thresholds,
    compute_effects,
    read_answers,
    split_energy,
    summarise_configurations,
)
from wbcbench.compare.metric import ACCURACY, GPU_ENERGY, PRIMARY, Metric, Settings, find_metric
from wbcbench.compare.notes import iterate_limits, iterate_notes
from wbcbench.compare.order import find_order
from wbcbench.compare.planned import (
    design_as_planned,
    forget_restated,
    select_planned,
    why_untested,
)
from wbcbench.compare.planned_claims import evaluate_planned_claims
from wbcbench.compare.result import Comparison, Energy
from wbcbench.core.errors import CannotMeasureError, UsageError, unknown_name
from wbcbench.core.text import count_of
from wbcbench.core.trace import Origin
from wbcbench.table.columns import Cell
from wbcbench.table.view import ABSENT, Run

ALWAYS = ("schema_version", "synthetic", "dataset_id", "dataset_sha256", "n_test")
ENERGY = ("primary_status", "primary_domain", "primary_method")
BOARD = ("host_id", "gpu_uuid_hash")
"""Runs that no block of one study pairs are compared on one board alone."""
MACHINE = (
    "gpu_name", "gpu_count", "driver_version", LIMIT, "cpu_model", "tensorflow_version",
    "cuda_version",
)  # fmt: skip
NEVER_ALLOWED = ("synthetic", "primary_status")
"""Measured, estimated and simulated joules never stand in one comparison."""

_PARTS = {"gpu": "GPU board", "cpu": "processor", "system": "whole machine"}

_MOST_BLOCKS = 5  # named in a message

_SHOWN_MACHINE = ("host_id", "gpu_name", "driver_version", "cpu_model", "tensorflow_version")


def compare(
    runs: Sequence[Run], settings: Settings, studies: Sequence[str], unfinished: int = 0
) -> Comparison:
    """Compare runs block by block.

    Args:
        runs: Every run with a record, of all studies.
        settings: How.
        studies: Names, in the order they were given.
        unfinished: Runs without a record, to be counted.

    Raises:
        UsageError: There is no run, or a name in the settings is unknown.
        CannotMeasureError: The runs may not be compared, or not on these joules.
    """
    if not runs:
        raise UsageError(f"No run of {', '.join(studies)} has ended yet: nothing to compare.")
    _require_distinct(runs)
    # The first run names the machine: let that not depend on how the runs were read.
    order = {name: place for place, name in enumerate(studies)}
    runs = sorted(runs, key=lambda run: (order.get(run.study, 0), run.run_id))
    runs, others = select_planned(runs, settings)
    chosen, excluded = _exclude_rare(configurations(runs))
    groups = configurations(chosen)
    done = [run for run in chosen if run.is_done]
    energy = _choose_energy(done, settings.lowest_status)
    default = tuple(name for name in (energy.metric, ACCURACY) if name)
    settings = forget_restated(settings, default)
    names = settings.metrics or default
    metrics = tuple(find_metric(name) for name in dict.fromkeys(names))
    needed = [*metrics, *(threshold.metric for threshold in settings.thresholds)]
    compared = [*needed, *(find_metric(claim.metric) for claim in settings.claims.values())]
    differing = require_comparable(
        done,
        settings.allow_different,
        energy=any(metric.part is not None for metric in compared),
        speed=any(metric.is_speed for metric in compared),
        paired=len(studies) == 1,
    )
    design = design_as_planned(groups, settings, studies)
    ordered, one_host = design.configurations, len(studies) == 1
    blocks = find_complete_blocks(runs, ordered, needed, one_host=one_host)
    settings = replace(settings, untested=why_untested(settings, design, blocks, runs))
    statuses = {m.name: _check_status(m, done, settings.lowest_status) for m in needed}
    energy_metric = next((metric for metric in metrics if metric.name == energy.metric), None)
    effects = compute_effects(design, blocks, metrics, statuses, settings)
    answers = read_answers(blocks)
    comparison = Comparison(
        studies=tuple(studies),
        settings=settings,
        design=design,
        blocks=blocks,
        unfinished=unfinished,
        metrics=metrics,
        energy=energy,
        machine={name: runs[0].row.get(name) for name in _SHOWN_MACHINE},
        effects=effects,
        splits=split_energy(design, blocks, energy_metric, settings) if energy_metric else (),
        configurations=summarise_configurations(design, blocks, metrics, energy_metric, answers),
        same_images=answers.compare(design) if answers else (),
        thresholds=check_thresholds(design, blocks, settings, statuses),
        claims=evaluate_planned_claims(settings, ordered, blocks),
        order=find_order(design, blocks),
        notes=(),
    )
    left_out = others + excluded
    return replace(
        comparison,
        notes=tuple(iterate_notes(comparison, answers, differing, left_out)),
        limits=tuple(iterate_limits(comparison, differing, left_out)),
    )


def _require_distinct(runs: Sequence[Run]) -> None:
    """Raise ``UsageError`` where one run is in two studies: it cannot differ from itself."""
    first: dict[str, Run] = {}
    for run in runs:
        other = first.setdefault(run.run_id, run)
        if other is not run:
            raise UsageError(
                f"{run.run_id} is in {other.study} and in {run.study}: the same run, which cannot "
                "differ from itself. Compare one of the two studies."
            )


def require_comparable(
    runs: Sequence[Run],
    allowed: Collection[str],
    *,
    energy: bool,
    speed: bool,
    paired: bool = False,
) -> tuple[str, ...]:
    """Check the finished runs field by field.

    Args:
        runs: Runs that are done.
        allowed: Fields that may differ.
        energy: Whether joules are compared.
        speed: Whether joules or seconds are compared.
        paired: Whether the runs are of blocks, each on one board: then boards and nodes of one
            model may be several.

    Returns:
        Those allowed fields that do differ, to be reported.

    Raises:
        CannotMeasureError: A field differs; it is named, with its values.
        UsageError: A field that is to be allowed is none of these.
    """
    for field in allowed:
        if field in NEVER_ALLOWED:
            raise UsageError(
                f"{field} may not differ: measured, estimated and simulated runs are never "
                "compared with each other. Compare runs of one kind (--lowest-status)."
            )
        if field not in ALWAYS + ENERGY + BOARD + MACHINE:
            raise unknown_name("field to allow", field, ALWAYS + ENERGY + BOARD + MACHINE)
    machine = (() if paired else BOARD) + MACHINE
    differing = []
    for field in ALWAYS + (ENERGY if energy else ()) + (machine if speed else ()):
        values = _find_differing(runs, field)
        if not values:
            continue
        differing.append(field)
        if field in allowed:
            continue
        counts = sorted(values.items(), key=lambda item: (-len(item[1]), str(item[0])))
        shown = ", ".join(
            f"{'unknown' if value is None else repr(value)} in {count_of(len(own), 'run')}"
            for value, own in counts
        )
        odd = counts[-1][1][0]
        raise CannotMeasureError(
            f"not comparable: {field} differs ({shown}{_name_blocks(counts[-1][1])}; e.g. "
            f"{odd.study}/{odd.run_id}). "
            + (
                "Compare runs of one kind."
                if field in NEVER_ALLOWED
                else f"If that does not matter here, add --allow-different {field}."
            )
        )
    return tuple(differing)


def _find_differing(runs: Sequence[Run], field: str) -> Mapping[Cell, list[Run]]:
    """The runs by value, where there are several; of limits, among runs that asked for the same."""
    groups: dict[float | None, dict[Cell, list[Run]]] = {}
    for run in runs:
        asked_w = run.spec.power_limit_w if field == LIMIT else None
        groups.setdefault(asked_w, {}).setdefault(_read_comparable(run, field), []).append(run)
    return next((values for values in groups.values() if len(values) > 1), {})


def _name_blocks(runs: Sequence[Run]) -> str:
    """`` of blocks 3, 7``; empty where a run has no block."""
    blocks = sorted({run.spec.block for run in runs})
    if 0 in blocks:
        return ""
    more = f" and {len(blocks) - _MOST_BLOCKS} more" if len(blocks) > _MOST_BLOCKS else ""
    words = ", ".join(map(str, blocks[:_MOST_BLOCKS]))
    return f" of block{'s' * (len(blocks) > 1)} {words}{more}"


def _read_comparable(run: Run, field: str) -> Cell:
    cell = run.row.get(field)
    if field == LIMIT and isinstance(cell, float):
        return round(cell)  # telemetry and meter state it in other steps than one watt
    if field == "schema_version" and cell is not None:
        return str(cell).split(".", maxsplit=1)[0]  # a minor version only adds columns
    return cell


def _choose_energy(runs: Sequence[Run], lowest_status: Origin) -> Energy:
    """The primary energy of these finished runs, or why none is compared.

    Where statuses differ the joules are named, for ``require_comparable`` to refuse them.
    """
    if not runs:
        return Energy(None, "no run is done", "")
    if len({run.origins["primary"] for run in runs}) > 1:
        return Energy(PRIMARY, "joules of several kinds", "")
    status = runs[0].origins["primary"]
    if status == ABSENT:
        return Energy(None, "no meter worked, so no joules are compared", "")
    if Origin(status).rank > lowest_status.rank:
        words = (
            f"the joules of these runs are {status}, so they are not compared; "
            f"--lowest-status {status} compares them and labels them in every line"
        )
        return Energy(None, words, "")
    part = str(runs[0].row["primary_domain"])
    method = runs[0].row["primary_method"]
    words = f"{_PARTS.get(part, part)} energy, {status} ({method})"
    return Energy(GPU_ENERGY if part == "gpu" else PRIMARY, words, status)


def _check_status(metric: Metric, runs: Sequence[Run], lowest_status: Origin) -> str:
    """Measured, estimated or simulated, for joules; empty for anything else.

    Raises:
        CannotMeasureError: No run has these joules, their status is lower than accepted, or some
            runs' joules have another status than others'.
    """
    if metric.part is None or not runs:
        return ""
    statuses = sorted({run.origins[metric.part] for run in runs})
    if statuses == [ABSENT]:
        raise CannotMeasureError(
            f"No run has {metric.name}: no meter read that part of the machine. "
            "`wbcbench list parts` shows the meters."
        )
    if len(statuses) > 1:
        raise CannotMeasureError(
            f"not comparable: {metric.name} is {' in some runs and '.join(statuses)} in others."
        )
    status = statuses[0]
    if Origin(status).rank > lowest_status.rank:
        raise CannotMeasureError(
            f"{metric.name} is {status} in these runs, not {lowest_status.value}. Use "
            f"--lowest-status {status} to compare it, labelled as such, or --metric {ACCURACY}."
        )
    return status


def _exclude_rare(configurations: Sequence[Configuration]) -> tuple[list[Run], list[str]]:
    """The runs to compare, without configurations run in less than half of the blocks.

    Returns:
        The runs, and a sentence about each configuration that is excluded.
    """
    blocks = {c.label: len({run.spec.seed for run in c.runs}) for c in configurations}
    most = max(blocks.values())
    rare = sorted(label for label, count in blocks.items() if 2 * count < most)
    runs = [run for c in configurations if c.label not in rare for run in c.runs]
    notes = [f"{x} was run with {blocks[x]} of {most} seeds and is excluded." for x in rare]
    return runs, notes
