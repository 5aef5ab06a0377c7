"""What a study is asked to do, as an experiment file says it; a plan is made from it.

Only what differs from the defaults stands in the file: those of a run are in ``study.RunSpec``,
those of a study are here. Reading the file is ``experiment_file``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Channel = Literal["measured", "estimated", "modelled", "synthetic"]

BLOCKS = 8
FIRST_SEED = 1001
ORDER_SEED = 20_260_301


@dataclass(frozen=True, slots=True)
class Pauses:
    """What happens between two runs, apart from the run's own wait for ``cooldown_c``.

    Attributes:
        rest_s: Seconds of rest, so that a run does not pay for the heat of the one before.
    """

    rest_s: float = 10.0


@dataclass(frozen=True, slots=True)
class PlannedAnalysis:
    """What will be compared, written down before the first run.

    Attributes:
        metrics: Columns of the results table; empty = energy of training and balanced accuracy.
        baseline: The arm the others are held against; ``None`` lets the lower levels decide.
        contrasts: The primary contrasts by name; the design decides them, and a list here must
            say the same. Empty = not said.
        channel: How far from a sensor joules may be.
        equivalent_pct: Half-width of the region in which joules and seconds do not differ
            in practice, in per cent.
        equivalent_pp: The same of accuracies, in percentage points.
    """

    metrics: tuple[str, ...] = ()
    baseline: str | None = None
    contrasts: tuple[str, ...] = ()
    channel: Channel = "measured"
    equivalent_pct: float = 2.0
    equivalent_pp: float = 1.0


@dataclass(frozen=True, slots=True)
class Until:
    """Add blocks until an interval is narrow enough.

    Attributes:
        contrast: Name of a primary contrast; its first word is enough.
        width: Of its 95 % interval, in the metric's unit: per cent or percentage points.
        max_blocks: Stop there, narrow or not.
        metric: A column; empty = energy of training.
    """

    contrast: str
    width: float
    max_blocks: int
    metric: str = ""


@dataclass(frozen=True, slots=True)
class SubmissionDetails:
    """Who hands the study in; for the bundle alone.

    Attributes:
        author: A name, or several with semicolons between; each may have an ORCID after a comma.
        course, licence, title: Of the bundle.
    """

    author: str | None = None
    course: str | None = None
    licence: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """A study, whole.

    Attributes:
        study: Folder under ``results/``.
        seeds: One for each block, in their order, as many as there may be.
        blocks: How many are carried out; more only by the stopping rule.
        factors: Field of ``RunSpec`` → its levels; a block holds every combination once.
        run: Field of ``RunSpec`` → value, for all runs.
        about: One sentence for people.
        order_seed: Draw of the order inside the blocks.
        block_repeats: How often a block with an invalid run is repeated whole.
        pauses, analysis, until, submission: See there.
    """

    study: str
    seeds: tuple[int, ...]
    blocks: int
    factors: Mapping[str, tuple[Any, ...]]
    run: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    order_seed: int = ORDER_SEED
    block_repeats: int = 2
    pauses: Pauses = Pauses()
    analysis: PlannedAnalysis = PlannedAnalysis()
    until: Until | None = None
    submission: SubmissionDetails = SubmissionDetails()
