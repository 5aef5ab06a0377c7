"""The simulated meter plays a signal whose joules are known in closed form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.nvml_plugin import ScriptedNvml
from wbcbench.core.errors import UsageError
from wbcbench.core.trace import Origin, Trace
from wbcbench.core.window import Window
from wbcbench.energy.integrate import window_energy
from wbcbench.power.meter import MeterRequest
from wbcbench.power.simulated import SHAPES, Signal, SimulatedMeter, open_meters

signals = st.builds(
    Signal,
    idle_w=st.floats(0.0, 100.0),
    load_w=st.floats(0.0, 500.0),
    period_s=st.floats(0.5, 20.0),
    phase_s=st.floats(0.0, 20.0),
    shape=st.sampled_from(SHAPES),
)


@given(signal=signals, start_s=st.floats(0.0, 1000.0), length_s=st.floats(0.01, 60.0))
def test_the_closed_form_agrees_with_numeric_integration(
    signal: Signal, start_s: float, length_s: float
) -> None:
    steps = 4000
    width_s = length_s / steps
    middles = (start_s + (i + 0.5) * width_s for i in range(steps))
    numeric_j = width_s * sum(signal.power_w(t_s) for t_s in middles)
    jumps = 2 * length_s / signal.period_s + 2
    assert signal.true_energy_j(start_s, start_s + length_s) == pytest.approx(
        numeric_j, abs=1e-3 + jumps * width_s * signal.load_w
    )


@given(signal=signals, edges=st.lists(st.floats(0.0, 100.0), min_size=3, max_size=3).map(sorted))
def test_joules_of_adjacent_intervals_add_up(signal: Signal, edges: list[float]) -> None:
    a, b, c = edges
    parts_j = signal.true_energy_j(a, b) + signal.true_energy_j(b, c)
    assert parts_j == pytest.approx(signal.true_energy_j(a, c), abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_both_channels_state_the_true_joules_of_a_window(
    shape: str, scripted_nvml: ScriptedNvml
) -> None:
    clock = scripted_nvml.clock(start_s=100.0)
    with SimulatedMeter(Signal(shape=shape), clock) as meter:
        polls = []
        for tick in range(1, 301):
            clock.sleep_until(100.0 + 0.05 * tick)
            polls.append((clock.now_s(), *meter.read()))
    times = [poll[0] for poll in polls]
    window = Window("train", 102.0, 113.0)
    true_j = meter.signal.true_energy_j(102.0, 113.0)
    for place, channel in enumerate(meter.channels):
        trace = Trace(channel, times, [poll[place + 1] for poll in polls])
        assert channel.origin is Origin.SIMULATED
        assert window_energy(trace, window).energy_j == pytest.approx(true_j, rel=0.005)


def test_the_seed_shifts_the_signal_and_the_description_tells_it_whole() -> None:
    (one,), (same,), (other,) = (open_meters(MeterRequest(seed=s)) for s in (1, 1, 2))
    assert one.describe() == same.describe()
    assert one.describe() != other.describe()
    assert one.describe()["simulated"] is True


def test_options_change_the_signal() -> None:
    options = {"simulated.idle_w": "10", "simulated.load_w": "90", "simulated.shape": "square"}
    (meter,) = open_meters(MeterRequest(options=options))
    facts = meter.describe()
    assert (facts["idle_w"], facts["load_w"], facts["shape"]) == (10.0, 90.0, "square")
    assert meter.channels[0].limit_w == 100.0


@pytest.mark.parametrize(
    ("option", "value"),
    [("shape", "sawtooth"), ("idle_w", "-1"), ("period_s", "0"), ("load_w", "much")],
)
def test_an_option_out_of_range_is_refused_by_name(option: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"simulated.{option}"):
        open_meters(MeterRequest(options={f"simulated.{option}": value}))
