"""Contradictions inside a training: its network, its counts, its epochs, the windows around them.

All of it follows from the spec and from what the trainer does in every run, so that who edits one
number of the evidence meets another one that knew it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from statistics import median

import numpy as np

from wbcbench.bundle.open import Predictions
from wbcbench.core import window
from wbcbench.core.record import Epoch, RunRecord
from wbcbench.data.read import PUBLISHED_SHA256
from wbcbench.data.splits import published_images
from wbcbench.registry import VARIANTS, load_part
from wbcbench.train.schedule import learning_rate_at
from wbcbench.train.variants import ModelSettings, count_network

_FLOAT32 = 1e-6  # what the rounding of a single number may come to, as a share
_SLACK_S = 1e-3
_COUNT_SLACK = 0.02  # of an image
_MOST = {"accuracy": 1e5, "val_accuracy": 1e9, "val_balanced_accuracy": 1e9}
"""Beyond so many images a share no longer tells their number; Keras' are in single precision."""
_SAME_IMAGES, _SAME_SHARE, _SAME_LOSS, _LEAST_LOSS = 2, 0.002, 0.005, 1e-4
"""The last validation and the test are one forward pass twice, up to rounding."""
_SUM_SLACK = 1e-4
_GRID, _GRID_SLACK, _GRID_FEWEST = 1e-4, 1e-7, 50
_SLOWER, _SLOWER_S = 1.6, 0.2
_RESTORED_S, _RESTORED_SHARE, _LOOP_FASTER = 0.05, 0.2, 3.0
"""A loop begins with weights that are put back; on a busy machine the next may be slower."""
_BATCH_FASTER, _BATCH_SLOWER = 0.4, 3.0
_RATE_CPU, _RATE_GPU, _PASS_S = 4.0, 30.0, 0.25  # a GPU waits for its images in short passes
CONTENDED = frozenset({
    "shared-board", "shared-machine", "shared-processor", "busy-processor", "foreign-process",
})  # fmt: skip


def find_in_training(record: RunRecord, predictions: Predictions | None) -> Iterator[str]:
    """What no training can have left, as sentences without their subject and full stop."""
    yield from _check_network(record)
    yield from _check_counts(record)
    yield from _check_learning_rates(record)
    for epoch in record.epochs:
        yield from _check_shares(record, epoch, predictions)
    if record.status == "done":
        yield from _check_windows(record)
        yield from _check_speed(record)
    if predictions is not None and record.test is not None:
        yield from _check_last_epoch(record)
        yield from _check_probabilities(predictions)


def _check_network(record: RunRecord) -> Iterator[str]:
    """The size of a network of this program, counted layer by layer."""
    model, spec = record.model, record.spec
    if model is None or spec.variant not in VARIANTS:
        return
    settings = ModelSettings(image_size=spec.image_size)
    counts = count_network(load_part("variant", spec.variant), settings) or ()
    names = ("params_total", "params_trainable", "flops_per_image")[: len(counts)]
    for name, count in zip(names, counts, strict=True):
        stated = getattr(model, name)
        if stated is not None and stated != count:
            yield f"{name} is {stated:,}, but its network has {count:,}"


