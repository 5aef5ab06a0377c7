"""The order of runs: Williams squares, how balanced an order is, and drift over it.

A machine that warms up or slows down gives to whatever comes later. In a Latin square everything
stands at every place equally often; in a Williams square (Williams 1949) everything also follows
everything else equally often. An odd number of things needs two squares for that, the second being
the mirror image of the first.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice, pairwise

import numpy as np

from wbcbench.stats.intervals import Floats, Interval, t_quantile


def draw_orders(size: int, blocks: int, seed: int) -> list[tuple[int, ...]]:
    """The order of the things 0 … size − 1 in each of ``blocks`` blocks.

    The seed decides which thing has which letter of the squares, and the order of their rows. Later
    blocks leave the earlier ones as they are.
    """
    return list(islice(_generate_rows(size, seed), blocks))


def _generate_rows(size: int, seed: int) -> Iterator[tuple[int, ...]]:
    zigzag = [(place + 1) // 2 * (1 if place % 2 else -1) for place in range(size)]
    square = [[(letter + row) % size for letter in zigzag] for row in range(size)]
    squares = [square, [row[::-1] for row in square]] if size % 2 else [square]
    for cycle in count():
        letters = _shuffle(size, seed, cycle)
        for number, rows in enumerate(squares):
            for row in _shuffle(size, seed, cycle, number):
                yield tuple(letters[letter] for letter in rows[row])


def _shuffle(size: int, *seed: int) -> list[int]:
    """0 … size − 1 in an order as good as random, by a digest: the same on every Python."""

    def draw(number: int) -> bytes:
        return hashlib.sha256(json.dumps([*seed, number]).encode()).digest()

    return sorted(range(size), key=draw)


def count_blocks_of_balance(size: int) -> tuple[int, int]:
    """The blocks whose multiples balance the places, and the places and the predecessors."""
    return size, size if size % 2 == 0 else 2 * size


@dataclass(frozen=True, slots=True)
class Balance:
    """How often what stood where.

    Attributes:
        names: Of the things.
        places: ``[things][places]``, how often each stood at each place.
        after: ``[things][things]``, how often each came right after each other one.
    """

    names: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]
    after: tuple[tuple[int, ...], ...]

    @property
    def is_balanced(self) -> bool:
        """Whether everything stood at every place as equally often as the blocks allow."""
        counts = [n for row in self.places for n in row]
        return max(counts) - min(counts) <= (1 if sum(self.places[0]) % len(self.names) else 0)


def count_balance(orders: Sequence[Sequence[str]]) -> Balance:
    """The balance of at least one block, each with the same names in its own order."""
    names = tuple(sorted(orders[0]))
    places = Counter(pair for order in orders for pair in enumerate(order))
    follows = Counter(pair for order in orders for pair in pairwise(order))
    return Balance(
        names,
        tuple(tuple(places[place, name] for place in range(len(names))) for name in names),
        tuple(tuple(follows[other, name] for other in names) for name in names),
    )


# Drift: one straight line for all groups, each group with its own level: ordinary least squares
# after the mean of each group is taken away from both sides (the theorem of Frisch, Waugh and
# Lovell). What is left of two groups that differ is therefore no drift.
@dataclass(frozen=True, slots=True)
class Drift:
    """A straight line through runs.

    Attributes:
        slope: Change of the quantity from one place to the next.
        interval: 95 % of it, by Student's t; ``None`` where no degree of freedom is left.
        runs, groups: How many there were.
    """

    slope: float
    interval: Interval | None
    runs: int
    groups: int


def fit_drift(
    places: Sequence[float], values: Sequence[float], groups: Sequence[Hashable]
) -> Drift | None:
    """The drift of ``[n]`` values over their places.

    Args:
        places: ``[n]``, the place of each run.
        values: ``[n]``, finite.
        groups: ``[n]``, what was run; each has its own level.

    Returns:
        ``None`` where no group stands at two places, for then drift and difference are one.
    """
    names = list(dict.fromkeys(groups))
    group = np.array([names.index(name) for name in groups], dtype=np.int64)

    def centre(numbers: Sequence[float]) -> Floats:
        means = np.bincount(group, weights=numbers) / np.bincount(group)
        return np.asarray(numbers - means[group], dtype=np.float64)

    x, y = centre(places), centre(values)
    spread = float(x @ x)
    if spread <= 0:
        return None
    slope = float(x @ y) / spread
    freedom = len(x) - len(names) - 1
    interval = None
    if freedom > 0:
        residuals = y - slope * x
        error = math.sqrt(float(residuals @ residuals) / freedom / spread)
        half = t_quantile(freedom + 1) * error
        interval = Interval(slope - half, slope + half, "t")
    return Drift(slope, interval, len(x), len(names))
