"""Nothing made up: no synthetic signal or image, no change to the code that is not here."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.bundle import layout
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.record import RunRecord
from wbcbench.core.trace import Origin
from wbcbench.energy.source import CODECARBON, is_codecarbon

_MODELS = ("cpu_load", "tdp_load", "constant", "tdp")
"""How CodeCarbon calls what has no sensor."""


def check(bundle: Bundle) -> Outcome:
    """Look at what every record says of its signal, its images and its code."""
    errors, warnings = list[str](), list[str]()
    for record in bundle.records.values():
        errors += [*_made_up(record), *_relabelled(record)]
        if record.provenance.get("git_dirty") and not bundle.has(layout.DIFF):
            errors.append(
                f"{record.run_id} was made with uncommitted changes that are not in the bundle."
            )
    unknown = sum(r.provenance.get("git_commit") is None for r in bundle.records.values())
    if unknown:
        warnings.append(f"The commit of {unknown} runs is not known.")
    return outcome("No run is synthetic; the code of every run is known.", errors, warnings)


def _relabelled(record: RunRecord) -> Iterator[str]:
    """CodeCarbon says of each part how it got its joules; a model never becomes a sensor."""
    parts = getattr(record.meters.get(CODECARBON), "get", lambda _: None)("parts")
    for channel in record.channels:
        part = channel.name.partition("/")[2]
        how = parts.get(part) if isinstance(parts, dict) and is_codecarbon(channel.name) else None
        mode = how.get("mode") if isinstance(how, dict) else None
        is_model = mode in _MODELS or channel.reading in _MODELS
        if is_model and not channel.origin.is_model:
            yield f"{record.run_id}: {channel.name} is a model and is said to be {channel.origin}."


def _made_up(record: RunRecord) -> Iterator[str]:
    signal = any(channel.origin is Origin.SYNTHETIC for channel in record.channels)
    drawn = record.dataset is not None and record.dataset.synthetic
    if signal or drawn or record.synthetic:
        what = "a made-up signal" if signal else "drawn images"
        yield f"{record.run_id} used {what}: no result about real cells."
