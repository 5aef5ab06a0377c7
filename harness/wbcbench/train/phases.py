"""Windows as the trainer sees them: synchronise the device, stamp, tell.

TensorFlow returns before an accelerator has done its work. Every edge therefore waits for all
devices first: work that was started inside a window is paid for inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wbcbench.core.run_folder import Messenger
from wbcbench.core.window import Clock


class Phases:
    """Tells the edges of windows."""

    def __init__(self, messenger: Messenger, synchronise: Callable[[], None], clock: Clock) -> None:
        """Tell through ``messenger``; ``synchronise`` returns when the devices are idle."""
        self._messenger = messenger
        self._synchronise = synchronise
        self._clock = clock

    def edge_s(self) -> float:
        """Wait until all devices are idle and return the time of that."""
        self._synchronise()
        return self._clock.now_s()

    def open(self, window: str, t_s: float) -> None:
        """Tell that ``window`` began at ``t_s``."""
        self._messenger.mark("open", window, t_s)

    def close(self, window: str, t_s: float) -> None:
        """Tell that ``window`` ended at ``t_s``."""
        self._messenger.mark("close", window, t_s)

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Open ``name``, do the work, close it.

        When the work raises, the window stays open: the watcher closes it where the trace ends,
        for the joules of a failed phase were spent until then.
        """
        self.open(name, self.edge_s())
        yield
        self.close(name, self.edge_s())

    def idle(self, name: str, duration_s: float) -> None:
        """Do nothing for ``duration_s`` seconds, in a window of its own; nothing at all for 0."""
        if duration_s > 0:
            with self.window(name):
                self._clock.sleep_until(self._clock.now_s() + duration_s)
