"""The network of a run, built and compiled exactly as its spec says."""

from __future__ import annotations

import keras

from wbcbench.core.spec import RunSpec
from wbcbench.registry import load_part
from wbcbench.train.adam import OnePassAdam
from wbcbench.train.models import ModelSettings, Variant


def build(spec: RunSpec) -> keras.Model:
    """Build and compile the network; equal specs give equal weights.

    Seeds are set here, right before the weights are drawn, so that nothing that was done earlier
    (drawing synthetic images, reading a cache) can move them.
    """
    keras.utils.set_random_seed(spec.seed)
    variant: Variant = load_part("variant", spec.variant)
    settings = ModelSettings(
        image_size=spec.image_size,
        leaky_slope=spec.leaky_slope,
        dropout_conv=spec.dropout_conv,
        dropout_dense=spec.dropout_dense,
        tuned=spec.tuned,
    )
    model = variant.build(settings)
    adam = OnePassAdam if spec.tuned else keras.optimizers.Adam
    model.compile(
        optimizer=adam(spec.learning_rate, name="adam"),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=["accuracy"],
        # Keras' own choice, "auto", differs between machines.
        jit_compile=spec.xla,
        steps_per_execution=spec.steps_per_execution,
    )
    return model
