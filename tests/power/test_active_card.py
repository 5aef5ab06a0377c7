"""What known loads found of a sensor goes into later joules, and into their ±."""

from dataclasses import replace
from pathlib import Path

import pytest

from fakes.clocks import SharedClock
from fakes.known_load import WINDOW_AT_S, Bench, true_energy_j
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FULL_TIME, UNSUPPORTED, Counter, FakeGpu, Scenario
from fakes.power_shapes import LivePower, Square
from fakes.scripted_load import IDLE_W, ScriptedLoad
from wbcbench.core.window import Window
from wbcbench.doctor.acceptance import accept_board
from wbcbench.power.session import MeteringRequest

LATE = replace(FULL_TIME, noise_w=0.8, lag_s=0.23, phase_s=0.021)
LOOK = replace(LATE, window_s=0.025)
ALONE = Counter(supported=False)
LOAD = Square(90.0, 280.0, 3.73)


@pytest.mark.parametrize(
    ("sensor", "counter", "before", "after"),
    [
        (LATE, ALONE, 0.03, 0.005),  # 13, 4 and 2 % off without the card
        (LOOK, ALONE, 0.03, 0.03),
        (LOOK, Counter(step_s=0.1, from_sensor=True), 0.03, 0.03),
    ],
    ids=["held", "look", "counter"],
)
def test_joules_of_a_late_sensor_are_right_within_their_uncertainty_once_it_has_a_card(
    scripted_nvml: ScriptedNvml,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sensor: object,
    counter: Counter,
    before: float,
    after: float,
) -> None:
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", str(tmp_path))
    gpu = FakeGpu(
        architecture=5, instant=sensor, average=UNSUPPORTED, usage=UNSUPPORTED, counter=counter
    )
    bench, own = Bench(scripted_nvml, tmp_path), replace(gpu, power=LOAD)

    def measure(length_s: float) -> tuple[float, float, bool]:
        """Error and ± of a window as shares of its true joules; whether a card was used."""
        window = Window("w", WINDOW_AT_S, WINDOW_AT_S + length_s)
        recording = bench.record([own], length_s, is_quick=True)
        energy, true_j = recording.measure_window(window).energy, true_energy_j([own], window)
        assert energy.energy_j is not None
        assert energy.uncertainty_j is not None
        has_card = all(card.is_active for card in recording.circumstances.sensor_cards)
        return abs(energy.energy_j / true_j - 1), energy.uncertainty_j / true_j, has_card

    lengths_s = (2.3, 5.6, 10.0)
    assert max(error for error, _, _ in map(measure, lengths_s)) > before
    clock = SharedClock(tmp_path / "acceptance", 10.0)
    power = LivePower.begin(tmp_path / "power", IDLE_W)
    scripted_nvml.play(Scenario((replace(gpu, power=power),), clock=clock.path))
    clock.expect(threads=1)
    request = MeteringRequest(meters=("nvml",))
    accept_board(request, clock, ScriptedLoad(power, clock).start, lambda _: None)
    for error, half, has_card in map(measure, lengths_s):
        assert has_card
        assert error <= min(half, after)
