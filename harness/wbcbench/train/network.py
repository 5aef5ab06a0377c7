"""What a network is made of: input, convolutions, pools and optimiser as TensorFlow wants them."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

PIXEL_SCALE = 1 / 255


# Pixels are scaled here and not in the network, so that the layer table is the published one. They
# are multiplied, for TensorFlow makes a product of a quotient in some graphs and not in others.
def scale_pixels(images: tf.Tensor) -> tf.Tensor:
    """Return float32 pixels from 0 to 1 for uint8 pixels from 0 to 255, any shape."""
    return tf.cast(images, tf.float32) * PIXEL_SCALE


# Keras' convolution, with the gradient of its bias worked out apart from that of its kernel.
#
# Left alone, TensorFlow on a processor folds both into one oneDNN primitive, whose loop over the
# bias is not vectorised: a tenth of a whole training step of this network, for 128 numbers
# (harness/decisions/0007-network-and-settings.md). The outputs are those of Keras' layer bit for
# bit; the bias gradient is the same sum in another order.
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


# Max-pooling whose gradient XLA can work out deterministically on a GPU.
#
# XLA takes the gradient of MaxPool by scattering, of which a GPU has no deterministic form
# (TensorFlow issue 69417). Windows that do not overlap are the same as a reshape and a maximum.
# The outputs are equal bit for bit; where several pixels of a window share the maximum, each gets
# an equal part of the gradient, and MaxPool gives all of it to the first.
@keras.saving.register_keras_serializable(package="wbcbench")
class ReducedMaxPooling2D(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """``keras.layers.MaxPooling2D(size)``: windows of ``size`` by ``size`` pixels, side by side."""

    def __init__(self, size: int, **others: Any) -> None:
        """Pool windows of ``size`` pixels; ``others`` are Keras' own arguments of a layer."""
        super().__init__(**others)
        self.size = size

    def call(self, inputs: Any) -> Any:
        """Return ``[batch, height // size, width // size, channels]``; the rest is cut off."""
        height, width = (side // self.size for side in inputs.shape[1:3])
        cut = inputs[:, : height * self.size, : width * self.size, :]
        windows = keras.ops.reshape(
            cut, (-1, height, self.size, width, self.size, inputs.shape[-1])
        )
        return keras.ops.max(windows, axis=(2, 4))

    def get_config(self) -> dict[str, Any]:
        """Return what ``__init__`` takes."""
        return {**super().get_config(), "size": self.size}


# Adam in one pass over each weight.
#
# Keras writes Adam as some fifteen operations, each of which reads and writes all the weights once;
# TensorFlow also has it as one kernel. Both compute the same formula, so only rounding differs
# (harness/decisions/0007-network-and-settings.md).
@keras.saving.register_keras_serializable(package="wbcbench")
class OnePassAdam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras has no types
    """``keras.optimizers.Adam`` without AMSGrad, carried out by TensorFlow's fused kernel."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one weight: Kingma and Ba, *Adam*, 2015, section 2, last line.

        Args:
            gradient: Gradient of the loss by ``variable``, of its shape.
            variable: The TensorFlow variable to move.
            learning_rate: Step size.
        """
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=tf.cast(self.beta_1, variable.dtype),
            beta2=tf.cast(self.beta_2, variable.dtype),
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )
