"""The variants: activations, regularisers and backbone by name, and their layers as a table.

A variant knows how to build its network and what to say about itself; it knows nothing of data,
training or energy. Keras is imported when a network is built, not when a variant is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeAlias

from wbcbench.core.errors import unknown_name
from wbcbench.core.spec import RunSpec
from wbcbench.registry import load_part

if TYPE_CHECKING:
    import keras

LayerFactory: TypeAlias = "Callable[[ModuleType, ModelSettings, str], keras.layers.Layer]"
Place = Literal["before-activation", "after-convolutions", "after-dense"]

KERNEL_SIZE = 3
POOL_SIZE = 2
FILTERS = (32, 32, 64)
DENSE_UNITS = 64


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What may be varied within a variant; the defaults reproduce the published network.

    Attributes:
        image_size: Height and width of the images in pixels.
        leaky_slope: Slope of LeakyReLU below zero; unused by the ``relu`` variants.
        dropout_conv: Dropout rate after the third pooling; unused by the ``batchnorm`` variants.
        dropout_dense: Dropout rate after the hidden dense layer; likewise.
        batchnorm_momentum: How much of batch normalisation's moving averages, which inference
            uses, each step keeps; unused by the ``dropout`` variants. Keras' 0.99 forgets the
            start after some hundred steps.
        n_outputs: Width of the softmax. Five for four classes: the published labels are 1 to 4,
            one-hot encoded, so that column 0 is never used.
        tuned: Use this project's convolution, which is faster on a processor and equal to Keras'
            up to the rounding of the bias gradient (``train.network``).
        reduced_pools: Pool by reshape and maximum, as XLA on a GPU needs it (``train.network``).
    """

    image_size: int = 80
    leaky_slope: float = 0.3
    dropout_conv: float = 0.4
    dropout_dense: float = 0.5
    batchnorm_momentum: float = 0.99
    n_outputs: int = 5
    tuned: bool = True
    reduced_pools: bool = False


# The levels of the two factors. To add one: a line with a layer factory, which is given
# ``keras.layers``, the settings and the layer's name.
ACTIVATIONS: Mapping[str, LayerFactory] = {
    "leaky-relu": lambda layers, settings, name: layers.LeakyReLU(settings.leaky_slope, name=name),
    "relu": lambda layers, _, name: layers.ReLU(name=name),
}
REGULARISERS: Mapping[str, Mapping[Place, LayerFactory]] = {
    "dropout": {
        "after-convolutions": lambda layers, s, name: layers.Dropout(s.dropout_conv, name=name),
        "after-dense": lambda layers, s, name: layers.Dropout(s.dropout_dense, name=name),
    },
    "batchnorm": {
        "before-activation": lambda layers, s, name: layers.BatchNormalization(
            momentum=s.batchnorm_momentum, name=name
        )
    },
}


def _require_factors(activation: str, regulariser: str) -> None:
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
        name: Its name in the registry.
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
        _require_factors(self.activation, self.regulariser)


# The published white-blood-cell network, with its two factors left open.
#
# Three blocks of convolution, activation and pooling, then one hidden dense layer:
#
#     Conv2D 32 → ReLU → MaxPool → Conv2D 32 → ReLU → MaxPool → Conv2D 64 → ACT → MaxPool
#     → Dropout → Flatten → Dense 64 → ACT → Dropout → Dense 5 → softmax
#
# ``ACT`` is LeakyReLU or ReLU (the first factor). With batch normalisation instead of dropout (the
# second factor) a BatchNormalization stands before each of the four activations and the two
# Dropouts are gone. Pixels are scaled before the network, not in it: see ``train.network``.
def builder(activation: str, regulariser: str) -> Callable[[ModelSettings], keras.Model]:
    """Return the function that builds the network for one choice of the two factors.

    Raises:
        UsageError: The activation or the regulariser is unknown.
    """
    _require_factors(activation, regulariser)
    return partial(_build, activation, regulariser)


def _build(activation: str, regulariser: str, settings: ModelSettings) -> keras.Model:
    import keras

    stack = _build_layers(keras.layers, activation, regulariser, settings)
    return keras.Sequential(list(stack), name=f"{activation}-{regulariser}".replace("-", "_"))


