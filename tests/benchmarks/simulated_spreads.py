"""How often ``compare`` warns of unequal spreads: where they are equal, and where one is wide.

``python tests/benchmarks/simulated_spreads.py [STUDIES]`` prints the table of ``STATISTICS.md``.
Studies have eight blocks; what a block shares scatters as much as a narrow configuration by itself.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wbcbench.stats.intervals import t_interval
from wbcbench.stats.spreads import find_unequal_spreads
from wbcbench.stats.tests import ALPHA, adjust_holm, sign_flip_p

BLOCKS = 8
WIDE = 5.0
METRICS = 2
CONFIGURATIONS = (2, 4, 7)

Noise = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Mean 0, standard deviation 1."""
    return rng.standard_normal(shape)


def exponential(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """The same; skewness 2."""
    return rng.exponential(size=shape) - 1.0


def lognormal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """The same of exp(z); skewness 6."""
    drawn = np.exp(rng.standard_normal(shape))
    return (drawn - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)


NOISES: tuple[Noise, ...] = (normal, exponential, lognormal)


@dataclass(frozen=True)
class Warned:
    """Shares of simulated studies without any true difference.

    Attributes:
        configurations, noise: How they were drawn.
        equal, unequal: Warned of, where spreads are equal and where one is wide.
        alarmed: With at least one false "different", by which configuration is wide: none, the
            last, the baseline.
    """

    configurations: int
    noise: str
    equal: float
    unequal: float
    alarmed: tuple[float, float, float]


def warned(studies: int, seed: int) -> list[Warned]:
    """One line for each number of configurations and kind of noise."""
    return [
        Warned(
            k,
            noise.__name__,
            *(share_warned(k, noise, widest, studies, seed) for widest in (1.0, WIDE)),
            (
                share_alarmed(noise, [1.0] * k, studies, seed),
                share_alarmed(noise, [*[1.0] * (k - 1), WIDE], studies, seed),
                share_alarmed(noise, [WIDE, *[1.0] * (k - 1)], studies, seed),
            ),
        )
        for k in CONFIGURATIONS
        for noise in NOISES
    ]


def share_warned(k: int, noise: Noise, widest: float, studies: int, seed: int) -> float:
    """The share of studies in which the last of ``k`` scatters ``widest`` times as much."""
    rng = np.random.default_rng(seed)
    spreads = np.array([1.0] * (k - 1) + [widest])
    hits = 0
    for _ in range(studies):
        shared = rng.standard_normal((BLOCKS, 1))
        hits += find_unequal_spreads(shared + spreads * noise(rng, (BLOCKS, k))) is not None
    return hits / studies


def share_alarmed(noise: Noise, spreads: list[float], studies: int, seed: int) -> float:
    """The share of studies that call any configuration different from the first on a metric.

    What a block shares cancels in every difference and is not drawn.
    """
    rng = np.random.default_rng(seed)
    k = len(spreads)
    hits = 0
    for _ in range(studies):
        drawn = np.stack([noise(rng, (BLOCKS, k)) * spreads for _ in range(METRICS)])
        differences = (drawn[:, :, 1:] - drawn[:, :, :1]).transpose(0, 2, 1).reshape(-1, BLOCKS)
        is_low = adjust_holm(sign_flip_p(differences)) <= ALPHA
        hits += any(
            interval is not None and interval.excludes(0.0)
            for interval in map(t_interval, differences[is_low])
        )
    return hits / studies


def main() -> None:
    """Print the table in Markdown."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    print(
        "| Configurations | Noise | Warned: equal | one wide | Alarm: equal | one wide | baseline |"
    )
    print("|---|---|---|---|---|---|---|")
    for line in warned(studies, 1):
        numbers = (line.equal, line.unequal, *line.alarmed)
        shares = " | ".join(f"{100 * share:.1f} %" for share in numbers)
        print(f"| {line.configurations} | {line.noise} | {shares} |")


if __name__ == "__main__":
    main()
