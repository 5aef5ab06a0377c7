"""Studies of known truth for the real ``compare``: how runs scatter, in what order, in what design.

Log joules and accuracy of a run are a shift of its block, the truth of its configuration, and noise
that is independent of the other's. Every run is a full row of the results table of a real record,
with these cells replaced; block, place and start are those of the record.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from builders.run import make_record, make_scores, make_spec, save, scaled
from wbcbench.commands.compare import compare as command
from wbcbench.compare.analysis import compare
from wbcbench.compare.metric import PrimaryFamily, Settings
from wbcbench.compare.result import Comparison, Effect
from wbcbench.core.record import RunRecord
from wbcbench.core.spec import RunSpec
from wbcbench.stats.intervals import Floats
from wbcbench.stats.order import draw_orders
from wbcbench.table.view import Run

JOULES, ACCURACY = 40_000.0, 0.80
ENERGY, SHARE = "energy_gpu_train_j", "balanced_accuracy"
BLOCK_LOG_J, BLOCK_SHARE = 0.05, 0.01  # what a block shares and pairing takes away
FIRST_RUN, RUN_LENGTH = datetime(2026, 3, 1, 10), timedelta(seconds=75)

Rng = np.random.Generator
Noise = Callable[[Rng, tuple[int, ...]], Floats]
Order = Literal["fixed", "shuffled", "balanced"]


def normal(rng: Rng, shape: tuple[int, ...]) -> Floats:
    """Mean 0, standard deviation 1."""
    return rng.standard_normal(shape)


def exponential(rng: Rng, shape: tuple[int, ...]) -> Floats:
    """Mean 0, standard deviation 1, skewness 2."""
    return rng.exponential(size=shape) - 1.0


def lognormal(rng: Rng, shape: tuple[int, ...]) -> Floats:
    """exp of a standard normal, to mean 0 and standard deviation 1: skewness 6.2."""
    return (np.exp(rng.standard_normal(shape)) - np.exp(0.5)) / np.sqrt(np.expm1(1.0) * np.e)


def student_t2(rng: Rng, shape: tuple[int, ...]) -> Floats:
    """Student's t of two degrees of freedom, whose variance is infinite."""
    return rng.standard_t(2, shape)


def outliers(rng: Rng, shape: tuple[int, ...]) -> Floats:
    """Normal, but 5 % of the runs are ten times as far off."""
    return rng.standard_normal(shape) * np.where(rng.random(shape) < 0.05, 10.0, 1.0)


