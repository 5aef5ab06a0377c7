"""Which runs may stand in one comparison, on which joules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from wbcbench.compare.design import Configuration
from wbcbench.compare.metric import ACCURACY, PRIMARY, Metric
from wbcbench.compare.result import Energy
from wbcbench.core.errors import CannotMeasureError, unknown_name
from wbcbench.core.errors import UsageError as Usage
from wbcbench.core.text import count_of
from wbcbench.core.trace import Origin
from wbcbench.table.column import Cell
from wbcbench.table.view import ABSENT, Run

ALWAYS = ("schema_version", "synthetic", "dataset_id", "dataset_sha256", "n_test")
ENERGY = ("primary_status", "primary_domain", "primary_method")
MACHINE = (
    "host_id", "gpu_name", "gpu_count", "driver_version", "cpu_model", "tensorflow_version",
    "cuda_version",
)  # fmt: skip
NEVER_ALLOWED = ("synthetic", "primary_status")
"""Measured, estimated and simulated joules never stand in one comparison."""

_PARTS = {"gpu": "GPU board", "cpu": "processor", "system": "whole machine"}


def require_comparable(
    runs: Sequence[Run], allowed: Collection[str], *, energy: bool, speed: bool
) -> tuple[str, ...]:
    """Check the finished runs field by field.

    Args:
        runs: Runs that are done.
        allowed: Fields that may differ.
        energy: Whether joules are compared.
        speed: Whether joules or seconds are compared.

    Returns:
        Those allowed fields that do differ, to be reported.

    Raises:
        CannotMeasureError: A field differs; it is named, with its values.
        UsageError: A field that is to be allowed is none of these.
    """
    for field in allowed:
        if field in NEVER_ALLOWED:
            raise Usage(
                f"{field} may not differ: measured, estimated and simulated runs are never "
                "compared with each other. Compare runs of one kind (--channel)."
            )
        if field not in ALWAYS + ENERGY + MACHINE:
            raise unknown_name("field to allow", field, ALWAYS + ENERGY + MACHINE)
    differing = []
    for field in ALWAYS + (ENERGY if energy else ()) + (MACHINE if speed else ()):
        values = Counter(_read_comparable(run, field) for run in runs)
        if len(values) < 2:
            continue
        differing.append(field)
        if field in allowed:
            continue
        counts = sorted(values.items(), key=lambda item: (-item[1], str(item[0])))
        shown = ", ".join(
            f"{'unknown' if value is None else repr(value)} in {count_of(count, 'run')}"
            for value, count in counts
        )
        odd = next(run for run in runs if _read_comparable(run, field) == counts[-1][0])
        raise CannotMeasureError(
            f"not comparable: {field} differs ({shown}; e.g. {odd.study}/{odd.run_id}). "
            + (
                "Compare runs of one kind."
                if field in NEVER_ALLOWED
                else f"If that does not matter here, add --allow-different {field}."
            )
        )
    return tuple(differing)


def _read_comparable(run: Run, field: str) -> Cell:
    cell = run.row.get(field)
    if field == "schema_version" and cell is not None:
        return str(cell).split(".", maxsplit=1)[0]  # a minor version only adds columns
    return cell


def choose_energy(runs: Sequence[Run], least_trust: Origin) -> Energy:
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
    if Origin(status).rank > least_trust.rank:
        words = (
            f"the joules of these runs are {status}, so they are not compared; "
            f"--channel {status} compares them and labels them in every line"
        )
        return Energy(None, words, "")
    part = str(runs[0].row["primary_domain"])
    method = runs[0].row["primary_method"]
    words = f"{_PARTS.get(part, part)} energy, {status} ({method})"
    return Energy("energy_gpu_train_j" if part == "gpu" else PRIMARY, words, status)


def check_status(metric: Metric, runs: Sequence[Run], least_trust: Origin) -> str:
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
    if Origin(status).rank > least_trust.rank:
        raise CannotMeasureError(
            f"{metric.name} is {status} in these runs, not {least_trust.value}. Use --channel "
            f"{status} to compare it, labelled as such, or --metric {ACCURACY}."
        )
    return status


def exclude_rare(configurations: Sequence[Configuration]) -> tuple[list[Run], list[str]]:
    """The runs to compare, without configurations run in less than half of the blocks.

    Returns:
        The runs, and a sentence about each configuration that is excluded.
    """
    blocks = {
        each.label: len({(run.spec.block, run.spec.seed) for run in each.runs})
        for each in configurations
    }
    most = max(blocks.values())
    rare = sorted(label for label, count in blocks.items() if 2 * count < most)
    runs = [run for each in configurations if each.label not in rare for run in each.runs]
    notes = [f"{x} was run in {blocks[x]} of {most} blocks and is excluded." for x in rare]
    return runs, notes
