"""The published network: LeakyReLU after the third convolution and the dense layer, dropout."""

from __future__ import annotations

from wbcbench.models import Variant
from wbcbench.models.backbone import builder

VARIANT = Variant(
    name="leaky-dropout",
    activation="leaky-relu",
    regulariser="dropout",
    description="LeakyReLU with dropout: the published network",
    build=builder("leaky-relu", "dropout"),
)
