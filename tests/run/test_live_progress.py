"""The state of a run while it goes on: seconds and joules that add up, phases, other programs."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field

import pytest
from rich.console import Console

from builders.machine import COUNTER
from builders.run import make_spec
from builders.timeline import make_epochs
from wbcbench.core.text import energy_scale, time_scale
from wbcbench.core.trace import Channel
from wbcbench.core.window import EVALUATE, IDLE_COLD, IDLE_POST, INFERENCE_PHASE, TRAIN
from wbcbench.energy.account import RunEvents
from wbcbench.power.telemetry import OtherLoad
from wbcbench.run.display import LinesView, add_up, describe_others, name_phase
from wbcbench.run.live_state import LiveProgress, LiveState
from wbcbench.run.panel import PanelView

IDLE_W, LOAD_W = 60.0, 280.0
SPEC = make_spec(epochs=4, idle_s=3.0, inference_s=3.0)
# The clock of ``make_epochs``: training begins at 100 s; a run of theirs begins at 80 s.
BEGAN_S, TRAINED_S = 80.0, 100.0
ENDED_S = TRAINED_S + 4 * 11.0


@dataclass
class World:
    """A clock that is set, and a counter that is exact: idle before training, load in it."""

    t_s: float = BEGAN_S
    polled: list[tuple[float, float | None]] = field(default_factory=list)

    def now_s(self) -> float:
        return self.t_s

    def sleep_until(self, deadline_s: float) -> None:
        self.t_s = deadline_s

    def recent(self, _: Channel) -> list[tuple[float, float | None]]:
        busy_s = max(self.t_s - TRAINED_S, 0.0)
        self.polled.append((self.t_s, IDLE_W * (self.t_s - BEGAN_S - busy_s) + LOAD_W * busy_s))
        return self.polled[-20:]


def follow(world: World, *moments: tuple[float, str]) -> LiveState:
    """The last state of a run that was looked at in these moments."""
    progress = LiveProgress("run", COUNTER, world, world, SPEC)  # type: ignore[arg-type]
    epochs = make_epochs()
    state = progress.now(RunEvents(), IDLE_COLD)
    for t_s, phase in moments:
        world.t_s = t_s
        ended = [epoch for epoch in epochs if epoch.evaluate_end_s <= t_s]
        state = progress.now(RunEvents(epochs=ended), phase)
    return state


def test_before_an_epoch_ended_nothing_is_foreseen() -> None:
    state = follow(World(), (TRAINED_S, TRAIN), (105.0, TRAIN))
    assert (state.left_s, state.left_j) == (None, None)
    assert state.time_s == pytest.approx(25.0)
    assert state.energy_j == pytest.approx(20 * IDLE_W + 5 * LOAD_W)
    assert (state.source, str(state.origin)) == ("GPU counter", "measured")


def test_so_far_and_left_are_together_what_the_whole_run_takes() -> None:
    """Two epochs, a validation's time for TEST, two windows of inference, idle and an edge."""
    state = follow(World(), (TRAINED_S, IDLE_COLD), (111.0, TRAIN), (122.0, TRAIN))
    assert state.left_s == pytest.approx(2 * 11.0 + 1.0 + 2 * 3.0 + 3.0 + 1.0)
    assert state.left_j == pytest.approx(LOAD_W * (22.0 + 1.0 + 6.0) + IDLE_W * 4.0)
    later = follow(World(), (TRAINED_S, IDLE_COLD), (111.0, TRAIN), (122.0, TRAIN), (127.0, TRAIN))
    assert later.time_s + (later.left_s or 0) == pytest.approx(state.time_s + (state.left_s or 0))
    assert (later.energy_j or 0) + (later.left_j or 0) == pytest.approx(
        (state.energy_j or 0) + (state.left_j or 0)
    )


