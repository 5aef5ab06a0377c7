"""Claims held against a study: evidence, results, words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from wbcbench.compare.claims import MEASURES, Check, Claim
from wbcbench.compare.design import Configuration, complete_blocks, configurations
from wbcbench.core.text import printable
from wbcbench.stats.intervals import LEAST_FOR_T, share_interval, t_interval
from wbcbench.table.view import Run

SCHEMA = "wbcbench.claims/1"


class Judgement(StrEnum):
    """What runs say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class ClaimEvidence:
    """What a study says to one check.

    Attributes:
        check: The check.
        n: Blocks or, for a share, runs.
        estimate: Mean, difference or share; ``None`` without a run that could say.
        low, high: 95 % interval; ``None`` where there is none.
        by_photograph: Mean 95 % interval by photograph, for accuracies on TEST: what other test
            photographs might give. It stands beside and decides nothing.
        judgement: Where the interval lies.
        why: Why nobody can tell; empty otherwise.
    """

    check: Check
    n: int
    estimate: float | None
    low: float | None
    high: float | None
    by_photograph: tuple[float, float] | None
    judgement: Judgement
    why: str


def _gather_evidence(check: Check, study: Sequence[Run]) -> ClaimEvidence:
    """The evidence of a study's finished runs for one check."""
    done = [run for run in study if run.is_done]
    if check.kind == "difference":
        return _difference(check, done)
    chosen = [run for run in done if _fits(run, check.where)]
    return _share(check, chosen) if check.kind == "share" else _region(check, chosen)


def _difference(check: Check, study: Sequence[Run]) -> ClaimEvidence:
    compared = configurations(study)
    weights = _weights(check, compared)
    if weights is None:
        return _no_evidence(check, f"not every {check.factor} was run with the same other settings")
    blocks = complete_blocks(study, compared, (), one_host=True)
    rows = [[_value(check, run) for run in block] for block in blocks.runs]
    known = np.array([row for row in rows if None not in row], dtype=np.float64)
    if not len(known):
        return _no_evidence(check, "no complete block")
    return _mean(check, known @ np.array(weights))


def _weights(check: Check, compared: Sequence[Configuration]) -> list[float] | None:
    """Mean of the upper ones minus mean of the lower; ``None`` if they differ otherwise, too."""
    levels = [str(each.factors.get(check.factor)) for each in compared]
    others = [
        tuple((name, level) for name, level in each.factors.items() if name != check.factor)
        for each in compared
    ]
    sides = [
        Counter(other for level, other in zip(levels, others, strict=True) if level == wanted)
        for wanted in (check.upper, check.lower)
    ]
    if not sides[0] or sides[0] != sides[1]:
        return None
    count = sum(sides[0].values())
    sign = {check.upper: 1.0, check.lower: -1.0}
    return [sign.get(level, 0.0) / count for level in levels]


def _region(check: Check, chosen: Sequence[Run]) -> ClaimEvidence:
    """Runs of one block are averaged first: they share a seed."""
    by_block: dict[tuple[int, int], list[float]] = {}
    for run in chosen:
        value = _value(check, run)
        if value is not None:
            by_block.setdefault((run.spec.block, run.spec.seed), []).append(value)
    if not by_block:
        return _no_evidence(check, "no run that could say")
    means = np.array([sum(values) / len(values) for values in by_block.values()])
    return _mean(check, means, _by_photograph(check, chosen))


def _share(check: Check, chosen: Sequence[Run]) -> ClaimEvidence:
    known = [value for run in chosen if (value := _value(check, run)) is not None]
    if not known:
        return _no_evidence(check, "no run that could say")
    hits = round(sum(known))
    low, high = share_interval(hits, len(known))
    return _judged(check, len(known), hits / len(known), (low, high))


def _mean(
    check: Check, values: np.ndarray, by_photograph: tuple[float, float] | None = None
) -> ClaimEvidence:
    found = t_interval(values)
    bounds = (found.low, found.high) if found else None
    return _judged(check, len(values), float(values.mean()), bounds, by_photograph)


