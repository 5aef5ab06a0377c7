"""Everything one run's phases work with, once start-up is over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.core.run_folder import Messenger, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.window import Clock
from wbcbench.data.dataset import Dataset
from wbcbench.train.control import Control
from wbcbench.train.feed import Batches
from wbcbench.train.forward import Forward
from wbcbench.train.phases import Phases
from wbcbench.train.sets import Sets

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class Wire:
    """How a phase talks: marks and messages out, words in, the clock."""

    messenger: Messenger
    control: Control
    phases: Phases
    clock: Clock

    def progress(self, phase: str) -> None:
        """Tell that ``phase`` begins."""
        self.messenger.send({"progress": {"phase": phase}})


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Data, network and wire of one run.

    Attributes:
        run, spec: The folder and what was asked.
        dataset, sets: All images, and which of them are for what.
        model: The compiled network.
        forward: Its forward pass.
        batches: The pipelines that feed both.
        wire: How to talk.
    """

    run: RunDir
    spec: RunSpec
    dataset: Dataset
    sets: Sets
    model: keras.Model
    forward: Forward
    batches: Batches
    wire: Wire

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of one epoch; the last may be a smaller batch."""
        return math.ceil(len(self.sets.train) / self.spec.batch_size)
