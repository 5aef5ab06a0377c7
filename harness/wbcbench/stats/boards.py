"""A contrast between things that ran on several boards, which differ from each other, too.

Where things of one block ran on one board, that board cancels in their difference. Where they did
not, three layouts are told apart: the board can be taken for a factor beside block and thing; each
board was used once, so that boards are part of the scatter between runs; or neither, and then no
interval holds, for the same few boards stand behind all that is averaged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from wbcbench.stats.intervals import LEAST_FOR_T, Floats, Interval, Labels, t_quantile
from wbcbench.stats.tests import Weights

Way = Literal["factor", "unpaired", "mixed"]
"""The board is a factor; boards are part of the scatter; boards cannot be told from the things."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class _BoardLayout:
    """Who ran where, with the levels of blocks taken away from both sides (Frisch and Waugh).

    Attributes:
        way: How things can be compared.
        columns: ``[runs, things + boards]``: whether a run is of each, less its block's mean.
        inverse: Of their products; ``None`` unless the board is a factor.
        freedom: Degrees of freedom that are left beside blocks, things and boards.
    """

    way: Way
    columns: Floats
    inverse: Floats | None = None
    freedom: int = 0


@lru_cache(maxsize=8)
def _lay_out(boards: tuple[tuple[int, ...], ...]) -> _BoardLayout:
    used = np.array(boards, dtype=np.int64)
    blocks, things = used.shape
    names, number = np.unique(used.ravel(), return_inverse=True)
    if len(names) == used.size:
        return _BoardLayout("unpaired" if blocks >= LEAST_FOR_T else "mixed", np.zeros((0, 0)))
    marks = np.hstack([np.tile(np.eye(things), (blocks, 1)), np.eye(len(names))[number.ravel()]])
    means = marks.reshape(blocks, things, -1).mean(axis=1)
    columns = marks - np.repeat(means, things, axis=0)
    products = columns.T @ columns
    inverse = np.linalg.pinv(products, hermitian=True, rcond=_ROUNDING)
    freedom = used.size - blocks - int(np.linalg.matrix_rank(products, _ROUNDING, hermitian=True))
    # A difference of two things is known where the columns can tell it from all else.
    known = (products @ inverse)[:, :things]
    differences = np.eye(len(products))[:, :things]
    is_known = np.allclose(known[:, 1:] - known[:, :1], differences[:, 1:] - differences[:, :1])
    # As many degrees of freedom as the least for Student's t has.
    if is_known and freedom >= LEAST_FOR_T - 1:
        return _BoardLayout("factor", columns, inverse, freedom)
    return _BoardLayout("mixed", columns)


def find_way(boards: Labels) -> Way:
    """How things can be compared of which ``[blocks, things]`` ran on these boards."""
    return _lay_out(tuple(map(tuple, boards.tolist()))).way


def estimate_beside_boards(
    values: Floats, boards: Labels, weights: Weights
) -> tuple[float, Interval | None]:
    """The contrast of ``[blocks, things]`` values, and its 95 % interval where one holds.

    As a factor: least squares with a level for each block, thing and board. Unpaired: differences
    of the means of things, with Welch and Satterthwaite's t. Mixed: the same without an interval.

    Args:
        values: On the scale on which differences are taken.
        boards: The number of the board of each.
        weights: One for each thing.
    """
    layout, own = _lay_out(tuple(map(tuple, boards.tolist()))), np.asarray(weights)
    if layout.inverse is not None:
        columns, inverse = layout.columns, layout.inverse
        apart = (values - values.mean(axis=1, keepdims=True)).ravel()
        fitted = inverse @ (columns.T @ apart)
        wanted = np.concatenate([own, np.zeros(columns.shape[1] - len(own))])
        variance = float(((apart - columns @ fitted) ** 2).sum()) / layout.freedom
        estimate = float(wanted @ fitted)
        error = math.sqrt(variance * float(wanted @ inverse @ wanted))
        half = t_quantile(layout.freedom + 1) * error
        return estimate, Interval(estimate - half, estimate + half, "t")
    estimate = float(values.mean(axis=0) @ own)
    if layout.way == "mixed":
        return estimate, None
    parts = own**2 * values.var(axis=0, ddof=1) / len(values)
    total = float(parts.sum())
    welch = total**2 / float((parts**2).sum() / (len(values) - 1)) if total > 0 else 1.0
    half = t_quantile(max(math.floor(welch), 1) + 1) * math.sqrt(total)
    return estimate, Interval(estimate - half, estimate + half, "t")


def find_imbalance(boards: Labels, weights: Weights) -> float:
    """By how much of a difference between two boards a contrast can shift, at most; 0 … 2.

    0: all that it compares ran on each board equally often; 1: each side had boards of its own.
    """
    own = np.asarray(weights)
    shares = [float((boards == board).mean(axis=0) @ own) for board in np.unique(boards)]
    return sum(map(abs, shares)) / 2
