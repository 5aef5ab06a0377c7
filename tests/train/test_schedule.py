"""Learning rates that change with the steps: the formula, Keras' own, and what a run is given."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from program import SHORT, only_run, wbcbench
from wbcbench.bundle.verify.training import find_in_training
from wbcbench.core.spec import RunSpec
from wbcbench.train import trainer
from wbcbench.train.schedule import build_learning_rate, learning_rate_at

SPEC = RunSpec(variant="leaky-dropout", image_size=32, learning_rate=0.003)
SCHEDULES = ("constant", "cosine", "one-cycle")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 3900])
def test_keras_follows_the_formula_at_every_step(schedule: str, steps: int) -> None:
    spec = replace(SPEC, schedule=schedule)
    adam = keras.optimizers.Adam(build_learning_rate(spec, steps))
    for step in {0, 1, steps // 3, steps // 2, steps - 1, steps}:
        adam.iterations.assign(step)
        expected = learning_rate_at(spec, step, steps)
        assert float(adam.learning_rate) == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("schedule", "first", "last"), [("constant", 1, 1), ("cosine", 1, 0), ("one-cycle", 1 / 25, 0)]
)
def test_a_schedule_reaches_the_rate_of_the_spec_and_no_more(
    schedule: str, first: float, last: float
) -> None:
    spec = replace(SPEC, schedule=schedule)
    rates = [learning_rate_at(spec, step, 100) / spec.learning_rate for step in range(101)]
    assert max(rates) == pytest.approx(1)
    assert (rates[0], rates[-1]) == pytest.approx((first, last), abs=1e-12)


def test_one_cycle_rises_for_three_tenths_of_the_steps() -> None:
    rates = [learning_rate_at(replace(SPEC, schedule="one-cycle"), k, 100) for k in range(101)]
    assert int(np.argmax(rates)) == 30
    assert rates == [*sorted(rates[:31]), *sorted(rates[31:], reverse=True)]


def test_a_compiled_step_takes_the_rate_of_its_own_step() -> None:
    spec = replace(SPEC, schedule="cosine")
    model = trainer.build_network(spec, steps=4)
    optimizer = model.optimizer
    rates: list[float] = []

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        model.train_step((images, labels))
        return optimizer.learning_rate

    images, labels = tf.zeros((2, 32, 32, 3)), tf.one_hot([1, 2], 5)
    rates = [float(step(images, labels)) for _ in range(4)]
    expected = [0.5 * 0.003 * (1 + math.cos(math.pi * k / 4)) for k in (1, 2, 3, 4)]
    assert rates == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.tensorflow
@pytest.mark.parametrize("path", ["resident", "fit"])
def test_a_run_follows_its_schedule_and_a_changed_one_is_found(
    path: str, cells: Path, tmp_path: Path
) -> None:
    options = ("--epochs", "3", "--schedule", "one-cycle", "--path", path)
    ended = wbcbench(
        "run", "--variant", "relu-dropout", "--data", str(cells), *SHORT, *options,
        "--results", str(tmp_path), "--meters", "simulated",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    record = only_run(tmp_path).read_record()
    steps = record.model.steps_per_epoch
    rates = [learning_rate_at(record.spec, steps * k, steps * 3) for k in (1, 2, 3)]
    stated = [epoch.learning_rate for epoch in record.epochs]
    assert stated == pytest.approx(rates, rel=1e-5, abs=1e-9)
    assert not [text for text in find_in_training(record, None) if "learning rate" in text]
    forged = replace(record, spec=replace(record.spec, schedule="cosine"))
    assert [text for text in find_in_training(forged, None) if "learning rate" in text]