def test_what_takes_longer_than_foreseen_never_leaves_less_than_nothing() -> None:
    until = [(TRAINED_S, IDLE_COLD), *((TRAINED_S + 11.0 * n, TRAIN) for n in range(1, 5))]
    testing = follow(World(), *until, (ENDED_S + 2.0, EVALUATE))
    assert testing.left_s == pytest.approx(1.0 + 6.0 + 4.0 - 2.0)
    late = follow(World(), *until, (ENDED_S + 9.0, INFERENCE_PHASE))
    assert late.left_s == pytest.approx(2.0)
    over = follow(World(), *until, (ENDED_S + 60.0, IDLE_POST))
    assert (over.left_s, over.left_j) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("so_far", "left", "text"),
    [
        (15.84, 8.66, "15.8 so far + 8.7 left = 24.5 s"),
        (80.0, 71.0, "80 so far + 71 left = 151 s"),
        (600.0, 600.0, "10.0 so far + 10.0 left = 20.0 min"),
    ],
)
def test_what_is_rounded_adds_up(so_far: float, left: float, text: str) -> None:
    assert add_up(so_far, left, time_scale) == text


def test_joules_add_up_in_one_unit() -> None:
    for so_far, left in ((999.6, 0.3), (2_166.0, 1_214.0), (1.0, 41_300_000.0)):
        numbers = [float(x) for x in re.findall(r"[\d.]+", add_up(so_far, left, energy_scale))]
        assert numbers[0] + numbers[1] == pytest.approx(numbers[2])


@pytest.mark.parametrize(
    ("others", "text"),
    [
        (OtherLoad(), ""),
        (OtherLoad(0.04), ""),
        (OtherLoad(0.34), "other programs take 34 % of the processors"),
        (OtherLoad(None, 1), "1 other process on the GPU"),
        (OtherLoad(0.5, 2), "other programs take 50 % of the processors, 2 other processes"),
    ],
)
def test_other_programs_are_named_once_they_matter(others: OtherLoad, text: str) -> None:
    assert describe_others(others).startswith(text)
    assert bool(describe_others(others)) is bool(text)


def make_state(**changes: object) -> LiveState:
    given = {
        "run_id": "relu-dropout-s1-0123abcd", "phase": TRAIN, "epoch": 2, "epochs": 4, "step": 3,
        "steps": 9, "time_s": 80.0, "energy_j": 11_200.0, "source": "GPU counter",
        "power_w": (200.0, 274.0), "left_s": 71.0, "left_j": 30_100.0, "origin": COUNTER.origin,
    }  # fmt: skip
    return LiveState(**{**given, **changes})  # type: ignore[arg-type]


def draw(state: LiveState, width: int) -> str:
    out = io.StringIO()
    view = PanelView(Console(file=out, force_terminal=True, width=width, color_system=None))
    view.show(state)
    view.close()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())


@pytest.mark.parametrize("width", [50, 80, 120])
def test_a_panel_has_one_energy_with_its_source_and_fits(width: int) -> None:
    text = draw(make_state(others=OtherLoad(0.34)), width)
    words = " ".join(text.replace("│", " ").split())
    assert "phase training, epoch 2 of 4, step 3 of 9" in words
    assert "time 80 so far + 71 left = 151 s" in words
    assert "energy 11.2 so far + 30.1 left = 41.3 kJ GPU counter, measured" in words
    assert "busy other programs take 34 % of the processors" in words
    assert set(re.findall(r"[\d.]+ [kM]?J", words)) == {"41.3 kJ"}
    lines = [line for frame in text.split("╭")[1:] for line in f"╭{frame}".splitlines()]
    assert max(map(len, lines)) <= width


def test_a_panel_of_a_quiet_machine_has_no_line_about_others() -> None:
    assert "busy" not in draw(make_state(), 80)
    assert "the rest is known after an epoch" in draw(make_state(left_s=None), 80)


def test_plain_lines_name_other_programs_where_a_phase_begins() -> None:
    out = io.StringIO()
    view = LinesView(out)
    view.show(make_state(others=OtherLoad(0.34)))
    assert out.getvalue().rstrip().endswith("training (other programs take 34 % of the processors)")
    assert name_phase(IDLE_COLD) == "idle before"
