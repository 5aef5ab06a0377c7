"""Keras' convolution, with the gradient of its bias worked out apart from that of its kernel.

Left alone, TensorFlow on a processor folds both into one oneDNN primitive, whose loop over the
bias is not vectorised: a tenth of a whole training step of this network, for 128 numbers
(harness/decisions/0020-execution-settings.md). The outputs are those of Keras' layer bit for bit;
the bias gradient is the same sum in another order.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="wbcbench")
class Conv2D(keras.layers.Conv2D):  # type: ignore[misc]  # Keras has no types
    """``keras.layers.Conv2D`` with a bias, channels last and no activation of its own."""

    def call(self, inputs: Any) -> Any:
        """Return the convolution of ``inputs`` ``[batch, height, width, channels]``."""
        outputs = self.convolution_op(inputs, self.kernel)
        return _add_bias(outputs, keras.ops.cast(self.bias, outputs.dtype))


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _add_bias(features: tf.Tensor, bias: tf.Tensor) -> Any:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # As a matrix it is no longer the tensor that the kernel's gradient reads, which is what
        # TensorFlow looks for when it folds the two.
        rows = tf.reshape(upstream, [-1, upstream.shape[-1]])
        return upstream, tf.raw_ops.BiasAddGrad(out_backprop=rows)

    return tf.nn.bias_add(features, bias), gradient
