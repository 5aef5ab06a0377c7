"""What a network is made of: input, convolutions and optimiser as TensorFlow wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCHES_AHEAD = 2


# As float32 the published set takes 0.96 GB and ``fit`` copies it; as uint8 it takes 0.24 GB and a
# batch is scaled when it is made. Pixels are divided by 255 here and not in the network, so that
# the layer table is the published one.
def scale_pixels(images: tf.Tensor) -> tf.Tensor:
    """Return float32 pixels from 0 to 1 for uint8 pixels from 0 to 255, any shape."""
    return tf.cast(images, tf.float32) / 255.0


def training_batches(
    images: NDArray[np.uint8], labels: NDArray[np.float32], *, batch_size: int, seed: int
) -> tf.data.Dataset:
    """Return an endlessly repeatable epoch of shuffled batches; the last batch may be smaller.

    Positions are shuffled, over the whole set and anew at each iteration, and a batch is gathered
    in one operation. The order depends on ``seed``, on the global seed of ``set_random_seed`` and
    on how often *this* object has been iterated, never on the timing of threads: for a warm-up
    make an object of its own.

    Args:
        images: uint8 ``[n, size, size, 3]``.
        labels: One-hot, float32 ``[n, outputs]``.
        batch_size: Images a batch.
        seed: Of the order.

    Returns:
        Pairs of float32 images ``[batch, size, size, 3]`` from 0 to 1, and their labels.
    """
    return _gather_batches(shuffle_positions(len(images), batch_size, seed), images, labels)


def shuffle_positions(images: int, batch_size: int, seed: int) -> tf.data.Dataset:
    """Return the batches of positions that ``training_batches`` gathers, in its order."""
    positions = tf.data.Dataset.range(images)
    shuffled = positions.shuffle(images, seed=seed, reshuffle_each_iteration=True)
    return shuffled.batch(batch_size)


def evaluation_batches(
    images: NDArray[np.uint8], labels: NDArray[np.float32], *, batch_size: int
) -> tf.data.Dataset:
    """Return the images in their own order, batched like :func:`training_batches`."""
    return _gather_batches(tf.data.Dataset.range(len(images)).batch(batch_size), images, labels)


def _gather_batches(
    positions: tf.data.Dataset, images: NDArray[np.uint8], labels: NDArray[np.float32]
) -> tf.data.Dataset:
    with tf.device("CPU:0"):  # all images on a GPU would count into its memory
        pixels, targets = tf.constant(images), tf.constant(labels)

    def batch(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return scale_pixels(tf.gather(pixels, indices)), tf.gather(targets, indices)

    return positions.map(batch).prefetch(BATCHES_AHEAD)


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
