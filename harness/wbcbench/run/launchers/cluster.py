"""What a study asks of a cluster: the table ``[cluster]`` of an experiment file.

It says where and how jobs run, not what is measured, so it is no part of a plan's digest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from wbcbench.core.errors import UsageError, unknown_name

_TIME = r"^(\d+-)?\d+(:\d+){0,2}$"  # minutes, h:m:s, days-hours and the like
_LIST = "setup"
_Word = Annotated[str, Field(pattern=r"^[^\n\r\x00]*$")]


def _describe(text: str, **limits: Any) -> Any:
    return Field(description=text, **limits)


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """The keys of ``[cluster]``; what is empty is left to the engine."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    account: Annotated[_Word, _describe("Account that pays for the jobs.")] = ""
    partition: Annotated[_Word, _describe("Partition, or several with commas between.")] = ""
    qos: Annotated[_Word, _describe("Quality of service.")] = ""
    time: Annotated[
        str,
        _describe(
            "Time limit of a job, which is a block of runs: minutes, H:MM:SS or D-HH.",
            pattern=f"^$|{_TIME}",
            examples=["2:00:00"],
        ),
    ] = ""
    constraint: Annotated[_Word, _describe("Features that a node must have.")] = ""
    gres: Annotated[
        _Word,
        _describe("The GPU of a job; empty: none.", examples=["gpu:a100:1"]),
    ] = "gpu:1"
    cpus: Annotated[int, _describe("Processors of a job.", ge=1, le=1024)] = 4
    memory: Annotated[
        str, _describe("Memory of a job.", pattern=r"^$|^\d+[KMGT]?$", examples=["16G"])
    ] = ""
    setup: Annotated[
        tuple[_Word, ...],
        _describe("Shell lines that a job runs first.", examples=[["module load cuda"]]),
    ] = ()
    container: Annotated[
        _Word,
        _describe(
            "Put before the command of a job, to run it in a container.",
            examples=["apptainer exec --nv wbcbench.sif"],
        ),
    ] = ""
    cache: Annotated[
        _Word,
        _describe(
            "Folder of a node for decoded images; its variables are expanded there. Empty: the "
            "user's cache folder.",
            examples=["$TMPDIR/wbcbench"],
        ),
    ] = ""
    grace_s: Annotated[
        int,
        _describe(
            "Seconds before the time limit at which a run is asked to end after its epoch.",
            ge=30,
            le=3600,
        ),
    ] = 120
    attempts: Annotated[
        int, _describe("How often a run that ends without a result is tried.", ge=1, le=20)
    ] = 3
    max_parallel: Annotated[int, _describe("Jobs that wait or run at once.", ge=1, le=10_000)] = 32

    def change(self, changes: Iterable[str]) -> ClusterSettings:
        """These settings with each ``KEY=VALUE`` of a command line.

        Raises:
            UsageError: There is no such key, or its value is none.
        """
        found = self
        for word in changes:
            name, sign, text = word.partition("=")
            if name not in CLUSTER_KEYS or not sign:
                if sign:
                    raise unknown_name("key of [cluster]", name, CLUSTER_KEYS)
                raise UsageError(f"--cluster takes KEY=VALUE; it is {word!r}.")
            value: Any = text
            if name == _LIST:
                value = (*self.setup, text)
            elif get_type_hints(ClusterSettings)[name] is int:
                value = int(text) if re.fullmatch(r"\d{1,9}", text) else text
            found = _validate(replace(found, **{name: value}), f"--cluster {name}")
        return found


CLUSTER_KEYS = tuple(each.name for each in fields(ClusterSettings))


def _validate(settings: ClusterSettings, source: str) -> ClusterSettings:
    adapter = TypeAdapter(ClusterSettings)
    values = {name: getattr(settings, name) for name in CLUSTER_KEYS}
    try:
        return adapter.validate_json(to_json(values))  # as of a file: strict, but lists are tuples
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False)
        raise UsageError(f"{source}: {first['msg']}; it is {first['input']!r}.") from error


def list_settings(settings: ClusterSettings) -> Iterator[tuple[str, Any]]:
    """What differs from the defaults, by name."""
    usual = ClusterSettings()
    for name in CLUSTER_KEYS:
        if getattr(settings, name) != getattr(usual, name):
            yield name, getattr(settings, name)
