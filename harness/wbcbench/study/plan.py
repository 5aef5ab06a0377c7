"""An experiment → its plan: every run in a seeded, blocked order, and what the plan can show.

A block holds every combination of the factors once, all with the block's seed, in an order drawn
from ``order_seed`` and the block alone: neither the order in the file nor anything else about the
study moves a run, and blocks that are added later leave the earlier ones where they were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from wbcbench.compare.design import ComparisonDesign, Contrast, make_design, planned_configurations
from wbcbench.compare.metric import ACCURACY, PRIMARY, Settings, find_metric
from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.files import write_atomically
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import PLAN, earlier_plan
from wbcbench.core.trace import Origin
from wbcbench.core.window import utc_now
from wbcbench.stats.tests import ALPHA, TARGET_POWER, detectable_effect, least_blocks, p_floor
from wbcbench.study import experiment_file, limits
from wbcbench.study.experiment import Experiment, Pauses, PlannedAnalysis, SubmissionDetails, Until

SCHEMA = "wbcbench.plan/1"
_NOT_DESIGN = ("about", "submission")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is fixed before the first run.

    Attributes:
        study: Folder under ``results/``.
        runs: In their order; with a stopping rule, as many as there may be.
        blocks: How many blocks are carried out whatever they show.
        factors: Names of the fields that are varied.
        order_seed, block_repeats, pauses, analysis, until: As in ``Experiment``.
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
    about: str = ""
    submission: SubmissionDetails = field(default_factory=SubmissionDetails)

    @property
    def sha256(self) -> str:
        """Digest of the design in canonical JSON."""
        design = {name: value for name, value in asdict(self).items() if name not in _NOT_DESIGN}
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


def make_plan(experiment: Experiment, named: Callable[[str], str] | None = None) -> Plan:
    """The plan of an experiment.

    Args:
        experiment: What is asked.
        named: The word for a field in messages; the command line's option by default.

    Raises:
        UsageError: A run of it cannot be carried out.
    """
    runs = _runs(experiment)
    for run in runs:
        limits.check_spec(run, named)
    return Plan(
        study=experiment.study,
        runs=runs,
        blocks=experiment.blocks,
        factors=tuple(sorted(experiment.factors)) or ("variant",),
        order_seed=experiment.order_seed,
        block_repeats=experiment.block_repeats,
        pauses=experiment.pauses,
        analysis=experiment.analysis,
        until=experiment.until,
        about=experiment.about,
        submission=experiment.submission,
    )


def _runs(experiment: Experiment) -> tuple[RunSpec, ...]:
    """Every run in its order."""
    combinations = _combinations(experiment.factors)
    runs: list[RunSpec] = []
    for block, seed in enumerate(experiment.seeds, start=1):
        ordered = sorted(
            combinations, key=lambda each: _shuffle_key(experiment.order_seed, block, each)
        )
        for place, levels in enumerate(ordered, start=1):
            run = RunSpec(
                **{**experiment.run, **levels},
                study=experiment.study,
                seed=seed,
                block=block,
                order_in_block=place,
                order_global=len(runs) + 1,
            )
            runs.append(run)
    return tuple(runs)


def _combinations(factors: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    names = sorted(factors)
    return [
        dict(zip(names, levels, strict=True)) for levels in product(*(factors[n] for n in names))
    ]


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
    experiment = experiment_file.read_experiment(path, changes)

    def named(name: str) -> str:
        table = "factors" if name in experiment.factors else "run"
        return f"{path}: key '{name if name == 'study' else f'{table}.{name}'}'"

    try:
        return make_plan(experiment, named)
    except UsageError as error:
        text = str(error)
        raise UsageError(text if text.startswith(str(path)) else f"{path}: {text}") from error


def to_json(made: Plan, kept_utc: str | None = None) -> bytes:
    """The plan with its digest, and the moment from which it was kept with its study."""
    document = {"schema": SCHEMA, "sha256": made.sha256, "plan": asdict(made)}
    if kept_utc is not None:
        document["kept_utc"] = kept_utc
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


@cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def from_json(path: Path) -> Plan:
    """Read a plan and see that it is what its digest says.

    Raises:
        UsageError: It cannot be read, or was changed after it was made.
    """
    try:
        document = json.loads(path.read_bytes())
        found = _adapter().validate_python(document["plan"])
        stated = document["sha256"]
    except OSError as error:
        raise UsageError(f"The plan {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise UsageError(f"{path} is not a plan of this version: {error}") from error
    if found.sha256 != stated:
        raise UsageError(
            f"{path} was changed after it was made: its digest says {stated[:12]}…, its content "
            f"{found.sha256[:12]}…. A plan is fixed before its first run; make a new one from the "
            "experiment file with `wbcbench plan FILE --out plan.json`."
        )
    return found


def keep_plan(made: Plan, study_dir: Path) -> str | None:
    """Keep the plan beside its runs; an older, different one is kept under its digest.

    Returns:
        The digest of the plan that was there before, if it was another.
    """
    path = study_dir / PLAN
    before = from_json(path).sha256 if path.exists() else None
    if before == made.sha256:
        return None
    study_dir.mkdir(parents=True, exist_ok=True)
    if before is not None:
        write_atomically(study_dir / earlier_plan(before), path.read_bytes())
    write_atomically(path, to_json(made, utc_now()))
    return before


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
    path = study_dir / PLAN
    if not path.exists():
        return None
    made = from_json(path)
    return replace(analysis_settings(made.analysis), plan_sha256=made.sha256)


@dataclass(frozen=True, slots=True)
class PowerAnalysis:
    """What the primary family of a plan can show.

    Attributes:
        contrasts: Names of the primary contrasts; empty for a single arm.
        metrics: Columns they are taken of.
        blocks: How many blocks will be carried out.
        p_floor: The least p that so many blocks can give; ``None`` without a contrast.
        level: What the first step of Holm's correction asks for.
        blocks_wanted: The fewest blocks whose least p is below that.
        detectable_d_z: Least difference found with a chance of ``promise``, in standard
            deviations between blocks; ``None`` where p cannot get there.
        promise: That chance.
    """

    contrasts: tuple[str, ...]
    metrics: tuple[str, ...]
    blocks: int
    p_floor: float | None
    level: float | None
    blocks_wanted: int | None
    detectable_d_z: float | None
    promise: float = TARGET_POWER

    @property
    def can_show(self) -> bool:
        """Whether any difference, however large, could be told from chance."""
        return self.p_floor is not None and self.level is not None and self.p_floor <= self.level


def promise(made: Plan, blocks: int | None = None) -> PowerAnalysis:
    """What a plan can show with its blocks, or with another number of them.

    Raises:
        UsageError: The analysis names a contrast, an arm or a column that the plan does not have.
    """
    names = tuple(each.name for each in checked_contrasts(made))
    metrics = _metrics_of(made.analysis)
    blocks = made.blocks if blocks is None else blocks
    tests = len(names) * len(metrics)
    if not tests:
        return PowerAnalysis((), metrics, blocks, None, None, None, None)
    level = ALPHA / tests
    return PowerAnalysis(
        contrasts=names,
        metrics=metrics,
        blocks=blocks,
        p_floor=p_floor(blocks),
        level=level,
        blocks_wanted=least_blocks(level),
        detectable_d_z=detectable_effect(blocks, tests) if p_floor(blocks) <= level else None,
    )


def _metrics_of(analysis: PlannedAnalysis) -> tuple[str, ...]:
    """The columns that will be compared; raises ``UsageError`` for one that cannot be."""
    return tuple(find_metric(name).name for name in analysis.metrics or (PRIMARY, ACCURACY))


def analysis_settings(analysis: PlannedAnalysis) -> Settings:
    """The plan's analysis in the words of a comparison."""
    return Settings(
        metrics=analysis.metrics,
        baseline=analysis.baseline,
        least_trust=Origin(analysis.channel),
        region_pct=analysis.equivalent_pct,
        region_pp=analysis.equivalent_pp,
    )


