"""The joules of several boards, whatever each can be read by and whatever happens to it.

The law, in ``monitor``, ``Meter`` and ``run`` alike: the sum is right within its ±, or it is
``None`` and names the board; or, of a sensor that lies, it is suspect or invalid and a warning
names the board.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import event, given, note, settings
from hypothesis import strategies as st

from builders.folder import messages, write_messages
from builders.run import make_spec
from builders.timeline import epoch_windows, make_epochs
from fakes.faulty_boards import (
    CodeCarbonLike,
    Power,
    Span,
    draw_board,
    draw_moment,
    draw_span,
    number_boards,
    with_counter,
    with_faults,
)
from fakes.known_load import WINDOW_AT_S, Bench, true_energy_j
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import Event, FakeGpu, Fault, Rate
from wbcbench.core.errors import WbcbenchError
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.trace import Domain
from wbcbench.core.window import TRAIN, WHOLE, Window, is_validation
from wbcbench.energy.account import account
from wbcbench.energy.source import primary_source, source_energy_j, source_uncertainty_j
from wbcbench.measure.window_result import Recording
from wbcbench.power import nvml

SHORTEST_S, LONGEST_S = 4.0, 10.0
VALIDATION_S = 0.7
# An interval of 95 % is missed by one in twenty, half as much again by one in three hundred if
# errors are normal: so the examples are the same every time.
INTERVALS_HELD = 1.5
ROUNDED_J = 0.002  # a counter's joules are rounded to thousandths
EXAMPLES, LINES_SHOWN = 120, 10

Ability = tuple[Power, bool]  # the power reading, and whether there is a counter
ABILITIES: tuple[Ability, ...] = (
    ("instant", True), ("instant", False), ("usage", True), ("usage", False), ("none", True),
)  # fmt: skip
NO_ABILITY: Ability = ("none", False)


# --- what happens to a board ---------------------------------------------------------------------
#
# Left out is what nothing on the board can tell, so that no ± holds it: a false gain, a jump
# that the board could have drawn between two polls, and a jump of a counter without a power
# reading beside it. ``fakes.faulty_boards`` has them, for a bench that allows for them.

Mishap = Callable[[random.Random, FakeGpu, Span, float], FakeGpu]


def strike(kind: str, on: str = "all") -> Mishap:
    """For a while, which may reach over an edge of the window or lie outside of it."""
    return lambda rng, gpu, span, at_s: with_faults(
        gpu, Fault(kind, on, at_s=span.at_s, until_s=span.until_s)
    )


def strike_for_good(kind: str, on: str = "all") -> Mishap:
    return lambda rng, gpu, span, at_s: with_faults(gpu, Fault(kind, on, at_s=at_s))


def strike_from_the_start(kind: str, on: str = "all") -> Mishap:
    return lambda rng, gpu, span, at_s: with_faults(gpu, Fault(kind, on))


def stumble_at_opening(on: str) -> Mishap:
    return lambda rng, gpu, span, at_s: with_faults(
        gpu, Fault("unknown", on, nth=1, count=rng.choice((1, 4, 12, 50)))
    )


def show_absurd_power(rng: random.Random, gpu: FakeGpu, span: Span, at_s: float) -> FakeGpu:
    value_w = rng.choice((1.4, 3.0, 1e4)) * gpu.limit_default_w
    absurd = Fault("spike", "power", at_s=span.at_s, until_s=span.until_s, value=value_w)
    return with_faults(gpu, absurd)


def lose_energy(rng: random.Random, gpu: FakeGpu, span: Span, at_s: float) -> FakeGpu:
    return with_counter(gpu, rates=(Rate(span.at_s, span.until_s),))


def jump(rng: random.Random, gpu: FakeGpu, span: Span, at_s: float) -> FakeGpu:
    joules = gpu.limit_default_w * rng.uniform(0.5, 8.0)
    return with_counter(gpu, events=(Event(at_s, joules),))


def fall(rng: random.Random, gpu: FakeGpu, span: Span, at_s: float) -> FakeGpu:
    return with_counter(gpu, events=(Event(at_s, -(10.0 ** rng.uniform(1.5, 3.0))),))


MISHAPS_OF_ANY: dict[str, Mishap] = {
    "is lost": strike("lost"),
    "is lost for good": strike_for_good("lost"),
    "has no identity": strike_from_the_start("lost", "identity"),
    "has no handle": strike_from_the_start("unknown", "handle"),
    "answers nothing": strike_from_the_start("lost"),
    "is divided by MIG": lambda rng, gpu, span, at_s: replace(gpu, mig=1),
}
MISHAPS_OF_POWER: dict[str, Mishap] = {
    "power stumbles at opening": stumble_at_opening("power"),
    "power fails": strike("unknown", "power"),
    "power fails for good": strike_for_good("unknown", "power"),
    "power is zero": strike("zero", "power"),
    "power is absurd": show_absurd_power,
    "power sticks": strike("stuck", "power"),
}
MISHAPS_OF_COUNTER: dict[str, Mishap] = {
    "counter stumbles at opening": stumble_at_opening("energy"),
    "counter fails": strike("unknown", "energy"),
    "counter fails for good": strike_for_good("unsupported", "energy"),
    "counter freezes for good": lambda rng, gpu, span, at_s: with_counter(gpu, frozen_at_s=at_s),
    "counter stands still and catches up": strike("stuck", "energy"),
    "counter loses energy": lose_energy,
    "counter falls": fall,
    "counter is reset": lambda rng, gpu, span, at_s: with_counter(gpu, reset_at_s=at_s),
}
MISHAPS_OF_BOTH: dict[str, Mishap] = {"counter jumps": jump}


def list_mishaps(ability: Ability) -> dict[str, Mishap]:
    power, has_counter = ability[0] != "none", ability[1]
    return {
        **MISHAPS_OF_ANY,
        **(MISHAPS_OF_POWER if power else {}),
        **(MISHAPS_OF_COUNTER if has_counter else {}),
        **(MISHAPS_OF_BOTH if power and has_counter else {}),
    }


# --- machines ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Board:
    """One board as it was drawn; nothing happens to it where ``mishap`` is empty."""

    ability: Ability
    mishap: str
    when: str
    gpu: FakeGpu

    @property
    def is_spoilt(self) -> bool:
        return bool(self.mishap) or self.ability == NO_ABILITY

    def __str__(self) -> str:
        power, has_counter = self.ability
        readings = [power] * (power != "none") + ["counter"] * has_counter
        return " ".join(filter(None, ("+".join(readings) or "unread", self.mishap, self.when)))


@dataclass(frozen=True)
class Machine:
    """Boards in NVML's order, the window on them, and which of them are the user's.

    ``meter`` is what ``--meters`` says: NVML named alone refuses to go on without one of its
    boards, ``auto`` goes on. ``names`` is what ``--gpus`` says, ``visible`` is
    ``CUDA_VISIBLE_DEVICES``.
    """

    boards: tuple[Board, ...]
    length_s: float
    own: tuple[int, ...]
    meter: str = "auto"
    names: tuple[str, ...] = ()
    visible: str | None = None

    @property
    def gpus(self) -> list[FakeGpu]:
        return number_boards([board.gpu for board in self.boards])

    @property
    def window(self) -> Window:
        return Window(WHOLE, WINDOW_AT_S, WINDOW_AT_S + self.length_s)

    def true_energy_j(self, window: Window) -> float:
        gpus = self.gpus
        return true_energy_j([gpus[i] for i in self.own], window)

    def names_a_spoilt_board(self, text: str, places: Sequence[int]) -> bool:
        """By its number or its UUID."""
        gpus, spoilt = self.gpus, [i for i in places if self.boards[i].is_spoilt]
        words = [word for i in spoilt for word in (f"gpu{i}", f"GPU {i}", gpus[i].uuid)]
        return any(word in text for word in words)

    def __str__(self) -> str:
        own = ",".join(map(str, self.own)) or "none"
        words = [f"{len(self.boards)} boards", f"{self.length_s:.1f} s", self.meter]
        words += [f"--gpus {own}"] if self.names else []
        words += [f"visible: {own}"] if self.visible is not None else []
        return f"{', '.join(words)}: {' | '.join(map(str, self.boards))}"


def draw_one_board(rng: random.Random, length_s: float) -> Board:
    ability = rng.choice(ABILITIES) if rng.random() < 0.97 else NO_ABILITY
    gpu = draw_board(rng, length_s, power=ability[0], counter=ability[1])
    if ability == NO_ABILITY or rng.random() < 0.55:
        return Board(ability, "", "", gpu)
    mishaps = list_mishaps(ability)
    name = rng.choice(list(mishaps))
    span = draw_span(rng, length_s, (1.5, 4.0) if "stick" in name else (0.1, 4.0))
    at_s = draw_moment(rng, length_s)
    spoilt = mishaps[name](rng, gpu, span, at_s)
    return Board(ability, name, describe_time(gpu, spoilt), spoilt)


def describe_time(gpu: FakeGpu, spoilt: FakeGpu) -> str:
    """When the mishap begins and ends, in seconds of the window; empty where it is always there."""
    times = [t for fault in spoilt.faults for t in (fault.at_s, fault.until_s)]
    times += [t for rate in spoilt.counter.rates for t in (rate.from_s, rate.until_s)]
    times += [t.at_s for t in spoilt.counter.events]
    times += [spoilt.counter.frozen_at_s, spoilt.counter.reset_at_s]
    return " to ".join(f"{t - WINDOW_AT_S:.2f}" for t in times if abs(t) < 1e6)


def draw_machine(seed: int) -> Machine:
    """One to four boards of any abilities; something happens to nearly half of them."""
    rng = random.Random(seed)
    length_s = rng.uniform(SHORTEST_S, LONGEST_S)
    boards = tuple(draw_one_board(rng, length_s) for _ in range(rng.choice((1, 2, 2, 3, 4))))
    meter = rng.choice(("auto", "auto", "nvml"))
    machine = Machine(boards, length_s, tuple(range(len(boards))), meter)
    choice: Literal["all", "named", "visible"] = rng.choice(("all", "all", "named", "visible"))
    if choice == "all":
        return machine
    count = 0 if choice == "visible" and rng.random() < 0.1 else rng.randint(1, len(boards))
    own = tuple(sorted(rng.sample(machine.own, count)))
    names = tuple(rng.choice((str(i), machine.gpus[i].uuid)) for i in own)
    if choice == "named":
        return replace(machine, own=own, names=names)
    return replace(machine, own=own, visible=",".join(names))


def test_the_machines_that_are_drawn_have_boards_of_unlike_abilities_and_mishaps() -> None:
    machines = [draw_machine(seed) for seed in range(1000)]
    several = [machine for machine in machines if len(machine.boards) > 1]
    mixtures = Counter(frozenset(b.ability for b in machine.boards) for machine in several)
    unlike = sum(count for abilities, count in mixtures.items() if len(abilities) > 1)
    partly_spoilt = [m for m in several if len({board.is_spoilt for board in m.boards}) == 2]
    mishaps = {board.mishap for machine in machines for board in machine.boards}
    assert len(mixtures) > 25
    assert unlike > 0.8 * len(several)
    assert len(partly_spoilt) > 0.4 * len(several)
    assert mishaps == {"", *list_mishaps(("instant", True))}
    assert any(machine.names for machine in machines)
    assert any(machine.visible for machine in machines)


# --- the law -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """What one door of the program says of a window, beside the joules that were drawn."""

    door: str
    energy_j: float | None
    uncertainty_j: float | None
    true_j: float
    warnings: tuple[QualityWarning, ...]

    def judge(self, machine: Machine) -> str:
        """``right``, ``unknown`` or ``doubted``; raises where the law is broken."""
        if self.energy_j is None:
            texts = self._join(self.warnings)
            assert machine.names_a_spoilt_board(texts, machine.own), f"{self}: {texts}"
            return "unknown"
        width_j = INTERVALS_HELD * (self.uncertainty_j or 0.0) + ROUNDED_J
        if abs(self.energy_j - self.true_j) <= width_j:
            return "right"
        texts = self._join([w for w in self.warnings if w.severity is not Severity.INFO])
        assert machine.names_a_spoilt_board(texts, machine.own), f"{self}: {texts}"
        return "doubted"

    @staticmethod
    def _join(warnings: Sequence[QualityWarning]) -> str:
        return " ".join(f"{warning.detail} {warning.channel}" for warning in warnings)

    def __str__(self) -> str:
        codes = ", ".join(w.code for w in self.warnings)
        stated = f"{self.energy_j} ± {self.uncertainty_j} J for {self.true_j:.1f} J"
        return f"{self.door}: {stated}; {codes}"


def read_statements(machine: Machine, recording: Recording, run: RunDir) -> Iterator[Statement]:
    """The same recording through every door."""
    whole = machine.window
    part = Window("part", whole.start_s + 0.13 * machine.length_s, whole.end_s - 0.6)
    doors = (
        ("monitor", recording.measure_window(whole), whole),
        ("Meter", recording.measure_window(whole, work=whole), whole),
        ("a window of Meter", recording.measure_window(part, work=whole), part),
    )
    for door, result, window in doors:
        energy, true_j = result.energy, machine.true_energy_j(window)
        yield Statement(door, energy.energy_j, energy.uncertainty_j, true_j, result.warnings)
    record = account_run(run, machine.length_s)
    passes = [window for window in record.windows if is_validation(window.name)]
    source = primary_source(record)
    yield Statement(
        "run",
        source_energy_j(record, source, TRAIN),
        source_uncertainty_j(record, source, TRAIN),
        machine.true_energy_j(whole) - sum(map(machine.true_energy_j, passes)),
        record.warnings,
    )


def account_run(run: RunDir, length_s: float) -> RunRecord:
    """The same recording as the training of a run, of two epochs with validation."""
    epochs = make_epochs(
        (0.7, 0.8),
        start_s=WINDOW_AT_S,
        epoch_s=length_s / 2 - VALIDATION_S,
        validation_s=VALIDATION_S,
    )
    windows = (Window(TRAIN, WINDOW_AT_S, WINDOW_AT_S + length_s), *epoch_windows(epochs))
    run.write_requested(make_spec(), Local())
    write_messages(run, messages(windows, epochs))
    circumstances = run.read_began()
    assert circumstances is not None
    return account(run, circumstances, "done")


def judge_machine(machine: Machine, bench: Bench) -> str:
    """What is said of a machine at every door, in a word; raises where the law is broken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "codecarbon", None)  # as if not installed: it has its own clock
        patch.setattr(nvml, "PATIENCE_S", 0.1)  # real seconds, for what lasts
        if machine.visible is not None:
            patch.setenv("CUDA_VISIBLE_DEVICES", machine.visible)
        try:
            recording = bench.record(
                machine.gpus, machine.length_s, names=machine.names, meters=[machine.meter]
            )
        except WbcbenchError as error:
            text, places = str(error), range(len(machine.boards))
            hides_all = not machine.own and "CUDA_VISIBLE_DEVICES" in text
            assert hides_all or machine.names_a_spoilt_board(text, places), text
            return "refused"
    statements = read_statements(machine, recording, bench.run)
    outcomes = {statement.door: statement.judge(machine) for statement in statements}
    assert outcomes["monitor"] == outcomes["Meter"]
    return ", ".join(dict.fromkeys(outcomes.values()))


