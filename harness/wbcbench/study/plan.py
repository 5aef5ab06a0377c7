"""An experiment → its plan: every run in a balanced, blocked order, and what the plan can show.

A block holds every combination of the factors once, all with the block's seed. Its order is a row
of a Williams square; ``order_seed`` shuffles the squares. Neither the order in the file nor
anything else about the study moves a run, and blocks that are added later leave the earlier ones
where they were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from wbcbench.compare.design import Configuration, Contrast, configure_plan, make_design
from wbcbench.compare.metric import (
    GPU_ENERGY,
    PRIMARY,
    PlannedClaim,
    PlannedTests,
    Settings,
    TwoStages,
    find_metric,
)
from wbcbench.compare.planned_claims import check_claims
from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.files import write_atomically
from wbcbench.core.run_folder import study_runs
from wbcbench.core.settings import chosen_baseline
from wbcbench.core.spec import RunSpec
from wbcbench.core.strict_json import parse_json
from wbcbench.core.study_folder import PLAN, earlier_plan
from wbcbench.core.text import count_of
from wbcbench.core.trace import Origin
from wbcbench.core.window import utc_now
from wbcbench.run.launchers.cluster import ClusterSettings, list_settings
from wbcbench.stats.order import draw_orders
from wbcbench.stats.tests import ALPHA, find_least_blocks, p_floor
from wbcbench.study import limits
from wbcbench.study.experiment import (
    Experiment,
    Pauses,
    PlannedAnalysis,
    Until,
    read_experiment,
)
from wbcbench.study.statement import SubmissionDetails

SCHEMA = "wbcbench.plan/2"
_NOT_DESIGN = ("about", "submission", "cluster")
_LATER = {"family": None, "exploratory": False}
"""What [analysis] came to say later, and the value that says nothing."""


@dataclass(frozen=True)
class Plan:
    """What is fixed before the first run.

    Attributes:
        study: Folder under ``results/``.
        runs: In their order; with a stopping rule, as many as there may be.
        blocks: How many blocks are carried out in any case.
        factors: Names of the fields that are varied.
        order_seed, block_repeats, pauses, analysis, until: As in ``Experiment``.
        claims: As in ``Experiment``; part of the digest of a plan that has any.
        about, submission, cluster: As in ``Experiment``; no part of the digest.
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
    cluster: ClusterSettings = field(default_factory=ClusterSettings)

    @cached_property
    def sha256(self) -> str:
        """Digest of the design in canonical JSON."""
        facts = asdict(replace(self, runs=()))
        design = {name: value for name, value in facts.items() if name not in _NOT_DESIGN}
        for name, unset in _LATER.items():  # plans that knew nothing of it keep their digest
            if design["analysis"][name] == unset:
                del design["analysis"][name]
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
        return tuple(self._blocks.get(number, ()))

    @cached_property
    def _blocks(self) -> dict[int, list[RunSpec]]:
        blocks: dict[int, list[RunSpec]] = {}
        for run in self.runs:
            blocks.setdefault(run.block, []).append(run)
        return blocks

    def levels(self, run: RunSpec) -> Mapping[str, Any]:
        """What distinguishes a run from the others of its block."""
        return {name: getattr(run, name) for name in self.factors}

    def label(self, run: RunSpec) -> str:
        """The same in words: ``leaky-dropout batch_size=256``."""
        levels = self.levels(run).items()
        return " ".join([run.variant, *(f"{k}={v}" for k, v in levels if k != "variant")])


def make_plan(experiment: Experiment, name_field: Callable[[str], str] | None = None) -> Plan:
    """The plan of an experiment.

    Args:
        experiment: What is asked.
        name_field: The word for a field in messages; the command line's option by default.

    Raises:
        UsageError: A run of it cannot be carried out.
    """
    combinations = experiment.combine()
    names, first = sorted({name for own in combinations for name in own}), combinations[0]
    combinations.sort(key=lambda combination: json.dumps(combination, sort_keys=True))
    orders = draw_orders(len(combinations), len(experiment.seeds), experiment.order_seed)
    runs: list[RunSpec] = []
    for block, (seed, order) in enumerate(zip(experiment.seeds, orders, strict=True), start=1):
        for place, number in enumerate(order, start=1):
            run = RunSpec(
                **{**experiment.run, **combinations[number]},
                study=experiment.study,
                seed=seed,
                block=block,
                order_in_block=place,
                order_global=len(runs) + 1,
            )
            runs.append(limits.check_spec(run, name_field))
    compared = configure_plan(experiment.study, runs[: len(combinations)])
    if len(compared) < len(combinations):
        raise UsageError("key 'configurations': two are the same, with the defaults in them.")
    _check_claims(experiment.claims, compared, experiment.analysis)
    shared = {f.name for f in fields(Plan)} & {f.name for f in fields(Experiment)}
    family = experiment.analysis.family or "baseline"
    baseline = experiment.analysis.baseline
    if experiment.configurations and baseline is None:
        baseline = compared[orders[0].index(combinations.index(first))].label
    # By name, so that asking for the same is no departure and a lost one is not replaced.
    design = make_design(compared, baseline, [experiment.study], None)
    return Plan(
        runs=tuple(runs),
        analysis=replace(experiment.analysis, family=family, baseline=design.baseline),
        **{name: getattr(experiment, name) for name in shared - {"factors", "analysis"}},
        factors=tuple(names) or ("variant",),
    )


