"""Standard input, output and error of a command, whatever they are connected to.

They may be closed, full, gone (``| head``) or of an encoding that lacks characters, and what is
printed may hold control characters from outside. Nothing of this ends a command: its work and its
exit status are worth more than the words about them.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from wbcbench.core.text import printable

_STREAMS = {1: "stdout", 2: "stderr"}
# What TensorFlow and its libraries print as they start, whatever log level is set: lines of absl
# (``I0000 00:00:…``) and of TensorFlow (``2026-03-01 09:00:00.1: I tensorflow/…``).
_NOISE = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
    rb"|WARNING: All log messages before absl|To enable the following instructions"
)


def guard_streams() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr`` by streams that never fail.

    ``sys.__stdout__`` and ``sys.__stderr__`` are the same but for control characters, which they
    let through: they are for drawing on a terminal.
    """
    open_descriptors()
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 it is open until the end
    for descriptor, name in _STREAMS.items():
        old = getattr(sys, name)
        encoding = old.encoding if old else "utf-8"
        if codecs.lookup(encoding).name == "ascii":
            encoding = "utf-8"  # as Typer does with it
        in_lines = bool(old and old.line_buffering)
        buffer = io.BufferedWriter(_Descriptor(descriptor, "w", closefd=False))
        for place, kind in ((name, _PrintableText), (f"__{name}__", io.TextIOWrapper)):
            # Written through, so that both write into the buffer in the order of their calls.
            stream = kind(buffer, encoding, "replace", "", in_lines, write_through=True)
            setattr(sys, place, stream)


def open_descriptors() -> None:
    """Connect what is closed with nothing, so that no file that is opened is taken for it."""
    for descriptor in (0, *_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:  # then it is the lowest free one, which is the one that is opened
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


@contextmanager
def startup_noise_removed() -> Iterator[None]:
    """Hold back what is written on standard error meanwhile, and then write all but the noise.

    For imports of TensorFlow, whose C++ code writes past ``sys.stderr``.
    """
    import tempfile  # late: it imports modules whose names users give their files

    try:
        shown = os.dup(2)
    except OSError:  # closed, so that nobody sees anything
        yield
        return
    with tempfile.TemporaryFile() as held:
        try:
            if sys.stderr:
                sys.stderr.flush()
            os.dup2(held.fileno(), 2)
            yield
        finally:
            if sys.stderr:
                sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
            held.seek(0)
            with suppress(OSError):
                for line in held:
                    if not _NOISE.match(line):
                        os.write(2, line)


def output_problem() -> str | None:
    """Why not all of standard output was written; ``None`` if it was, or its reader went away."""
    sys.stdout.flush()
    sys.stderr.flush()
    problem = _Descriptor.problems.get(1)
    if problem is None or problem.errno == errno.EPIPE:
        return None
    has_hung_up = problem.errno == errno.EIO and stat.S_ISCHR(os.fstat(1).st_mode)  # a terminal
    return None if has_hung_up else problem.strerror


class _Descriptor(io.FileIO):
    """A stream's file, which drops everything after its first failure; that is kept."""

    problems: ClassVar[dict[int, OSError]] = {}

    def write(self, data: Any) -> int:
        """Write, and wait where the other end set the file to answer at once."""
        while self.fileno() not in self.problems:
            try:
                if (written := super().write(data)) is not None:
                    return written
                select.select([], [self], [])
            except OSError as error:
                self.problems[self.fileno()] = error
        return len(data)


class _PrintableText(io.TextIOWrapper):
    """Text for people: nothing from outside may steer their terminal."""

    def write(self, text: str) -> int:
        """Write, with other characters in place of those that control."""
        return super().write("\t".join(map(printable, text.split("\t"))))