def test_the_sum_is_right_or_it_is_unknown_and_names_the_board(
    scripted_nvml: ScriptedNvml, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, drawn = Bench(scripted_nvml, tmp_path), dict[str, str]()

    @settings(deadline=None, max_examples=EXAMPLES, derandomize=True)  # see INTERVALS_HELD
    @given(seed=st.integers(0, 10**9))
    def judge_any(seed: int) -> None:
        machine = draw_machine(seed)
        note(str(machine))
        outcome = drawn[str(machine)] = judge_machine(machine, bench)
        event(outcome)

    judge_any()
    with capsys.disabled():
        print(f"\n{len(drawn)} machines, e.g.")
        for text, outcome in list(drawn.items())[-LINES_SHOWN:]:
            print(f"  {text}: {outcome}")


@pytest.mark.parametrize("when", ["for good", "over the end", "for a while"])
def test_a_run_on_a_lost_gpu_is_not_charged_the_processor(
    when: str, scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    """Nor what CodeCarbon last heard of the GPU."""
    at_s, until_s = {"for good": (3.5, 1e9), "over the end": (4.75, 5.25), "for a while": (1.5, 3)}[
        when
    ]
    lost = Fault("lost", at_s=WINDOW_AT_S + at_s, until_s=WINDOW_AT_S + until_s)
    gpu = with_faults(draw_board(random.Random(1), 5.0), lost)
    bench = Bench(scripted_nvml, tmp_path)
    recording = bench.record([gpu], 5.0, beside=lambda clock: [CodeCarbonLike([gpu], clock)])
    energy = recording.measure_window(Window("block", WINDOW_AT_S, WINDOW_AT_S + 5.0)).energy
    record = account_run(bench.run, 5.0)
    source = primary_source(record)
    assert source is not None
    assert source.domain is Domain.GPU
    assert all(channel.startswith("nvml/gpu0/") for channel in source.channels)
    assert energy.domain == "gpu"
    if when == "for good":
        assert energy.energy_j is None
        assert source_energy_j(record, source, TRAIN) is None
        assert record.quality == "invalid"
