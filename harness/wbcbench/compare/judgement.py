"""The checks of a claim put together, and what keeps a study from speaking of it at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wbcbench.compare.definition import Claim
from wbcbench.compare.evidence import ClaimEvidence, Judgement, gather
from wbcbench.table.view import Run


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


def judge(claim: Claim, study: Sequence[Run]) -> ClaimResult:
    """Judge one claim; the evidence is shown also where the runs may not speak of it."""
    evidence = tuple(gather(check, study) for check in claim.check)
    why = _unfit(claim, study)
    judgement = Judgement.CANNOT_TELL if why else _together(evidence)
    return ClaimResult(claim, evidence, judgement, why)


def _together(evidence: Sequence[ClaimEvidence]) -> Judgement:
    found = {each.judgement for each in evidence if each.check.decides}
    if Judgement.CONTRADICTED in found:
        return Judgement.CONTRADICTED
    return Judgement.SUPPORTED if found == {Judgement.SUPPORTED} else Judgement.CANNOT_TELL


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
