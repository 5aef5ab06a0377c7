"""What each part of the machine can be measured with, and what its number will be worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wbcbench.core.record import SensorCard
from wbcbench.core.trace import Domain, Origin
from wbcbench.doctor import Facts, Line, State
from wbcbench.energy.cross_check import agreements
from wbcbench.energy.source import CODECARBON, Speaker, is_codecarbon, speakers

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


def check(facts: Facts) -> Iterator[Line]:
    """One line a part of the machine, then those that only check."""
    for domain in (Domain.GPU, Domain.CPU, Domain.DRAM):
        yield _part(facts, domain)
    system = speakers(facts.channels, Domain.SYSTEM)
    if system:
        yield Line(State.OK, "system", f"{system[0].status}   {system[0].method}")
    yield from _rest(facts)


def _part(facts: Facts, domain: Domain) -> Line:
    found = speakers(facts.channels, domain)
    best = found[0] if found else None
    if best is not None and best.status is Origin.MEASURED:
        text = f"measured   {best.method}{_step(facts, best)}{_agreement(facts, domain)}"
        return Line(State.OK, domain.value, text)
    status = f"{best.status}   {best.method}" if best else "absent"
    lacking = _SENSORS[domain]
    reason = next((a.reason for a in facts.absent if a.meter == lacking), "")
    return Line(State.WARN, domain.value, status, why=_WHY[domain], fix=reason)


def _step(facts: Facts, who: Speaker) -> str:
    """How often the counter moves, as seen just now."""
    mine = [card for card in facts.cards if card.channel in who.channels]
    told = [card.update_s for card in mine if card.update_s is not None]
    return f", renewed every {1000 * max(told):.0f} ms" if told else ""


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
            told.append(f"renewed every {1000 * card.update_s:.1f} ms")
        if card.resolution is not None:
            told.append(f"least step {card.resolution:g} {_unit(card)}")
        state = State.INFO if card.reason else State.OK
        yield Line(state, card.channel, ", ".join(told), why=card.reason)


def _unit(card: SensorCard) -> str:
    return "J" if card.kind_guess == "counter" else "W"
