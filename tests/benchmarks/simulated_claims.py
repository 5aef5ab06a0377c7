"""How often is a claim called supported, or not, whose truth lies exactly on a border?

    python tests/benchmarks/simulated_claims.py [--studies N]

Runs are records with drawn curves, handed to the code of `wbcbench claims`. Of the six published
claims each deciding check in turn has its truth on a limit, while the claim's other checks clearly
hold. Blocks share a part of what is drawn; the two sides of a difference scatter differently, where
the check does not exclude it. Then come claims as a plan states them, one or three together, each
on its limit, in rows of the table handed to the code of `wbcbench compare`. Seeds are fixed: the
same N gives the same table.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.run import make_record, make_scores, make_spec  # noqa: E402
from builders.study import VARIANTS  # noqa: E402
from builders.timeline import make_epochs  # noqa: E402
from wbcbench.compare.analysis import compare  # noqa: E402
from wbcbench.compare.claims import FILE, Claim, evaluate_claim, read_claims  # noqa: E402
from wbcbench.compare.metric import (  # noqa: E402
    ACCURACY,
    TIME,
    PlannedClaim,
    Settings,
)
from wbcbench.core.record import RunRecord  # noqa: E402
from wbcbench.core.window import TRAIN  # noqa: E402
from wbcbench.table.view import Run  # noqa: E402

Floats = NDArray[np.float64]
Rng = np.random.Generator
Runs = Sequence[Run]

BLOCKS = 8
EPOCHS = 50
HALF_NORMAL_MEAN = math.sqrt(2 / math.pi)
ENERGY = "energy_gpu_train_j"
PAIR = ("leaky-batchnorm", "leaky-dropout")


@dataclass(frozen=True)
class Border:
    """One check with its truth on a limit.

    Attributes:
        claim: Id of the claim, or ``planned``.
        check: Which of its checks, which limit, and how the runs of a seed hang together.
        supported: Share of the studies in which the claim, or one of several, was called so.
        not_supported: Share of the claims that were called so.
        studies: How many were drawn.
    """

    claim: str
    check: str
    supported: float
    not_supported: float
    studies: int

    @property
    def most(self) -> float:
        """5 %, and two Monte Carlo standard errors of it."""
        return 0.05 + 2 * math.sqrt(0.05 * 0.95 / self.studies)

    @property
    def holds(self) -> bool:
        """Whether neither word is said more often."""
        return max(self.supported, self.not_supported) <= self.most


@dataclass(frozen=True)
class Curves:
    """What the runs of one study are made from: ``[blocks, variants]``, in ``VARIANTS``' order.

    Attributes:
        final: Training accuracy of the last epoch.
        below: Epochs before validation accuracy reaches its plateau at 0.8.
        gap: Training minus validation accuracy.
        movement: Expected movement of the validation accuracy from epoch to epoch.
        test: Accuracy on TEST.
        time_s: Length of ``train``.
    """

    final: Floats
    below: Floats
    gap: Floats
    movement: Floats
    test: Floats
    time_s: Floats


@dataclass(frozen=True)
class World:
    """One border: the claim, what to call it, and how a study's runs are drawn there."""

    claim: str
    check: str
    draw: Callable[[Rng], Mapping[str, Floats]]


def by_variant(word: str, there: float, elsewhere: float) -> Floats:
    """``[variants]``: one number where the variant's name has the word, another elsewhere."""
    return np.array([there if word in variant else elsewhere for variant in VARIANTS])


def scatter(rng: Rng, run_sd: Floats | float, seed_sd: float) -> Floats:
    """``[blocks, variants]`` around 0: a part that runs of a seed share, and one of each run."""
    shared = seed_sd * rng.standard_normal((BLOCKS, 1))
    return np.asarray(shared + run_sd * rng.standard_normal((BLOCKS, len(VARIANTS))))


def factors(rng: Rng, run_sd: Floats | float, seed_sd: float) -> Floats:
    """``[blocks, variants]`` lognormal factors of mean 1."""
    variance = np.square(run_sd) + seed_sd**2
    return np.asarray(np.exp(scatter(rng, run_sd, seed_sd) - variance / 2))


def draw_stuck(rng: Rng, chance: Floats, correlation: float) -> NDArray[np.bool_]:
    """Which runs learn nothing; of one activation, the two of a seed agree so often by nature."""
    agree = rng.random((BLOCKS, 1)) < correlation
    own, coins = rng.random((BLOCKS, len(VARIANTS))), rng.random((BLOCKS, 2))
    shared = coins[:, [int("leaky" in variant) for variant in VARIANTS]]
    return np.asarray(np.where(agree, shared, own) < chance)


def draw_final(rng: Rng, stuck: NDArray[np.bool_], learned: Floats | float) -> Floats:
    """Training accuracies: at chance where a run is stuck."""
    return np.where(stuck, 0.25, learned) + scatter(rng, 0.008, 0.004)


def worlds_of_c1() -> Iterator[World]:
    """Stuck runs of one seed independent, half of them together, and always together."""
    for correlation in (0.0, 0.5, 1.0):

        def often(rng: Rng, correlation: float = correlation) -> Mapping[str, Floats]:
            stuck = draw_stuck(rng, by_variant("relu-", 0.2, 0.0), correlation)
            return {"final": draw_final(rng, stuck, by_variant("relu-", 0.8, 0.95))}

        def better(rng: Rng, correlation: float = correlation) -> Mapping[str, Floats]:
            stuck = draw_stuck(rng, np.full(len(VARIANTS), 0.9), correlation)
            return {"final": draw_final(rng, stuck, 0.93)}

        yield World("C1", f"often, correlation in a seed {correlation:g}", often)
        yield World("C1", f"better, correlation in a seed {correlation:g}", better)


def worlds_of_c2() -> Iterator[World]:
    """Batch normalisation equals dropout in the mean and scatters more."""

    def clear(rng: Rng) -> dict[str, Floats]:
        return {
            "below": by_variant("batchnorm", 2, 12) + rng.poisson(1, (BLOCKS, len(VARIANTS))),
            "gap": by_variant("batchnorm", 0.2, 0.05) + scatter(rng, 0.02, 0.02),
            "movement": by_variant("batchnorm", 0.06, 0.01) * factors(rng, 0.3, 0.3),
        }

    def faster(rng: Rng) -> Mapping[str, Floats]:
        shape = (BLOCKS, len(VARIANTS))
        shared = rng.poisson(2, (BLOCKS, 1))
        wide, narrow = rng.negative_binomial(2, 1 / 3, shape), rng.poisson(4, shape)
        is_wide = by_variant("batchnorm", 1, 0) > 0
        return clear(rng) | {"below": 2.0 + shared + np.where(is_wide, wide, narrow)}

    def overfits(rng: Rng) -> Mapping[str, Floats]:
        return clear(rng) | {"gap": 0.1 + scatter(rng, by_variant("batchnorm", 0.04, 0.02), 0.03)}

    def oscillates(rng: Rng) -> Mapping[str, Floats]:
        spread = by_variant("batchnorm", 0.5, 0.25)
        return clear(rng) | {"movement": 0.02 * factors(rng, spread, 0.3)}

    yield World("C2", "faster", faster)
    yield World("C2", "overfits", overfits)
    yield World("C2", "oscillates", oscillates)


def worlds_of_c3() -> Iterator[World]:
    """The movement of dropout on its limit, and equal to that of batch normalisation."""

    def gradual(rng: Rng) -> Mapping[str, Floats]:
        return {"movement": by_variant("batchnorm", 0.08, 0.02) * factors(rng, 0.2, 0.3)}

    def less(rng: Rng) -> Mapping[str, Floats]:
        spread = by_variant("batchnorm", 0.5, 0.25)
        return {"movement": 0.008 * factors(rng, spread, 0.2)}

    yield World("C3", "gradual, at 0.02", gradual)
    yield World("C3", "more gradual than with batch normalisation", less)


