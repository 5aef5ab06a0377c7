"""A network as a table: what each layer is, what it puts out, what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


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
    return tuple(_row(layer) for layer in network.layers)


def flops_per_image(network: keras.Model) -> int:
    """Return the floating-point operations of one image's forward pass.

    A multiply-add counts as two operations. For output height and width ``H × W``, ``K × K``
    kernels, ``C`` channels in and ``F`` out, a convolution costs ``2·H·W·F·K·K·C`` and a dense
    layer ``2·inputs·outputs``. Biases, activations, pooling and normalisation are left out, as is
    usual: together they are a few per cent here. A training step costs about three times as much
    (forward, gradient of the inputs, gradient of the weights).
    """
    return sum(row.flops for row in layer_table(network))


def _row(layer: keras.layers.Layer) -> LayerRow:
    return LayerRow(
        name=layer.name,
        kind=type(layer).__name__,
        output_shape=tuple(int(n) for n in layer.output.shape[1:]),
        parameters=int(layer.count_params()),
        trainable=sum(math.prod(weight.shape) for weight in layer.trainable_weights),
        flops=_flops(layer),
    )


def _flops(layer: keras.layers.Layer) -> int:
    """Two operations for each use of each kernel weight: once a pixel, or once in a dense layer."""
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    positions = math.prod(layer.output.shape[1:-1])
    return int(2 * positions * math.prod(kernel.shape))
