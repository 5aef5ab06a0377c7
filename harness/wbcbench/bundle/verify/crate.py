"""Research object: the RO-Crate parses and tells of every run as one action, with its times."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from wbcbench.bundle import layout
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.record import RunRecord

_NEEDED = ("instrument", "object", "result", "startTime", "endTime")
_PROFILE = "https://w3id.org/ro/wfrun/process/"


@dataclass(frozen=True, slots=True)
class _Crate:
    """What ``rocrate`` reads: where the root conforms, files, and actions with their words."""

    profiles: tuple[str, ...]
    files: tuple[str, ...]
    actions: tuple[tuple[str, Mapping[str, Any]], ...]


def check(bundle: Bundle) -> Outcome:
    """Read the crate with ``rocrate`` and hold its actions against the records."""
    crate = _read(bundle.data, bundle.digests[f"{layout.PAYLOAD}/{layout.CRATE}"])
    errors = [*_profile(crate), *_files(bundle, crate), *_runs(bundle, crate)]
    return outcome(f"{len(crate.actions)} actions, one a run.", errors)


@lru_cache(maxsize=64)
def _read(data: Path, digest: str) -> _Crate:
    from rocrate.rocrate import ROCrate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        crate = ROCrate(str(data))
    actions = [each for each in crate.get_entities() if "CreateAction" in _listed(each.type)]
    stated = _listed(crate.root_dataset.properties().get("conformsTo") or [])
    return _Crate(
        profiles=tuple(str(each.get("@id", "")) for each in stated),
        files=tuple(str(each.id) for each in crate.data_entities),
        actions=tuple((str(each.id).removeprefix("#"), each.properties()) for each in actions),
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _profile(crate: _Crate) -> Iterator[str]:
    if not any(each.startswith(_PROFILE) for each in crate.profiles):
        yield "The crate does not say that it is a Process Run Crate."


def _files(bundle: Bundle, crate: _Crate) -> Iterator[str]:
    for name in crate.files:
        if "://" not in name and not name.endswith("/") and not bundle.has(name.removeprefix("./")):
            yield f"The crate speaks of {name}, which is not there."


def _runs(bundle: Bundle, crate: _Crate) -> Iterator[str]:
    records = bundle.records
    counts = Counter[str]()
    for run_id, said in crate.actions:
        if run_id not in records:
            yield f"The crate speaks of {run_id}, a run that is not there."
            continue
        counts[run_id] += 1
        yield from (f"{run_id}: {each}" for each in _action(said, records[run_id]))
    for run_id in records:
        if counts[run_id] != 1:
            yield f"{run_id} is {counts[run_id]} actions of the crate, not one."


def _action(said: Mapping[str, Any], record: RunRecord) -> Iterator[str]:
    missing = [name for name in _NEEDED if not said.get(name)]
    if missing:
        yield f"its action has no {', '.join(missing)}."
    times = (said.get("startTime"), said.get("endTime"))
    if not missing and times != (record.started_utc, record.ended_utc):
        yield f"its action ran from {times[0]} to {times[1]}; the record says otherwise."