def _judged(
    check: Check,
    n: int,
    estimate: float,
    bounds: tuple[float, float] | None,
    by_photograph: tuple[float, float] | None = None,
) -> ClaimEvidence:
    if bounds is None:
        why = f"{n} {'block' if n == 1 else 'blocks'}; an interval needs {LEAST_FOR_T}"
        judgement = Judgement.INCONCLUSIVE
        low = high = None
    else:
        low, high = bounds
        judgement = _where(check, low, high)
        why = "the interval holds both answers" if judgement is Judgement.INCONCLUSIVE else ""
    return ClaimEvidence(check, n, estimate, low, high, by_photograph, judgement, why)


def _where(check: Check, low: float, high: float) -> Judgement:
    """Wholly where it was expected, wholly elsewhere, or neither."""
    if check.kind == "region":
        assert check.low is not None
        assert check.high is not None
        inside, outside = check.low <= low and high <= check.high, high < check.low
        outside = outside or low > check.high
    else:
        assert check.limit is not None
        if check.expect == "above":
            inside, outside = low > check.limit, high <= check.limit
        else:
            inside, outside = high < check.limit, low >= check.limit
    if inside:
        return Judgement.SUPPORTED
    return Judgement.CONTRADICTED if outside else Judgement.INCONCLUSIVE


def _no_evidence(check: Check, why: str) -> ClaimEvidence:
    return ClaimEvidence(check, 0, None, None, None, None, Judgement.INCONCLUSIVE, why)


def _value(check: Check, run: Run) -> float | None:
    return MEASURES[check.measure].read(run.record, check.at or 0.0)


def _fits(run: Run, where: Mapping[str, str]) -> bool:
    return all(str(run.row.get(name)) == level for name, level in where.items())


def _by_photograph(check: Check, chosen: Sequence[Run]) -> tuple[float, float] | None:
    scores = {
        "test_accuracy": [run.record.test for run in chosen],
        "test_accuracy_leakage_free": [run.record.test_leakage_free for run in chosen],
    }.get(check.measure, [])
    found = [score.interval for score in scores if score and score.interval]
    if not found:
        return None
    return sum(low for low, _ in found) / len(found), sum(high for _, high in found) / len(found)


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """A claim and what a study says of it.

    Attributes:
        claim: The claim.
        evidence: One for each check.
        judgement: Supported, contradicted, or cannot tell.
        why: What keeps these runs from speaking of it; empty where nothing does.
    """

    claim: Claim
    evidence: tuple[ClaimEvidence, ...]
    judgement: Judgement
    why: str


def judge_claim(claim: Claim, study: Sequence[Run]) -> ClaimResult:
    """Judge one claim; the evidence is shown also where the runs may not speak of it."""
    evidence = tuple(_gather_evidence(check, study) for check in claim.check)
    why = _unfit(claim, study)
    judgement = Judgement.INCONCLUSIVE if why else _together(evidence)
    return ClaimResult(claim, evidence, judgement, why)


def _together(evidence: Sequence[ClaimEvidence]) -> Judgement:
    found = {each.judgement for each in evidence if each.check.decides}
    if Judgement.CONTRADICTED in found:
        return Judgement.CONTRADICTED
    return Judgement.SUPPORTED if found == {Judgement.SUPPORTED} else Judgement.INCONCLUSIVE


def _unfit(claim: Claim, study: Sequence[Run]) -> str:
    needs = claim.requires
    done = [run for run in study if run.is_done]
    if not done:
        return "no run ended well"
    if needs.real_images and any(
        run.record.dataset and run.record.dataset.synthetic for run in done
    ):
        return "some images are drawn: they say nothing of real cells"
    shortest = min(run.spec.epochs for run in done)
    if shortest < needs.min_epochs:
        return f"needs runs of {needs.min_epochs} epochs; the shortest here has {shortest}"
    names = {str(run.row.get("gpu_name") or "no GPU") for run in done}
    if needs.gpu and any(needs.gpu not in name for name in names):
        return f"needs a {needs.gpu}; these runs used {', '.join(sorted(names))}"
    return ""


def claims_text(found: list[ClaimResult]) -> str:
    """Claim → evidence → judgement."""
    return printable("\n\n".join("\n".join(_lines(each)) for each in found))


def claims_document(study: str, found: list[ClaimResult]) -> dict[str, Any]:
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
