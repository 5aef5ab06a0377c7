"""Claims of others as data, tested against the runs of a study: evidence, results, words."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter

from wbcbench.compare.boards import SPREAD
from wbcbench.compare.design import configurations, find_complete_blocks, find_labels
from wbcbench.compare.measures import MEASURES
from wbcbench.compare.result import ClaimOutcome
from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.files import load_toml
from wbcbench.core.study_folder import CLAIMS
from wbcbench.core.text import UNKNOWN, count_of, printable
from wbcbench.stats.intervals import (
    LEAST_FOR_T,
    Floats,
    share_interval,
    skewness_t_interval,
    t_interval,
)
from wbcbench.stats.tests import lacks_spread
from wbcbench.table.view import Run

FILE = Path("experiments") / "claims.toml"

Kind = Literal["difference", "share", "region"]
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_MOST_CLAIMS = 50
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_Words = Annotated[str, Field(max_length=300, pattern=r"^\P{Cc}*$")]
_NEEDED = {
    "difference": ("factor", "upper", "lower", "expect", "limit"),
    "share": ("expect", "limit"),
    "region": ("low", "high"),
}

_SCORES = {"test_accuracy": "test", "test_accuracy_leakage_free": "test_leakage_free"}

SCHEMA = "wbcbench.claims/2"


@dataclass(frozen=True)
class Check:
    """One thing that would have to be so.

    Attributes:
        says: In words.
        kind: ``difference`` within blocks, ``share`` of runs with a property, or mean in a
            ``region``.
        measure: A name of ``MEASURES``.
        at: The measure's number, where it has one.
        factor, upper, lower: Of a difference.
        where: Factor → level: the runs that a share or a region is about.
        expect, limit: Of a difference or a share; per cent where the measure is a ratio.
        low, high: Of a region.
        decides: Whether the claim depends on it.
    """

    __pydantic_config__ = _STRICT

    says: _Words
    kind: Kind
    measure: str
    at: float | None = None
    factor: _Words = ""
    upper: _Words = ""
    lower: _Words = ""
    where: Mapping[str, str] = field(default_factory=dict)
    expect: Literal["above", "below"] | None = None
    limit: float | None = None
    low: float | None = None
    high: float | None = None
    decides: bool = True


@dataclass(frozen=True)
class Requires:
    """Without this a claim is not about these runs.

    Attributes:
        real_images: Whether synthetic images are no evidence.
        min_epochs: Shorter runs are no evidence.
        gpu: A word the GPU's name must hold.
    """

    __pydantic_config__ = _STRICT

    real_images: bool = False
    min_epochs: int = 0
    gpu: str = ""


@dataclass(frozen=True)
class Claim:
    """What was claimed and what would have to be so."""

    __pydantic_config__ = _STRICT

    id: _Name
    text: _Words
    check: Annotated[tuple[Check, ...], Field(min_length=1, max_length=20)]
    requires: Requires = Requires()


def find_file(file: Path | None, study: Path) -> Path:
    """The file that was given, else the study's own, the one here, the one that came with this."""
    if file is not None:
        return file
    if (study / CLAIMS).is_file():
        return study / CLAIMS
    shipped = Path(__file__).parent / FILE.name  # a link in a checkout, a copy in a wheel
    return FILE if FILE.is_file() else shipped


def read_claims(path: Path) -> tuple[Claim, ...]:
    """Read and check a file of claims.

    Raises:
        UsageError: It is missing, no TOML, has an unknown key or measure, or lacks one; an id
            occurs twice.
    """
    try:
        plain = load_toml(path)
        claims = TypeAdapter(tuple[Claim, ...]).validate_python(plain.get("claim", ()))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}. Name a file of claims with --claims."
        ) from error
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path} is not a file of claims: {error}") from error
    if not claims:
        raise UsageError(f"{path} contains no [[claim]] table.")
    ids = [claim.id for claim in claims]
    if len(ids) > _MOST_CLAIMS or len(set(ids)) < len(ids):
        raise UsageError(f"{path} has an id twice, or more than {_MOST_CLAIMS} claims.")
    for claim in claims:
        for check in claim.check:
            _require_complete(path, claim.id, check)
    return claims


