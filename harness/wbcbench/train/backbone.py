"""The published white-blood-cell network, with its two factors left open.

Three blocks of convolution, activation and pooling, then one hidden dense layer:

    Conv2D 32 → ReLU → MaxPool → Conv2D 32 → ReLU → MaxPool → Conv2D 64 → ACT → MaxPool
    → Dropout → Flatten → Dense 64 → ACT → Dropout → Dense 5 → softmax

``ACT`` is LeakyReLU or ReLU (the first factor). With batch normalisation instead of dropout (the
second factor) a BatchNormalization stands before each of the four activations and the two
Dropouts are gone. Pixels are scaled before the network, not in it: see ``train.input``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from wbcbench.train.models import ACTIVATIONS, REGULARISERS, ModelSettings, Place, require_factors

if TYPE_CHECKING:
    import keras

KERNEL_SIZE = 3
POOL_SIZE = 2
FILTERS = (32, 32, 64)
DENSE_UNITS = 64


def builder(activation: str, regulariser: str) -> Callable[[ModelSettings], keras.Model]:
    """Return the function that builds the network for one choice of the two factors.

    Raises:
        UsageError: The activation or the regulariser is unknown.
    """
    require_factors(activation, regulariser)
    return partial(_build, activation, regulariser)


def _build(activation: str, regulariser: str, settings: ModelSettings) -> keras.Model:
    import keras

    size = settings.image_size
    stack = [
        keras.layers.Input((size, size, 3), name="image"),
        *_convolutions(activation, regulariser, settings),
        *_head(activation, regulariser, settings),
    ]
    return keras.Sequential(stack, name=f"{activation}-{regulariser}".replace("-", "_"))


def _convolutions(
    activation: str, regulariser: str, settings: ModelSettings
) -> Iterator[keras.layers.Layer]:
    from keras import layers

    convolution = _convolution_layer(settings)
    # Only the last block carries the factor: in the published network the first two stay ReLU.
    block_activations: tuple[str, ...] = ("relu", "relu", activation)
    for number, (filters, kind) in enumerate(zip(FILTERS, block_activations, strict=True), 1):
        yield convolution(filters, KERNEL_SIZE, name=f"conv{number}")
        yield from _activated(f"conv{number}", kind, regulariser, settings)
        yield layers.MaxPooling2D(POOL_SIZE, name=f"pool{number}")


def _convolution_layer(settings: ModelSettings) -> type[keras.layers.Conv2D]:
    if settings.tuned:
        from wbcbench.train.convolution import Conv2D

        return Conv2D
    from keras.layers import Conv2D as KerasConv2D

    return KerasConv2D  # type: ignore[no-any-return]


def _head(
    activation: str, regulariser: str, settings: ModelSettings
) -> Iterator[keras.layers.Layer]:
    from keras import layers

    yield from _regularised("after-convolutions", "dropout_conv", regulariser, settings)
    yield layers.Flatten(name="flatten")
    yield layers.Dense(DENSE_UNITS, name="dense")
    yield from _activated("dense", activation, regulariser, settings)
    yield from _regularised("after-dense", "dropout_dense", regulariser, settings)
    yield layers.Dense(settings.n_outputs, name="output")
    # Probabilities and the loss stay float32 when the rest runs in half precision.
    yield layers.Activation("softmax", dtype="float32", name="softmax")


def _activated(
    layer: str, activation: str, regulariser: str, settings: ModelSettings
) -> Iterator[keras.layers.Layer]:
    yield from _regularised("before-activation", f"{layer}_norm", regulariser, settings)
    yield ACTIVATIONS[activation](settings, f"{layer}_act")


def _regularised(
    place: Place, name: str, regulariser: str, settings: ModelSettings
) -> Iterator[keras.layers.Layer]:
    factory = REGULARISERS[regulariser].get(place)
    if factory is not None:
        yield factory(settings, name)