def _check_counts(record: RunRecord) -> Iterator[str]:
    """Images, steps and epochs."""
    spec, data, model = record.spec, record.dataset, record.model
    if data and model and model.steps_per_epoch != math.ceil(data.n_train / spec.batch_size):
        yield f"{model.steps_per_epoch} steps an epoch do not feed {data.n_train:,} images"
    if data and spec.validation == "published" and data.n_val != data.n_test:
        yield f"it validated on {data.n_val:,} images, but on TEST, which has {data.n_test:,}"
    if data and data.sha256 == PUBLISHED_SHA256 and not data.skipped:
        held_out = 0 if spec.validation == "published" else data.n_val
        if data.n_train + held_out != (published := _count_published_train()):
            yield (
                f"{data.n_train:,} images to train on and {held_out:,} held out are not the "
                f"{published:,} of TRAIN"
            )
    if [epoch.index for epoch in record.epochs] != list(range(1, len(record.epochs) + 1)):
        yield "its epochs are not numbered 1, 2, 3 …"
    for epoch in record.epochs:
        if data and epoch.images_seen != data.n_train:
            yield f"epoch {epoch.index} saw {epoch.images_seen:,} of {data.n_train:,} images"
    if record.test and len(record.epochs) != spec.epochs:
        yield f"it was tested after {len(record.epochs)} of {spec.epochs} epochs"
    if record.test and data and record.test.images != data.n_test:
        yield f"{record.test.images:,} images were tested, but TEST has {data.n_test:,}"
    for each in record.inference:
        if each.images % each.batch_size or each.window != window.infer(each.batch_size):
            yield f"{each.window} has {each.images:,} images, not batches of {each.batch_size}"


def _check_learning_rates(record: RunRecord) -> Iterator[str]:
    """What each epoch ended with."""
    spec, steps = record.spec, record.model.steps_per_epoch if record.model else None
    # Half precision leaves out the steps whose gradients overflow, and a schedule waits for them.
    if spec.schedule != "constant" and (not steps or spec.precision == "mixed_float16"):
        return
    for epoch in record.epochs:
        rate = learning_rate_at(spec, epoch.index * (steps or 1), spec.epochs * (steps or 1))
        if abs(epoch.learning_rate - rate) > _FLOAT32 * spec.learning_rate:
            yield (
                f"epoch {epoch.index} had the learning rate {epoch.learning_rate:g}, not {rate:g}"
            )


@cache
def _count_published_train() -> int:
    return sum(image.name.startswith("TRAIN/") for image in published_images().values())


def _check_shares(
    record: RunRecord, epoch: Epoch, predictions: Predictions | None
) -> Iterator[str]:
    """Accuracies are counts of images: a share that no count gives was not counted."""
    data = record.dataset
    if data is None:
        return
    units = {"accuracy": data.n_train, "val_accuracy": data.n_val}
    if record.spec.validation == "published" and predictions is not None:
        sizes = [*Counter(predictions.y_true).values()]
        units["val_balanced_accuracy"] = len(sizes) * math.lcm(*sizes)
        yield from _check_balance(epoch, sizes)
    for name, unit in units.items():
        value, most = getattr(epoch, name), _MOST[name]
        if value is not None and 0 < unit < most:
            count = value * unit
            if abs(count - round(count)) > _COUNT_SLACK or not 0 <= value <= 1:
                yield f"no number of images right gives the {name} of epoch {epoch.index}"


def _check_balance(epoch: Epoch, sizes: Sequence[int]) -> Iterator[str]:
    """With all that is right in the smallest class the mean recall is highest."""
    share, balanced = epoch.val_accuracy, epoch.val_balanced_accuracy
    if share is None or balanced is None or not sizes:
        return
    right = share * sum(sizes) / len(sizes)
    if not right / max(sizes) - _FLOAT32 <= balanced <= right / min(sizes) + _FLOAT32:
        yield f"accuracy and balanced accuracy of epoch {epoch.index} are not of one validation"


def _check_last_epoch(record: RunRecord) -> Iterator[str]:
    """What is tested are the weights after the last epoch, which TEST validated a moment before."""
    last, test = record.epochs[-1] if record.epochs else None, record.test
    if last is None or test is None or record.spec.validation != "published":
        return
    apart = abs((last.val_accuracy or 0.0) * test.images - test.correct)
    if last.val_accuracy is not None and apart > max(_SAME_IMAGES, _SAME_SHARE * test.images):
        yield (
            f"TEST was scored twice with the same weights: accuracy {last.val_accuracy:.4f} after "
            f"the last epoch, {test.accuracy:.4f} from the predictions"
        )
        return
    if last.val_loss is None or test.loss is None:
        return
    if not math.isclose(last.val_loss, test.loss, rel_tol=_SAME_LOSS, abs_tol=_LEAST_LOSS):
        yield (
            f"TEST was scored twice with the same weights: loss {last.val_loss:.4f} after the "
            f"last epoch, {test.loss:.4f} from the predictions"
        )


