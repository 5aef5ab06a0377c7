"""``doctor --acceptance``: known loads on scripted boards, whose sensors are then known."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fakes.clocks import SharedClock
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import (
    FAST,
    PART_TIME,
    RUNNING_AVERAGE,
    UNSUPPORTED,
    Counter,
    FakeGpu,
    Fault,
    Scenario,
    Sensor,
)
from fakes.power_shapes import LivePower
from fakes.scripted_load import CONTEXT_W, IDLE_W, STEP_W, ScriptedLoad, loading_python
from fakes.user_settings import noisy_python
from program import start, wbcbench
from wbcbench.cli import build_app
from wbcbench.commands.acceptance import describe, require_claims
from wbcbench.core.cache import cache_root
from wbcbench.core.errors import (
    CannotMeasureError,
    InterruptedRunError,
    ThresholdExceededError,
    UsageError,
)
from wbcbench.core.lock import machine_lock
from wbcbench.core.trace import Kind
from wbcbench.doctor.acceptance import Acceptance, accept_board
from wbcbench.doctor.device import describe_cards
from wbcbench.energy.board_card import Board, BoardCard, BoardClaim, read_card
from wbcbench.energy.sensor_fit import Estimate
from wbcbench.power.meter import MeterRequest
from wbcbench.power.nvml import open_meters
from wbcbench.power.probing import load_cards, probe_sensors
from wbcbench.power.session import MeteringRequest
from wbcbench.report.acceptance import build_page
from wbcbench.report.formats import to_html

APP = build_app(["doctor", "work"])
DRIVER = "580.95.05"

NOISY = Sensor(update_s=0.1, window_s=0.1, noise_w=0.8, phase_s=0.013, lag_s=0.03)
MEAN = replace(RUNNING_AVERAGE, noise_w=0.3, seed=2)
H100 = FakeGpu(
    name="NVIDIA H100 80GB HBM3",
    architecture=9,
    instant=replace(PART_TIME, noise_w=0.8, phase_s=0.013, lag_s=0.02),
    average=MEAN,
    usage=MEAN,
    counter=Counter(step_s=0.1, from_sensor=True),
)
V100 = FakeGpu(
    name="Tesla V100-SXM2-32GB",
    architecture=5,
    instant=replace(FAST, noise_w=0.8, lag_s=0.012),
    average=UNSUPPORTED,
    usage=replace(FAST, noise_w=0.8, lag_s=0.012, seed=3),
    counter=Counter(step_s=0.02, phase_s=0.003),
)
P100 = replace(
    V100, name="Tesla P100", instant=UNSUPPORTED, usage=NOISY, counter=Counter(supported=False)
)


@pytest.fixture(autouse=True)
def lock_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", str(tmp_path / "locks"))


UNKNOWN = Estimate(reason="nobody looked")
EMPTY = BoardCard(
    "2026-11-29T12:00:00Z",
    Board("NVIDIA Test GPU", "GPU-1", DRIVER, "/GPU:0"),
    (),
    Estimate(-1.5, 2.0),
    UNKNOWN,
    None,
    "nobody looked",
    (),
    (BoardClaim("pace", "the pace is known", "unknown", "nobody looked"),),
    (),
)


def accept(nvml: ScriptedNvml, folder: Path, gpu: FakeGpu, **load: Any) -> Acceptance:
    """The acceptance of a board in the time of a clock that only sleeping moves."""
    clock = SharedClock(folder / "clock", 10.0)
    power = LivePower.begin(folder / "power", IDLE_W)
    nvml.play(Scenario((replace(gpu, power=power),), clock=clock.path))
    clock.expect(threads=1)
    start = ScriptedLoad(power, clock, **load).start
    return accept_board(MeteringRequest(meters=("nvml",)), clock, start, lambda _: None)


def states(card: BoardCard) -> dict[str, str]:
    return {claim.name: claim.state for claim in card.claims}


# --- whole, in virtual time ----------------------------------------------------------------------


def test_every_reading_of_a_part_time_board_is_known_and_all_claims_hold(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    accepted = accept(scripted_nvml, tmp_path, H100)
    card = accepted.card
    fits = {each.reading: each.fit for each in card.readings}
    assert set(fits) == {"total_energy", "power_instant", "power_average", "power_usage"}
    for reading, sensor in (
        ("power_instant", H100.instant),
        ("power_average", H100.average),
        ("power_usage", H100.usage),
    ):
        fit = fits[reading]
        assert fit.update_s.value == pytest.approx(sensor.update_s, rel=0.01)
        assert fit.averaging_s.value == pytest.approx(sensor.window_s, rel=0.05)
        assert fit.delay_s.value == pytest.approx(sensor.lag_s, abs=0.001)
        assert fit.step_w.value == pytest.approx(STEP_W, rel=0.01)
    for reading in ("total_energy", "power_instant"):
        assert fits[reading].share.value == pytest.approx(0.25, rel=0.05)
    assert fits["power_average"].share.value == 1.0
    assert card.scope == "board"
    assert card.context_w.value == pytest.approx(CONTEXT_W, abs=card.context_w.half)
    assert set(states(card).values()) == {"pass"}
    assert {each.kind_guess for each in card.cards} == {"counter", "part_time", "running_average"}
    assert read_card(card.to_json(), "card.json") == card
    text = "\n".join(describe(accepted, Path("acceptance/GPU-1/card.html")))
    assert "looks at 25 % of the time" in text
    assert "pass     joules are proportional" in text
    assert text.endswith("Later runs on this board use the card until its driver changes.")
    assert max(map(len, text.splitlines())) <= 80
    page = to_html(build_page(card, accepted.traces, accepted.played)).decode()
    assert page.count("<svg") == 5
    assert "://" not in page.replace("http://www.w3.org", "")


def test_a_board_without_a_counter_is_judged_by_its_power(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    card = accept(scripted_nvml, tmp_path, P100).card
    assert [each.kind for each in card.readings] == [Kind.SAMPLED]
    (own,) = card.cards
    assert (own.kind_guess, own.averaging_s) == ("held", own.update_s)
    assert own.delay_s == pytest.approx(0.03, abs=0.001)
    assert states(card) == {
        "pace": "pass", "counter-step": "absent", "published": "absent", "delay": "pass",
        "proportional": "pass", "agreement": "absent", "uncertainty": "pass",
    }  # fmt: skip


def test_whether_it_holds_the_processor_may_stay_open(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    accepted = accept(scripted_nvml, tmp_path, replace(P100, usage=MEAN))
    assert accepted.card.scope is None
    text = " ".join("\n".join(describe(accepted, Path("card.html"))).split())
    assert "W. That does not tell whether it is a board's or a module's. pass" in text
    assert text.count("A load of the processor moves it by") == 1


def test_a_module_whose_reading_holds_the_processor_is_told(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    card = accept(scripted_nvml, tmp_path, V100, processor_w=70.0).card
    assert (card.scope, card.scope_reason) == ("module", "")
    assert card.processor_w.value == pytest.approx(70.0, rel=0.02)


def test_joules_that_bend_with_the_duty_and_a_counter_with_a_false_gain_fail_their_claims(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    gpu = replace(V100, counter=replace(V100.counter, gain=0.9))
    card = accept(scripted_nvml, tmp_path, gpu, bend=0.12).card
    found = states(card)
    assert (found["proportional"], found["agreement"]) == ("fail", "fail")
    (claim,) = [each for each in card.claims if each.name == "agreement"]
    assert claim.value == pytest.approx(0.1, abs=0.01)
    assert found["uncertainty"] == "pass"  # one gain in all windows is no matter of ±


def test_later_runs_take_the_card_however_old_until_the_driver_changes(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    stored = accept(scripted_nvml, tmp_path, H100).stored
    assert stored is not None
    facts = json.loads(stored.read_text())
    stored.write_text(json.dumps(facts | {"probed_at_s": time.time() - 40 * 86_400.0}))
    clock = scripted_nvml.clock(500.0)
    power = LivePower.begin(tmp_path / "later", 100.0)
    scenario = Scenario((replace(H100, power=power),), clock=clock.path)
    scripted_nvml.play(scenario)
    (meter,) = open_meters(MeterRequest())
    with meter:
        cards = probe_sensors([meter], clock, uses_known=True)
        assert [card.channel for card in cards] == [channel.name for channel in meter.channels]
        assert all(card.is_active and card.age_s > 39 * 86_400.0 for card in cards)
        power_card = cards[1]
        described = power_card.describe(meter.channels[1])
        assert described.averaging_s == pytest.approx(0.025, rel=0.05)
        assert described.delay_s == pytest.approx(0.02, abs=0.001)
        told = [line.text for line in describe_cards(cards)]
        assert all("found by known loads 960 h" in text for text in told), told
        anew = probe_sensors([meter], clock)  # a full probe is of the day, and hides nothing
        assert not any(card.is_active for card in anew)
        assert all(card.is_active for card in load_cards(meter))
    scripted_nvml.play(replace(scenario, driver="999.1"))
    (meter,) = open_meters(MeterRequest())
    with meter:
        assert not any(card.is_active for card in load_cards(meter))


def test_a_board_that_tensorflow_does_not_see_is_not_accepted(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    with pytest.raises(CannotMeasureError, match="TensorFlow sees no GPU here"):
        accept(scripted_nvml, tmp_path, H100, loaded_on="/CPU:0")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("lost", at_s=30.0), "has given no reading for"),
        (Fault("lost", at_s=11.0, until_s=17.5), "has given no reading for"),
    ],
)
def test_a_board_that_is_lost_in_the_middle_is_not_accepted(
    scripted_nvml: ScriptedNvml, tmp_path: Path, fault: Fault, words: str
) -> None:
    with pytest.raises(CannotMeasureError, match=words):
        accept(scripted_nvml, tmp_path, replace(H100, faults=(fault,)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda card: card | {"schema": "wbcbench.card/9"},
        lambda card: card | {"context_w": {"value": 1.0, "half": -1.0, "reason": ""}},
        lambda card: {name: value for name, value in card.items() if name != "claims"},
        lambda card: card | {"context_w": {"value": "much", "half": 1.0, "reason": ""}},
    ],
)
def test_a_card_is_read_strictly(spoil: Any) -> None:
    card = json.loads(EMPTY.to_json())
    assert read_card(json.dumps(card).encode(), "card.json") == EMPTY
    with pytest.raises(UsageError, match=r"card\.json"):
        read_card(json.dumps(spoil(card)).encode(), "card.json")


# --- the whole command, in real time -------------------------------------------------------------


@pytest.fixture
def board(
    scripted_nvml: ScriptedNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[FakeGpu], float]:
    """Puts a board there that the load's program moves; returns its second 0."""

    def play(gpu: FakeGpu) -> float:
        epoch_s = time.monotonic()
        power = LivePower.begin(tmp_path / "power", IDLE_W)
        scripted_nvml.play(Scenario((replace(gpu, power=power),), epoch_s=epoch_s))
        monkeypatch.setattr(sys, "executable", loading_python(tmp_path, power, epoch_s))
        return epoch_s

    return play