def _check_claims(
    claims: Mapping[str, PlannedClaim],
    compared: Sequence[Configuration],
    analysis: PlannedAnalysis,
) -> None:
    """Raise ``UsageError`` where a plan cannot test its claims."""
    check_claims(claims, [configuration.label for configuration in compared])
    if claims and analysis.exploratory:
        raise UsageError("key 'claims': an exploratory plan tests nothing. Leave out one of them.")


def read_plan(path: Path, changes: Sequence[str] = (), *, exploratory: bool = False) -> Plan:
    """The plan of an experiment file, or a plan that was written before.

    Args:
        path: The file.
        changes: As in ``read_experiment``.
        exploratory: Whether to give up every test, whatever the file says.

    Raises:
        UsageError: The file cannot be read, is wrong, is a plan that was changed by hand, or can
            never show anything though it is not exploratory.
    """
    if path.suffix == ".json":
        plan = None if changes else from_json(path)
        if plan is None or exploratory > plan.analysis.exploratory:
            raise UsageError(
                f"{path} is a finished plan; {'--set' if changes else '--exploratory'} cannot "
                "change it. Change the experiment file and make a new plan."
            )
        return plan
    return plan_experiment(read_experiment(path, changes, exploratory=exploratory), path)


def plan_experiment(experiment: Experiment, source: object) -> Plan:
    """The plan of an experiment that can show something, or is exploratory.

    Args:
        experiment: What is asked.
        source: Where that is from, for messages.

    Raises:
        UsageError: As ``read_plan``.
    """

    def format_key(name: str) -> str:
        table = "factors" if name in experiment.factors else "run"
        return f"{source}: key '{name if name == 'study' else f'{table}.{name}'}'"

    try:
        plan = make_plan(experiment, format_key)
        _require_tests(plan)
    except UsageError as error:
        text = str(error)
        raise UsageError(text if text.startswith(str(source)) else f"{source}: {text}") from error
    return plan


def _require_tests(plan: Plan) -> None:
    """Raise ``UsageError`` where no difference, however large, could be told from chance."""
    contrasts = len(check_contrasts(plan))
    tests = contrasts * plan.analysis.count_metrics()
    if not tests or plan.analysis.exploratory or p_floor(plan.blocks) <= ALPHA / tests:
        return
    wanted = find_least_blocks(ALPHA / tests)
    more = f"Take {wanted} blocks (seeds)" if wanted else "Compare fewer variants"
    raise UsageError(
        f"{count_of(plan.blocks, 'block')} can never show a difference: p cannot fall below "
        f"{p_floor(plan.blocks):.2g}, but {count_of(tests, 'corrected test')} need "
        f"{ALPHA / tests:.2g}. {more}, or add --exploratory, which tests nothing."
    )


def to_json(plan: Plan, stored_utc: str | None = None) -> bytes:
    """The plan with its digest, and since when it lies with its study."""
    facts = asdict(plan) | {"submission": plan.submission.given}
    del facts["cluster"]
    if cluster := dict(list_settings(plan.cluster)):
        facts["cluster"] = cluster
    document = {"schema": SCHEMA, "sha256": plan.sha256, "plan": facts}
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
    if document.get("schema") != SCHEMA:
        raise UsageError(
            f"{path} is of another format than {SCHEMA}, which this version reads. Use the "
            "wbcbench that made it, or plan again from the experiment file."
        )
    if plan.sha256 != digest:
        raise UsageError(
            f"{path} was changed after it was made: its digest is {digest[:12]}…, that of its "
            f"content {plan.sha256[:12]}…. A plan is fixed before its first run. Make a new one "
            "with `wbcbench plan FILE --out plan.json`."
        )
    try:
        _check_claims(plan.claims, configure_plan(plan.study, plan.block(1)), plan.analysis)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return plan


def keep_plan(plan: Plan, study_dir: Path) -> str | None:
    """Store the plan beside its runs; an older, different one is stored under its digest.

    Returns:
        The digest of the plan that was there before, if it was another.
    """
    path = study_dir / PLAN
    before = from_json(path).sha256 if path.exists() else None
    if before == plan.sha256 and read_stored_utc(path, plan) is not None:
        return None
    study_dir.mkdir(parents=True, exist_ok=True)
    if before not in {None, plan.sha256}:
        write_atomically(study_dir / earlier_plan(str(before)), path.read_bytes())
    # One that comes back after another has the date it had.
    stored_utc = read_stored_utc(study_dir / earlier_plan(plan.sha256), plan)
    write_atomically(path, to_json(plan, stored_utc or utc_now()))
    return None if before == plan.sha256 else before


