"""The two ways to train an epoch: the same mathematics, order and marks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_folders import image_set
from wbcbench.core.spec import RunSpec
from wbcbench.core.window import MonotonicClock
from wbcbench.registry import VARIANTS, load_part
from wbcbench.train import inputs, trainer
from wbcbench.train.inputs import HOST, Forward, PlacedImages, digest_image_order, shuffle_epoch
from wbcbench.train.network import ReducedMaxPooling2D
from wbcbench.train.paths import FitPath, ResidentPath
from wbcbench.train.variants import ModelSettings

pytestmark = pytest.mark.tensorflow

SIZE = 24  # the smallest image that the three poolings leave something of
SPEC = RunSpec(variant="leaky-dropout", batch_size=8, image_size=SIZE)


@pytest.fixture(autouse=True)
def float32_again() -> Iterator[None]:
    yield
    keras.config.set_dtype_policy("float32")


def noise(n: int, size: int = SIZE):
    """Images of noise, with labels in turn."""
    images = image_set(list(range(n)), [i % 4 for i in range(n)])
    pixels = np.random.default_rng(3).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return replace(images, images=pixels)


def make_path(spec: RunSpec, images, *, jit_compile: bool = False):
    """A network and what trains it."""
    keras.config.set_dtype_policy(spec.precision)
    model = trainer.build_network(spec, jit_compile=jit_compile)
    placed = PlacedImages(images, HOST)
    if spec.path == "fit":
        return model, FitPath(model, placed, spec.batch_size)
    return model, ResidentPath(model, placed, spec.batch_size, MonotonicClock())


def differences(spec: RunSpec, images, steps: int, **how) -> float:
    """How far the weights of the two paths lie apart after the last steps of an epoch."""
    order = shuffle_epoch(len(images), spec.seed, 1)
    networks = []
    for name in ("resident", "fit"):
        model, path = make_path(replace(spec, path=name), images, **how)
        path.train_last(order, steps)
        networks.append(model.get_weights())
    pairs = zip(*networks, strict=True)
    return max(float(np.abs(a.astype(float) - b.astype(float)).max()) for a, b in pairs)


@pytest.mark.parametrize("variant", sorted(VARIANTS))
@pytest.mark.parametrize("steps", [1, 2])
def test_the_weights_of_both_paths_agree_after_one_and_two_steps(variant: str, steps: int) -> None:
    spec = replace(SPEC, variant=variant)
    assert differences(spec, noise(20), steps) <= 1e-6  # the last batch has 4 images
    assert differences(spec, noise(16), steps) <= 1e-6


def test_they_agree_when_compiled_with_xla_as_well() -> None:
    assert differences(SPEC, noise(12), 2, jit_compile=True) <= 1e-6


def test_both_paths_learn_alike_over_seeds() -> None:
    """Where later steps differ by rounding, training amplifies it: losses are compared."""
    images, losses = noise(32), {"resident": [], "fit": []}
    for seed in range(1, 6):
        for name, own in losses.items():
            spec = replace(SPEC, seed=seed, path=name, learning_rate=0.003)
            _, path = make_path(spec, images)
            orders = [shuffle_epoch(len(images), seed, epoch) for epoch in range(1, 7)]
            means = [path.train_epoch(order, lambda step, means: None) for order in orders]
            own.append([epoch.loss for epoch in means])
    resident, fit = (np.array(losses[name]) for name in ("resident", "fit"))
    np.testing.assert_allclose(resident[:, 0], fit[:, 0], rtol=1e-3)
    assert abs(resident[:, -1].mean() - fit[:, -1].mean()) < 0.5 * fit[:, -1].std() + 0.02


@pytest.mark.parametrize("name", ["resident", "fit"])
@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_trains_on_both_paths(name: str, precision: str) -> None:
    spec = replace(SPEC, path=name, precision=precision, variant="relu-batchnorm")
    model, path = make_path(spec, noise(20))
    before = model.get_weights()
    means = path.train_epoch(shuffle_epoch(20, 1, 1), lambda step, means: None)
    assert np.isfinite(means.loss)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("name", ["resident", "fit"])
def test_the_batches_of_the_first_epoch_are_those_of_the_digest(name: str) -> None:
    images, fed = noise(30), []
    model, path = make_path(replace(SPEC, path=name), images)
    step = model.train_step

    def note(batch):
        tf.py_function(lambda pixels: fed.append(pixels.numpy()), [batch[0]], [])
        return step(batch)

    model.train_step = note
    path.train_epoch(shuffle_epoch(30, SPEC.seed, 1), lambda step, means: None)
    known = {(image * np.float32(1 / 255)).tobytes(): i for i, image in enumerate(images.images)}
    batches = [[images.sha256[known[image.tobytes()]] for image in batch] for batch in fed]
    lines = "".join(f"{''.join(batch)}\n" for batch in batches)
    assert digest_image_order(images, SPEC) == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize("name", ["resident", "fit"])
def test_an_epoch_states_the_means_over_its_images_and_reports_on_the_way(name: str) -> None:
    """With nothing learned, they are those of the whole set: the smaller batch weighs less."""
    images = noise(20)
    spec = replace(SPEC, path=name, learning_rate=1e-12, dropout_conv=0.0, dropout_dense=0.0)
    model, path = make_path(spec, images)
    said = []
    means = path.train_epoch(shuffle_epoch(20, 1, 1), lambda step, means: said.append(step))
    truth = model.evaluate(
        images.images * np.float32(1 / 255), inputs.one_hot(images.labels), verbose=0
    )
    assert means == pytest.approx(truth, rel=1e-4)
    assert said and said[-1] <= 3


def test_all_images_are_predicted_in_one_call_as_one_by_one(monkeypatch) -> None:
    monkeypatch.setattr(inputs, "EVALUATION_BATCH_SIZE", 8)
    images = noise(21)
    model = trainer.build_network(SPEC)
    placed = PlacedImages(images, HOST)
    alone = model(images.images * np.float32(1 / 255), training=False)
    for jit_compile in (False, True):
        whole = Forward(model, jit_compile=jit_compile).probabilities(placed)
        np.testing.assert_allclose(whole, alone, atol=1e-5)


# Pools by reshape and maximum, which XLA on a GPU needs; here on a processor, without XLA.


@pytest.mark.parametrize("side", [8, 9])
def test_reduced_pools_give_the_values_of_max_pooling(side: int) -> None:
    images = np.random.default_rng(1).normal(size=(3, side, side, 2)).astype(np.float32)
    ours, theirs = ReducedMaxPooling2D(2)(images), keras.layers.MaxPooling2D(2)(images)
    np.testing.assert_array_equal(ours, theirs)


def gradient(layer, image: np.ndarray) -> np.ndarray:
    pixels = tf.Variable(image.reshape(1, 2, 2, 1))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(pixels))
    return np.asarray(tape.gradient(total, pixels)).ravel()


def test_pixels_that_share_the_maximum_share_its_gradient() -> None:
    alone, tied = np.float32([1, 4, 2, 3]), np.float32([4, 4, 2, 4])
    ours, theirs = ReducedMaxPooling2D(2), keras.layers.MaxPooling2D(2)
    assert gradient(ours, alone).tolist() == gradient(theirs, alone).tolist() == [0, 1, 0, 0]
    assert gradient(theirs, tied).tolist() == [1, 0, 0, 0]
    assert gradient(ours, tied) == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_a_network_with_reduced_pools_has_the_weights_and_outputs_of_the_published_one(variant):
    built = load_part("variant", variant).build
    images = np.random.default_rng(2).random((4, 80, 80, 3), dtype=np.float32)
    outputs = []
    for reduced in (False, True):
        keras.utils.set_random_seed(1)
        outputs.append(built(ModelSettings(reduced_pools=reduced)).predict_on_batch(images))
    np.testing.assert_array_equal(*outputs)


def test_xla_trains_a_network_with_reduced_pools() -> None:
    """On a tiny network: XLA on a processor is slow."""
    spec = replace(SPEC, variant="relu-batchnorm")
    keras.utils.set_random_seed(1)
    model = load_part("variant", spec.variant).build(
        ModelSettings(image_size=SIZE, reduced_pools=True)
    )
    model.compile(
        "adam", keras.losses.CategoricalCrossentropy(), metrics=["accuracy"], jit_compile=True
    )
    path = ResidentPath(model, PlacedImages(noise(8), HOST), 8, MonotonicClock())
    assert np.isfinite(path.train_epoch(shuffle_epoch(8, 1, 1), lambda step, means: None).loss)


def test_images_without_room_on_the_gpu_stay_in_memory_and_the_step_alone_is_compiled(
    monkeypatch,
) -> None:
    """As where a GPU trains, which there is none of here: the loop is not XLA's, its step is."""
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["GPU:0"])
    model = trainer.build_network(SPEC, jit_compile=True)
    path = ResidentPath(model, PlacedImages(noise(20), HOST), 8, MonotonicClock())
    reports = []
    means = path.train_epoch(shuffle_epoch(20, 1, 1), lambda *report: reports.append(report))
    assert np.isfinite(means.loss)
    assert not reports  # an epoch is one call