def worlds_of_one_network() -> Iterator[World]:
    """Claims 4 to 6, about the published network alone: both ends of each region."""
    shape = (BLOCKS, len(VARIANTS))

    def beta(rng: Rng, mean: float, size: float) -> Floats:
        return rng.beta(mean * size, (1 - mean) * size, shape)  # sd = sqrt(mean (1 - mean) / size)

    for end in (0.88, 0.94):
        yield World(
            "C4",
            f"training accuracy, at {end:g}",
            lambda rng, end=end: {"final": beta(rng, end, 300), "test": beta(rng, 0.83, 2000)},
        )
    for end in (0.80, 0.86):
        yield World(
            "C4",
            f"accuracy on TEST, at {end:g}",
            lambda rng, end=end: {"test": beta(rng, end, 300), "final": beta(rng, 0.91, 2000)},
        )
    for end in (20, 30):
        yield World(
            "C5",
            f"good state, in epoch {end}",
            lambda rng, end=end: {"below": end - 11.0 + rng.poisson(10, shape)},
        )
    for end in (480, 720):
        yield World(
            "C6",
            f"seconds of training, at {end}",
            lambda rng, end=end: {"time_s": end * np.exp(scatter(rng, 0.05, 0.05))},
        )


def make_curves(drawn: Mapping[str, Floats]) -> Curves:
    """What was drawn, and what does not matter at this border."""
    usual = {
        "final": 0.9,
        "below": 10.0,
        "gap": 0.1,
        "movement": 0.002,
        "test": 0.83,
        "time_s": 6e2,
    }
    shape = (BLOCKS, len(VARIANTS))
    return Curves(**{name: drawn.get(name, np.full(shape, usual[name])) for name in usual})


def draw_validation(rng: Rng, below: Floats, movement: Floats) -> Floats:
    """``[..., epochs]``: rises to a plateau at 0.8 that begins after ``below``, and moves there.

    From epoch to epoch it moves by half-normal steps, always back across the plateau's level.
    """
    epochs = np.arange(EPOCHS)
    first = below[..., None]
    steps = (
        movement[..., None] / HALF_NORMAL_MEAN * np.abs(rng.standard_normal((*below.shape, EPOCHS)))
    )
    values = np.where(epochs < first, 0.3 + 0.4 * (epochs + 1) / np.maximum(first, 1), 0.8)
    for i in range(1, EPOCHS):
        before = values[..., i - 1]
        moved = np.clip(before - np.where(before >= 0.8, 1, -1) * steps[..., i], 0.0, 1.0)
        values[..., i] = np.where(i > below, moved, values[..., i])
    return values


def draw_study(rng: Rng, curves: Curves, runs: Runs) -> list[Run]:
    """The runs, ``[blocks × variants]``, with these curves; what they share is not made again."""
    validation = draw_validation(rng, curves.below, curves.movement)
    training = validation + curves.gap[..., None] + 0.005 * rng.standard_normal(validation.shape)
    training[..., -1] = curves.final
    drawn = []
    for place, run in enumerate(runs):
        at = divmod(place, len(VARIANTS))
        new = copy(run)  # with the cells of its row, none of which is drawn here
        new._record = replace(
            run.record,
            epochs=tuple(
                replace(epoch, accuracy=own, val_accuracy=seen)
                for epoch, own, seen in zip(
                    run.record.epochs, training[at].tolist(), validation[at].tolist(), strict=True
                )
            ),
            test=replace(run.record.test, accuracy=float(curves.test[at])),
            windows=tuple(
                replace(w, end_s=w.start_s + float(curves.time_s[at])) if w.name == TRAIN else w
                for w in run.record.windows
            ),
        )
        drawn.append(new)
    return drawn


def make_runs() -> list[Run]:
    """One run of each variant in each block, on a K80, long enough for every claim."""
    runs = []
    for block in range(1, BLOCKS + 1):
        for variant in VARIANTS:
            spec = make_spec(variant, 1000 + block, block=block, epochs=EPOCHS)
            epochs = make_epochs((0.8,) * EPOCHS)
            record: RunRecord = make_record(spec=spec, epochs=epochs, test=make_scores())
            run = Run(record, None, "study")
            run.row = {**run.row, "gpu_name": "Tesla K80"}
            runs.append(run)
    return runs


def evaluate_border(claim: Claim, world: World, runs: Runs, studies: int, seed: int) -> Border:
    """Draw and evaluate so many studies on one border."""
    rng = np.random.default_rng(seed)
    counts = Counter(
        evaluate_claim(claim, draw_study(rng, make_curves(world.draw(rng)), runs)).outcome.value
        for _ in range(studies)
    )
    supported, not_supported = (counts[word] / studies for word in ("supported", "not supported"))
    return Border(claim.id, world.check, supported, not_supported, studies)


