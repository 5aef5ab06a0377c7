"""How a variant and a status look in every figure: colour, shape, dashes, hatch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Okabe and Ito (2008), told apart by people with colour-blindness; those with 3:1 on both white
# and near-black first. Shape, dashes and label say the same once more.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SHAPES = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
Dash = str | tuple[int, tuple[int, ...]]

# What is not measured is not drawn as a plain surface.
HATCHES: Mapping[str, str] = {
    "measured": "",
    "estimated": "//",
    "modelled": "xx",
    "synthetic": "..",
}

# Stands for the reader's own text colour; replaced when the picture is set into a page.
INK = "#1b1b1f"


@dataclass(frozen=True, slots=True)
class Style:
    """How one variant looks in every figure."""

    colour: str
    shape: str
    dash: Dash


def style(variants: Sequence[str], variant: str) -> Style:
    """The look of a variant among the sorted ``variants`` of the study."""
    i = list(variants).index(variant)
    n = len(COLOURS)
    # Beyond six the shapes shift against the colours, so that no two variants look the same.
    return Style(COLOURS[i % n], SHAPES[(i + i // n) % n], DASHES[(i + i // n) % n])
