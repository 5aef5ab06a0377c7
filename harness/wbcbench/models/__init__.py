"""What a network variant is. Each variant is one file of this folder and one line of the catalogue.

A variant knows how to build its network and what to say about itself; it knows nothing of data,
training or energy. Keras is imported when a network is built, not when a variant is named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras

Activation = Literal["leaky-relu", "relu"]
Regulariser = Literal["dropout", "batchnorm"]


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
            up to the rounding of the bias gradient (``models.convolution``).
    """

    image_size: int = 80
    leaky_slope: float = 0.3
    dropout_conv: float = 0.4
    dropout_dense: float = 0.5
    n_outputs: int = 5
    tuned: bool = True


@dataclass(frozen=True, slots=True)
class Variant:
    """One network of the comparison.

    Attributes:
        name: Its name in the catalogue.
        activation: What follows the third convolution and the hidden dense layer.
        regulariser: What keeps it from learning the training images by heart.
        description: One line for people.
        build: Makes the network, with fresh weights drawn from Keras' global seed. It takes
            float32 images ``[batch, image_size, image_size, 3]`` scaled to 0…1 and returns
            float32 class probabilities ``[batch, n_outputs]``.
    """

    name: str
    activation: Activation
    regulariser: Regulariser
    description: str
    build: Callable[[ModelSettings], keras.Model]
