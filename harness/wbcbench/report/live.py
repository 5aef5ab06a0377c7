"""Make a report again whenever a run of its study has ended, while a server shows it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wbcbench.core.errors import WbcbenchError
from wbcbench.core.run_folder import study_runs
from wbcbench.report.publish import refresh
from wbcbench.report.server import Server

Sign = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A report that is kept up to date.

    Attributes:
        results, study, out, formats: As for ``publish``.
        period_s: Between two looks at the study.
    """

    results: Path
    study: str
    out: Path
    formats: Sequence[str]
    period_s: float

    def sign(self) -> Sign:
        """Changes when a run begins or ends, or the plan is written anew; cheap to make."""
        runs = study_runs(self.results, self.study)
        plans = sorted((self.results / self.study).glob("plan*.json"))
        paths = [*plans, *(run.record_path if run.is_finished else run.path for run in runs)]
        return tuple(_look(path) for path in paths)

    def refresh(self, tell: Callable[[str], None]) -> None:
        """Make it if something changed; what is in the way is told and tried again later."""
        try:
            made = refresh(self.results, self.study, self.out, self.formats)
        except WbcbenchError as error:
            tell(str(error))
        else:
            if made.built:
                tell(f"{made.files[0]} made anew")


def keep(kept: Kept, server: Server, tell: Callable[[str], None], stop: threading.Event) -> None:
    """Serve and refresh until ``stop`` is set or Ctrl-C; the socket is closed on the way out."""
    answering = threading.Thread(target=server.serve_forever, name="report", daemon=True)
    answering.start()
    last: Sign | None = None
    try:
        while not stop.is_set():
            now = kept.sign()
            if now != last:
                kept.refresh(tell)
                last = now
            stop.wait(kept.period_s)
    finally:
        server.shutdown()
        server.server_close()


def _look(path: Path) -> tuple[str, int, int]:
    """Name, time and size; a folder's time changes with every trace file, so it counts by name."""
    try:
        seen = path.stat()
    except OSError:
        return str(path), 0, 0
    return (str(path), 0, 0) if path.is_dir() else (str(path), seen.st_mtime_ns, seen.st_size)
