"""The published network: LeakyReLU after the third convolution and the dense layer, dropout."""

from __future__ import annotations

from wbcbench.train.backbone import builder
from wbcbench.train.models import Variant

VARIANT = Variant(
    name="leaky-dropout",
    activation="leaky-relu",
    regulariser="dropout",
    description="LeakyReLU with dropout: the published network",
    build=builder("leaky-relu", "dropout"),
)
