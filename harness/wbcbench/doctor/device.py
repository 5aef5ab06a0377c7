"""The GPUs, the meters, and which result a report from this machine will carry."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.record import SensorCard
from wbcbench.core.trace import Domain, Origin
from wbcbench.core.units import ms_from_s
from wbcbench.doctor import Facts, Line, State
from wbcbench.energy.cross_check import agreements
from wbcbench.energy.source import (
    CODECARBON,
    PRIMARY_DOMAINS,
    EnergySource,
    is_codecarbon,
    rank_sources,
)
from wbcbench.power.device import Device
from wbcbench.power.meter import AUTO, MeterRequest, find_meters
from wbcbench.power.power_limit import abandoned_paths

TENSORFLOW_S = 300.0  # its import takes a minute on a busy machine
_ASK_TENSORFLOW = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"

_SENSORS: Mapping[Domain, str] = {
    Domain.GPU: "nvml",
    Domain.CPU: "rapl",
    Domain.DRAM: "rapl",
}
_WHY: Mapping[Domain, str] = {
    Domain.GPU: "GPU joules would be guessed; nothing may be called a measured saving",
    Domain.CPU: "CPU joules would be a guess from TDP and load; they prove no measured saving",
    Domain.DRAM: "memory joules would be a constant guess",
}

_PARTS = {Domain.GPU: "GPU board", Domain.CPU: "CPU packages", Domain.SYSTEM: "whole machine"}
_STATUS = {
    Origin.MEASURED: "measured",
    Origin.ESTIMATED: "estimated (no sensor on this machine)",
    Origin.SIMULATED: "synthetic (a made-up signal)",
}


def check_device(facts: Facts) -> Iterator[Line]:
    """The GPUs: which, in what state, and who else is on them."""
    found = find_meters((AUTO,), MeterRequest(gpus=facts.gpus))
    for device in found.devices:
        try:
            with device:
                yield from _gpu(device)
        except CannotMeasureError as error:
            yield Line(State.INFO, "gpu", f"{device.gpu} does not answer", fix=str(error))
    trainable = sum(device.can_train for device in found.devices)
    if trainable:
        yield _tensorflow(trainable)
    if not found.devices:
        yield Line(
            State.INFO,
            "gpu",
            "no GPU can be read",
            why="training would run on the CPU, whose energy is rarely measured by a sensor",
            fix=next((each.reason for each in found.absent if each.meter == "nvml"), ""),
        )
    yield from _limits_left()


def _gpu(device: Device) -> Iterator[Line]:
    gpu, facts, limit = device.gpu, device.describe(), device.enforced_limit_w()
    persistence = facts.get("persistence_mode")
    state = "" if persistence is None else f", persistence {'on' if persistence else 'off'}"
    yield Line(
        State.OK,
        "gpu",
        f"GPU {gpu.index}  {gpu.name} (driver {facts['driver']}, power limit "
        f"{'unknown' if limit is None else f'{limit:g} W'}{state})",
    )
    if persistence is False:
        yield Line(
            State.WARN,
            "persistence",
            f"persistence mode of GPU {gpu.index} is off",
            why="the driver is loaded anew for each program: counters restart and start-up varies",
            fix=f"sudo nvidia-smi -i {gpu.index} -pm 1",
            undo=f"sudo nvidia-smi -i {gpu.index} -pm 0",
        )
    yield _others(device)


def _others(device: Device) -> Line:
    gpu, pids = device.gpu, device.read_telemetry().pids
    if pids is None:
        return Line(
            State.INFO,
            "processes",
            f"the driver does not tell who else is on GPU {gpu.index}",
            why="a stranger's joules would be charged to the run unseen",
        )
    if not pids:
        return Line(State.OK, "processes", f"no other process on GPU {gpu.index}")
    return Line(
        State.WARN,
        "processes",
        f"on GPU {gpu.index} there are other processes: {', '.join(map(str, pids))}",
        why="a board's counter charges them to the run, which becomes suspect",
        fix="stop them, or name another GPU with --gpus",
    )


def _tensorflow(gpus: int) -> Line:
    if find_spec("tensorflow") is None:
        return Line(State.FAIL, "tensorflow-gpu", "TensorFlow is not installed",
                    why="nothing can be trained", fix="pip install wbcbench[cuda]")  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_TENSORFLOW],
            capture_output=True, text=True, check=False, timeout=TENSORFLOW_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Line(State.WARN, "tensorflow-gpu", "TensorFlow did not answer")
    if done.stdout.strip().isdigit() and int(done.stdout) >= 1:
        return Line(State.OK, "tensorflow-gpu", f"TensorFlow sees {int(done.stdout)} GPU(s)")
    return Line(
        State.WARN,
        "tensorflow-gpu",
        f"the driver shows {gpus} GPU(s), TensorFlow none",
        why="training would run on the CPU while the idle GPU is measured",
        fix="pip install 'wbcbench[cuda]'",
        undo="pip uninstall the nvidia-… packages it brought",
    )


def _limits_left() -> Iterator[Line]:
    for path in abandoned_paths():
        yield Line(
            State.WARN,
            "power-limit",
            f"a run that was killed left its power limit in force ({path.name})",
            why="every run on that board is slower and draws less than it seems to",
            fix="start any `wbcbench run`: it puts the old limit back first",
        )


def check_meters(facts: Facts) -> Iterator[Line]:
    """What each part of the machine can be measured with, and what its number will be worth."""
    for domain in (Domain.GPU, Domain.CPU, Domain.DRAM):
        yield _part(facts, domain)
    system = rank_sources(facts.channels, Domain.SYSTEM)
    if system:
        yield Line(State.OK, "system", f"{system[0].status}   {system[0].method}")
    yield from _rest(facts)


def _part(facts: Facts, domain: Domain) -> Line:
    found = rank_sources(facts.channels, domain)
    best = found[0] if found else None
    if best is not None and best.status is Origin.MEASURED:
        text = f"measured   {best.method}{_step(facts, best)}{_agreement(facts, domain)}"
        return Line(State.OK, domain.value, text)
    status = f"{best.status}   {best.method}" if best else "absent"
    lacking = _SENSORS[domain]
    reason = next((a.reason for a in facts.absent if a.meter == lacking), "")
    return Line(State.WARN, domain.value, status, why=_WHY[domain], fix=reason)


def _step(facts: Facts, who: EnergySource) -> str:
    """How often the counter moves, as seen just now."""
    mine = [card for card in facts.cards if card.channel in who.channels]
    told = [card.update_s for card in mine if card.update_s is not None]
    return f", renewed every {ms_from_s(max(told)):.0f} ms" if told else ""


def _agreement(facts: Facts, domain: Domain) -> str:
    """Counter against integral over the look just taken."""
    if facts.idle is None:
        return ""
    names = {c.name for c in facts.channels if c.domain is domain}
    energies = [reading.energy for reading in facts.idle.readings]
    pairs = [a for a in agreements(facts.channels, energies) if a.a in names and a.b in names]
    judged = [pair for pair in pairs if pair.status != "cross-check"]
    if not judged:
        return ""
    worst = max(judged, key=lambda pair: abs(pair.difference_pct))
    length_s = facts.idle.window.duration_s
    return f", counter vs integral {abs(worst.difference_pct):.1f} % over {length_s:.0f} s"


def _rest(facts: Facts) -> Iterator[Line]:
    """Meters that are only a cross-check, and those that cannot be asked."""
    crossing = [c for c in facts.channels if is_codecarbon(c.name)]
    if crossing:
        modes = ", ".join(f"{c.domain} {c.reading}" for c in crossing)
        yield Line(State.INFO, CODECARBON, f"beside ours: {modes}")
    for absent in facts.absent:
        if absent.meter not in _SENSORS.values():
            yield Line(State.INFO, absent.meter, absent.reason)


def card_lines(cards: tuple[SensorCard, ...]) -> Iterator[Line]:
    """Every sensor card in words, for ``--calibrate``."""
    if not cards:
        yield Line(State.INFO, "cards", "no sensor here whose pace could be looked at")
    for card in cards:
        told = [f"{card.kind_guess}, {card.polls} readings in {card.probed_s:.1f} s"]
        if card.update_s is not None:
            told.append(f"renewed every {ms_from_s(card.update_s):.1f} ms")
        if card.resolution is not None:
            told.append(f"least step {card.resolution:g} {_unit(card)}")
        state = State.INFO if card.reason else State.OK
        yield Line(state, card.channel, ", ".join(told), why=card.reason)


def _unit(card: SensorCard) -> str:
    return "J" if card.kind_guess == "counter" else "W"


def likely_primary_source(facts: Facts) -> EnergySource | None:
    """Who will speak for a run here; ``None`` if nobody."""
    found = (rank_sources(facts.channels, domain) for domain in PRIMARY_DOMAINS)
    return next((sides[0] for sides in found if sides), None)


def outlook(facts: Facts) -> str:
    """``Headline energy will be: GPU board, measured.``"""  # noqa: D415
    who = likely_primary_source(facts)
    if who is None:
        return "Headline energy will be: absent (no meter works on this machine)."
    if who.status is Origin.ESTIMATED:
        return f"Headline energy will be: {_STATUS[who.status]}."
    return f"Headline energy will be: {_PARTS[who.domain]}, {_STATUS[who.status]}."
