"""The trainer as a process: real TensorFlow, a few images, its pipe and its standard input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_folders import write_folder, write_table
from trainer_driver import Message, Told, TrainerUnderTest, train
from wbcbench.core.spec import RunSpec
from wbcbench.data.dataset import CLASSES
from wbcbench.train.stage import ORPHANED
from wbcbench.train.tensorboard_log import EPOCHS_FILE
from wbcbench.train.trainer import failure_of

pytestmark = pytest.mark.tensorflow

PER_CLASS = 7
BATCH_SIZE = 8
SPEC = RunSpec(
    validation="by-photograph",
    variant="leaky-dropout",
    epochs=2,
    batch_size=BATCH_SIZE,
    deterministic=True,
    validation_fraction=0.3,
    idle_s=0.05,
    inference_s=0.05,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 TRAIN and 28 TEST images; every image has a photograph, one TEST image leaks."""
    root = write_folder(tmp_path_factory.mktemp("data") / "cells", per_class=PER_CLASS)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*.jpeg"))
    leaky = next(name for name in names if name.startswith("TEST"))
    write_table(root, {name: (i, i, name == leaky) for i, name in enumerate(names)})
    return root


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Told:
    return train(tmp_path_factory.mktemp("run") / "a", SPEC, data)


def test_images_that_are_others_than_planned_are_not_trained_on(tmp_path: Path, data: Path) -> None:
    told = train(tmp_path / "run", replace(SPEC, dataset_sha256="00" * 32), data)
    assert told.status != 0
    (failure,) = told.all("failure")
    assert "other images here than the run was planned for" in failure["message"]
    assert not told.events.epochs


def test_a_node_with_neither_cache_makes_its_own_where_its_disk_is(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "disk"))
    monkeypatch.setenv("WBCBENCH_CACHE", str(tmp_path / "shared"))
    told = TrainerUnderTest(tmp_path / "run", SPEC, data, cache="$NODE_DISK/wbc").hear()
    assert told.status == 0
    assert len([*(tmp_path / "disk" / "wbc" / "pixels").iterdir()]) == 1
    assert not (tmp_path / "shared" / "pixels").exists()


def metrics(run: Told) -> list[dict[str, float]]:
    """What was learned, without the times at which it happened."""
    return [
        {name: value for name, value in epoch.items() if not name.endswith("_s")}
        for epoch in run.all("epoch")
    ]


def test_an_undisturbed_run_ends_done_with_status_zero(undisturbed: Told) -> None:
    assert undisturbed.status == 0, undisturbed.run.log_path.read_text()
    assert undisturbed.messages[-1] == {"end": "done"}


def test_windows_come_in_order_and_all_are_closed(undisturbed: Told) -> None:
    events = undisturbed.events
    assert [*events.opened] == ["exit"]  # which the recorder closes, when the trainer is gone
    assert [window.name for window in events.windows] == [
        "context",
        "data",
        "build",
        "batch",
        "startup",
        "idle_context",
        "compile",
        "warmup",
        "epoch-1",
        "validate-1",
        "epoch-2",
        "validate-2",
        "train",
        "evaluate",
        "write",
        "compile-inference",
        "infer-b1",
        "infer-b64",
    ]
    assert all(window.duration_s >= 0 for window in events.windows)


def test_train_spans_its_epochs_and_validations_which_share_their_edges(undisturbed: Told) -> None:
    windows = {window.name: window for window in undisturbed.events.windows}
    assert windows["train"].start_s == windows["epoch-1"].start_s
    assert windows["train"].end_s == windows["validate-2"].end_s
    for epoch in undisturbed.events.epochs:
        steps, validation = windows[f"epoch-{epoch.index}"], windows[f"validate-{epoch.index}"]
        assert (steps.start_s, steps.end_s) == (epoch.start_s, epoch.end_s)
        assert (validation.start_s, validation.end_s) == (epoch.end_s, epoch.evaluate_end_s)


