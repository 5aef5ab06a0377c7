"""Adam in one pass over each weight.

Keras writes Adam as some fifteen operations, each of which reads and writes all the weights once;
TensorFlow also has it as one kernel. Both compute the same formula, so only rounding differs
(harness/decisions/0020-execution-settings.md).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


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