PLANNED: Mapping[str, tuple[PlannedClaim, float]] = {
    "less": (PlannedClaim(ENERGY, PAIR, direction="lower", margin=5.0), math.log1p(-0.05)),
    "same": (PlannedClaim(ACCURACY, PAIR, within=2.0), 0.02),
    "longer": (PlannedClaim(TIME, PAIR, direction="higher"), 0.0),
}
"""Claims as a plan states them, and the true difference on their limit, on the metric's scale."""

NOISES: Mapping[str, Callable[[Rng, tuple[int, ...]], Floats]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "skewed (exponential)": lambda rng, shape: rng.exponential(size=shape) - 1.0,
}


def draw_rows(
    rng: Rng, claims: Sequence[str], noise: Callable[[Rng, tuple[int, ...]], Floats], runs: Runs
) -> list[Run]:
    """The runs with other joules, seconds and accuracies: what a block shares, and a run's own."""
    cells = {}
    for name in claims:
        claim, difference = PLANNED[name]
        values = 0.05 * rng.standard_normal((BLOCKS, 1)) + 0.01 * noise(
            rng, (BLOCKS, len(VARIANTS))
        )
        values += difference * by_variant(PAIR[0], 1, 0)
        is_share = claim.metric == ACCURACY
        cells[claim.metric] = 0.7 + values if is_share else 1000 * np.exp(values)
    drawn = []
    for place, run in enumerate(runs):
        new = copy(run)
        at = divmod(place, len(VARIANTS))
        new.row = {**run.row, **{metric: float(values[at]) for metric, values in cells.items()}}
        drawn.append(new)
    return drawn


def evaluate_planned(
    claims: Sequence[str], noise: str, runs: Runs, studies: int, seed: int
) -> Border:
    """Draw and compare so many studies in which every one of these claims is on its limit."""
    rng = np.random.default_rng(seed)
    settings = Settings(claims={name: PLANNED[name][0] for name in claims})
    supported = not_supported = 0
    for _ in range(studies):
        drawn = draw_rows(rng, claims, NOISES[noise], runs)
        outcomes = [claim.outcome.value for claim in compare(drawn, settings, ["study"]).claims]
        supported += "supported" in outcomes
        not_supported += outcomes.count("not supported")
    check = f"{', '.join(claims)}; {noise} noise"
    return Border(
        "planned", check, supported / studies, not_supported / studies / len(claims), studies
    )


def iterate_borders(studies: int, seed: int) -> Iterator[Border]:
    """Every border, each as soon as it is known."""
    claims = {claim.id: claim for claim in read_claims(ROOT / FILE)}
    runs = make_runs()
    worlds = [*worlds_of_c1(), *worlds_of_c2(), *worlds_of_c3(), *worlds_of_one_network()]
    for place, world in enumerate(worlds):
        yield evaluate_border(claims[world.claim], world, runs, studies, seed + place)
    together = [*((name,) for name in PLANNED), tuple(PLANNED)]
    for place, (names, noise) in enumerate(product(together, NOISES), start=len(worlds)):
        yield evaluate_planned(names, noise, runs, studies, seed + place)


def borders(studies: int, seed: int) -> list[Border]:
    """Every border.

    Args:
        studies: How many are drawn on each.
        seed: Of the first border; those after it count on.
    """
    return list(iterate_borders(studies, seed))


def main() -> int:
    """Print the table; returns 1 if a border is overstepped more often than stated."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("| Claim | On the border of | Supported | Not supported | Holds |\n|---|---|---|---|---|")
    found = []
    for border in iterate_borders(options.studies, options.seed):
        shares = f"{100 * border.supported:.1f} % | {100 * border.not_supported:.1f} %"
        word = "yes" if border.holds else "NO"
        print(f"| {border.claim} | {border.check} | {shares} | {word} |", flush=True)
        found.append(border)
    most = f"{100 * found[0].most:.1f} %"
    print(f"\n{options.studies:,} studies of {BLOCKS} blocks each; wanted: at most {most}.")
    return int(not all(border.holds for border in found))


if __name__ == "__main__":
    sys.exit(main())
