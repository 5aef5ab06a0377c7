"""The comparison that a report rests on: as planned, on the best joules that the study has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wbcbench.comparison.analysis import compare
from wbcbench.comparison.observed import read_study
from wbcbench.comparison.result import Comparison
from wbcbench.errors import CannotMeasureError, UsageError
from wbcbench.joules.energy import Origin
from wbcbench.planning.planned_comparison import settings_for

# From a sensor of the part itself to a made-up signal.
TRUST = (Origin.MEASURED, Origin.ESTIMATED, Origin.MODELLED, Origin.SYNTHETIC)


def compared(study_dir: Path) -> Comparison | None:
    """The comparison of a study with its own plan; ``None`` where nothing can be compared.

    Without a plan the joules compared are the most trustworthy ones that every arm has.
    """
    settings = settings_for(study_dir, {})
    found = read_study(study_dir)
    trusts = [settings.least_trust] if settings.plan_sha256 else TRUST
    made: Comparison | None = None
    for trust in trusts:
        try:
            made = compare(
                found.runs, replace(settings, least_trust=trust), [study_dir.name], found.unfinished
            )
        except (CannotMeasureError, UsageError):
            continue
        if made.energy.metric is not None:
            return made
    return made
