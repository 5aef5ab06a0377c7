"""The GPUs, the meters, and which primary energy a run on this machine will have."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib.util import find_spec

from wbcbench.core.child import PythonChild
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.record import SensorCard
from wbcbench.core.text import human_duration
from wbcbench.core.trace import Domain, Origin
from wbcbench.core.units import ms_from_s
from wbcbench.doctor import ABSENT, Facts, Line, State, info, ok, warn
from wbcbench.energy.cross_check import agreements
from wbcbench.energy.source import (
    CODECARBON,
    PRIMARY_DOMAINS,
    EnergySource,
    expected_source,
    is_codecarbon,
    meter_of,
)
from wbcbench.power.device import Device
from wbcbench.power.meter import AUTO, GPU_METERS, MeterRequest, explain_absence, find_meters
from wbcbench.power.power_limit import abandoned_paths

TENSORFLOW_S = 300.0  # its import takes a minute on a busy machine

_SENSORS = {Domain.GPU: GPU_METERS, Domain.CPU: ("rapl",), Domain.DRAM: ("rapl",)}
_WHY = {
    Domain.GPU: "without a GPU sensor no measured saving can be shown",
    Domain.CPU: "without RAPL, CPU energy is an estimate: no measured saving can be shown",
    Domain.DRAM: "without RAPL, memory energy is estimated as a constant power",
}
_PARTS = {Domain.GPU: "GPU board", Domain.CPU: "CPU packages", Domain.SYSTEM: "whole machine"}
_STATUS = {
    Origin.MEASURED: "measured",
    Origin.ESTIMATED: "estimated (no sensor on this machine)",
    Origin.SIMULATED: "simulated (no sensor is read)",
}


def check_device(facts: Facts) -> Iterator[Line]:
    """The GPUs: which, in what state, and which other processes use them."""
    available = find_meters((AUTO,), MeterRequest(gpus=facts.gpus))
    for device in available.devices:
        try:
            with device:
                yield from _check_gpu(device)
        except CannotMeasureError as error:
            yield info("gpu", f"{device.gpu} cannot be measured", fix=str(error))
    trainable = sum(device.can_train for device in available.devices)
    if trainable and find_spec("tensorflow") is not None:
        yield _check_tensorflow(trainable)
    if not available.devices:
        yield info(
            "gpu",
            "no GPU can be read",
            why="training would run on the CPU, whose energy is rarely measured by a sensor",
            fix=explain_absence(available.absent),
        )
    for path in abandoned_paths():
        yield warn(
            "power-limit",
            f"a killed run left its power limit in force ({path.name})",
            why="every run on that GPU is slower and draws less power",
            fix="start any `wbcbench run`: it restores the old limit first",
        )


def _check_gpu(device: Device) -> Iterator[Line]:
    gpu, facts, limit = device.gpu, device.describe(), device.enforced_limit_w()
    mode = facts.get("persistence_mode")  # a setting that only some vendors have
    persistence = "" if mode is None else f", persistence {'on' if mode else 'off'}"
    yield ok(
        "gpu",
        f"GPU {gpu.index}  {gpu.name} (driver {facts['driver']}, power limit "
        f"{'unknown' if limit is None else f'{limit:g} W'}{persistence})",
    )
    if mode is False:
        yield warn(
            "persistence",
            f"persistence mode of GPU {gpu.index} is off",
            why="each program loads the driver again: counters restart and start-up time varies",
            fix=f"sudo nvidia-smi -i {gpu.index} -pm 1",
            undo=f"sudo nvidia-smi -i {gpu.index} -pm 0",
        )
    yield _check_processes(device)


def _check_processes(device: Device) -> Line:
    gpu, pids = device.gpu, device.read_telemetry().pids
    if pids is None:
        return info(
            "processes",
            f"the driver does not list the processes on GPU {gpu.index}",
            why="energy of a foreign process would be counted as the run's, unnoticed",
        )
    if not pids:
        return ok("processes", f"no other process on GPU {gpu.index}")
    return warn(
        "processes",
        f"on GPU {gpu.index} there are other processes: {', '.join(map(str, pids))}",
        why="the GPU's counter charges them to the run, which becomes suspect",
        fix="stop them, or name another GPU with --gpus",
    )


def _check_tensorflow(gpus: int) -> Line:
    asked = PythonChild("wbcbench.train.visible_gpus", stderr=subprocess.DEVNULL)
    try:
        asked.wait(TENSORFLOW_S)
    except subprocess.TimeoutExpired:
        return warn("tensorflow-gpu", "TensorFlow did not answer")
    finally:
        asked.kill()
        asked.wait()
    if seen := int(asked.answers.read() or 0):
        return ok("tensorflow-gpu", f"TensorFlow sees {seen} GPU(s)")
    return warn(
        "tensorflow-gpu",
        f"the driver shows {gpus} GPU(s), TensorFlow none",
        why="training would run on the CPU while the idle GPU is measured",
        fix="pip install 'wbcbench[cuda]'",
        undo="pip uninstall the nvidia-… packages it brought",
    )


def check_meters(facts: Facts) -> Iterator[Line]:
    """What each part of the machine can be measured with, and how reliably."""
    unexplained = {absent.meter for absent in facts.absent}
    for domain, meters in _SENSORS.items():
        source = expected_source(facts.channels, domain, facts.absent)
        if source is not None and source.status is Origin.MEASURED and not source.unread:
            pace, agreement = _describe_pace(facts, source), _describe_agreement(facts, domain)
            yield ok(domain, f"measured: {source.method}{pace}{agreement}")
            continue
        status = f"{source.status}: {source.method}" if source and source.status else ABSENT
        if source and source.unread:
            status = f"unknown: no reading of {', '.join(source.unread)}"
        unexplained = {name for name in unexplained if meter_of(name) not in meters}
        yield warn(domain, status, why=_WHY[domain], fix=explain_absence(facts.absent, meters))
    system = expected_source(facts.channels, Domain.SYSTEM)
    if system is not None:
        yield ok("system", f"{system.status}: {system.method}")
    crossing = [f"{c.domain} {c.reading}" for c in facts.channels if is_codecarbon(c.name)]
    if crossing:
        yield info(CODECARBON, f"cross-check: {', '.join(crossing)}")
    for absent in facts.absent:
        if absent.meter in unexplained:
            yield info(absent.meter, absent.reason)


def _describe_pace(facts: Facts, source: EnergySource) -> str:
    """How often the counter moved when it was probed."""
    cards = [card for card in facts.cards if card.channel in source.channels]
    paces_s = [card.update_s for card in cards if card.update_s is not None]
    if not paces_s:
        return ""
    age_s = max(card.age_s for card in cards)
    how = "found by known loads" if any(card.is_active for card in cards) else "probed"
    age = f" ({how} {human_duration(age_s)} ago)" if age_s else ""
    return f", updated every {ms_from_s(max(paces_s)):.0f} ms{age}"


def _describe_agreement(facts: Facts, domain: Domain) -> str:
    """Counter against integral over the idle seconds."""
    if facts.idle is None:
        return ""
    names = {c.name for c in facts.channels if c.domain is domain}
    energies = [reading.energy for reading in facts.idle.readings]
    differences_pct = [
        abs(pair.difference_pct)
        for pair in agreements(facts.channels, energies)
        if {pair.a, pair.b} <= names and pair.status != "cross-check"
    ]
    if not differences_pct:
        return ""
    length_s = facts.idle.window.duration_s
    return f", counter vs integral {max(differences_pct):.1f} % over {length_s:.0f} s"


def describe_cards(cards: tuple[SensorCard, ...]) -> Iterator[Line]:
    """Every sensor card in words, for ``--calibrate``."""
    if not cards:
        yield info("cards", "no sensor here could be probed")
    for card in cards:
        text = f"{card.kind_guess}, {card.polls} readings in {card.probed_s:.1f} s"
        if card.update_s is not None:
            text += f", updated every {ms_from_s(card.update_s):.1f} ms"
        if card.resolution is not None:
            unit = "J" if card.kind_guess == "counter" else "W"
            text += f", resolution {card.resolution:g} {unit}"
        if card.averaging_s is not None:
            text += f", mean of {ms_from_s(card.averaging_s):.1f} ms"
        if card.delay_s is not None:
            text += f", late by {ms_from_s(card.delay_s):.1f} ms"
        if card.age_s:
            how = "found by known loads" if card.is_active else "probed"
            text += f", {how} {human_duration(card.age_s)} ago"
        yield Line(State.INFO if card.reason else State.OK, card.channel, text, why=card.reason)


def likely_primary_source(facts: Facts) -> EnergySource | None:
    """The primary energy source of a run here; ``None`` if there is none."""
    parts = PRIMARY_DOMAINS
    sources = (expected_source(facts.channels, part, facts.absent) for part in parts)
    return next(filter(None, sources), None)


def describe_primary(facts: Facts) -> dict[str, str | None]:
    """The primary energy of a run here, for programs."""
    source = likely_primary_source(facts)
    return {
        "status": (source.status if source else None) or ABSENT,
        "domain": source.domain if source else None,
        "method": source.method if source else None,
        "text": outlook(facts),
    }


def outlook(facts: Facts) -> str:
    """``Primary energy metric: GPU board, measured.``"""  # noqa: D415
    source = likely_primary_source(facts)
    if source is None:
        return "Primary energy metric: absent (no meter works on this machine)."
    if source.status is None or source.unread:
        return f"Primary energy metric: unknown (no reading of {', '.join(source.unread)})."
    part = "" if source.status is Origin.ESTIMATED else f"{_PARTS[source.domain]}, "
    return f"Primary energy metric: {part}{_STATUS[source.status]}."