@dataclass(frozen=True, slots=True)
class World:
    """How runs scatter about the truth.

    Attributes:
        noise: Of a run.
        sd: Its unit, in log joules and in accuracy.
        wide: How many times as far the baseline scatters, with which it is in every contrast.
        step: Values are rounded to multiples of so many ``sd``; 0 = not rounded.
        drift: By how many ``sd`` the last run of a block costs more than its first; it goes on
            linearly from block to block, in joules alone.
        warm_up: By how many ``sd`` the first run of a block costs more joules; half of it is left
            in each following run.
        order: Of the runs of a block: the same in all, random, or as a plan draws it.
    """

    noise: Noise = normal
    sd: float = 0.02
    wide: float = 1.0
    step: float = 0.0
    drift: float = 0.0
    warm_up: float = 0.0
    order: Order = "balanced"


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of each configuration beside the first, which is the baseline.

    ``log_j`` are differences in log joules, ``share`` in accuracy; empty = none differs.
    """

    log_j: tuple[float, ...] = ()
    share: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Design:
    """What is compared, as in a plan.

    Attributes:
        name: In the table.
        specs: One a configuration, in the order in which ``compare`` takes them.
        family: The primary contrasts.
        blocks: How many a plan has by default.
    """

    name: str
    specs: tuple[RunSpec, ...]
    family: PrimaryFamily
    blocks: int

    @property
    def size(self) -> int:
        """Number of configurations."""
        return len(self.specs)

    @property
    def tests(self) -> int:
        """Size of the primary family: its contrasts on joules and on accuracy."""
        return 2 * (3 if self.family == "factors" else self.size - 1)


_FOUR = tuple(
    make_spec(variant)
    for variant in ("relu-dropout", "relu-batchnorm", "leaky-dropout", "leaky-batchnorm")
)
PAIR = Design("2 variants, 8 blocks", _FOUR[::2], "baseline", 8)
DESIGNS = (
    Design("4 variants, factors, 8 blocks", _FOUR, "factors", 8),
    PAIR,
    Design("4 variants, 8 blocks", _FOUR, "baseline", 8),
    Design(
        "7 variants, 9 blocks",
        tuple(make_spec("leaky-dropout", batch_size=2**power) for power in range(3, 10)),
        "baseline",
        9,
    ),
)


def simulate(
    world: World,
    design: Design,
    studies: int,
    seed: int,
    truth: Truth | None = None,
    settings: Settings | None = None,
) -> Iterator[Comparison]:
    """Draw so many studies and compare each; the same seed gives the same ones."""
    rng = np.random.default_rng(seed)
    settings = settings or Settings(family=design.family)
    for _ in range(studies):
        yield compare(draw_runs(world, design, rng, truth or Truth()), settings, ["simulated"])


def draw_runs(world: World, design: Design, rng: Rng, truth: Truth) -> list[Run]:
    """The runs of one study, block by block."""
    places = draw_places(world.order, design, rng)
    return make_runs(design, places, *draw_values(world, places, rng, truth))


def make_runs(design: Design, places: np.ndarray, log_j: Floats, share: Floats) -> list[Run]:
    """Runs at these places with these values, ``[blocks, configurations]`` each."""
    return [
        _with_cells(design, block, number, int(places[block, number]), log_j, share)
        for block in range(design.blocks)
        for number in range(design.size)
    ]


def draw_places(order: Order, design: Design, rng: Rng) -> np.ndarray:
    """``[blocks, configurations]``: the place of each run in its block, from 0 on."""
    if order == "fixed":
        return np.tile(np.arange(design.size), (design.blocks, 1))
    if order == "shuffled":
        return np.array([rng.permutation(design.size) for _ in range(design.blocks)])
    return np.argsort(draw_orders(design.size, design.blocks, int(rng.integers(2**31))), axis=1)


def draw_values(world: World, places: np.ndarray, rng: Rng, truth: Truth) -> tuple[Floats, Floats]:
    """Log joules relative to the base, and accuracies, ``[blocks, configurations]`` each."""
    blocks, size = places.shape
    spread = world.sd * np.array([world.wide] + [1.0] * (size - 1))
    shift = rng.standard_normal((2, blocks, 1))
    log_j = BLOCK_LOG_J * shift[0] + spread * world.noise(rng, places.shape)
    share = ACCURACY + BLOCK_SHARE * shift[1] + spread * world.noise(rng, places.shape)
    before = places + size * np.arange(blocks)[:, None]
    log_j += world.sd * (world.drift * before / (size - 1) + world.warm_up * 0.5**places)
    log_j[:, 1:] += truth.log_j or 0.0
    share[:, 1:] += truth.share or 0.0
    if world.step:
        step = world.step * world.sd
        log_j, share = step * np.round(log_j / step), step * np.round(share / step)
    return log_j, np.clip(share, 0.0, 1.0)


def _with_cells(
    design: Design, block: int, number: int, place: int, log_j: Floats, share: Floats
) -> Run:
    run = copy(_template(design, block, number, place))
    joules = JOULES * float(np.exp(log_j[block, number]))
    drawn = {ENERGY: joules, "primary_energy_train_j": joules, SHARE: float(share[block, number])}
    run.row = {**run.row, **drawn}
    return run


@cache
def _template(design: Design, block: int, number: int, place: int) -> Run:
    run = Run(make_record(**place_run(design, block, number, place)), study="simulated")
    run.row  # noqa: B018  made once, and copied
    return run


def place_run(design: Design, block: int, number: int, place: int) -> dict[str, object]:
    """The spec and the start of one run: what ``make_record`` takes."""
    before = block * design.size + place
    spec = design.specs[number]
    where = {"order_in_block": place + 1, "order_global": before + 1}
    start = FIRST_RUN + before * RUN_LENGTH
    return {
        "spec": replace(spec, seed=block + 1, block=block + 1, **where),
        "started_utc": f"{start.isoformat()}Z",
        "ended_utc": f"{(start + RUN_LENGTH).isoformat()}Z",
    }


def find_primary(comparison: Comparison) -> list[Effect]:
    """The tests of the primary family."""
    return [effect for effect in comparison.effects if effect.family == "primary"]


def compare_on_disk(design: Design, seed: int) -> float:
    """Compare one study in memory and as records through the command line.

    Returns:
        The largest difference between two estimates, in their unit; infinite where words differ.
    """
    runs = draw_runs(World(), design, np.random.default_rng(seed), Truth())
    direct = compare(runs, Settings(family=design.family), ["simulated"])
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out):
        save(Path(folder), *map(_record, runs))
        command(["simulated"], results=Path(folder), family=design.family, as_json=True)
    rows = json.loads(out.getvalue())["contrasts"]
    pairs = list(zip(direct.effects, rows, strict=True))
    if any(effect.result != row["result"] for effect, row in pairs):
        return math.inf
    return max(abs(effect.estimate - row["estimate"]) for effect, row in pairs)


def _record(run: Run) -> RunRecord:
    """A whole record of these joules and this accuracy."""
    spec = replace(run.spec, study="simulated")
    record = make_record(spec=spec, test=make_scores(run.row[SHARE] - 0.01))
    return scaled(record, run.row[ENERGY] / Run(record).row[ENERGY])