def checked_contrasts(made: Plan) -> list[Contrast]:
    """The primary contrasts, once what the file says of them is seen to be true.

    Raises:
        UsageError: It is not; the message has the contrasts that the factors make.
    """
    found = [each for each in _design_of(made).contrasts if each.family == "primary"]
    said = made.analysis.contrasts
    meant = [contrast_named(found, name).name for name in said]
    missing = [each.name for each in found if each.name not in meant]
    if said and missing:
        raise UsageError(
            f"[analysis] contrasts leaves out {', '.join(missing)}. The factors of {made.study} "
            "decide the primary family, and all of it is corrected together; name all or none."
        )
    if made.until is not None:
        contrast_named(found, made.until.contrast)
        find_metric(made.until.metric or PRIMARY)
    return found


def contrast_named(contrasts: Sequence[Contrast], wanted: str) -> Contrast:
    """The contrast of a name, or of its first word where only one begins so.

    Raises:
        UsageError: There is none, or several fit.
    """
    exact = [each for each in contrasts if each.name == wanted]
    fitting = exact or [each for each in contrasts if each.name.split()[0] == wanted]
    if len(fitting) != 1:
        raise unknown_name("primary contrast", wanted, [each.name for each in contrasts])
    return fitting[0]


def _design_of(made: Plan) -> ComparisonDesign:
    """The design that ``compare`` will see in the runs of this plan."""
    found = planned_configurations(made.study, made.block(1))
    return make_design(found, made.analysis.baseline, [made.study])
