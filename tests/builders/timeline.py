"""When what happens in a built run: its epochs, and the windows around them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from wbcbench.core.record import Epoch, TrainingLoop
from wbcbench.core.window import Window

EPOCH_S = 10.0
VALIDATION_S = 1.0
START_S = 100.0  # of `train`, on the monotonic clock


def make_epochs(
    accuracies: Sequence[float | None] = (0.50, 0.70, 0.82, 0.81),
    *,
    start_s: float = START_S,
    epoch_s: float | Sequence[float] = EPOCH_S,
    validation_s: float = VALIDATION_S,
    images: int = 8400,
    learning_rate: float = 0.001,
) -> tuple[Epoch, ...]:
    """One epoch for each validation accuracy, each as long as ``epoch_s`` says."""
    lengths_s = [epoch_s] * len(accuracies) if isinstance(epoch_s, float) else epoch_s
    epochs = []
    for i, (accuracy, length_s) in enumerate(zip(accuracies, lengths_s, strict=True)):
        epoch = Epoch(
            index=i + 1,
            start_s=start_s,
            end_s=start_s + length_s,
            evaluate_end_s=start_s + length_s + validation_s,
            loss=1.2 / (i + 1),
            accuracy=round(min(0.4 + 0.12 * i, 0.97) * images) / images,
            val_loss=1.3 / (i + 1),
            val_accuracy=accuracy,
            val_balanced_accuracy=accuracy,
            images_seen=images,
            learning_rate=learning_rate,
        )
        start_s = epoch.evaluate_end_s
        epochs.append(epoch)
    return tuple(epochs)


def epoch_windows(epochs: Sequence[Epoch]) -> tuple[Window, ...]:
    """The windows of every epoch's training steps, then those of the validation passes."""
    return (
        *(Window(f"epoch-{e.index}", e.start_s, e.end_s) for e in epochs),
        *(
            Window(f"validate-{e.index}", e.end_s, e.evaluate_end_s)
            for e in epochs
            if e.evaluate_end_s > e.end_s
        ),
    )


def make_loops(epochs: Sequence[Epoch], count: int, **scored: object) -> tuple[TrainingLoop, ...]:
    """Trainings like that of ``epochs``, one after the other; none for a single one."""
    last = epochs[-1]
    spans_s = [(epoch.start_s, epoch.end_s) for epoch in epochs]
    loops, t_s = list[TrainingLoop](), last.evaluate_end_s
    for index in range(1, count + 1 if count > 1 else 1):
        loops.append(TrainingLoop(index, tuple(spans_s), last.loss, last.accuracy, **scored))
        lengths_s = [end_s - start_s for start_s, end_s in spans_s]
        edges_s = [t_s, *(t_s := t_s + length_s for length_s in lengths_s)]
        spans_s = list(pairwise(edges_s))
    return tuple(loops)


def make_windows(epochs: Sequence[Epoch], loops: Sequence[TrainingLoop] = ()) -> tuple[Window, ...]:
    """The windows of a run with these epochs, end to end up to a second before the last."""
    start_s = epochs[0].start_s if epochs else START_S
    end_s = epochs[-1].evaluate_end_s if epochs else START_S + 5.0
    end_s = loops[-1].spans_s[-1][1] if loops else end_s
    return (
        Window("idle_cold", start_s - 20.0, start_s - 17.0),
        Window("startup", start_s - 17.0, start_s - 5.0),
        Window("idle_context", start_s - 5.0, start_s - 2.0),
        Window("warmup", start_s - 2.0, start_s),
        Window("train", start_s, end_s),
        *epoch_windows(epochs),
        Window("evaluate", end_s, end_s + 2.0),
        Window("infer-b1", end_s + 2.0, end_s + 5.0),
        Window("infer-b64", end_s + 5.0, end_s + 8.0),
        Window("idle_post", end_s + 9.0, end_s + 12.0),
    )


def add_bill_windows(windows: Sequence[Window]) -> tuple[Window, ...]:
    """The same windows with those that a run has for its bill alone; start-up takes 12 s."""
    at = {each.name: each for each in windows}
    start_s, end_s = at["startup"].start_s, at["startup"].end_s
    edges_s = [start_s, start_s + 6.0, start_s + 7.0, start_s + 9.0, start_s + 10.0, end_s]
    names = ("import", "context", "data", "build", "batch")
    return (
        *windows,
        *(Window(*each) for each in zip(names, edges_s[:-1], edges_s[1:], strict=True)),
        Window("exit", at["infer-b64"].end_s, at["idle_post"].start_s),
        Window("whole_run", at["idle_cold"].start_s, at["idle_post"].end_s),
    )
