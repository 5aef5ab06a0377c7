"""The faster convolution and optimiser against Keras' own: the same numbers but for rounding."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from wbcbench.registry import VARIANTS, load_part
from wbcbench.train.network import Conv2D, OnePassAdam, scale_pixels
from wbcbench.train.variants import ModelSettings

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def batch():
    drawn = np.random.default_rng(3)
    images = drawn.random((8, 80, 80, 3), dtype=np.float32)
    return images, np.eye(5, dtype=np.float32)[drawn.integers(1, 5, 8)]


def network(variant: str, *, tuned: bool) -> keras.Model:
    keras.utils.set_random_seed(1)
    return load_part("variant", variant).build(ModelSettings(tuned=tuned))


def gradients(model: keras.Model, images, labels):
    @tf.function
    def of_the_loss():
        with tf.GradientTape() as tape:
            loss = keras.losses.categorical_crossentropy(labels, model(images, training=False))
        return tape.gradient(loss, [weight.value for weight in model.trainable_weights])

    return [np.asarray(gradient) for gradient in of_the_loss()]


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_tuning_changes_neither_the_initial_weights_nor_an_output(variant, batch):
    plain, tuned = network(variant, tuned=False), network(variant, tuned=True)
    for ours, theirs in zip(tuned.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(
        tuned.predict_on_batch(batch[0]), plain.predict_on_batch(batch[0])
    )


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_tuning_changes_gradients_by_rounding_alone(variant, batch):
    ours = gradients(network(variant, tuned=True), *batch)
    theirs = gradients(network(variant, tuned=False), *batch)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_one_pass_adam_follows_kerass_adam():
    gradients_drawn = np.random.default_rng(5).normal(size=(40, 6, 4)).astype(np.float32)
    ends = []
    for optimiser in (OnePassAdam, keras.optimizers.Adam):
        weight = keras.Variable(np.linspace(-1, 1, 24, dtype=np.float32).reshape(6, 4))
        adam = optimiser(learning_rate=0.01)
        for gradient in gradients_drawn:
            adam.apply([tf.constant(gradient)], [weight])
        ends.append([np.asarray(v) for v in (weight, *adam.variables)])
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_one_pass_adam_takes_a_new_learning_rate_from_the_next_step():
    weight = keras.Variable(np.zeros(1, np.float32))
    adam = OnePassAdam(learning_rate=0.5)
    adam.apply([tf.constant([1.0])], [weight])
    adam.learning_rate = 0.0
    adam.apply([tf.constant([1.0])], [weight])
    assert float(np.asarray(weight)[0]) == pytest.approx(-0.5, rel=1e-4)


def test_a_tuned_network_can_be_saved_and_loaded(tmp_path, batch):
    model = network("leaky-dropout", tuned=True)
    model.compile(optimizer=OnePassAdam(0.001), loss="categorical_crossentropy")
    model.train_on_batch(*batch)
    model.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert isinstance(loaded.layers[0], Conv2D)
    assert isinstance(loaded.optimizer, OnePassAdam)
    np.testing.assert_array_equal(
        loaded.predict_on_batch(batch[0]), model.predict_on_batch(batch[0])
    )


def test_pixels_are_scaled_exactly_as_numpy_scales_them():
    pixels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(
        np.asarray(scale_pixels(pixels)), pixels.astype(np.float32) * np.float32(1 / 255)
    )
