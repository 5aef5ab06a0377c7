"""Which headline a report from this machine will carry, in words."""

from __future__ import annotations

from wbcbench.core.trace import Domain, Origin
from wbcbench.doctor import Facts
from wbcbench.energy.source import HEADLINE_DOMAINS, Speaker, speakers

_PARTS = {Domain.GPU: "GPU board", Domain.CPU: "CPU packages", Domain.SYSTEM: "whole machine"}
_STATUS = {
    Origin.MEASURED: "measured",
    Origin.ESTIMATED: "estimated (from a sensor of something else)",
    Origin.MODELLED: "modelled (no sensor on this machine)",
    Origin.SYNTHETIC: "synthetic (a made-up signal)",
}


def likely_headline(facts: Facts) -> Speaker | None:
    """Who will speak for a run here; ``None`` if nobody."""
    found = (speakers(facts.channels, domain) for domain in HEADLINE_DOMAINS)
    return next((sides[0] for sides in found if sides), None)


def outlook(facts: Facts) -> str:
    """``Headline energy will be: GPU board, measured.``"""  # noqa: D415
    who = likely_headline(facts)
    if who is None:
        return "Headline energy will be: absent (no meter works on this machine)."
    if who.status is Origin.MODELLED:
        return f"Headline energy will be: {_STATUS[who.status]}."
    return f"Headline energy will be: {_PARTS[who.domain]}, {_STATUS[who.status]}."
