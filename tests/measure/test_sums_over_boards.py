"""The joules of several boards, whatever each can be read by and whatever happens to it.

The sum is right within its ±, or it is ``None`` and names the board: the same in ``monitor`` and
``Meter``, which share one way from a recording to its numbers, and in the record of a run.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from builders.folder import messages, write_messages
from builders.run import make_spec
from builders.timeline import epoch_windows, make_epochs
from fakes.faulty_boards import CodeCarbonLike, Power, draw_board, number_boards
from fakes.known_load import WINDOW_AT_S, Bench, true_energy_j
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Fault
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.trace import Domain
from wbcbench.core.window import TRAIN, Window
from wbcbench.energy.account import account
from wbcbench.energy.source import primary_source, source_energy_j
from wbcbench.measure.window_result import WindowResult

LENGTH_S = 5.0
WINDOW = Window("block", WINDOW_AT_S, WINDOW_AT_S + LENGTH_S)
INTERVALS_HELD = 1.5  # an interval of 95 % is missed by one in twenty: half as much again by none

ABILITIES: tuple[tuple[Power, bool], ...] = (
    ("instant", True), ("instant", False), ("usage", True), ("usage", False), ("none", True),
)  # fmt: skip
NO_ABILITY: tuple[Power, bool] = ("none", False)


def from_s(share: float) -> float:
    return WINDOW_AT_S + share * LENGTH_S


MISHAPS: dict[str, tuple[Fault, ...]] = {
    "none": (),
    "counter stumbles while it is opened": (Fault("unknown", on="energy", nth=1, count=50),),
    "power stumbles while it is opened": (Fault("unknown", on="power", nth=1, count=12),),
    "lost before the window": (Fault("lost", at_s=from_s(-0.2), until_s=from_s(-0.1)),),
    "lost for a while": (Fault("lost", at_s=from_s(0.3), until_s=from_s(0.6)),),
    "lost at the end": (Fault("lost", at_s=from_s(0.7)),),
    "lost over the end": (Fault("lost", at_s=from_s(0.95), until_s=from_s(1.05)),),
    "power fails": (Fault("unknown", on="power", at_s=from_s(0.4), until_s=from_s(0.5)),),
    "counter fails": (Fault("unknown", on="energy", at_s=from_s(0.4), until_s=from_s(0.5)),),
    "counter fails for good": (Fault("unsupported", on="energy", at_s=from_s(0.5)),),
    "has no identity": (Fault("lost", on="identity"),),
    "has no handle": (Fault("unknown", on="handle"),),
    "answers nothing": (Fault("lost"),),
}


@dataclass(frozen=True)
class Board:
    """One board as it was drawn."""

    power: Power
    counter: bool
    mishap: str
    seed: int

    def make(self) -> FakeGpu:
        rng = random.Random(self.seed)
        board = draw_board(rng, LENGTH_S, power=self.power, counter=self.counter)
        return replace(board, faults=MISHAPS[self.mishap])

    def __str__(self) -> str:
        return f"{self.power}{'+counter' if self.counter else ''}: {self.mishap}"


def draw_machine(seed: int) -> list[Board]:
    """One to four boards of any abilities; to two of five something happens."""
    rng, drawn = random.Random(seed), list[Board]()
    for _ in range(rng.choice((1, 2, 2, 3, 4))):
        power, counter = rng.choice(ABILITIES) if rng.random() < 0.96 else NO_ABILITY
        mishap = rng.choice(list(MISHAPS)) if rng.random() < 0.4 else "none"
        drawn.append(Board(power, counter, mishap, rng.randrange(1 << 30)))
    return drawn


def test_the_machines_that_are_drawn_have_boards_of_unlike_abilities_and_mishaps() -> None:
    machines = [draw_machine(seed) for seed in range(400)]
    unlike = [m for m in machines if len({(board.power, board.counter) for board in m}) > 1]
    partly_spoilt = [m for m in machines if len({board.mishap == "none" for board in m}) == 2]
    assert len(unlike) > 200
    assert len(partly_spoilt) > 100
    assert {board.mishap for machine in machines for board in machine} == set(MISHAPS)


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10**6))
def test_the_sum_is_right_or_it_is_unknown_and_names_the_board(
    seed: int, scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    drawn = draw_machine(seed)
    note("; ".join(map(str, drawn)))
    gpus = number_boards([board.make() for board in drawn])
    bench = Bench(scripted_nvml, Path(mkdtemp(dir=tmp_path)))
    try:
        recording = bench.record(gpus, LENGTH_S)
    except CannotMeasureError as error:
        event("refused")
        assert_names_a_board(str(error), drawn, gpus)
        return
    result = recording.measure_window(WINDOW)
    if result.energy.energy_j is None:
        event("unknown")
        texts = " ".join(f"{warning.detail} {warning.channel}" for warning in result.warnings)
        assert_names_a_board(texts, drawn, gpus)
    else:
        event("right")
        assert_right(result, gpus)
    record = account_run(bench.run)
    energy_j = source_energy_j(record, primary_source(record), TRAIN)
    assert energy_j == pytest.approx(result.energy.energy_j)


def assert_right(result: WindowResult, gpus: Sequence[FakeGpu]) -> None:
    energy = result.energy
    assert energy.energy_j is not None
    assert energy.uncertainty_j is not None
    true_j = true_energy_j(gpus, WINDOW)
    assert abs(energy.energy_j - true_j) <= INTERVALS_HELD * energy.uncertainty_j + 0.002


def assert_names_a_board(text: str, drawn: Sequence[Board], gpus: Sequence[FakeGpu]) -> None:
    """One that something is wrong with, by its number or its UUID."""
    spoilt = [
        index
        for index, board in enumerate(drawn)
        if board.mishap != "none" or (board.power, board.counter) == NO_ABILITY
    ]
    assert spoilt, f"nothing is wrong: {text}"
    words = [word for i in spoilt for word in (f"gpu{i}", f"GPU {i}", gpus[i].uuid)]
    assert any(word in text for word in words), text


def account_run(run: RunDir) -> RunRecord:
    """The same recording as the training of a run."""
    epochs = make_epochs((0.8,), start_s=WINDOW.start_s, epoch_s=LENGTH_S, validation_s=0.0)
    windows = (Window(TRAIN, WINDOW.start_s, WINDOW.end_s), *epoch_windows(epochs))
    run.write_requested(make_spec(), Local())
    write_messages(run, messages(windows, epochs))
    circumstances = run.read_began()
    assert circumstances is not None
    return account(run, circumstances, "done")


@pytest.mark.parametrize("when", ["lost at the end", "lost over the end", "lost for a while"])
def test_a_run_on_a_lost_gpu_is_not_charged_the_processor(
    when: str, scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    """Nor what CodeCarbon last heard of the GPU."""
    gpu = replace(draw_board(random.Random(1), LENGTH_S), faults=MISHAPS[when])
    bench = Bench(scripted_nvml, tmp_path)
    recording = bench.record([gpu], LENGTH_S, beside=lambda clock: [CodeCarbonLike([gpu], clock)])
    energy = recording.measure_window(WINDOW).energy
    record = account_run(bench.run)
    source = primary_source(record)
    assert source is not None
    assert source.domain is Domain.GPU
    assert all(channel.startswith("nvml/gpu0/") for channel in source.channels)
    assert source_energy_j(record, source, TRAIN) == pytest.approx(energy.energy_j)
    if when == "lost at the end":
        assert energy.energy_j is None
        assert record.quality == "invalid"
