"""Sentences on the way to a result, and the bar while images are prepared; on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


def aloud(text: str) -> None:
    """Say one sentence."""
    print(text, file=sys.stderr, flush=True)


def silent(_: str) -> None:
    """``--quiet`` and ``--json``: say nothing on the way."""


@contextmanager
def preparing(say: Say) -> Iterator[Progress]:
    """Follow the preparation of images: a bar on a terminal, tenths in a file or a pipe."""
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if say is silent or not is_terminal:
        yield _tenths(say)
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True, refresh_per_second=2) as bar:
        task = bar.add_task("preparing images", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _tenths(say: Say) -> Progress:
    told = 0

    def on_progress(done: int, total: int) -> None:
        nonlocal told
        tenth = 10 * done // max(total, 1)
        if tenth > told:
            told = tenth
            say(f"preparing images: {done} of {total}")

    return on_progress