def _build_layers(
    layers: ModuleType, activation: str, regulariser: str, settings: ModelSettings
) -> Iterator[keras.layers.Layer]:
    def regularise(place: Place, name: str) -> Iterator[keras.layers.Layer]:
        if place in REGULARISERS[regulariser]:
            yield REGULARISERS[regulariser][place](layers, settings, name)

    def activate(layer: str, kind: str) -> Iterator[keras.layers.Layer]:
        yield from regularise("before-activation", f"{layer}_norm")
        yield ACTIVATIONS[kind](layers, settings, f"{layer}_act")

    convolution, pooling = layers.Conv2D, layers.MaxPooling2D
    if settings.tuned:
        from wbcbench.train.network import Conv2D as convolution  # noqa: N813
    if settings.reduced_pools:
        from wbcbench.train.network import ReducedMaxPooling2D as pooling  # noqa: N813

    yield layers.Input((settings.image_size, settings.image_size, 3), name="image")
    # Only the last block carries the factor: in the published network the first two stay ReLU.
    kinds = ("relu", "relu", activation)
    for number, (filters, kind) in enumerate(zip(FILTERS, kinds, strict=True), 1):
        yield convolution(filters, KERNEL_SIZE, name=f"conv{number}")
        yield from activate(f"conv{number}", kind)
        yield pooling(POOL_SIZE, name=f"pool{number}")
    yield from regularise("after-convolutions", "dropout_conv")
    yield layers.Flatten(name="flatten")
    yield layers.Dense(DENSE_UNITS, name="dense")
    yield from activate("dense", activation)
    yield from regularise("after-dense", "dropout_dense")
    yield layers.Dense(settings.n_outputs, name="output")
    # Probabilities and the loss stay float32 when the rest runs in half precision.
    yield layers.Activation("softmax", dtype="float32", name="softmax")


def _build_variant(name: str, activation: str, regulariser: str, description: str) -> Variant:
    return Variant(name, activation, regulariser, description, builder(activation, regulariser))


LEAKY_DROPOUT = _build_variant(
    "leaky-dropout", "leaky-relu", "dropout", "LeakyReLU with dropout: the published network"
)
RELU_DROPOUT = _build_variant("relu-dropout", "relu", "dropout", "ReLU throughout, with dropout")
LEAKY_BATCHNORM = _build_variant(
    "leaky-batchnorm", "leaky-relu", "batchnorm", "LeakyReLU with batch normalisation"
)
RELU_BATCHNORM = _build_variant(
    "relu-batchnorm", "relu", "batchnorm", "ReLU throughout, with batch normalisation"
)


def is_published_family(variant: Variant) -> bool:
    """Whether its network is built here."""
    return getattr(variant.build, "func", None) is _build


def has_reduced_pools(spec: RunSpec) -> bool:
    """Whether its pools are reduced where XLA compiles for a GPU: the family's do not overlap."""
    return spec.tuned and is_published_family(load_part("variant", spec.variant))


def count_network(variant: Variant, settings: ModelSettings) -> tuple[int, int, int] | None:
    """Return parameters, trainable ones and operations an image, without building the network.

    ``None`` for a network that is not one of the published family. What is counted is what
    :func:`layer_table` counts of the built network.
    """
    if not is_published_family(variant):
        return None
    side, channels, parameters, flops = settings.image_size, 3, 0, 0
    for filters in FILTERS:
        side -= KERNEL_SIZE - 1
        weights = KERNEL_SIZE**2 * channels * filters
        parameters, flops = parameters + weights + filters, flops + 2 * side**2 * weights
        side, channels = side // POOL_SIZE, filters
    for inputs, outputs in ((side**2 * channels, DENSE_UNITS), (DENSE_UNITS, settings.n_outputs)):
        parameters, flops = parameters + (inputs + 1) * outputs, flops + 2 * inputs * outputs
    has_norm = "before-activation" in REGULARISERS[variant.regulariser]
    # Scale and shift are trained; as many moving averages stand beside them.
    norm = 2 * sum((*FILTERS, DENSE_UNITS)) if has_norm else 0
    return parameters + 2 * norm, parameters + norm, flops


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer.

    Attributes:
        name: The layer's name in the network.
        kind: Its Keras class, e.g. ``Conv2D``.
        output_shape: Shape of what it puts out for one image, without the batch axis.
        parameters: All its weights, trainable or not.
        trainable: Those that the optimiser moves.
        flops: Floating-point operations of its forward pass for one image (``flops_per_image``).
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable: int
    flops: int


def layer_table(network: keras.Model) -> tuple[LayerRow, ...]:
    """Return the layers of a built network, first to last."""
    return tuple(
        LayerRow(
            name=layer.name,
            kind=type(layer).__name__,
            output_shape=tuple(int(n) for n in layer.output.shape[1:]),
            parameters=int(layer.count_params()),
            trainable=sum(math.prod(weight.shape) for weight in layer.trainable_weights),
            flops=_count_flops(layer),
        )
        for layer in network.layers
    )


def flops_per_image(network: keras.Model) -> int:
    """Return the floating-point operations of one image's forward pass.

    A multiply-add counts as two operations. For output height and width ``H × W``, ``K × K``
    kernels, ``C`` channels in and ``F`` out, a convolution costs ``2·H·W·F·K·K·C`` and a dense
    layer ``2·inputs·outputs``. Biases, activations, pooling and normalisation are left out, as is
    usual: together they are a few per cent here. A training step costs about three times as much
    (forward, gradient of the inputs, gradient of the weights).
    """
    return sum(row.flops for row in layer_table(network))


def _count_flops(layer: keras.layers.Layer) -> int:
    """Two operations for each use of each kernel weight: once a pixel, or once in a dense layer."""
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    positions = math.prod(layer.output.shape[1:-1])
    return int(2 * positions * math.prod(kernel.shape))
