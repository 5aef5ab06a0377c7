"""Sensors are probed before a measurement, and what was seen of them reaches the stated joules."""

import threading
from dataclasses import replace
from pathlib import Path

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import Counter, FakeGpu, Fault, Scenario, Sensor
from fakes.power_shapes import Constant
from fakes.scripted_meter import POWER, ScriptedMeter
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Origin
from wbcbench.core.window import MonotonicClock
from wbcbench.power.meter import MeterRequest
from wbcbench.power.nvml import open_meters
from wbcbench.power.session import MeteringRequest, channels_of, probe_sensors, sampling

NOISY = Sensor(update_s=0.1, window_s=0.1, noise_w=1.0)
GPU = FakeGpu(power=Constant(60.0), instant=NOISY, counter=Counter(step_s=0.05))
MEASURED = replace(POWER, origin=Origin.MEASURED)


def test_a_recording_keeps_the_cards_and_its_channels_know_their_pace(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    scripted_nvml.play(Scenario((GPU,)))
    run = RunDir(tmp_path / "run")
    run.create(RunSpec(variant="leaky-dropout"), Local())
    with sampling(run, MeteringRequest(meters=("nvml",)), MonotonicClock()):
        pass
    began = run.read_began()
    assert began is not None
    cards = {card.channel: card for card in began.sensor_cards}
    assert set(cards) == {"nvml/gpu0/counter", "nvml/gpu0/power"}
    assert all(card.polls > 20 for card in cards.values())
    for trace in run.read_traces():
        assert trace.channel.update_s == cards[trace.channel.name].update_s


def test_known_signals_and_meters_with_a_period_of_their_own_are_not_probed() -> None:
    synthetic = ScriptedMeter(lambda _: 5.0)
    paced = ScriptedMeter(lambda _: 5.0, "paced", (MEASURED,))
    paced.interval_s = 0.25
    assert probe_sensors([synthetic, paced], MonotonicClock()) == ()
    assert channels_of([synthetic, paced], ()) == (POWER, MEASURED)


def test_meters_are_probed_at_once_and_one_that_hangs_has_no_card(
    scripted_nvml: ScriptedNvml,
) -> None:
    stuck = replace(GPU, uuid="GPU-2", faults=(Fault("hang", on="fields", nth=40, value=7.0),))
    scripted_nvml.play(Scenario((GPU, stuck)))
    meters = open_meters(MeterRequest())
    with meters[0], meters[1]:
        cards = probe_sensors(meters, MonotonicClock())
        probes = [each for each in threading.enumerate() if each.name.startswith("probe")]
        assert {card.channel for card in cards} == {"nvml/gpu0/counter", "nvml/gpu0/power"}
        assert probes  # the one that hangs still does: nobody waited for it
        for probe in probes:
            probe.join()
