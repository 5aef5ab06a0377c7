"""ReLU throughout and batch normalisation in place of dropout."""

from __future__ import annotations

from wbcbench.models import Variant
from wbcbench.models.backbone import builder

VARIANT = Variant(
    name="relu-batchnorm",
    activation="relu",
    regulariser="batchnorm",
    description="ReLU throughout, with batch normalisation",
    build=builder("relu", "batchnorm"),
)
