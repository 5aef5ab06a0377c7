"""The faster convolution and optimiser against Keras' own: the same numbers but for rounding."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from wbcbench.registry import VARIANTS, load_part
from wbcbench.train.network import (
    Conv2D,
    OnePassAdam,
    evaluation_batches,
    scale_pixels,
    training_batches,
)
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
    np.testing.assert_array_equal(np.asarray(scale_pixels(pixels)), pixels.astype(np.float32) / 255)


def numbered(n: int):
    """Images that carry their number in the first pixel, labels that carry it in the class."""
    images = np.zeros((n, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(n)
    return images, np.eye(5, dtype=np.float32)[np.arange(n) % 5]


def order(batches) -> list[int]:
    return [round(float(x) * 255) for images, _ in batches for x in images[:, 0, 0, 0]]


def test_an_epoch_holds_every_image_once_with_its_own_label():
    batches = training_batches(*numbered(50), batch_size=8, seed=1)
    assert sorted(order(batches)) == list(range(50))
    for images, labels in batches:
        numbers = np.round(images[:, 0, 0, 0] * 255).astype(int)
        assert np.argmax(labels, axis=1).tolist() == (numbers % 5).tolist()


def test_each_epoch_has_another_order_and_a_seed_repeats_them_all():
    keras.utils.set_random_seed(1)
    first = training_batches(*numbered(50), batch_size=8, seed=1)
    epochs = [order(first) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    keras.utils.set_random_seed(1)
    again = training_batches(*numbered(50), batch_size=8, seed=1)
    assert [order(again) for _ in range(3)] == epochs
    assert order(training_batches(*numbered(50), batch_size=8, seed=2)) != epochs[0]


def test_a_warm_up_on_its_own_batches_leaves_the_order_of_training_alone():
    alone = training_batches(*numbered(50), batch_size=8, seed=1)
    after = training_batches(*numbered(50), batch_size=8, seed=1)
    order(training_batches(*numbered(20), batch_size=8, seed=1))
    assert order(alone) == order(after)


def test_evaluation_keeps_the_order_and_the_last_smaller_batch():
    batches = evaluation_batches(*numbered(10), batch_size=4)
    assert order(batches) == list(range(10))
    assert [len(images) for images, _ in batches] == [4, 4, 2]
