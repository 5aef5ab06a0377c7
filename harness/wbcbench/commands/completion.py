"""What a shell offers for a word that is half typed: variants, studies, runs. Never an error."""

from __future__ import annotations

import os
from pathlib import Path

import typer


def variants(incomplete: str) -> list[str]:
    """Names of the catalogue."""
    from wbcbench.registry import VARIANTS

    return [name for name in VARIANTS if name.startswith(incomplete)]


def studies(context: typer.Context, incomplete: str) -> list[str]:
    """Studies that hold a run."""
    from wbcbench.core.study_folder import studies as under

    return [name for name in under(_results(context)) if name.startswith(incomplete)]


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of runs, of every study."""
    from wbcbench.core.study_folder import all_runs

    found = all_runs(_results(context))
    return sorted({run.run_id for run in found if run.run_id.startswith(incomplete)})


def _results(context: typer.Context) -> Path:
    """The folder that the line names so far, else the one that holds here."""
    named = context.params.get("results") or os.environ.get("WBCBENCH_RESULTS") or "results"
    return Path(named)