def _require_complete(path: Path, claim: str, check: Check) -> None:
    if check.measure not in MEASURES:
        raise unknown_name(f"measure (claim {claim} in {path})", check.measure, MEASURES)
    if check.kind == "share" and MEASURES[check.measure].scale != "property":
        raise UsageError(
            f"{path}: a check of claim {claim} asks for the share of runs with {check.measure}, "
            "which no run simply has or lacks. Use kind = 'region'."
        )
    needed = _NEEDED[check.kind] + (("at",) if MEASURES[check.measure].needs_at else ())
    missing = [name for name in needed if getattr(check, name) in ("", None)]
    if missing:
        raise UsageError(
            f"{path}: a check of claim {claim} lacks {', '.join(missing)} ('{check.says}')."
        )


@dataclass(frozen=True, slots=True)
class ClaimEvidence:
    """The evidence of a study for one check.

    Attributes:
        check: The check.
        n: Seeds: complete blocks of a difference, else seeds with a run that has the measure.
        estimate: Mean, difference or share; ``None`` without a run that has the measure.
        interval: 95 %; ``None`` where there is none.
        over_photographs: Mean 95 % interval over photographs, for accuracies on TEST: what other
            test photographs might give. It is shown for information and decides nothing.
        outcome: Where the interval lies.
        why: Why it is inconclusive; empty otherwise.
    """

    check: Check
    n: int = 0
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    over_photographs: tuple[float, float] | None = None
    outcome: ClaimOutcome = ClaimOutcome.INCONCLUSIVE
    why: str = ""


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """A claim and its result in a study.

    Attributes:
        claim: The claim.
        evidence: One for each check.
        outcome: Supported, not supported, or inconclusive.
        why: Why these runs cannot test it; empty where they can.
    """

    claim: Claim
    evidence: tuple[ClaimEvidence, ...]
    outcome: ClaimOutcome
    why: str


def evaluate_claim(claim: Claim, study: Sequence[Run]) -> ClaimResult:
    """Judge one claim; the evidence is shown also where the runs cannot test it."""
    done = [run for run in study if run.is_done]
    evidence = tuple(_gather_evidence(check, done) for check in claim.check)
    outcomes = {item.outcome for item in evidence if item.check.decides}
    why = _check_requirements(claim.requires, done)
    outcome = ClaimOutcome.INCONCLUSIVE
    if why:  # the evidence is of something else, and decides nothing
        evidence = tuple(
            replace(item, check=replace(item.check, decides=False)) for item in evidence
        )
    elif ClaimOutcome.NOT_SUPPORTED in outcomes:
        outcome = ClaimOutcome.NOT_SUPPORTED
    elif outcomes == {ClaimOutcome.SUPPORTED}:
        outcome = ClaimOutcome.SUPPORTED
    return ClaimResult(claim, evidence, outcome, why)


def _check_requirements(requires: Requires, done: Sequence[Run]) -> str:
    if not done:
        return "no run is done"
    datasets = [run.record.dataset for run in done]
    if requires.real_images and any(dataset and dataset.synthetic for dataset in datasets):
        return "some images are synthetic: not evidence about real cells"
    shortest = min(run.spec.epochs for run in done)
    if shortest < requires.min_epochs:
        return f"needs runs of {requires.min_epochs} epochs; the shortest here has {shortest}"
    names = {str(run.row.get("gpu_name") or "no GPU") for run in done}
    if requires.gpu and any(requires.gpu not in name for name in names):
        return f"needs a {requires.gpu}; these runs used {', '.join(sorted(names))}"
    return ""


