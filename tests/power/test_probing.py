"""Sensors are probed before a measurement, and what was seen of them reaches the stated joules."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.clocks import FileClock
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import UNSUPPORTED, Counter, FakeGpu, Fault, Scenario, Sensor
from fakes.power_shapes import Constant
from fakes.scripted_meter import POWER, ScriptedMeter
from wbcbench.core.cache import cache_root
from wbcbench.core.record import SensorCard
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Origin
from wbcbench.core.window import MonotonicClock
from wbcbench.power.meter import EnergyMeter, MeterRequest
from wbcbench.power.nvml import open_meters
from wbcbench.power.probing import channels_of, load_cards, probe_sensors, store_cards
from wbcbench.power.session import MeteringRequest, sampling

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


# --- cards that are used again -------------------------------------------------------------------


def open_board(
    scripted_nvml: ScriptedNvml, driver: str = "580.95.05", gpu: FakeGpu = GPU
) -> tuple[EnergyMeter, FileClock]:
    """The only board, to be entered, and its time, which sleeping moves."""
    clock = scripted_nvml.clock(10.0)
    scripted_nvml.play(Scenario((gpu,), clock=clock.path, driver=driver))
    (meter,) = open_meters(MeterRequest())
    return meter, clock


def read_cards(scripted_nvml: ScriptedNvml, gpu: FakeGpu = GPU) -> tuple[SensorCard, ...]:
    meter, clock = open_board(scripted_nvml, gpu=gpu)
    with meter:
        return probe_sensors([meter], clock, is_quick=True, uses_known=True)


def stored() -> Path:
    return cache_root() / "sensor-cards" / f"{GPU.uuid}.json"


def test_a_quick_probe_ends_when_every_pace_is_known_within_a_thousandth(
    scripted_nvml: ScriptedNvml,
) -> None:
    counter, power = read_cards(scripted_nvml)
    assert counter.update_s is not None
    assert abs(counter.update_s / 0.05 - 1.0) < 1e-3
    assert power.update_s is not None
    assert abs(power.update_s - 0.1) < 0.002
    assert 0.84 < counter.probed_s < 1.0
    assert counter.age_s == power.age_s == 0.0


def test_the_card_of_a_board_is_used_again_for_a_day_and_says_how_old_it_is(
    scripted_nvml: ScriptedNvml,
) -> None:
    first = read_cards(scripted_nvml)
    facts = json.loads(stored().read_text())
    stored().write_text(json.dumps(facts | {"probed_at_s": time.time() - 3600.0}))
    again = read_cards(scripted_nvml)
    assert [card.channel for card in again] == [card.channel for card in first]
    assert all(3599.0 < card.age_s < 3700.0 for card in again)
    assert [replace(card, age_s=0.0) for card in again] == list(first)
    stored().write_text(json.dumps(facts | {"probed_at_s": time.time() - 86_500.0}))
    assert all(card.age_s == 0.0 for card in read_cards(scripted_nvml))
    assert json.loads(stored().read_text())["probed_at_s"] > time.time() - 600.0
    stored().write_text(json.dumps(facts | {"probed_at_s": time.time() + 3600.0}))
    assert all(card.age_s == 0.0 for card in read_cards(scripted_nvml))


def test_cards_of_another_driver_and_damaged_ones_are_ignored(
    scripted_nvml: ScriptedNvml,
) -> None:
    read_cards(scripted_nvml)
    good = stored().read_text()
    meter, _ = open_board(scripted_nvml, driver="999.1")
    with meter:
        assert load_cards(meter) == ()
    for bad in ("", "{", "[]", good.replace(GPU.uuid, "GPU-of-another"), good[: len(good) // 2]):
        stored().write_text(bad)
        assert all(card.age_s == 0.0 for card in read_cards(scripted_nvml))
    stored().unlink()
    stored().mkdir()  # it cannot be written either
    assert all(card.age_s == 0.0 for card in read_cards(scripted_nvml))


@pytest.mark.parametrize("factor", [0.2, 0.5, 0.98, 0.993, 1.007, 1.1, 2.0, 5.0])
@pytest.mark.parametrize("gpu", [GPU, replace(GPU, counter=Counter(supported=False))])
def test_a_wrong_card_is_not_believed_and_is_replaced(
    scripted_nvml: ScriptedNvml, gpu: FakeGpu, factor: float
) -> None:
    right = read_cards(scripted_nvml, gpu)[0]
    facts = json.loads(stored().read_text())
    facts["cards"][0]["update_s"] *= factor
    stored().write_text(json.dumps(facts))
    for _ in range(2):
        card = read_cards(scripted_nvml, gpu)[0]
        assert card.update_s == pytest.approx(right.update_s, rel=2e-3)
    assert card.age_s > 0.0


def test_a_card_is_confirmed_within_some_renewals(scripted_nvml: ScriptedNvml) -> None:
    first = read_cards(scripted_nvml)
    meter, clock = open_board(scripted_nvml)
    start_s = clock.now_s()
    with meter:
        again = probe_sensors([meter], clock, is_quick=True, uses_known=True)
    assert [card.update_s for card in again] == [card.update_s for card in first]
    assert clock.now_s() - start_s < 6 * 0.05


def test_a_run_takes_a_card_that_its_sensors_confirm_and_else_probes_in_full(
    scripted_nvml: ScriptedNvml,
) -> None:
    def probe_as_a_run_does() -> tuple[tuple[SensorCard, ...], float]:
        meter, clock = open_board(scripted_nvml)
        start_s = clock.now_s()
        with meter:
            return probe_sensors([meter], clock, uses_known=True), clock.now_s() - start_s

    first, took_s = probe_as_a_run_does()
    assert took_s == pytest.approx(2.0, abs=0.1)
    again, took_s = probe_as_a_run_does()
    assert [card.update_s for card in again] == [card.update_s for card in first]
    assert took_s < 6 * 0.05
    facts = json.loads(stored().read_text())
    facts["cards"][0]["update_s"] *= 2
    stored().write_text(json.dumps(facts))
    right, took_s = probe_as_a_run_does()
    assert took_s == pytest.approx(2.0, abs=0.1)
    assert right[0].update_s == pytest.approx(0.05, rel=2e-3)
    assert right[0].age_s == 0.0


ALONE = replace(GPU, architecture=4, counter=Counter(supported=False), average=UNSUPPORTED)


@pytest.mark.parametrize(
    ("sensor", "probed_s", "is_kept"),
    [
        (Sensor(update_s=0.02, window_s=0.02, noise_w=0.8), 0.85, True),
        (Sensor(update_s=1.7, window_s=1.7, noise_w=0.8), 3.6, True),
        (Sensor(update_s=0.02, window_s=0.02), 2.0, False),  # it stands still
    ],
)
def test_a_board_without_a_counter_is_probed_as_long_as_that_tells_more(
    scripted_nvml: ScriptedNvml, sensor: Sensor, probed_s: float, *, is_kept: bool
) -> None:
    gpu = replace(ALONE, usage=sensor, instant=UNSUPPORTED)
    stored().unlink(missing_ok=True)
    (card,) = read_cards(scripted_nvml, gpu)
    assert card.probed_s == pytest.approx(probed_s, abs=0.1)
    assert stored().exists() is is_kept
    assert card.update_s == (pytest.approx(sensor.update_s, rel=2e-3) if is_kept else None)


def test_cards_follow_the_board_to_another_index(scripted_nvml: ScriptedNvml) -> None:
    cards = read_cards(scripted_nvml)
    scripted_nvml.play(Scenario((replace(GPU, uuid="GPU-first", bus="00000000:01:00.0"), GPU)))
    _, meter = open_meters(MeterRequest())
    with meter:
        store_cards(meter, cards)
        assert [card.channel for card in load_cards(meter)] == [
            "nvml/gpu1/counter",
            "nvml/gpu1/power",
        ]


def test_a_calibration_reads_anew_and_renews_the_card(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    clock = scripted_nvml.clock(10.0)
    scripted_nvml.play(Scenario((GPU,), clock=clock.path))

    def measure(name: str, *, calibrate: bool) -> SensorCard:
        run = RunDir(tmp_path / name)
        run.path.mkdir()
        request = MeteringRequest(meters=("nvml",), calibrate=calibrate)
        with sampling(run, request, clock):
            pass
        began = run.read_began()
        assert began is not None
        return began.sensor_cards[0]

    assert measure("first", calibrate=False).age_s == 0.0
    assert measure("second", calibrate=False).age_s > 0.0
    renewed = measure("third", calibrate=True)
    assert (renewed.age_s, renewed.probed_s > 1.5) == (0.0, True)
    assert abs(measure("fourth", calibrate=False).probed_s - renewed.probed_s) < 1e-9
