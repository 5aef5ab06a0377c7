"""The comparison that a report rests on: as planned, on the best joules that the study has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wbcbench.compare.analysis import compare
from wbcbench.compare.result import Comparison
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.trace import Origin
from wbcbench.study.plan import settings_for
from wbcbench.table.view import Run


def compared(runs: Sequence[Run], unfinished: int, folder: Path) -> Comparison | str:
    """The comparison of a study with its own plan, or why nothing can be compared.

    Without a plan the joules compared are the most trustworthy ones that every arm has.

    Args:
        runs: Every run with a record.
        unfinished: How many runs have no record.
        folder: The study's, for its plan.
    """
    settings = settings_for(folder, {})
    trusts = [settings.least_trust] if settings.plan_sha256 else list(Origin)
    made: Comparison | str = ""
    for trust in trusts:
        try:
            trusting = replace(settings, least_trust=trust)
            made = compare(runs, trusting, [folder.name], unfinished)
        except (CannotMeasureError, UsageError) as error:
            made = made or str(error)
            continue
        if made.energy.metric is not None:
            return made
    return made
