"""A run's record, worked out anew from its trace, marks and telemetry: kept by digest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

from pydantic import JsonValue

from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.record import Circumstances, RunRecord, to_json
from wbcbench.core.run_folder import RunDir
from wbcbench.energy.account import account

_TOLERANCE = 1e-9
_SHARED = "shared-machine"
_SEEN = tuple(each.name for each in fields(Circumstances) if each.name != "shared")
_JUDGED = ("cautions", "verdict", "budgets", "agreements")
"""What another version may judge otherwise; the joules it must find again."""
_MEASURED = ("energies", "budgets", "windows", "channels", "agreements", "telemetry")


def departures(bundle: Bundle, run: RunDir) -> tuple[str, ...]:
    """Where a run's record says other than its folder, as paths with both values."""
    return _departures(run, bundle.digest_of(run))


@lru_cache(maxsize=4096)
def _departures(run: RunDir, digest: str) -> tuple[str, ...]:
    record = run.read_own_record()
    return tuple(differences(_plain(record), _plain(again(run, record))))


def again(run: RunDir, record: RunRecord) -> RunRecord:
    """The record of a run as its folder has it; what only the watcher saw is taken on trust.

    Whether another harness was measuring is in no file but as a doubt of the record.
    """
    seen = Circumstances(
        **{name: getattr(record, name) for name in _SEEN},
        shared=any(caution.code == _SHARED for caution in record.cautions),
    )
    made = account(run, seen, record.status, record.error)
    return replace(made, ended_utc=record.ended_utc)


def differs_in_joules(path: str) -> bool:
    """Whether a difference is one of what the meters said."""
    return _field(path) in _MEASURED


def judged_alone(path: str) -> bool:
    """Whether a difference is one of judgement."""
    return _field(path) in _JUDGED


def _field(path: str) -> str:
    return path.split(":", maxsplit=1)[0].split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]


def _plain(record: RunRecord) -> Any:
    return json.loads(to_json(record))


def differences(said: JsonValue, found: JsonValue, at: str = "") -> Iterator[str]:
    """Where two plain values differ; numbers by more than one part in 10⁹."""
    if isinstance(said, dict) and isinstance(found, dict):
        for name in sorted(said.keys() | found.keys()):
            path = f"{at}.{name}" if at else name
            yield from differences(said.get(name), found.get(name), path)
    elif isinstance(said, list) and isinstance(found, list) and len(said) == len(found):
        for i, (one, other) in enumerate(zip(said, found, strict=True)):
            yield from differences(one, other, f"{at}[{i}]")
    elif not _equal(said, found):
        yield f"{at}: {_short(said)}, but its folder says {_short(found)}"


def _equal(said: JsonValue, found: JsonValue) -> bool:
    if _is_number(said) and _is_number(found):
        one, other = float(str(said)), float(str(found))
        return abs(one - other) <= _TOLERANCE * max(abs(one), abs(other))
    return type(said) is type(found) and said == found


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
