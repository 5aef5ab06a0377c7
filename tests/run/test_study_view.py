"""What a person sees of a study while one of its runs goes on."""

from __future__ import annotations

import io

from rich.console import Console

from builders.timeline import make_epochs
from wbcbench.run.display import LinesView, StudyView
from wbcbench.run.live_state import LiveState
from wbcbench.run.panel import PanelView

NOW = LiveState(
    run_id="relu-dropout-s1-0123abcd", phase="train", epoch=2, epochs=4,
    step=3, steps=9, power_w=(200.0, 210.0), energy_j=1000.0, left_s=20.0, left_j=4000.0,
)  # fmt: skip
PLACE = "run 3/12, block 1/3"


def lines(view_of: LinesView, after_s: float | None, after_j: float | None) -> StudyView:
    return StudyView(view_of, PLACE, after_s, after_j)


def test_a_line_says_the_place_and_what_is_left_of_the_study() -> None:
    out = io.StringIO()
    lines(LinesView(out), 100.0, 2000.0).show_epoch(make_epochs()[1], NOW)
    said = out.getvalue()
    assert f"{PLACE}: relu-dropout-s1-0123abcd epoch 2/4" in said
    assert "left=20.0s study_left=2min00s" in said


def test_what_is_left_of_a_study_is_unknown_before_its_first_run() -> None:
    out = io.StringIO()
    lines(LinesView(out), None, None).show_epoch(make_epochs()[1], NOW)
    assert "study_left=unknown" in out.getvalue()


def test_a_single_run_says_nothing_of_a_study() -> None:
    out = io.StringIO()
    LinesView(out).show_epoch(make_epochs()[1], NOW)
    assert "study" not in out.getvalue()


def test_a_long_phase_says_that_it_goes_on() -> None:
    out = io.StringIO()
    view = lines(LinesView(out, heartbeat_s=0.0), 100.0, 2000.0)
    view.show(NOW)
    view.show(NOW)
    first, second = out.getvalue().splitlines()
    assert first.endswith("training")
    assert "training epoch 2/4 step 3/9 power=210W energy=1.00kJ left=20.0s" in second


def test_between_heartbeats_a_phase_is_silent() -> None:
    out = io.StringIO()
    view = LinesView(out, heartbeat_s=3600.0)
    for _ in range(5):
        view.show(NOW)
    assert len(out.getvalue().splitlines()) == 1


def test_the_panel_has_a_row_for_the_study() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    view = StudyView(PanelView(console), PLACE, 100.0, 2000.0)
    view.show(NOW)
    view.close()
    assert PLACE in out.getvalue()
    assert "2 min 00 s, 6.00 kJ left" in out.getvalue()
