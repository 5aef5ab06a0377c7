"""A Keras callback that marks training, epochs and validation on a ``wbcbench.Meter``."""

from __future__ import annotations

from typing import Any

from wbcbench.core import window
from wbcbench.core.errors import UsageError
from wbcbench.core.streams import startup_noise_removed
from wbcbench.measure.meter import Meter

with startup_noise_removed():  # of a process that has not imported TensorFlow before
    import keras


class EpochEnergy(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Opens and closes the windows ``fit``, ``epoch-1``, ``validate-1`` and so on.

    ``epoch-k`` holds the training steps of an epoch, ``validate-k`` the validation pass after
    them, ``fit`` all of the call: more than the ``train`` of a run, which is without validation.
    Devices are synchronised at each edge. No batch hook is overridden: with one, Keras waits for
    the device after every batch, and the joules would be those of another program.
    """

    def __init__(self, meter: Meter, prefix: str = "") -> None:
        """Mark on ``meter``, whose ``with`` block must be around ``fit``.

        Args:
            meter: A running meter.
            prefix: Put before each window's name, to tell a second ``fit`` from the first.

        Raises:
            UsageError: There is no meter, or the prefix is no text.
        """
        given: tuple[object, object] = meter, prefix
        if not isinstance(given[0], Meter) or not isinstance(given[1], str):
            raise UsageError(
                f"EpochEnergy({meter!r}, {prefix!r}): it needs a wbcbench.Meter whose `with` block "
                'is around `fit`, and a prefix in quotes, e.g. EpochEnergy(m, "fine-tune/").'
            )
        super().__init__()
        self._meter, self._prefix = meter, prefix
        self._epoch = 0
        self._open: list[str] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Open ``fit``."""
        self._begin(window.FIT)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Open the training steps of an epoch."""
        self._epoch = epoch + 1
        self._begin(window.epoch(self._epoch))

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Close the training steps; what follows is validation."""
        self._end(window.epoch(self._epoch))
        if self._open:  # not in an `evaluate` outside `fit`
            self._begin(window.validate(self._epoch))

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close the validation pass."""
        self._end(window.validate(self._epoch))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Close the training steps of an epoch without validation."""
        self._end(window.epoch(epoch + 1))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close ``fit``."""
        self._end(window.FIT)

    def _begin(self, name: str) -> None:
        self._meter.open(self._prefix + name)
        self._open.append(name)

    def _end(self, name: str) -> None:
        if name in self._open:
            self._open.remove(name)
            self._meter.close(self._prefix + name)
