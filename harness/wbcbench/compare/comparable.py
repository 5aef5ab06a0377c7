"""May these runs stand in one comparison? If not, the first field that differs is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from wbcbench.core.errors import CannotMeasureError, unknown_name
from wbcbench.core.errors import UsageError as Usage
from wbcbench.table.column import Cell
from wbcbench.table.view import Run

ALWAYS = ("schema_version", "synthetic", "dataset_id", "dataset_sha256", "n_test")
ENERGY = ("headline_status", "headline_domain", "headline_method")
MACHINE = (
    "host_id",
    "gpu_name",
    "gpu_count",
    "driver_version",
    "cpu_model",
    "tensorflow_version",
    "cuda_version",
)
NEVER_ALLOWED = ("synthetic", "headline_status")
"""Measured, modelled and made-up joules never stand in one comparison, whoever asks."""


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
                f"'{field}' may not differ: measured, modelled and made-up numbers never stand in "
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