def _check_probabilities(predictions: Predictions) -> Iterator[str]:
    """Outputs of a softmax in single precision, whatever the precision before it."""
    values = predictions.probabilities.astype(np.float64)
    if np.abs(values.sum(axis=1) - 1).max(initial=0) > _SUM_SLACK:
        yield "the probabilities of an image do not add up to one as closely as a softmax does"
    inner = values[(values > _GRID) & (values < 1 - _GRID)]
    steps = inner / _GRID
    if len(inner) >= _GRID_FEWEST and (np.abs(steps - np.round(steps)) * _GRID < _GRID_SLACK).all():
        yield "every probability is a round number"


def _check_windows(record: RunRecord) -> Iterator[str]:
    """Windows are those of the program, in its order, and an epoch's are its own times."""
    spec, windows = record.spec, {each.name: each for each in record.windows}
    if len(windows) < len(record.windows):
        yield "a window stands twice"
    expected = [
        *([window.IDLE_COLD] if spec.idle_s > 0 else []),
        window.STARTUP,
        *([window.IDLE_CONTEXT] if spec.idle_s > 0 else []),
        *([window.WARMUP] if spec.warmup_steps > 0 else []),
        window.TRAIN,
        window.EVALUATE,
        *([each.window for each in record.inference] if spec.inference_s > 0 else []),
        *([window.IDLE_POST] if window.IDLE_POST in windows else []),  # left out after Ctrl-C
    ]
    if missing := [name for name in expected if name not in windows]:
        yield f"it has no window {missing[0]}"
        return
    for before, after in pairwise(expected):
        if windows[after].start_s < windows[before].end_s:
            yield f"{after} begins before {before} ends"
    for name in expected:
        least_s = spec.idle_s if window.is_idle(name) else spec.inference_s
        is_timed = window.is_idle(name) or window.phase(name) == window.INFERENCE_PHASE
        if is_timed and windows[name].duration_s < least_s - _SLACK_S:
            yield f"{name} lasts {windows[name].duration_s:.3f} s, less than {least_s:g} s"
    yield from _check_epoch_windows(record)
    yield from _check_loops(record)
    yield from _check_bill(record)


def _check_bill(record: RunRecord) -> Iterator[str]:
    """Windows lie in the whole run, and the parts of the start-up in it, one after the other."""
    windows = {each.name: each for each in record.windows}
    parts = [windows[name] for name in window.STARTUP_PARTS if name in windows]
    for outer, inner in ((window.RUN, record.windows), (window.STARTUP, parts)):
        if (whole := windows.get(outer)) is None:
            continue
        outside = (e for e in inner if e.start_s < whole.start_s or e.end_s > whole.end_s)
        yield from (f"{each.name} does not lie in {outer}" for each in outside)
    for before, after in pairwise(sorted(parts, key=lambda each: each.start_s)):
        if after.start_s < before.end_s:
            yield f"{after.name} begins before {before.name} ends"


def _check_epoch_windows(record: RunRecord) -> Iterator[str]:
    windows = {each.name: (each.start_s, each.end_s) for each in record.windows}
    spans = dict[str, tuple[float, float]]()
    for epoch in record.epochs:
        spans[window.epoch(epoch.index)] = (epoch.start_s, epoch.end_s)
        spans[window.validate(epoch.index)] = (epoch.end_s, epoch.evaluate_end_s)
    if record.epochs:
        end_s = (
            record.loops[-1].spans_s[-1][1] if record.loops else record.epochs[-1].evaluate_end_s
        )
        spans[window.TRAIN] = (record.epochs[0].start_s, end_s)
    for name, span in spans.items():
        if windows.get(name) != span:
            yield f"the window {name} is not the time that its epochs tell"
    for before, after in pairwise(record.epochs):
        if after.start_s < before.evaluate_end_s:
            yield f"epoch {after.index} begins before epoch {before.index} was validated"


