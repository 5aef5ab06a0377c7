"""ReLU throughout and batch normalisation in place of dropout."""

from __future__ import annotations

from wbcbench.train.backbone import builder
from wbcbench.train.models import Variant

VARIANT = Variant(
    name="relu-batchnorm",
    activation="relu",
    regulariser="batchnorm",
    description="ReLU throughout, with batch normalisation",
    build=builder("relu", "batchnorm"),
)
