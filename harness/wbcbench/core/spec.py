"""What is requested of a run. A ``RunSpec`` is complete: equal specs are the same run.

Knows nothing of how a run is carried out or where it is stored.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
Split = Literal["by-photograph", "published"]
TrainingPath = Literal["resident", "fit"]
Schedule = Literal["constant", "cosine", "one-cycle"]

MOST_LOOPS = 1000
LONGER = 1.05  # than asked for: the trainings that follow may be a little faster

DEFAULT_STUDY = "runs"
"""The study of runs and commands that name none."""

MEASURED = "measured"
"""The study of programs that were measured: no trainings, so that no table or report reads it."""

PLACE = ("order_in_block", "order_global")
"""Fields that say when a run is carried out, not what is requested."""

LATER = {
    "batchnorm_momentum": 0.99, "schedule": "constant", "path": "resident", "loops": None,
    "train_window_s": 60.0,
}  # fmt: skip
"""Fields that earlier specs lack, and their value then: so their digests stay what they were."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run: everything that could change its numbers.

    Attributes:
        study: The study the run belongs to; a folder name under ``results/``.
        variant: A name in ``registry.VARIANTS``; of a measured program, the program's.
        seed: Sets initialisation, shuffling and dropout together.
        block: Which block of the study (one seed, every variant once); 0 for a single run.
        block_attempt: 1, or higher when an invalid run made the whole block repeat.
        order_in_block, order_global: Place in the planned order; 0 for a single run. Where a run
            stands changes nothing of what is requested, so it is no part of its identity.
        repeat: 1, or higher when the same run is carried out again.
        epochs, batch_size, learning_rate, leaky_slope, dropout_conv, dropout_dense,
            batchnorm_momentum: The training.
        schedule: How the learning rate goes: ``constant``; ``cosine`` falls to nothing;
            ``one-cycle`` rises before that. ``learning_rate`` is the highest
            (``train.schedule``).
        image_size: Side of the square input in pixels.
        precision, deterministic: How TensorFlow computes.
        xla: Compile with XLA; ``None``: where a GPU trains on the resident path.
        path: ``resident`` keeps the images on the device and makes an epoch in one call;
            ``fit`` is the plain loop of Keras.
        steps_per_execution: Of ``fit``: training steps in one call into TensorFlow.
        threads: Intra-op threads; ``None`` lets TensorFlow take every core.
        tuned: The faster execution settings of ``run.trainer_process`` (rounding may differ).
        dataset_id, dataset_sha256: Which images; the digest is of their content.
        validation: ``published`` trains on all of TRAIN and validates on TEST, as the published
            report did; ``by-photograph`` holds out photographs of TRAIN and uses TEST at the end.
        validation_fraction, split_seed: Size and draw of the held-out part.
        target_metric, target_value: For energy-to-accuracy; fixed before the run.
        meters: Names in ``registry.METERS``, or ``("auto",)``.
        gpus: Which GPUs to use and to measure; empty = the first visible one, if any.
        interval_s: Sampling period.
        idle_s: Length of each idle window; 0 leaves them out.
        warmup_steps: Training steps before ``train`` whose effect is undone; 0 leaves them out.
        inference_s: Least length of each inference window; 0 leaves them out.
        loops: How often the training is repeated in one window, each time from the same start, so
            that short trainings are measured well. ``"auto"``: as often as fills
            ``train_window_s``, decided after the warm-up; ``None``: auto where a GPU trains, once
            on a processor.
        train_window_s: Least length of that window, for ``"auto"``.
        cooldown_c: Wait until the GPU is no warmer than this many °C; ``None`` does not wait.
        power_limit_w: GPU power limit to set for the run; ``None`` leaves it alone.
        country: ISO 3166 alpha-3 code for the carbon intensity; ``None`` gives a range of grids.
            Once it was ``DEU`` where nobody had set it, which a spec of that time does not tell:
            what it names counts, as what the spec names and not as what the user set.
    """

    variant: str
    seed: int = 1
    study: str = DEFAULT_STUDY
    block: int = 0
    block_attempt: int = 1
    order_in_block: int = 0
    order_global: int = 0
    repeat: int = 1
    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 0.0007
    schedule: Schedule = "constant"
    leaky_slope: float = 0.3
    dropout_conv: float = 0.4
    dropout_dense: float = 0.5
    batchnorm_momentum: float = 0.99
    image_size: int = 80
    precision: Precision = "float32"
    xla: bool | None = None
    path: TrainingPath = "resident"
    deterministic: bool = False
    steps_per_execution: int = 1
    threads: int | None = None
    tuned: bool = True
    dataset_id: str = ""
    dataset_sha256: str = ""
    validation: Split = "published"
    validation_fraction: float = 0.15
    split_seed: int = 1
    target_metric: str = "val_balanced_accuracy"
    target_value: float = 0.75
    meters: tuple[str, ...] = ("auto",)
    gpus: tuple[str, ...] = ()
    interval_s: float = 0.1
    idle_s: float = 3.0
    warmup_steps: int = 8
    inference_s: float = 3.0
    loops: int | Literal["auto"] | None = None
    train_window_s: float = 60.0
    cooldown_c: float | None = None
    power_limit_w: float | None = None
    country: str | None = None

    @property
    def digested(self) -> dict[str, Any]:
        """The fields that digests are of, of plans, too: those of ``LATER`` once they vary."""
        values = {name: getattr(self, name) for name in SPEC_FIELDS}
        return {k: v for k, v in values.items() if k not in LATER or v != LATER[k]}

    @property
    def digest(self) -> str:
        """SHA-256 over what is requested, in canonical JSON: every field but the place."""
        requested = {name: v for name, v in self.digested.items() if name not in PLACE}
        text = json.dumps(requested, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def run_id(self) -> str:
        """``<variant>-s<seed>-<digest8>``."""
        return f"{self.variant}-s{self.seed}-{self.digest[:8]}"

    @property
    def is_program(self) -> bool:
        """Whether a program was measured, of which no training was requested."""
        return self.study == MEASURED

    @property
    def identity(self) -> RunSpec:
        """The spec without its place and repeat: runs of equal identity are the same run."""
        return replace(self, repeat=1, order_in_block=0, order_global=0)


def count_loops(training_s: float, least_s: float) -> int:
    """How many trainings of ``training_s`` seconds are at least ``least_s`` long."""
    if training_s >= least_s:
        return 1
    wanted = LONGER * least_s / training_s if training_s > 0 else math.inf
    return MOST_LOOPS if wanted > MOST_LOOPS else math.ceil(wanted)


SPEC_FIELDS = tuple(field.name for field in fields(RunSpec))

TREATMENTS = (
    "epochs", "batch_size", "learning_rate", "schedule", "leaky_slope", "dropout_conv",
    "dropout_dense", "batchnorm_momentum", "image_size", "precision", "xla", "path",
    "deterministic", "steps_per_execution", "threads", "tuned", "validation",
    "validation_fraction", "power_limit_w",
)  # fmt: skip
"""Fields of a spec that make another configuration."""

NOT_TREATMENTS = (
    "variant", "seed", "study", "block", "block_attempt", "order_in_block", "order_global",
    "repeat", "dataset_id", "dataset_sha256", "split_seed", "target_metric", "target_value",
    "meters", "gpus", "interval_s", "idle_s", "warmup_steps", "inference_s", "loops",
    "train_window_s", "cooldown_c", "country",
)  # fmt: skip
"""Fields that say which run it is, what its data are, or how it is measured."""
