"""Judged claims in words, and as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from wbcbench.compare.evidence import ClaimEvidence
from wbcbench.compare.judgement import ClaimResult
from wbcbench.compare.measures import MEASURES
from wbcbench.core.text import printable

SCHEMA = "wbcbench.claims/1"


def as_text(found: list[ClaimResult]) -> str:
    """Claim → evidence → judgement."""
    return printable("\n\n".join("\n".join(_lines(each)) for each in found))


def as_document(study: str, found: list[ClaimResult]) -> dict[str, Any]:
    """One JSON document."""
    return {"schema": SCHEMA, "study": study, "claims": [_plain(each) for each in found]}


def _lines(judged: ClaimResult) -> list[str]:
    why = f" – {judged.why}" if judged.why else ""
    head = f"{judged.claim.id}  {judged.judgement.value.upper()}{why}\n    {judged.claim.text}"
    return [head, *(line for each in judged.evidence for line in _evidence(each))]


def _evidence(each: ClaimEvidence) -> list[str]:
    mark = each.judgement.value if each.check.decides else f"beside: {each.judgement.value}"
    why = f" ({each.why})" if each.why else ""
    lines = [f"  - {each.check.says}", f"      {_number(each)}: {mark}{why}"]
    if each.by_photograph:
        low, high = each.by_photograph
        lines.append(f"      by photograph: [{low:.3g}, {high:.3g}] for other test photographs")
    return lines


def _number(each: ClaimEvidence) -> str:
    if each.estimate is None:
        return "no evidence"
    unit = MEASURES[each.check.measure].unit
    counted = "runs" if each.check.kind == "share" else "blocks"
    told = f"{each.estimate:.3g}{' ' if unit else ''}{unit}"
    if each.low is not None and each.high is not None:
        told += f" [{each.low:.3g}, {each.high:.3g}]"
    return f"{told} over {each.n} {counted}; {_expected(each)}"


def _expected(each: ClaimEvidence) -> str:
    check = each.check
    if check.kind == "region":
        return f"claimed within {check.low:g} … {check.high:g}"
    return f"claimed {check.expect} {check.limit:g}"


def _plain(judged: ClaimResult) -> dict[str, Any]:
    return {
        "id": judged.claim.id,
        "text": judged.claim.text,
        "judgement": judged.judgement.value,
        "why": judged.why or None,
        "checks": [
            {
                **asdict(each.check),
                "where": dict(each.check.where),
                "n": each.n,
                "estimate": each.estimate,
                "ci_low": each.low,
                "ci_high": each.high,
                "by_photograph": list(each.by_photograph) if each.by_photograph else None,
                "judgement": each.judgement.value,
                "why": each.why or None,
            }
            for each in judged.evidence
        ],
    }