def read_stored_utc(path: Path, plan: Plan) -> str | None:
    """Since when this plan lies in a file; ``None`` if another or none does, or it has no date."""
    if not path.exists() or from_json(path).sha256 != plan.sha256:
        return None
    stored_utc = parse_json(path.read_bytes()).get("stored_utc")
    return None if stored_utc is None else str(stored_utc)


def choose_settings(study_dirs: Sequence[Path], options: Mapping[str, Any]) -> Settings:
    """Settings of a comparison of one study, or of several.

    Args:
        study_dirs: One study, whose plan decides what is not given; without a plan, the settings
            may choose its baseline. Or several, of which no plan says how they are compared: they
            test nothing where one of them is exploratory.
        options: Fields of ``Settings``; ``None`` = not given.

    Raises:
        UsageError: The study's plan was changed after it was made.
    """
    given = {name: value for name, value in options.items() if value is not None}
    plans = [from_json(folder / PLAN) for folder in study_dirs if (folder / PLAN).exists()]
    if len(study_dirs) != 1 or not plans:
        exploratory = any(plan.analysis.exploratory for plan in plans)
        if len(study_dirs) == 1:
            given = {"baseline": _choose_baseline(study_dirs[0]), **given}
        return Settings(**given, exploratory=exploratory)
    (plan,) = plans
    settings = replace(
        analysis_settings(plan),
        claims=plan.claims,
        plan_sha256=plan.sha256,
        plan=_list_tests(plan, read_stored_utc(study_dirs[0] / PLAN, plan)),
    )
    departures = tuple(name for name in given if given[name] != getattr(settings, name))
    return replace(settings, departures=departures, **given)


def _choose_baseline(study_dir: Path) -> str | None:
    """The baseline of the user's settings; ``None`` where it is no configuration of the study."""
    if (wanted := chosen_baseline()) is None:
        return None
    specs = [run.read_spec() for run in study_runs(study_dir.parent, study_dir.name)]
    labels = {each.label for each in configure_plan(study_dir.name, specs)}
    return wanted if wanted in labels else None


def _list_tests(plan: Plan, stored_utc: str | None) -> PlannedTests:
    contrasts = check_contrasts(plan)
    return PlannedTests(
        metrics=plan.analysis.metrics,
        contrasts=tuple((contrast.name, contrast.against) for contrast in contrasts),
        tests=len(contrasts) * plan.analysis.count_metrics(),
        blocks=plan.blocks,
        runs=sum(run.block <= plan.blocks for run in plan.runs),
        stored_utc=stored_utc,
    )


def analysis_settings(plan: Plan) -> Settings:
    """The settings of a comparison as planned."""
    analysis, until = plan.analysis, plan.until
    stages = None
    if until is not None:
        contrast = find_contrast(check_contrasts(plan), until.contrast)
        columns = (until.metric,) if until.metric else (PRIMARY, GPU_ENERGY)
        stages = TwoStages(
            contrast.name, contrast.against, columns, until.width, plan.blocks, plan.most_blocks
        )
    return Settings(
        metrics=analysis.metrics,
        baseline=analysis.baseline,
        family=analysis.family,
        exploratory=analysis.exploratory,
        lowest_status=Origin(analysis.lowest_status),
        region_pct=analysis.equivalent_pct,
        region_pp=analysis.equivalent_pp,
        two_stages=stages,
    )


def check_contrasts(plan: Plan) -> list[Contrast]:
    """The primary contrasts that ``compare`` will test, checked against those the file names.

    Raises:
        UsageError: They differ; the message has the contrasts that the factors make.
    """
    configurations = configure_plan(plan.study, plan.block(1))
    design = make_design(configurations, plan.analysis.baseline, [plan.study], plan.analysis.family)
    primary = [contrast for contrast in design.contrasts if contrast.family == "primary"]
    asked = [*plan.analysis.contrasts, *([plan.until.contrast] if plan.until else [])]
    if any(c.is_interaction and c not in primary for c in design.contrasts) and any(
        name.split()[0] in (*design.factors, "interaction") for name in asked if name
    ):
        raise UsageError(
            f"{', '.join(asked)}: contrasts of the factors are primary only with "
            'family = "factors" in [analysis].'
        )
    names = {find_contrast(primary, name).name for name in plan.analysis.contrasts}
    missing = [contrast.name for contrast in primary if contrast.name not in names]
    if names and missing:
        raise UsageError(
            f"[analysis] contrasts leaves out {', '.join(missing)}. The primary family "
            f"({plan.analysis.family}) is corrected as a whole. Name all or none."
        )
    if plan.until is not None:
        find_contrast(primary, plan.until.contrast)
        find_metric(plan.until.metric or PRIMARY)
    return primary


def find_crossed_factors(plan: Plan) -> tuple[str, ...]:
    """The two factors of a 2 × 2 design; empty for any other."""
    configurations = configure_plan(plan.study, plan.block(1))
    return make_design(configurations, plan.analysis.baseline, [plan.study], None).factors


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
