"""An experiment → its plan: every run in a seeded, blocked order, and a digest of all of it.

A block holds every combination of the factors once, all with the block's seed, in an order drawn
from ``order_seed`` and the block alone: neither the order in the file nor anything else about the
study moves a run, and blocks that are added later leave the earlier ones where they were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from wbcbench.core.errors import UsageError
from wbcbench.core.files import write_whole
from wbcbench.core.spec import RunSpec
from wbcbench.core.window import utc_now
from wbcbench.study import experiment_file, limits
from wbcbench.study.experiment import Experiment, Pauses, PlannedAnalysis, SubmissionDetails, Until

SCHEMA = "wbcbench.plan/1"
FILE_NAME = "plan.json"
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


def plan(experiment: Experiment, named: Callable[[str], str] | None = None) -> Plan:
    """The plan of an experiment.

    Args:
        experiment: What is asked.
        named: The word for a field in messages; the command line's option by default.

    Raises:
        UsageError: A run of it cannot be carried out.
    """
    runs = _runs(experiment)
    for run in runs:
        limits.check(run, named)
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
        ordered = sorted(combinations, key=lambda each: _draw(experiment.order_seed, block, each))
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


def _draw(order_seed: int, block: int, levels: Mapping[str, Any]) -> bytes:
    """A number as good as random for each combination; sorting by it shuffles.

    A digest instead of a generator: it is the same on every version of Python, and a combination
    that is added leaves the order of the others alone.
    """
    text = json.dumps([order_seed, block, levels], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def read(path: Path, changes: Sequence[str] = ()) -> Plan:
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
    experiment = experiment_file.read(path, changes)

    def named(name: str) -> str:
        table = "factors" if name in experiment.factors else "run"
        return f"{path}: key '{name if name == 'study' else f'{table}.{name}'}'"

    try:
        return plan(experiment, named)
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


def keep(made: Plan, study_dir: Path) -> str | None:
    """Keep the plan beside its runs; an older, different one is kept under its digest.

    Returns:
        The digest of the plan that was there before, if it was another.
    """
    path = study_dir / FILE_NAME
    before = from_json(path).sha256 if path.exists() else None
    if before == made.sha256:
        return None
    study_dir.mkdir(parents=True, exist_ok=True)
    if before is not None:
        write_whole(study_dir / f"plan-{before[:12]}.json", path.read_bytes())
    write_whole(path, to_json(made, utc_now()))
    return before
