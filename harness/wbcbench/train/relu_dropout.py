"""The published network with ReLU in place of its two LeakyReLUs."""

from __future__ import annotations

from wbcbench.train.backbone import builder
from wbcbench.train.models import Variant

VARIANT = Variant(
    name="relu-dropout",
    activation="relu",
    regulariser="dropout",
    description="ReLU throughout, with dropout",
    build=builder("relu", "dropout"),
)