def test_the_command_writes_a_card_and_a_page_of_a_board_that_its_load_moves(
    board: Callable[[FakeGpu], float], tmp_path: Path
) -> None:
    board(replace(H100, uuid="GPU-accepted"))
    out = tmp_path / "out"
    done = CliRunner().invoke(APP, ["doctor", "--acceptance", "--out", str(out), "--json"])
    assert done.exception is None, done.output
    data = (out / "card.json").read_bytes()
    told = json.loads(done.stdout)
    assert told.pop("page") == str(out / "card.html")
    assert told == json.loads(data)
    card = read_card(data, "card.json")
    assert set(states(card).values()) == {"pass"}
    by_reading = {each.reading: each.fit for each in card.readings}
    fit = by_reading["power_instant"]
    assert fit.update_s.value == pytest.approx(0.1, rel=0.01)
    assert fit.averaging_s.value == pytest.approx(0.025, rel=0.05)
    assert (out / "card.html").read_text().count("<svg") == 5
    assert "load: duty" in done.stderr
    assert (cache_root() / "sensor-cards" / "active-GPU-accepted.json").exists()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("lost", at_s=1.5), "nvml/gpu0 has given no reading for"),
        (Fault("hang", on="fields", at_s=1.5, until_s=9.0), "nvml/gpu0 has not answered for"),
    ],
)
def test_the_command_ends_soon_where_the_driver_hangs_or_the_board_is_lost(
    board: Callable[[FakeGpu], float], tmp_path: Path, fault: Fault, words: str
) -> None:
    epoch_s = board(replace(H100, faults=(fault,)))
    done = CliRunner().invoke(APP, ["doctor", "--acceptance", "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, CannotMeasureError)
    assert words in str(done.exception)
    assert not (tmp_path / "out" / "card.json").exists()
    for probe in threading.enumerate():  # the call that hangs ends before the next scenario
        if probe.name == "acceptance":
            probe.join(max(epoch_s + 12.0 - time.monotonic(), 1.0))


def test_a_claim_that_fails_is_exit_4_and_one_that_cannot_be_judged_exit_3() -> None:
    def claims(*states: Any) -> BoardCard:
        return replace(EMPTY, claims=tuple(BoardClaim(s, "a claim", s, "so") for s in states))

    page = Path("acceptance/GPU-1/card.html")
    require_claims(claims("pass", "absent"), page)
    with pytest.raises(ThresholdExceededError, match="does not keep what is promised: fail") as met:
        require_claims(claims("pass", "unknown", "fail"), page)
    assert met.value.exit_code == 4
    with pytest.raises(CannotMeasureError, match="does not tell: unknown") as met:
        require_claims(claims("pass", "unknown", "absent"), page)
    assert met.value.exit_code == 3


def test_a_load_that_dies_is_exit_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripted_nvml: ScriptedNvml
) -> None:
    scripted_nvml.play(Scenario((H100,)))
    monkeypatch.setattr(sys, "executable", noisy_python(tmp_path, "wbcbench.train.known_load"))
    done = CliRunner().invoke(APP, ["doctor", "--acceptance", "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, CannotMeasureError)
    assert "The program that loads the board ended" in str(done.exception)


def test_without_a_board_it_is_exit_3_with_the_reason_and_the_way_out(tmp_path: Path) -> None:
    for words in ((), ("--meters", "nvml"), ("--meters", "simulated")):
        done = wbcbench("doctor", "--acceptance", *words, cwd=tmp_path)
        assert done.code == CannotMeasureError.exit_code
        assert "Known loads can test no sensor here" in done.err
        assert len(done.err.strip().splitlines()) <= 3
    assert not (tmp_path / "acceptance").exists()
    for words in (
        ("--acceptance", "--meters", "toaster"),
        ("--acceptance", "--require", "gpu=measured"),
        ("--out", "folder"),
    ):
        done = wbcbench("doctor", *words, cwd=tmp_path)
        assert done.code == UsageError.exit_code


def test_ctrl_c_ends_it_and_its_load(scripted_nvml: ScriptedNvml, tmp_path: Path) -> None:
    scripted_nvml.play(Scenario((H100,)))
    program = start("doctor", "--acceptance", "--out", str(tmp_path / "out"))
    assert program.stderr is not None
    while "starting TensorFlow" not in program.stderr.readline():
        assert program.poll() is None
    program.send_signal(signal.SIGINT)
    out, _ = program.communicate(timeout=60)
    assert (program.returncode, out) == (InterruptedRunError.exit_code, "")
    assert not (tmp_path / "out" / "card.json").exists()


def test_two_do_not_load_one_board_at_a_time(scripted_nvml: ScriptedNvml, tmp_path: Path) -> None:
    with machine_lock(H100.uuid, share=False), pytest.raises(CannotMeasureError, match="Another"):
        accept(scripted_nvml, tmp_path, H100)
