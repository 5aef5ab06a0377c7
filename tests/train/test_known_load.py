"""The program that loads a board: it is on when it was told to be, and says when it was."""

import itertools
import os
import signal
import time

import pytest

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.window import MonotonicClock
from wbcbench.doctor.load_program import LoadProgram
from wbcbench.energy.load_plan import Bout


def test_spans_are_played_in_order_and_stamped_and_a_program_that_dies_is_told() -> None:
    """The real one, on the processor; how well it keeps its times is not for a shared machine."""
    watched = itertools.count()
    clock = MonotonicClock()
    with LoadProgram(None, clock, lambda: next(watched)) as program:
        assert program.loaded_on == "/CPU:0"
        assert next(watched) > 1  # who waits for it is heard meanwhile
        bout = Bout("square", ((0.0, 0.02), (0.1, 0.02), (0.2, 0.1)), 0.8)
        before_s = time.monotonic()
        for where in ("board", "processor"):
            played = program.play(Bout(where, bout.spans, bout.length_s, where))
            assert (played.name, played.where, len(played.spans)) == (where, where, 3)
            assert before_s <= played.start_s <= played.spans[0][0]
            for (at_s, _), (start_s, end_s) in zip(bout.spans, played.spans, strict=True):
                assert played.start_s + at_s <= start_s < end_s
            edges_s = [edge for span in played.spans for edge in span]
            assert edges_s == sorted(edges_s)
            assert played.end_s >= played.spans[-1][1] + 0.4
        os.kill(program._process.pid, signal.SIGKILL)
        with pytest.raises(CannotMeasureError, match="The program that loads the board ended"):
            program.play(bout)


def test_what_is_raised_while_it_is_waited_for_ends_it() -> None:
    def fail() -> None:
        raise CannotMeasureError("the board is gone")

    program = LoadProgram(None, MonotonicClock(), fail)
    with pytest.raises(CannotMeasureError, match="the board is gone"):
        program.__enter__()
    assert program._process.poll() is not None
