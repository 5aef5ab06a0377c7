"""The published network with batch normalisation in place of dropout."""

from __future__ import annotations

from wbcbench.train.backbone import builder
from wbcbench.train.models import Variant

VARIANT = Variant(
    name="leaky-batchnorm",
    activation="leaky-relu",
    regulariser="batchnorm",
    description="LeakyReLU with batch normalisation",
    build=builder("leaky-relu", "batchnorm"),
)
