"""Which runs may stand in one comparison, on which joules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from wbcbench.compare.design import (
    Blocks,
    ComparisonDesign,
    Configuration,
    complete_blocks,
    configurations,
    label_of_runs,
    make_design,
)
from wbcbench.compare.metric import ACCURACY, PRIMARY, Metric, Settings, metric_named
from wbcbench.compare.result import Energy
from wbcbench.core.errors import CannotMeasureError, unknown_name
from wbcbench.core.errors import UsageError as Usage
from wbcbench.core.trace import Origin
from wbcbench.table.columns import Cell
from wbcbench.table.view import ABSENT, Run

ALWAYS = ("schema_version", "synthetic", "dataset_id", "dataset_sha256", "n_test")
ENERGY = ("primary_status", "primary_domain", "primary_method")
MACHINE = (
    "host_id",
    "gpu_name",
    "gpu_count",
    "driver_version",
    "cpu_model",
    "tensorflow_version",
    "cuda_version",
)
NEVER_ALLOWED = ("synthetic", "primary_status")
"""Measured, estimated and made-up joules never stand in one comparison, whoever asks."""

_PARTS = {"gpu": "GPU board", "cpu": "processor", "system": "whole machine"}


def require_comparable(
    runs: Sequence[Run], allowed: Collection[str], *, energy: bool, speed: bool
) -> tuple[str, ...]:
    """Check the finished runs field by field.

    Args:
        runs: Runs that ended well.
        allowed: Fields that may differ.
        energy: Whether joules are compared.
        speed: Whether joules or seconds are compared.

    Returns:
        Those allowed fields that do differ, for the reader to be told.

    Raises:
        CannotMeasureError: A field differs; it is named, with its values.
        UsageError: A field that is to be allowed is none of these.
    """
    _check_allowed(allowed)
    fields = ALWAYS + (ENERGY if energy else ()) + (MACHINE if speed else ())
    differing = [field for field in fields if len(_values(runs, field)) > 1]
    refused = [field for field in differing if field not in allowed]
    if refused:
        raise CannotMeasureError(_why(runs, refused[0]))
    return tuple(differing)


def _check_allowed(allowed: Collection[str]) -> None:
    for field in allowed:
        if field in NEVER_ALLOWED:
            raise Usage(
                f"'{field}' may not differ: measured, estimated and made-up numbers never stand in "
                "one comparison. Compare the runs of one kind, or choose with --channel."
            )
        if field not in ALWAYS + ENERGY + MACHINE:
            raise unknown_name("field to allow", field, ALWAYS + ENERGY + MACHINE)


def _values(runs: Sequence[Run], field: str) -> Counter[Cell]:
    return Counter(_value(run, field) for run in runs)


def _value(run: Run, field: str) -> Cell:
    cell = run.row.get(field)
    if field == "schema_version" and cell is not None:
        return str(cell).split(".", maxsplit=1)[0]  # a minor version only adds columns
    return cell


def _why(runs: Sequence[Run], field: str) -> str:
    counts = sorted(_values(runs, field).items(), key=lambda item: (-item[1], str(item[0])))
    told = ", ".join(f"{_word(value)} in {_runs(count)}" for value, count in counts)
    odd = next(run for run in runs if _value(run, field) == counts[-1][0])
    way_out = (
        "Compare the runs of one kind."
        if field in NEVER_ALLOWED
        else f"If you know that it does not matter, say --allow-different {field}."
    )
    return (
        f"not comparable: {field} differs ({told}; e.g. {odd.study}/{odd.run_id}). A difference "
        f"between the runs might come from that alone. {way_out}"
    )


def _word(value: Cell) -> str:
    return "unknown" if value is None else f"'{value}'"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _primary_energy(runs: Sequence[Run], least_trust: Origin) -> Energy:
    """The joules that speak for these finished runs, or why none do.

    Where statuses differ the joules are named, for ``require_comparable`` to refuse them.
    """
    if not runs:
        return Energy(None, "no run ended well", "")
    if len({run.origins["primary"] for run in runs}) > 1:
        return Energy(PRIMARY, "joules of several kinds", "")
    status = runs[0].origins["primary"]
    if status == ABSENT:
        return Energy(None, "no meter worked, so no joules are compared", "")
    if not _trusted(status, least_trust):
        return Energy(
            None,
            f"the joules of these runs are {status}, so none are compared; "
            f"--channel {status} compares them and says so in every line",
            "",
        )
    cells = runs[0].row
    part = str(cells["primary_domain"])
    words = f"{_PARTS.get(part, part)} energy, {status} ({cells['primary_method']})"
    return Energy("energy_gpu_train_j" if part == "gpu" else PRIMARY, words, status)


def _status_of(metric: Metric, runs: Sequence[Run], least_trust: Origin) -> str:
    """Measured, estimated or synthetic, for joules; empty for anything else.

    Raises:
        CannotMeasureError: Nothing read these joules, or they are further from a sensor than was
            asked for, or some runs' are and others' are not.
    """
    if metric.part is None or not runs:
        return ""
    statuses = sorted({run.origins[metric.part] for run in runs})
    if statuses == [ABSENT]:
        raise CannotMeasureError(
            f"{metric.name}: nothing read these joules in any of the runs; "
            "`wbcbench list parts` names the meters there are."
        )
    if len(statuses) > 1:
        raise CannotMeasureError(
            f"not comparable: {metric.name} is {' in some runs and '.join(statuses)} in others."
        )
    if not _trusted(statuses[0], least_trust):
        raise CannotMeasureError(
            f"{metric.name} is {statuses[0]} in these runs, not {least_trust.value}: no sensor of "
            f"that part was read. To compare {statuses[0]} joules, labelled as such in every line, "
            f"say --channel {statuses[0]}; without joules, --metric balanced_accuracy."
        )
    return statuses[0]


def _trusted(status: str, least_trust: Origin) -> bool:
    return Origin(status).rank <= least_trust.rank


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is compared.

    Attributes:
        design: Arms and contrasts.
        blocks: What is used and what is not.
        energy: Which joules.
        metrics: Of the primary family.
        statuses: Metric → measured, estimated, …; empty for what is no joule.
        told: Whole sentences about what was allowed or set aside.
    """

    design: ComparisonDesign
    blocks: Blocks
    energy: Energy
    metrics: tuple[Metric, ...]
    statuses: Mapping[str, str]
    told: tuple[str, ...]

    @property
    def joules(self) -> Metric | None:
        """The energy among the metrics; ``None`` where joules are not compared."""
        return next((each for each in self.metrics if each.name == self.energy.metric), None)