def test_two_processes_learn_exactly_the_same_with_and_without_warm_up(
    undisturbed: Told, data: Path, tmp_path: Path
) -> None:
    cold = replace(SPEC, warmup_steps=0, idle_s=0.0, inference_s=0.0)
    told = train(tmp_path / "cold", cold, data)
    assert metrics(told) == metrics(undisturbed)
    assert told.all("scores") == undisturbed.all("scores")
    names = {window.name for window in told.events.windows}
    assert not names & {"warmup", "idle_context", "infer-b1", "infer-b64"}


def test_the_facts_say_what_was_fed_and_what_was_built(undisturbed: Told) -> None:
    data, model = undisturbed.events.dataset, undisturbed.events.model
    assert data is not None
    assert model is not None
    assert (data.n_train + data.n_val, data.n_test, data.n_test_leaky) == (28, 28, 1)
    assert data.n_val >= len(CLASSES)
    assert (model.params_total, model.params_trainable) == (291_173, 291_173)
    assert model.steps_per_epoch == -(-data.n_train // BATCH_SIZE)
    assert (model.optimizer, model.jit_compile) == ("adam", False)
    assert {"python", "tensorflow", "keras", "numpy", "cuda", "cudnn"} <= set(model.versions)


def test_every_epoch_sees_every_training_image(undisturbed: Told) -> None:
    data = undisturbed.events.dataset
    assert data is not None
    assert [epoch.images_seen for epoch in undisturbed.events.epochs] == [data.n_train] * 2


def test_test_is_scored_as_published_and_without_the_leak(undisturbed: Told) -> None:
    scores = undisturbed.events.scores
    assert (scores["test"].images, scores["test"].photographs) == (28, 28)
    assert scores["test_leakage_free"].images == 27


def test_predictions_agree_with_the_scores(undisturbed: Told) -> None:
    table = pq.read_table(undisturbed.run.predictions_path).to_pydict()
    right = [a == b for a, b in zip(table["y_true"], table["y_pred"], strict=True)]
    assert sum(right) == undisturbed.events.scores["test"].correct
    assert table["file"] == sorted(table["file"])
    assert sum(table["also_in_train"]) == 1
    outputs = [table[f"p_{name.lower()}"] for name in ("unused", *CLASSES)]
    assert [sum(row) for row in zip(*outputs, strict=True)] == pytest.approx([1.0] * 28, abs=1e-5)


def test_inference_counts_whole_batches(undisturbed: Told) -> None:
    one, many = undisturbed.events.inference
    assert (one.batch_size, many.batch_size) == (1, 64)
    assert one.images >= 1
    assert many.images >= 64
    assert many.images % 64 == 0


def test_curves_for_tensorboard_are_written(undisturbed: Told) -> None:
    assert (undisturbed.run.tensorboard_dir / EPOCHS_FILE).stat().st_size > 0


def test_a_trainer_whose_watcher_died_does_not_even_start_up(data: Path, tmp_path: Path) -> None:
    trainer = TrainerUnderTest(tmp_path / "run", SPEC, data)
    trainer.hang_up()
    told = trainer.hear()
    assert told.status == ORPHANED
    assert not told.all("model")


def test_the_published_split_watches_test_itself_with_other_settings(
    data: Path, tmp_path: Path
) -> None:
    spec = replace(
        SPEC,
        variant="relu-batchnorm",
        validation="published",
        precision="mixed_bfloat16",
        deterministic=False,
        steps_per_execution=3,
        threads=1,
        epochs=1,
    )
    told = train(tmp_path / "run", spec, data)
    assert told.status == 0, told.run.log_path.read_text()
    events = told.events
    assert events.dataset is not None
    assert (events.dataset.n_train, events.dataset.n_val) == (28, 28)
    assert events.epochs[0].val_accuracy == events.scores["test"].accuracy
    assert events.epochs[0].images_seen == 28


class ResourceExhaustedError(Exception):
    """Named as TensorFlow names it."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError, "out-of-memory"),
        (lambda: ResourceExhaustedError("OOM when allocating"), "out-of-memory"),
        (lambda: ValueError("odd"), "ValueError"),
    ],
)
def test_a_failure_is_named_after_what_happened(error: Callable[[], Exception], kind: str) -> None:
    said = failure_of(error())
    assert said.kind == kind
    assert said.message


# Loops: the training is repeated from the same start, in one window.


@pytest.fixture(scope="module", params=["resident", "fit"])
def looped(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, data: Path
) -> Told:
    spec = replace(SPEC, loops=3, path=request.param)
    return train(tmp_path_factory.mktemp("loops") / "a", spec, data)


def test_the_first_loop_is_the_training_of_the_run(looped: Told, undisturbed: Told) -> None:
    assert looped.status == 0, looped.run.log_path.read_text()
    assert metrics(looped) == metrics(undisturbed)
    assert looped.all("scores") == undisturbed.all("scores")


def test_the_other_loops_repeat_it_in_the_same_window(looped: Told) -> None:
    loops = list(looped.events.loops.values())
    assert [loop.index for loop in loops] == [1, 2, 3]
    assert looped.events.planned_loops == 3
    assert len({(loop.loss, loop.accuracy) for loop in loops}) == 1  # operations are deterministic
    assert len({loop.weights_sha256 for loop in loops}) == 1
    right = looped.events.scores["test"].accuracy
    assert [loop.test_accuracy for loop in loops] == [right] * 3
    windows = {window.name: window for window in looped.events.windows}
    first, *_, last = looped.events.epochs
    spans = [span for loop in loops for span in loop.spans_s]
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert loops[0].spans_s == ((first.start_s, first.end_s), (last.start_s, last.end_s))
    assert windows["train"].start_s == first.start_s
    assert windows["train"].end_s == loops[-1].spans_s[-1][1]
    assert list(windows).index("evaluate") < list(windows).index("evaluate-loops")
    assert list(windows).count("epoch-1") == 1


def test_loops_are_alike_also_without_a_warm_up(
    undisturbed: Told, data: Path, tmp_path: Path
) -> None:
    spec = replace(SPEC, loops=2, warmup_steps=0, idle_s=0.0, inference_s=0.0)
    told = train(tmp_path / "run", spec, data)
    assert metrics(told) == metrics(undisturbed)
    names = [window.name for window in told.events.windows]
    assert "compile" in names and "warmup" not in names
    first, second = (loop.spans_s for loop in told.events.loops.values())
    assert (
        first[0][1] - first[0][0] < 5 * (second[0][1] - second[0][0]) + 0.5
    )  # it compiles nothing


def test_loops_fill_a_window_when_that_is_asked(data: Path, tmp_path: Path) -> None:
    spec = replace(SPEC, loops="auto", train_window_s=1.0, idle_s=0.0, inference_s=0.0)
    told = train(tmp_path / "run", spec, data)
    assert told.status == 0, told.run.log_path.read_text()
    loops = told.events.loops
    assert len(loops) == told.events.planned_loops > 1
    assert metrics(told)[0]["images_seen"] > 0


def test_a_processor_trains_once_unless_asked(undisturbed: Told) -> None:
    assert not undisturbed.all("loops")
    assert not undisturbed.events.loops


def test_a_stop_among_the_loops_ends_the_window_with_the_last_whole_one(
    data: Path, tmp_path: Path
) -> None:
    spec = replace(SPEC, loops=1000, idle_s=0.0, inference_s=0.0)
    trainer = TrainerUnderTest(tmp_path / "run", spec, data)

    def stop(message: Message) -> None:
        if message.get("progress", {}).get("loop", 1) > 2:
            trainer.say("stop")

    told = trainer.hear(stop)
    assert told.messages[-1] == {"end": "interrupted"}
    loops = list(told.events.loops.values())
    assert 2 <= len(loops) < 1000
    windows = {window.name: window for window in told.events.windows}
    assert windows["train"].end_s == loops[-1].spans_s[-1][1]
    assert "evaluate" not in windows
