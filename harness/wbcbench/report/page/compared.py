"""The comparison that a report rests on: as planned, on the best joules that the study has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.comparison.analysis import compare
from wbcbench.comparison.observed import Observed, observe
from wbcbench.comparison.result import Comparison
from wbcbench.errors import CannotMeasureError, UsageError
from wbcbench.joules.energy import Origin
from wbcbench.planning.planned_comparison import settings_for
from wbcbench.runs.rundir import RunDir

if TYPE_CHECKING:
    from wbcbench.report.page.evidence import Evidence, Run

# From a sensor of the part itself to a made-up signal.
TRUST = (Origin.MEASURED, Origin.ESTIMATED, Origin.MODELLED, Origin.SYNTHETIC)


def compared(study: Evidence, folder: Path) -> Comparison | str:
    """The comparison of a study with its own plan, or why nothing can be compared.

    Without a plan the joules compared are the most trustworthy ones that every arm has.
    """
    settings = settings_for(folder, {})
    runs = [_observed(run, folder) for run in sorted(study.runs, key=lambda r: r.record.run_id)]
    trusts = [settings.least_trust] if settings.plan_sha256 else TRUST
    made: Comparison | str = ""
    for trust in trusts:
        try:
            trusting = replace(settings, least_trust=trust)
            made = compare(runs, trusting, [folder.name], study.unfinished)
        except (CannotMeasureError, UsageError) as error:
            made = made or str(error)
            continue
        if made.energy.metric is not None:
            return made
    return made


def _observed(run: Run, folder: Path) -> Observed:
    """The run without reading it anew: a study of a thousand runs takes long to read."""
    path = RunDir(folder / run.record.run_id).predictions_path
    return observe(run.record, folder.name, path if path.exists() else None, run.row)