def _gather_evidence(check: Check, done: Sequence[Run]) -> ClaimEvidence:
    """The evidence of a study's finished runs for one check."""
    if check.kind == "difference":
        return _compare_levels(check, done)
    chosen = [
        run
        for run in done
        if all(str(run.row.get(name)) == level for name, level in check.where.items())
    ]
    by_seed: dict[int, dict[str, float]] = defaultdict(dict)
    labels = find_labels(configurations(done))
    # A network that was trained again with its seed counts once, as in a comparison.
    for run in sorted(chosen, key=lambda run: (run.spec.block, run.spec.block_attempt)):
        value = _read_measure(check, run)
        if value is not None:
            by_seed[run.spec.seed].setdefault(labels[run], value)
    if not by_seed:
        return ClaimEvidence(check, why="no run has this measure")
    # Networks of one seed are averaged first: they share it, and are no independent evidence.
    means = np.array([sum(values.values()) / len(values) for values in by_seed.values()])
    if check.kind == "share":
        bounds = share_interval(float(means.sum()), len(means))
        return _evaluate_check(ClaimEvidence(check, len(means), float(means.mean()), bounds))
    return _evaluate_mean(check, means, _compute_photograph_interval(check, chosen))


def _read_measure(check: Check, run: Run) -> float | None:
    """A measure on the scale on which it is averaged and compared; ``None`` if unknown."""
    measure = MEASURES[check.measure]
    value = measure.read(run.record, check.at or 0.0)
    if value is None or not math.isfinite(value):
        return None
    if measure.scale != "ratio":
        return value
    return math.log(value) if value > 0 else None


def _to_shown(check: Check, value: float) -> float:
    """A mean or difference in the unit in which limits and evidence are stated."""
    if MEASURES[check.measure].scale != "ratio":
        return value
    return 100 * math.expm1(value) if check.kind == "difference" else math.exp(value)


def _compare_levels(check: Check, done: Sequence[Run]) -> ClaimEvidence:
    """Mean of the upper ones minus mean of the lower; nothing else may differ between them."""
    compared = configurations(done)
    levels = [str(c.factors.get(check.factor)) for c in compared]
    others = [tuple(c.factors_without(check.factor).items()) for c in compared]
    upper, lower = (
        Counter(other for level, other in zip(levels, others, strict=True) if level == wanted)
        for wanted in (check.upper, check.lower)
    )
    if not upper or upper != lower:
        why = f"not every {check.factor} was run with the same other settings"
        return ClaimEvidence(check, why=why)
    sign = {check.upper: 1.0, check.lower: -1.0}
    weights = np.array([sign.get(level, 0.0) / upper.total() for level in levels])
    blocks = find_complete_blocks(done, compared, (), one_host=True)
    if blocks.boards.is_spread and MEASURES[check.measure].scale == "ratio":
        return ClaimEvidence(check, why=SPREAD)
    rows = [[_read_measure(check, run) for run in block] for block in blocks.runs]
    known = np.array([row for row in rows if None not in row], dtype=np.float64)
    if not len(known):
        return ClaimEvidence(check, why="no complete block")
    return _evaluate_mean(check, known @ weights, None)


def _evaluate_mean(
    check: Check, values: Floats, over_photographs: tuple[float, float] | None
) -> ClaimEvidence:
    mean, n = _to_shown(check, float(values.mean())), len(values)
    interval = (skewness_t_interval if check.kind == "region" else t_interval)(values)
    if interval is None:
        why = f"{count_of(n, 'seed')}; an interval needs {LEAST_FOR_T}"
        return ClaimEvidence(check, n, mean, None, over_photographs, why=why)
    low, high = (_to_shown(check, bound) for bound in (interval.low, interval.high))
    evidence = ClaimEvidence(check, n, mean, (low, high), over_photographs)
    if lacks_spread(values):
        return replace(evidence, why=f"{n} seeds that all give the same are too few to show it")
    return _evaluate_check(evidence)


