"""An experiment → its plan: every run in a seeded, blocked order, and what the plan can show.

A block holds every combination of the factors once, all with the block's seed, in an order drawn
from ``order_seed`` and the block alone: neither the order in the file nor anything else about the
study moves a run, and blocks that are added later leave the earlier ones where they were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from wbcbench.compare.design import Contrast, configure_plan, make_design
from wbcbench.compare.metric import ACCURACY, PRIMARY, PlannedClaim, Settings, find_metric
from wbcbench.compare.planned_claims import check_claims
from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.files import write_atomically
from wbcbench.core.spec import RunSpec
from wbcbench.core.strict_json import parse_json
from wbcbench.core.study_folder import PLAN, earlier_plan
from wbcbench.core.trace import Origin
from wbcbench.core.window import utc_now
from wbcbench.stats.tests import ALPHA, find_detectable_effect, find_least_blocks, p_floor
from wbcbench.study import limits
from wbcbench.study.experiment import (
    Experiment,
    Pauses,
    PlannedAnalysis,
    SubmissionDetails,
    Until,
    read_experiment,
)

SCHEMA = "wbcbench.plan/2"
_NOT_DESIGN = ("about", "submission")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed before the first run.

    Attributes:
        study: Folder under ``results/``.
        runs: In their order; with a stopping rule, as many as there may be.
        blocks: How many blocks are carried out in any case.
        factors: Names of the fields that are varied.
        order_seed, block_repeats, pauses, analysis, until: As in ``Experiment``.
        claims: As in ``Experiment``; part of the digest of a plan that has any.
        about, submission: As in ``Experiment``; no part of the digest.
    """

    study: str
    runs: tuple[RunSpec, ...]
    blocks: int
    factors: tuple[str, ...]
    order_seed: int
    block_repeats: int
    pauses: Pauses
    analysis: PlannedAnalysis
    until: Until | None = None
    claims: Mapping[str, PlannedClaim] = field(default_factory=dict)
    about: str = ""
    submission: SubmissionDetails = field(default_factory=SubmissionDetails)

    @property
    def sha256(self) -> str:
        """Digest of the design in canonical JSON."""
        design = {name: value for name, value in asdict(self).items() if name not in _NOT_DESIGN}
        if not self.claims:  # plans from before there were any keep their digest
            del design["claims"]
        design["runs"] = [run.digested for run in self.runs]
        text = json.dumps(design, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def most_blocks(self) -> int:
        """How many blocks there may be."""
        return self.runs[-1].block

    def block(self, number: int) -> tuple[RunSpec, ...]:
        """The runs of one block, in their order."""
        return tuple(run for run in self.runs if run.block == number)

    def levels(self, run: RunSpec) -> Mapping[str, Any]:
        """What distinguishes a run from the others of its block."""
        return {name: getattr(run, name) for name in self.factors}


def make_plan(experiment: Experiment, name_field: Callable[[str], str] | None = None) -> Plan:
    """The plan of an experiment.

    Args:
        experiment: What is asked.
        name_field: The word for a field in messages; the command line's option by default.

    Raises:
        UsageError: A run of it cannot be carried out.
    """
    names = sorted(experiment.factors)
    levels = product(*(experiment.factors[name] for name in names))
    combinations = [dict(zip(names, combination, strict=True)) for combination in levels]
    runs: list[RunSpec] = []
    for block, seed in enumerate(experiment.seeds, start=1):
        ordered = sorted(combinations, key=lambda c: _shuffle_key(experiment.order_seed, block, c))
        for place, combination in enumerate(ordered, start=1):
            run = RunSpec(
                **{**experiment.run, **combination},
                study=experiment.study,
                seed=seed,
                block=block,
                order_in_block=place,
                order_global=len(runs) + 1,
            )
            runs.append(limits.check_spec(run, name_field))
    compared = configure_plan(experiment.study, runs[: len(combinations)])
    check_claims(experiment.claims, [configuration.label for configuration in compared])
    shared = {f.name for f in fields(Plan)} & {f.name for f in fields(Experiment)}
    return Plan(
        runs=tuple(runs),
        **{name: getattr(experiment, name) for name in shared - {"factors"}},
        factors=tuple(names) or ("variant",),
    )


def _shuffle_key(order_seed: int, block: int, levels: Mapping[str, Any]) -> bytes:
    """A number as good as random for each combination; sorting by it shuffles.

    A digest instead of a generator: it is the same on every version of Python, and a combination
    that is added leaves the order of the others alone.
    """
    text = json.dumps([order_seed, block, levels], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def read_plan(path: Path, changes: Sequence[str] = ()) -> Plan:
    """The plan of an experiment file, or a plan that was written before.

    Raises:
        UsageError: The file cannot be read, is wrong, or is a plan that was changed by hand.
    """
    if path.suffix == ".json":
        if changes:
            raise UsageError(
                f"{path} is a finished plan; --set cannot change it. Change the experiment file "
                "and make a new plan."
            )
        return from_json(path)
    experiment = read_experiment(path, changes)

    def format_key(name: str) -> str:
        table = "factors" if name in experiment.factors else "run"
        return f"{path}: key '{name if name == 'study' else f'{table}.{name}'}'"

    try:
        return make_plan(experiment, format_key)
    except UsageError as error:
        text = str(error)
        raise UsageError(text if text.startswith(str(path)) else f"{path}: {text}") from error


def to_json(plan: Plan, stored_utc: str | None = None) -> bytes:
    """The plan with its digest, and since when it lies with its study."""
    document = {"schema": SCHEMA, "sha256": plan.sha256, "plan": asdict(plan)}
    if stored_utc is not None:
        document["stored_utc"] = stored_utc
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def from_json(path: Path) -> Plan:
    """Read a plan and check its digest.

    Raises:
        UsageError: It cannot be read, or was changed after it was made.
    """
    try:
        document = parse_json(path.read_bytes())
        plan = TypeAdapter(Plan).validate_json(json.dumps(document["plan"]))
        digest = document["sha256"]
        for study in {plan.study, *(run.study for run in plan.runs)}:
            limits.check_field("study", study, f"{path}: key 'study'")
    except OSError as error:
        raise UsageError(f"The plan {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a plan of this version: {error}") from error
    if plan.sha256 != digest:
        raise UsageError(
            f"{path} was changed after it was made: its digest is {digest[:12]}…, that of its "
            f"content {plan.sha256[:12]}…. A plan is fixed before its first run. Make a new one "
            "with `wbcbench plan FILE --out plan.json`."
        )
    return plan


def keep_plan(plan: Plan, study_dir: Path) -> str | None:
    """Store the plan beside its runs; an older, different one is stored under its digest.

    Returns:
        The digest of the plan that was there before, if it was another.
    """
    path = study_dir / PLAN
    before = from_json(path).sha256 if path.exists() else None
    if before == plan.sha256:
        return None
    study_dir.mkdir(parents=True, exist_ok=True)
    if before is not None:
        write_atomically(study_dir / earlier_plan(before), path.read_bytes())
    write_atomically(path, to_json(plan, utc_now()))
    return before


def choose_settings(study_dir: Path | None, options: Mapping[str, Any]) -> Settings:
    """Settings of a comparison of one study, or of several.

    Args:
        study_dir: The study, whose plan decides what is not given; ``None`` for several.
        options: Fields of ``Settings``; ``None`` = not given.

    Raises:
        UsageError: The study's plan was changed after it was made.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if study_dir is None or not (study_dir / PLAN).exists():
        return Settings(**given)
    plan = from_json(study_dir / PLAN)
    settings = replace(analysis_settings(plan.analysis), claims=plan.claims)
    departures = tuple(name for name in given if given[name] != getattr(settings, name))
    return replace(settings, plan_sha256=plan.sha256, departures=departures, **given)


def analysis_settings(analysis: PlannedAnalysis) -> Settings:
    """The settings of a comparison as planned."""
    return Settings(
        metrics=analysis.metrics,
        baseline=analysis.baseline,
        lowest_status=Origin(analysis.lowest_status),
        region_pct=analysis.equivalent_pct,
        region_pp=analysis.equivalent_pp,
    )


@dataclass(frozen=True, slots=True)
class PowerAnalysis:
    """What the primary family of a plan can show.

    Attributes:
        contrasts: Names of the primary contrasts; empty for a single configuration.
        metrics: Columns they are taken of.
        blocks: How many blocks will be carried out.
        p_floor: The smallest attainable p with so many blocks; ``None`` without a contrast.
        p_level: What the first step of Holm's correction asks for.
        blocks_wanted: The fewest blocks whose smallest attainable p is not above that.
        detectable_d_z: Least difference found with a power of 80 %, in standard deviations
            between blocks; ``None`` where p cannot get there.
        can_show: Whether any difference, however large, could be distinguished from chance.
    """

    contrasts: tuple[str, ...]
    metrics: tuple[str, ...]
    blocks: int
    p_floor: float | None = None
    p_level: float | None = None
    blocks_wanted: int | None = None
    detectable_d_z: float | None = None
    can_show: bool = False


def analyse_power(plan: Plan) -> PowerAnalysis:
    """What a plan can show with its blocks.

    Raises:
        UsageError: The analysis names a contrast, a configuration or a column that the plan does
            not have.
    """
    names = tuple(contrast.name for contrast in check_contrasts(plan))
    columns = plan.analysis.metrics or (PRIMARY, ACCURACY)
    metrics = tuple(find_metric(name).name for name in columns)
    tests = len(names) * len(metrics)
    if not tests:
        return PowerAnalysis((), metrics, plan.blocks)
    least_p, p_level = p_floor(plan.blocks), ALPHA / tests
    return PowerAnalysis(
        contrasts=names,
        metrics=metrics,
        blocks=plan.blocks,
        p_floor=least_p,
        p_level=p_level,
        blocks_wanted=find_least_blocks(p_level),
        detectable_d_z=find_detectable_effect(plan.blocks, tests),
        can_show=least_p <= p_level,
    )


def check_contrasts(plan: Plan) -> list[Contrast]:
    """The primary contrasts that ``compare`` will test, checked against those the file names.

    Raises:
        UsageError: They differ; the message has the contrasts that the factors make.
    """
    configurations = configure_plan(plan.study, plan.block(1))
    design = make_design(configurations, plan.analysis.baseline, [plan.study])
    primary = [contrast for contrast in design.contrasts if contrast.family == "primary"]
    names = {find_contrast(primary, name).name for name in plan.analysis.contrasts}
    missing = [contrast.name for contrast in primary if contrast.name not in names]
    if names and missing:
        raise UsageError(
            f"[analysis] contrasts leaves out {', '.join(missing)}. The factors of {plan.study} "
            "decide the primary family, which is corrected as a whole. Name all or none."
        )
    if plan.until is not None:
        find_contrast(primary, plan.until.contrast)
        find_metric(plan.until.metric or PRIMARY)
    return primary


def find_contrast(contrasts: Sequence[Contrast], name: str) -> Contrast:
    """The contrast of a name, or of its first word where only one begins so.

    Raises:
        UsageError: There is none, or several fit.
    """
    matches = [contrast for contrast in contrasts if contrast.name == name]
    matches = matches or [c for c in contrasts if c.name.split()[0] == name]
    if len(matches) != 1:
        raise unknown_name("primary contrast", name, [contrast.name for contrast in contrasts])
    return matches[0]
