"""The settings of a comparison: as planned before the first run, but for what is asked for now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from wbcbench.compare.metric import Settings


def settings_for(study_dir: Path | None, asked: Mapping[str, Any]) -> Settings:
    """Settings of a comparison of one study, or of several.

    Args:
        study_dir: The study, whose plan decides what is not asked for; ``None`` for several.
        asked: Fields of ``Settings`` that were given; ``None`` = was not.

    Raises:
        UsageError: The study's plan was changed after it was made.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    planned = _planned(study_dir) if study_dir is not None else None
    if planned is None:
        return Settings(**given)
    departures = tuple(name for name in given if given[name] != getattr(planned, name))
    return replace(planned, **given, departures=departures)


def _planned(study_dir: Path) -> Settings | None:
    from wbcbench.study import plan
    from wbcbench.study.promise import settings

    path = study_dir / plan.FILE_NAME
    if not path.exists():
        return None
    made = plan.from_json(path)
    return replace(settings(made.analysis), plan_sha256=made.sha256)
