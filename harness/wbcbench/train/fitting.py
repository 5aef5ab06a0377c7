"""Warm-up and training of one run."""

from __future__ import annotations

from wbcbench.core.record import Epoch, Scores
from wbcbench.core.window import WARMUP
from wbcbench.data.dataset import CLASSES
from wbcbench.train import feed
from wbcbench.train.epochs import EpochListeners, EpochMarks
from wbcbench.train.progress import Progress
from wbcbench.train.scores import score
from wbcbench.train.stage import Stage
from wbcbench.train.tensorboard_log import EPOCHS_FILE, ScalarLog, add_epoch
from wbcbench.train.warmup import excerpt, undone


def warm_up(stage: Stage) -> None:
    """Make ``warmup_steps`` training steps and a forward pass, and undo them; 0 leaves it out."""
    steps = min(stage.spec.warmup_steps, stage.steps_per_epoch)
    if steps == 0:
        return
    stage.wire.progress(WARMUP)
    few = excerpt(stage.sets.train, steps=steps, batch_size=stage.spec.batch_size)
    with stage.wire.phases.window(WARMUP), undone(stage.model):
        stage.model.fit(feed.training(few, stage.spec), shuffle=False, verbose=0)
        stage.forward.probabilities(feed.evaluation(few))


def train(stage: Stage) -> bool:
    """Train; return whether every epoch was made.

    Raises:
        NanLossError: The loss of an epoch is not finite.
    """
    spec, wire = stage.spec, stage.wire
    progress = Progress(wire.messenger, wire.clock, epochs=spec.epochs, steps=stage.steps_per_epoch)
    with ScalarLog(stage.run.tensorboard_dir / EPOCHS_FILE) as log:
        marks = EpochMarks(
            wire.phases,
            wire.control,
            progress,
            _listeners(stage, log),
            epochs=spec.epochs,
            images=len(stage.sets.train),
        )
        stage.model.fit(
            stage.batches.train,
            epochs=spec.epochs,
            callbacks=[progress, marks],
            shuffle=False,  # the batches come shuffled
            verbose=0,
        )
    return marks.finished == spec.epochs


def _listeners(stage: Stage, log: ScalarLog) -> EpochListeners:
    labels = stage.sets.validation.labels

    def validate() -> Scores:
        probabilities = stage.forward.probabilities(stage.batches.validation)
        return score(probabilities, labels, None, CLASSES)

    def tell(epoch: Epoch) -> None:
        stage.wire.messenger.send({"epoch": epoch})
        add_epoch(log, epoch)

    return EpochListeners(validate, tell)
