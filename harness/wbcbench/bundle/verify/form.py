"""What a run's files hold that reading them leaves out: nothing checks it, so nothing may be there.

Files of earlier versions know fewer names, and what a kill tore at the end of a log is no word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import JsonValue, TypeAdapter

from wbcbench.bundle.bounds import quote
from wbcbench.bundle.open import find_words
from wbcbench.core import board_state, cpu_load, run_folder
from wbcbench.core.record import (
    AT_END,
    Attachment,
    Circumstances,
    DatasetFacts,
    Epoch,
    Failure,
    Inference,
    ModelFacts,
    RunRecord,
    Scores,
    TrainingLoop,
)
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import MOST_LOOPS, RunSpec
from wbcbench.core.strict_json import parse_json
from wbcbench.core.trace import Channel
from wbcbench.core.trace_file import read_parquet_names

_DOCUMENTS: Mapping[str, Any] = {
    run_folder.SPEC: RunSpec,
    run_folder.BEGAN: Circumstances,
    run_folder.CHANNELS: list[Channel],
    run_folder.RECORD: RunRecord,
    run_folder.ATTACHMENT: Attachment,
}
_MESSAGES = {
    "epoch": Epoch, "dataset": DatasetFacts, "model": ModelFacts, "inference": Inference,
    "scores": Scores, "failure": Failure, "recorder": Circumstances, "loop": TrainingLoop,
}  # fmt: skip
_ONE_OF: Mapping[str, Container[Any]] = {
    "mark": ("open", "close"), "end": ("done", "interrupted"), "loops": range(2, MOST_LOOPS + 1)
}  # fmt: skip
_SCORED = ("test", "test_leakage_free")
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def find_unread(run: RunDir, record: RunRecord) -> Iterator[str]:
    """What is in a run's files and in nothing that is read from them, as sentences without end."""
    for name, kind in _DOCUMENTS.items():
        if (path := run.path / name).is_file():
            stated = parse_json(path.read_bytes())
            for unknown in find_unknown(stated, _read_again(kind, stated)):
                yield f"{name} has {quote(unknown)}, which no {path.stem} has"
    for message in run.read_messages():
        yield from _check_message(message)
    tables = [run_folder.TRACES, run_folder.ATTACHED_TRACE, run_folder.PREDICTIONS]
    for path in (run.path / name for name in tables):
        if path.is_file() and (words := find_words(path)):
            yield f"{path.name} has words beside its table: {quote(words)}"
    if record.status == "done":  # else its meters may have been named after their first reading
        named = {channel.name for channel in record.channels}
        path = run.path / run_folder.TRACES
        for name in read_parquet_names(path) if path.is_file() else ():
            if name not in named:
                yield f"{run_folder.TRACES} has the channel {quote(name)}, which no meter has"
    for path in sorted((run.path / run_folder.TELEMETRY).glob("*")):
        is_cpu = path == run.cpu_time_path
        yield from _check_log(path, cpu_load.COLUMNS if is_cpu else board_state.COLUMNS)


def find_unknown(stated: JsonValue, known: JsonValue) -> Iterator[str]:
    """Names in a document that reading it leaves out."""
    if isinstance(stated, dict) and isinstance(known, dict):
        yield from stated.keys() - known.keys()
        for name in stated.keys() & known.keys():
            yield from find_unknown(stated[name], known[name])
    elif isinstance(stated, list) and isinstance(known, list):
        for pair in zip(stated, known, strict=False):
            yield from find_unknown(*pair)


def _read_again(kind: Any, stated: JsonValue) -> JsonValue:
    """A document as its reader would write it."""
    again: JsonValue = _adapter(kind).dump_python(
        _adapter(kind).validate_json(json.dumps(stated)), mode="json"
    )
    return again


def _check_message(message: Mapping[str, Any]) -> Iterator[str]:
    """A message is of one kind; where a number is none, its contents are read in part."""
    kinds = [kind for kind in (*_MESSAGES, *_ONE_OF) if kind in message]
    others = message.keys() - {*kinds[:1], *(("window", "t_s") if kinds[:1] == ["mark"] else ())}
    if not kinds or others:
        words = json.dumps({name: message[name] for name in sorted(others)})
        yield f"{run_folder.MARKS} has a message that no program sends: {quote(words)}"
        return
    kind, content = kinds[0], message[kinds[0]]
    if kind in _ONE_OF:
        if content not in _ONE_OF[kind]:
            yield f"{run_folder.MARKS} has the {kind} {quote(str(content))}, which none has"
    elif isinstance(content, dict):
        expected = {field.name for field in fields(_MESSAGES[kind])}
        if kind == "recorder":
            expected = {*AT_END}
        elif kind == "scores":
            expected.add("name")
        unknown = sorted(content.keys() - expected)
        if kind == "scores" and content.get("name") not in _SCORED:
            unknown.append(str(content.get("name")))
        for name in unknown:
            yield f"{run_folder.MARKS} has {quote(name)} in a message of kind {kind}"
    else:
        yield f"{run_folder.MARKS} has {quote(str(content))} for a message of kind {kind}"


def _check_log(path: Path, columns: tuple[str, ...]) -> Iterator[str]:
    """A line a sample under the names of its columns; the last one may be torn."""
    head, *lines = path.read_text(encoding="ascii", errors="replace").split("\n")[:-1] or [""]
    if head not in {"", ",".join(columns)}:
        yield f"{path.name} has other columns than {quote(head)}"
    for line in lines:
        if line.count(",") != len(columns) - 1 or " " in line:
            yield f"{path.name} has a line that is no sample: {quote(line)}"
