"""Which runs may stand in one comparison, on which joules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from wbcbench.compare.design import (
    Blocks,
    ComparisonDesign,
    configurations,
    find_complete_blocks,
    label_of_runs,
    make_design,
)
from wbcbench.compare.metric import ACCURACY, PRIMARY, Metric, Settings, find_metric
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


def _choose_energy(runs: Sequence[Run], least_trust: Origin) -> Energy:
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


def _check_status(metric: Metric, runs: Sequence[Run], least_trust: Origin) -> str:
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


@dataclass(frozen=True, slots=True)
class ComparisonInput:
    """What is compared.

    Attributes:
        design: Configurations and contrasts.
        blocks: What is used and what is not.
        energy: Which joules.
        metrics: Of the primary family.
        statuses: Metric → measured, estimated, …; empty for what is no joule.
        notes: Sentences about what was allowed or excluded.
    """

    design: ComparisonDesign
    blocks: Blocks
    energy: Energy
    metrics: tuple[Metric, ...]
    statuses: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def energy_metric(self) -> Metric | None:
        """The energy among the metrics; ``None`` where joules are not compared."""
        return next((metric for metric in self.metrics if metric.name == self.energy.metric), None)


def prepare(runs: Sequence[Run], settings: Settings, studies: Sequence[str]) -> ComparisonInput:
    """Choose and check; at least one run.

    Raises:
        UsageError: A name in the settings is unknown.
        CannotMeasureError: The runs may not be compared, or not on these joules.
    """
    groups = configurations(runs)
    blocks = {c.label: len({(run.spec.block, run.spec.seed) for run in c.runs}) for c in groups}
    most = max(blocks.values())
    rare = sorted(label for label, count in blocks.items() if 2 * count < most)
    if rare:
        labels = label_of_runs(groups)
        groups = configurations([run for run in runs if labels[run] not in rare])
    chosen = label_of_runs(groups)
    done = [run for run in runs if run.is_done and run in chosen]
    energy = _choose_energy(done, settings.least_trust)
    names = settings.metrics or tuple(name for name in (energy.metric, ACCURACY) if name)
    metrics = tuple(find_metric(name) for name in dict.fromkeys(names))
    needed = [*metrics, *(threshold.metric for threshold in settings.thresholds)]
    differing = require_comparable(
        done,
        settings.allow_different,
        energy=any(metric.part is not None for metric in needed),
        speed=any(metric.is_speed for metric in needed),
    )
    design = make_design(groups, settings.baseline, studies)
    return ComparisonInput(
        design=design,
        blocks=find_complete_blocks(
            runs, design.configurations, needed, one_host=len(studies) == 1
        ),
        energy=energy,
        metrics=metrics,
        statuses={m.name: _check_status(m, done, settings.least_trust) for m in needed},
        notes=(
            *(f"{field} differs between the runs, as allowed." for field in differing),
            *(f"{x} was run in {blocks[x]} of {most} blocks and is excluded." for x in rare),
        ),
    )
