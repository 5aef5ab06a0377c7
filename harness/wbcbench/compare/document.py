"""A comparison for programs: one JSON document, or ``contrasts.csv``; nothing is rounded."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from wbcbench.compare.result import Comparison, Effect
from wbcbench.core.text import safe_text
from wbcbench.stats.intervals import Interval

SCHEMA = "wbcbench.compare/1"

COLUMNS = (
    "contrast",
    "metric",
    "unit",
    "n",
    "estimate",
    "ci_low",
    "ci_high",
    "ci_method",
    "p",
    "p_floor",
    "p_holm",
    "family",
    "d_z",
    "prob_outperform",
    "rope_low",
    "rope_high",
    "verdict",
    "against",
    "p_equivalence",
    "energy_status",
)


def contrast_row(effect: Effect) -> dict[str, Any]:
    """One line of ``contrasts.csv``; ``None`` is unknown."""
    found, region = effect.interval, effect.region
    return {
        "contrast": effect.contrast,
        "metric": effect.metric.name,
        "unit": effect.metric.unit,
        "n": effect.n,
        "estimate": effect.estimate,
        "ci_low": found.low if found else None,
        "ci_high": found.high if found else None,
        "ci_method": found.method if found else None,
        "p": effect.p,
        "p_floor": effect.p_floor,
        "p_holm": effect.p_holm,
        "family": effect.family,
        "d_z": effect.d_z,
        "prob_outperform": effect.share_won,
        "rope_low": region[0] if region else None,
        "rope_high": region[1] if region else None,
        "verdict": effect.finding.value,
        "against": effect.against,
        "p_equivalence": effect.p_equivalence,
        "energy_status": effect.status or None,
    }


def contrast_key(effect: Effect) -> str:
    """What names a line of ``contrasts.csv`` among the others."""
    return f"{effect.contrast} vs {effect.against}: {effect.metric.name}"


def as_csv(found: Comparison) -> str:
    """``contrasts.csv``: one line a contrast and metric, floats as Python writes them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for effect in found.effects:
        writer.writerow([_cell(value) for value in contrast_row(effect).values()])
    return out.getvalue()


def as_document(found: Comparison) -> dict[str, Any]:
    """The whole comparison as plain values; what is not finite becomes unknown."""
    return {
        "schema": SCHEMA,
        "studies": list(found.studies),
        "energy": asdict(found.energy),
        "machine": dict(found.machine),
        "blocks": _blocks(found),
        "baseline": found.design.baseline,
        "factors": list(found.design.factors),
        "contrasts": [_plain(contrast_row(effect)) for effect in found.effects],
        "splits": [_plain(asdict(split)) for split in found.splits],
        "arms": [_plain(asdict(arm)) for arm in found.arms],
        "same_images": [_plain(asdict(each)) for each in found.same_images],
        "gates": _gates(found),
        "settings": _settings(found),
        "notes": list(found.notes),
    }


def _blocks(found: Comparison) -> dict[str, Any]:
    return {
        "complete": list(found.blocks.names),
        "runs": [[run.run_id for run in block] for block in found.blocks.runs],
        "left_out": [asdict(each) for each in found.blocks.left_out],
        "states": dict(found.blocks.states),
        "unfinished": found.unfinished,
        "spare": found.blocks.spare,
        "suspect": found.blocks.suspect,
    }


def _gates(found: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "gate": each.gate.text,
            "candidate": each.candidate,
            "baseline": each.baseline,
            "ci_low": each.interval.low if each.interval else None,
            "ci_high": each.interval.high if each.interval else None,
            "unit": each.gate.metric.unit,
            "verdict": each.outcome.value,
            "more_blocks": each.more_blocks,
            "energy_status": each.status or None,
        }
        for each in found.gates
    ]


def _settings(found: Comparison) -> dict[str, Any]:
    settings = found.settings
    return {
        "metrics": [metric.name for metric in found.metrics],
        "channel": settings.least_trust.value,
        "allow_different": list(settings.allow_different),
        "region_pct": settings.region_pct,
        "region_pp": settings.region_pp,
        "alpha": settings.alpha,
        "interval": settings.method,
        "plan_sha256": settings.plan_sha256 or None,
        "departures": list(settings.departures),
    }


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    return safe_text(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Interval):
        return _plain(asdict(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