def _evaluate_check(evidence: ClaimEvidence) -> ClaimEvidence:
    """Decide by whether the interval lies wholly in the claimed range, outside, or neither."""
    check = evidence.check
    low, high = evidence.interval or (-math.inf, math.inf)
    # Those that the kind of check needs are known: read_claims requires them.
    least, most, limit = (value or 0.0 for value in (check.low, check.high, check.limit))
    if check.kind == "region":
        is_inside, is_outside = least <= low and high <= most, high < least or low > most
    elif check.expect == "above":
        is_inside, is_outside = low > limit, high <= limit
    else:
        is_inside, is_outside = high < limit, low >= limit
    if is_inside:
        return replace(evidence, outcome=ClaimOutcome.SUPPORTED)
    if is_outside:
        return replace(evidence, outcome=ClaimOutcome.NOT_SUPPORTED)
    return replace(evidence, why="the interval lies on both sides of a limit")


def _compute_photograph_interval(check: Check, runs: Sequence[Run]) -> tuple[float, float] | None:
    scores = [getattr(run.record, _SCORES.get(check.measure, ""), None) for run in runs]
    intervals = [score.interval for score in scores if score and score.interval]
    if not intervals:
        return None
    low, high = np.mean(intervals, axis=0)
    return float(low), float(high)


def format_claims(results: Sequence[ClaimResult]) -> str:
    """Claim → evidence → result."""
    return printable("\n\n".join("\n".join(_format_claim(result)) for result in results))


def _format_claim(result: ClaimResult) -> Iterator[str]:
    why = f" – {result.why}" if result.why else ""
    yield f"{result.claim.id}  {result.outcome.value.upper()}{why}"
    yield f"    {result.claim.text}"
    for evidence in result.evidence:
        check = evidence.check
        yield f"  - {check.says}"
        yield f"      {describe_estimate(evidence)}: {describe_outcome(evidence)}"


def describe_outcome(evidence: ClaimEvidence) -> str:
    """``for information: inconclusive (one seed; an interval needs 3)``."""
    mark = "" if evidence.check.decides else "for information: "
    return f"{mark}{evidence.outcome.value}{f' ({evidence.why})' if evidence.why else ''}"


def describe_measure(check: Check) -> str:
    """What is computed, whatever the check says in words."""
    meaning = MEASURES[check.measure].meaning
    return meaning.replace("`at`", UNKNOWN if check.at is None else f"{check.at:g}")


def describe_estimate(evidence: ClaimEvidence) -> str:
    """``0.79 [0.76, 0.8] over 8 seeds, [0.67, 0.88] over photographs; claimed above 0.8``."""
    check = evidence.check
    if evidence.estimate is None:
        return "no evidence"
    measure = MEASURES[check.measure]
    is_per_cent = measure.scale == "ratio" and check.kind == "difference"
    unit = "%" if is_per_cent else measure.unit
    text = f"{evidence.estimate:.3g}{' ' if unit else ''}{unit}"
    if evidence.interval:
        text += " [{:.3g}, {:.3g}]".format(*evidence.interval)
    text += f" over {count_of(evidence.n, 'seed')}"
    if evidence.over_photographs:
        text += ", [{:.3g}, {:.3g}] over photographs".format(*evidence.over_photographs)
    is_region = check.kind == "region"
    claimed = (
        f"within {check.low:g} … {check.high:g}" if is_region else f"{check.expect} {check.limit:g}"
    )
    return f"{text}; claimed {claimed}"


def build_claims_document(study: str, results: Sequence[ClaimResult]) -> dict[str, Any]:
    """One JSON document."""
    claims = [
        {
            "id": result.claim.id,
            "text": result.claim.text,
            "result": result.outcome.value,
            "why": result.why or None,
            "checks": [_check_row(evidence) for evidence in result.evidence],
        }
        for result in results
    ]
    return {"schema": SCHEMA, "study": study, "claims": claims}


def _check_row(evidence: ClaimEvidence) -> dict[str, Any]:
    low, high = evidence.interval or (None, None)
    return {
        **asdict(evidence.check),
        "n": evidence.n,
        "estimate": evidence.estimate,
        "ci_low": low,
        "ci_high": high,
        "over_photographs": evidence.over_photographs,
        "result": evidence.outcome.value,
        "why": evidence.why or None,
    }
