"""What starts runs: ``launch(run_dirs) -> Iterator[Path]`` yields each folder when its run ended.

A launcher runs ``wbcbench work DIR`` for every folder and says only *ended*; what came of it is
in the folder. No record there means the run failed. To add an engine: one file here and a line in
``registry.LAUNCHERS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol


class Launcher(Protocol):
    """An engine that carries out runs, each in a process of its own."""

    @property
    def is_queue(self) -> bool:
        """Whether a run may wait, or run on another machine, beyond the end of the submitter."""

    def __call__(
        self, run_dirs: Sequence[Path], options: Sequence[str], host_lock: int | None = None
    ) -> Iterator[Path]:
        """Carry out every run.

        Args:
            run_dirs: Their folders.
            options: Passed to ``wbcbench work``.
            host_lock: The open file by which we hold this machine, for the run's process to go
                on holding; ``None`` for a queue, and where we hold nothing.
        """