def prepare(runs: Sequence[Run], settings: Settings, studies: Sequence[str]) -> Prepared:
    """Choose and check; at least one run.

    Raises:
        UsageError: A name in the settings is unknown.
        CannotMeasureError: The runs may not be compared, or not on these joules.
    """
    found, set_aside = _configurations(runs)
    chosen = label_of_runs(found)
    done = [run for run in runs if run.is_done and run in chosen]
    energy, metrics = _metrics(done, settings)
    asked = [*metrics, *(threshold.metric for threshold in settings.thresholds)]
    differing = require_comparable(
        done,
        settings.allow_different,
        energy=any(each.part is not None for each in asked),
        speed=any(each.is_speed for each in asked),
    )
    plan = make_design(found, settings.baseline, studies)
    allowed = [f"{field} differs between the runs, as allowed." for field in differing]
    return Prepared(
        design=plan,
        blocks=complete_blocks(runs, plan.configurations, asked, one_host=len(studies) == 1),
        energy=energy,
        metrics=metrics,
        statuses={each.name: _status_of(each, done, settings.least_trust) for each in asked},
        told=(*allowed, *set_aside),
    )


def _metrics(done: Sequence[Run], settings: Settings) -> tuple[Energy, tuple[Metric, ...]]:
    """Energy and balanced accuracy, or what was asked for."""
    energy = _primary_energy(done, settings.least_trust)
    names = settings.metrics or tuple(name for name in (energy.metric, ACCURACY) if name)
    return energy, tuple(metric_named(name) for name in dict.fromkeys(names))


def _configurations(runs: Sequence[Run]) -> tuple[tuple[Configuration, ...], list[str]]:
    """Those to compare; one that was planned in less than half of the blocks is set aside."""
    every = configurations(runs)
    blocks = {
        each.label: len({(run.spec.block, run.spec.seed) for run in each.runs}) for each in every
    }
    most = max(blocks.values())
    rare = sorted(label for label, count in blocks.items() if 2 * count < most)
    words = [
        f"{label} was run in {blocks[label]} of {most} blocks and is set aside." for label in rare
    ]
    if not rare:
        return every, words
    label_of = label_of_runs(every)
    return configurations([run for run in runs if label_of[run] not in rare]), words
