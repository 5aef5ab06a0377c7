"""The comparison that a report rests on: as planned, on the best joules that the study has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from wbcbench.comparison.analysis import compare
from wbcbench.comparison.observed import Observed, observe
from wbcbench.comparison.result import Comparison
from wbcbench.errors import CannotMeasureError, UsageError
from wbcbench.joules.energy import Origin
from wbcbench.planning.planned_comparison import settings_for
from wbcbench.runs.records import RunRecord
from wbcbench.runs.rundir import RunDir

# From a sensor of the part itself to a made-up signal.


Row = Mapping[str, Any]


def compared(
    runs: Iterable[tuple[RunRecord, Row]], unfinished: int, folder: Path
) -> Comparison | str:
    """The comparison of a study with its own plan, or why nothing can be compared.

    Without a plan the joules compared are the most trustworthy ones that every arm has.

    Args:
        runs: Each record with its row of the table.
        unfinished: How many runs have no record.
        folder: The study's, for plan and predictions.
    """
    settings = settings_for(folder, {})
    ordered = sorted(runs, key=lambda run: run[0].run_id)
    observed = [_observed(record, row, folder) for record, row in ordered]
    trusts = [settings.least_trust] if settings.plan_sha256 else list(Origin)
    made: Comparison | str = ""
    for trust in trusts:
        try:
            trusting = replace(settings, least_trust=trust)
            made = compare(observed, trusting, [folder.name], unfinished)
        except (CannotMeasureError, UsageError) as error:
            made = made or str(error)
            continue
        if made.energy.metric is not None:
            return made
    return made


def _observed(record: RunRecord, row: Row, folder: Path) -> Observed:
    """The run without reading it anew: a study of a thousand runs takes long to read."""
    path = RunDir(folder / record.run_id).predictions_path
    return observe(record, folder.name, path if path.exists() else None, row)
