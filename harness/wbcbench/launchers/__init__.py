"""What starts runs: ``launch(run_dirs) -> Iterator[Path]`` yields each folder when its run ended.

A launcher runs ``wbcbench work DIR`` for every folder and says only *ended*; what came of it is
in the folder. No record there means the run failed. To add an engine: one file here and a line in
``catalog.LAUNCHERS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol


class Launcher(Protocol):
    """An engine that carries out runs, each in a process of its own."""

    def __call__(self, run_dirs: Sequence[Path], options: Sequence[str]) -> Iterator[Path]:
        """Carry out every run; ``options`` are passed to ``wbcbench work``."""
        ...
