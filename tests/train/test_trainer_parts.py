"""Parts of the trainer by themselves: what is fed, what warm-up undoes, what is written."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_folders import image_set
from wbcbench.core.errors import UsageError
from wbcbench.core.messages import Messenger
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.data.dataset import Dataset
from wbcbench.train import inputs, trainer
from wbcbench.train.inputs import HOST, PlacedImages, dataset_facts, divide_dataset, shuffle_epoch
from wbcbench.train.loop import WARM_UP_CALLS, InferenceLoop, NanLossError, Start, train
from wbcbench.train.paths import FitPath
from wbcbench.train.scores import write_predictions
from wbcbench.train.snapshot import Snapshot, digest_weights
from wbcbench.train.stage import Control, Phases, Wire
from wbcbench.train.trainer import pci_bus_id, relevant_environment

pytestmark = pytest.mark.tensorflow

SIZE = 24  # the smallest image that the three poolings leave something of
SPEC = RunSpec(variant="leaky-dropout", batch_size=4, image_size=SIZE, validation="by-photograph")


class TickingClock:
    """Every look takes a tenth of a second."""

    def __init__(self) -> None:
        self.t_s = 0.0

    def now_s(self) -> float:
        self.t_s += 0.1
        return self.t_s

    def sleep_until(self, deadline_s: float) -> None:
        self.t_s = max(self.t_s, deadline_s)


def colourful(n: int, size: int = SIZE):
    """Images of noise, with labels in turn."""
    images = image_set(list(range(n)), [i % 4 for i in range(n)])
    noise = np.random.default_rng(3).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return replace(images, images=noise)


def dataset(train: int, test: int, *, grouped: bool = True) -> Dataset:
    return Dataset(
        dataset_id="custom-0",
        sha256="0" * 64,
        synthetic=False,
        grouped=grouped,
        root=Path("nowhere"),
        image_size=SIZE,
        train=colourful(train),
        test=colourful(test),
        skipped=(),
    )


@pytest.fixture
def float32_again() -> Iterator[None]:
    yield
    keras.config.set_dtype_policy("float32")


class Diverged:
    """A network after a last step that made its weights no numbers: so are its outputs."""

    def probabilities(self, batches: object) -> np.ndarray:
        return np.full((4, 5), np.nan, np.float32)


def test_weights_that_are_no_numbers_after_the_last_step_of_an_epoch_fail_the_run(tmp_path):
    spec = replace(SPEC, validation="published", batch_size=8, epochs=2)
    sets = inputs.Sets(colourful(8), colourful(4), colourful(4))
    said, clock = io.StringIO(), TickingClock()
    messenger = Messenger(said)
    wire = Wire(messenger, Control(os.pipe()[0]), Phases(messenger, lambda: None, clock), clock)
    whole = trainer.make_stage(RunDir(tmp_path), spec, dataset(8, 4), sets, wire, HOST)
    stage = replace(whole, forward=Diverged())
    with pytest.raises(NanLossError, match="validation loss is nan at the end of epoch 1"):
        train(stage, Start(loops=1))
    messages = [json.loads(line) for line in said.getvalue().splitlines()]
    (epoch,) = (message["epoch"] for message in messages if "epoch" in message)
    assert epoch["val_accuracy"] is None and np.isfinite(epoch["loss"])
    edges = [m["mark"] for m in messages if m.get("window") in {"train", "validate-1"}]
    assert edges == ["open", "open", "close", "close"]


@pytest.mark.parametrize("momentum", [0.99, 0.9])
def test_the_momentum_of_batch_normalisation_is_that_of_the_spec(momentum):
    spec = replace(SPEC, variant="relu-batchnorm", batchnorm_momentum=momentum)
    layers = trainer.build_network(spec).layers
    assert {layer.momentum for layer in layers if hasattr(layer, "momentum")} == {momentum}


def everything(model: keras.Model) -> list[np.ndarray]:
    return [np.array(v.numpy()) for v in [*model.variables, *model.optimizer.variables]]


@pytest.mark.usefixtures("float32_again")
@pytest.mark.parametrize(
    ("variant", "precision"), [("leaky-dropout", "float32"), ("relu-batchnorm", "mixed_float16")]
)
def test_warm_up_moves_every_kind_of_variable_and_puts_all_back(
    variant: str, precision: str
) -> None:
    keras.config.set_dtype_policy(precision)
    model = trainer.build_network(replace(SPEC, variant=variant))
    model.optimizer.build(model.trainable_variables)
    before = everything(model)
    snapshot = Snapshot(model)
    path = FitPath(model, PlacedImages(colourful(10), HOST), SPEC.batch_size)
    path.train_epoch(shuffle_epoch(10, SPEC.seed, 1), lambda step, means: None)
    moved = [bool((a != b).any()) for a, b in zip(before, everything(model), strict=True)]
    snapshot.restore()
    assert sum(moved) > len(model.trainable_variables)
    for old, new in zip(before, everything(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_two_networks_of_one_spec_begin_with_equal_weights_whatever_was_drawn_before() -> None:
    first = trainer.build_network(SPEC).get_weights()
    keras.random.normal((3,))
    for one, two in zip(first, trainer.build_network(SPEC).get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_each_epoch_has_its_own_order_of_all_images_and_a_seed_repeats_them_all() -> None:
    orders = [shuffle_epoch(50, 1, epoch).tolist() for epoch in (1, 2, 3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert [shuffle_epoch(50, 1, epoch).tolist() for epoch in (1, 2, 3)] == orders
    assert shuffle_epoch(50, 2, 1).tolist() != orders[0]


def test_weights_depend_on_seed_and_network_and_the_order_on_seed_images_and_batches() -> None:
    def digests(images: int = 30, **changes) -> tuple[str, str]:
        spec = replace(SPEC, **changes)
        weights = digest_weights(trainer.build_network(spec))
        return weights, inputs.digest_image_order(colourful(images), spec)

    weights, order = digests()
    assert digests() == (weights, order)
    assert digests(variant="relu-batchnorm")[1] == order
    for others in (digests(seed=2), digests(variant="relu-batchnorm"), digests(image_size=32)):
        assert others[0] != weights
    for others in (digests(seed=2), digests(images=29), digests(batch_size=5)):
        assert others[1] != order


def test_labels_stand_one_column_to_the_right_and_pixels_between_zero_and_one() -> None:
    images = colourful(4)
    pixels, labels = PlacedImages(images, HOST).batch(tf.constant([2, 0], tf.int64))
    assert np.argmax(labels, axis=1).tolist() == [3, 1]
    assert labels.shape == (2, 5)
    np.testing.assert_array_equal(
        pixels, images.images[[2, 0]].astype(np.float32) * np.float32(1 / 255)
    )


def test_a_batch_larger_than_the_training_set_is_refused() -> None:
    with pytest.raises(UsageError, match="--batch-size"):
        divide_dataset(dataset(12, 8), replace(SPEC, batch_size=12))


def test_the_published_split_trains_on_everything_and_watches_test() -> None:
    whole = dataset(12, 8)
    sets = divide_dataset(whole, replace(SPEC, validation="published"))
    assert (len(sets.train), sets.validation) == (12, whole.test)


def test_leaks_are_unknown_where_photographs_are() -> None:
    unknown = dataset(12, 8, grouped=False)
    facts = dataset_facts(unknown, divide_dataset(unknown, SPEC))
    assert facts.n_test_leaky is None


def test_equal_predictions_are_equal_bytes(tmp_path: Path) -> None:
    outputs = np.random.default_rng(1).dirichlet(np.ones(5), 8).astype(np.float32)
    for name in ("a", "b"):
        write_predictions(tmp_path / name, colourful(8), outputs)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_inference_goes_round_the_images_in_batches_of_one_size() -> None:
    seen: list[np.ndarray] = []
    clock = TickingClock()
    told = io.StringIO()
    loop = InferenceLoop(seen.append, np.arange(5, dtype=np.uint8))
    made = loop.measure(Phases(Messenger(told), lambda: None, clock), clock, 3, 1.0)
    assert made.window == "infer-b3"
    assert made.images == 3 * (len(seen) - WARM_UP_CALLS)
    assert made.images > 0
    assert np.concatenate(seen).tolist() == [i % 5 for i in range(3 * len(seen))]


def test_a_window_whose_work_fails_stays_open() -> None:
    told = io.StringIO()
    phases = Phases(Messenger(told), lambda: None, TickingClock())
    with pytest.raises(ValueError, match="odd"), phases.window("train"):
        raise ValueError("odd")
    assert [json.loads(line)["mark"] for line in told.getvalue().splitlines()] == ["open"]


def test_what_is_entered_lasts_until_the_next_window_begins_or_the_outer_one_ends() -> None:
    told = io.StringIO()
    phases = Phases(Messenger(told), lambda: None, TickingClock(), entered="import")
    phases.enter("data", 1.0)
    phases.enter("build", 2.0)
    phases.close("startup", 3.0)
    phases.open("evaluate", 4.0)
    phases.close("evaluate", 5.0)
    phases.open("infer-b1", 6.0)
    marks = [json.loads(line) for line in told.getvalue().splitlines()]
    assert [(each["mark"], each["window"], each["t_s"]) for each in marks] == [
        ("close", "import", 1.0),
        ("open", "data", 1.0),
        ("close", "data", 2.0),
        ("open", "build", 2.0),
        ("close", "build", 3.0),
        ("close", "startup", 3.0),
        ("open", "evaluate", 4.0),
        ("close", "evaluate", 5.0),
        ("open", "write", 5.0),
        ("close", "write", 6.0),
        ("open", "infer-b1", 6.0),
    ]


def test_every_edge_is_stamped_after_the_devices_are_idle() -> None:
    clock = TickingClock()
    synchronised: list[float] = []
    phases = Phases(Messenger(io.StringIO()), lambda: synchronised.append(clock.now_s()), clock)
    assert phases.edge_s() > synchronised[-1]


def test_words_torn_over_two_reads_are_heard() -> None:
    ours, theirs = os.pipe()
    control = Control(ours)
    for part in (b"g", b"o\n"):
        os.write(theirs, part)
    assert control.wait_for_go()
    control.release()
    os.close(theirs)


def test_stop_before_go_means_not_to_train() -> None:
    ours, theirs = os.pipe()
    control = Control(ours)
    os.write(theirs, b"stop\n")
    assert not control.wait_for_go()
    assert control.is_stopping
    control.release()
    os.close(theirs)


@pytest.mark.parametrize(
    ("description", "bus_id"),
    [
        (
            "device: 0, name: NVIDIA A100-SXM4-40GB, pci bus id: 0000:07:00.0, compute "
            "capability: 8.0",
            "00000000:07:00.0",
        ),
        (
            "device: 0, name: X, pci bus id: 00000001:c1:00.0, compute capability: 9.0",
            "00000001:C1:00.0",
        ),
        ("", None),
    ],
)
def test_the_bus_id_is_found_in_tensorflows_description(
    description: str, bus_id: str | None
) -> None:
    assert pci_bus_id(description) == bus_id


def test_only_variables_that_change_the_computation_are_recorded() -> None:
    variables = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CLI_CONFIG_FILE": "x", "HOME": "/home/me"}
    assert relevant_environment(variables) == {"TF_ENABLE_ONEDNN_OPTS": "1"}