def _check_loops(record: RunRecord) -> Iterator[str]:
    """Further trainings fill the window with the same steps, one after the other."""
    asked, loops = record.spec.loops, record.loops
    if isinstance(asked, int) and asked != record.loop_count:
        yield f"{asked} loops were asked for, and {record.loop_count} are stated"
    if not loops:
        return
    if [loop.index for loop in loops] != list(range(1, len(loops) + 1)):
        yield "its loops are not numbered 1, 2, 3 …"
    if any(len(loop.spans_s) != len(record.epochs) for loop in loops):
        yield "its loops have not the same epochs"
        return
    if loops[0].spans_s != tuple((epoch.start_s, epoch.end_s) for epoch in record.epochs):
        yield "its first loop is not the training whose epochs are stated"
    spans_s = [span for loop in loops for span in loop.spans_s]
    if any(after[0] < before[1] for before, after in pairwise(spans_s)):
        yield "its loops overlap"
    steps_s = [sum(end_s - start_s for start_s, end_s in loop.spans_s) for loop in loops]
    wasted_s = loops[-1].spans_s[-1][1] - record.epochs[-1].evaluate_end_s - sum(steps_s[1:])
    if wasted_s > (len(loops) - 1) * (_RESTORED_S + _RESTORED_SHARE * median(steps_s)):
        yield f"{wasted_s:.1f} s between its loops are in none of them"
    if min(steps_s) < median(steps_s) / _LOOP_FASTER:
        yield f"a loop took {min(steps_s):.3g} s, but half of them {median(steps_s):.3g} s or more"
    if record.spec.deterministic and len({(loop.loss, loop.accuracy) for loop in loops}) > 1:
        yield "its loops differ, though its operations are deterministic"
    test = record.test.accuracy if record.test else None
    if test is not None and loops[0].test_accuracy not in {None, test}:
        yield f"its first loop has a TEST accuracy of {loops[0].test_accuracy:g}, not {test:g}"


def _check_speed(record: RunRecord) -> Iterator[str]:
    """One network forwards images at one pace, in whichever window."""
    data, evaluate = record.dataset, record.window(window.EVALUATE)
    if data is None or evaluate is None:
        return
    # On a machine that others used, windows beside each other may differ more.
    allowance = 2.0 if {warning.code for warning in record.warnings} & CONTENDED else 1.0
    passes_s = [epoch.evaluate_end_s - epoch.end_s for epoch in record.epochs]
    expected_s = evaluate.duration_s * data.n_val / max(data.n_test, 1)
    if len(passes_s) > 1 and min(passes_s) > allowance * _SLOWER * expected_s + _SLOWER_S:
        yield (
            f"every validation took at least {min(passes_s):.1f} s, but the same work takes "
            f"{expected_s:.1f} s in {window.EVALUATE}"
        )
    batch_s = {
        each.batch_size: span.duration_s * each.batch_size / each.images
        for each in record.inference
        if (span := record.window(each.window)) is not None and each.images > 0
    }
    one_s, most = batch_s.get(1), max(batch_s, default=1)
    if most == 1:
        return
    share = batch_s[most] / one_s if one_s else 1.0
    if not _BATCH_FASTER / allowance < share < _BATCH_SLOWER * allowance * most:
        yield f"a batch of {most} took {share:.2g} times as long as one image"
    quickest_s = min(passes_s, default=0.0)
    ratio = quickest_s / max(data.n_val, 1) * most / batch_s[most]
    if quickest_s >= _PASS_S and ratio > allowance * (
        _RATE_GPU if "GPU" in record.device else _RATE_CPU
    ):
        yield f"{window.infer(most)} is {ratio:.0f} times as fast as the validation is"
