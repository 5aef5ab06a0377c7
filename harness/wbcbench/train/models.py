"""What a network variant is. Each variant is one file of this folder and one line of the catalogue.

A variant knows how to build its network and what to say about itself; it knows nothing of data,
training or energy. Keras is imported when a network is built, not when a variant is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from wbcbench.core.errors import unknown_name

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What may be varied within a variant; the defaults reproduce the published network.

    Attributes:
        image_size: Height and width of the images in pixels.
        leaky_slope: Slope of LeakyReLU below zero; unused by the ``relu`` variants.
        dropout_conv: Share dropped after the third pooling; unused by the ``batchnorm`` variants.
        dropout_dense: Share dropped after the hidden dense layer; likewise.
        n_outputs: Width of the softmax. Five for four classes: the published labels are 1 to 4,
            one-hot encoded, so that column 0 is never used.
        tuned: Use this project's convolution, which is faster on a processor and equal to Keras'
            up to the rounding of the bias gradient (``train.convolution``).
    """

    image_size: int = 80
    leaky_slope: float = 0.3
    dropout_conv: float = 0.4
    dropout_dense: float = 0.5
    n_outputs: int = 5
    tuned: bool = True


LayerFactory: TypeAlias = "Callable[[ModelSettings, str], keras.layers.Layer]"
Place = Literal["before-activation", "after-convolutions", "after-dense"]


def _leaky_relu(settings: ModelSettings, name: str) -> keras.layers.Layer:
    from keras import layers

    return layers.LeakyReLU(settings.leaky_slope, name=name)


def _relu(settings: ModelSettings, name: str) -> keras.layers.Layer:
    from keras import layers

    return layers.ReLU(name=name)


def _batch_normalization(settings: ModelSettings, name: str) -> keras.layers.Layer:
    from keras import layers

    return layers.BatchNormalization(name=name)


def _dropout_conv(settings: ModelSettings, name: str) -> keras.layers.Layer:
    from keras import layers

    return layers.Dropout(settings.dropout_conv, name=name)


def _dropout_dense(settings: ModelSettings, name: str) -> keras.layers.Layer:
    from keras import layers

    return layers.Dropout(settings.dropout_dense, name=name)


# The levels of the two factors. To add one: a layer factory and a line here.
ACTIVATIONS: Mapping[str, LayerFactory] = {"leaky-relu": _leaky_relu, "relu": _relu}
REGULARISERS: Mapping[str, Mapping[Place, LayerFactory]] = {
    "dropout": {"after-convolutions": _dropout_conv, "after-dense": _dropout_dense},
    "batchnorm": {"before-activation": _batch_normalization},
}


def require_factors(activation: str, regulariser: str) -> None:
    """Refuse a level of a factor that no layer stands for.

    Raises:
        UsageError: The activation or the regulariser is unknown; the message names the known ones.
    """
    if activation not in ACTIVATIONS:
        raise unknown_name("activation", activation, ACTIVATIONS)
    if regulariser not in REGULARISERS:
        raise unknown_name("regulariser", regulariser, REGULARISERS)


@dataclass(frozen=True, slots=True)
class Variant:
    """One network of the comparison.

    Attributes:
        name: Its name in the catalogue.
        activation: What follows the third convolution and the hidden dense layer; a name in
            ``ACTIVATIONS``.
        regulariser: What keeps it from learning the training images by heart; a name in
            ``REGULARISERS``.
        description: One line for people.
        build: Makes the network, with fresh weights drawn from Keras' global seed. It takes
            float32 images ``[batch, image_size, image_size, 3]`` scaled to 0…1 and returns
            float32 class probabilities ``[batch, n_outputs]``.

    Raises:
        UsageError: The activation or the regulariser is unknown.
    """

    name: str
    activation: str
    regulariser: str
    description: str
    build: Callable[[ModelSettings], keras.Model]

    def __post_init__(self) -> None:
        """Refuse a label that would stand in every table for layers that nobody knows."""
        require_factors(self.activation, self.regulariser)
