"""Recordings of ``monitor --record`` as scripted boards: each answer is in force until the next.

The first answer of a call holds from the beginning, the last one for ever. Scenario time 0 is the
beginning of the recording, or as many seconds before it as ``start_s`` says. What was never asked
is not found by who asks. A replay knows no truth, only what was shown, and shows it at once: it
does not hang where the driver did.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fakes.nvml_scenario import Scenario
from wbcbench.power.recording import FIELDS, PROCESSES, SCHEMA

ROOM_IS_SMALL = 7
LARGEST = 2**64 - 2048  # that a double holds and an unsigned long long, too
WITH_INPUT = ("nvmlDeviceGetClockInfo", "nvmlDeviceGetTemperature")
TEXTS = {
    "nvmlDeviceGetName": "name",
    "nvmlDeviceGetUUID": "uuid",
    "nvmlDeviceGetSerial": "serial",
    "nvmlDeviceGetPciInfo_v3": "bus",
}
HOST = {
    "nvmlSystemGetDriverVersion": "driver",
    "nvmlSystemGetNVMLVersion": "nvml",
    "nvmlSystemGetCudaDriverVersion_v2": "cuda",
}

Row = tuple[float, int, list[float]]  # time, return code, what was written


@dataclass(frozen=True)
class Answer:
    """What a call answered in the middle of the time that it took, in seconds of the recording."""

    call: str
    given: list[Any]
    t_s: float
    took_s: float
    code: int
    written: Any


@dataclass
class RecordedGpu:
    """A board that answers what one answered."""

    name: str
    texts: dict[str, str] = field(default_factory=dict)
    rows: dict[tuple[str, int], list[Row]] = field(default_factory=lambda: defaultdict(list))

    def statements(self, folder: Path) -> Iterator[str]:
        yield "gpu"
        for word, text in self.texts.items():
            yield f"{word} {text}"
        path = folder / f"{self.name}.answers"
        path.write_text("".join(self._format()))
        yield f"replay path={path}"

    def _format(self) -> Iterator[str]:
        for (call, given), rows in self.rows.items():
            rows.sort(key=lambda row: row[0])
            width = max(len(values) for _, _, values in rows)
            yield f"{call} {given} {len(rows)} {width}\n"
            for t_s, code, values in rows:
                padded = values + [0] * (width - len(values))
                yield " ".join(map(repr, (t_s, code, *padded))) + "\n"

    def add(self, answer: Answer) -> None:
        """Enter an answer of this board."""
        call, code, written = answer.call, answer.code, answer.written
        if PROCESSES in call:
            if code == ROOM_IS_SMALL:
                return  # the list follows
            listed = written if isinstance(written, list) else []
            written = [len(listed), *(value for process in listed for value in process)]
        elif call == FIELDS:
            for number, shown in zip(answer.given[1:], written or (), strict=False):
                values = [value or 0 for value in shown[1:]]
                self.rows["field", number].append((answer.t_s, shown[0], values))
            written = None
        elif call in TEXTS:
            if code == 0:
                self.texts[TEXTS[call]] = written["busId"] if isinstance(written, dict) else written
            written = None
        elif isinstance(written, dict):
            written = list(written.values())
        values = written if isinstance(written, list) else [written]
        numbers = [min(value, LARGEST) for value in values if value is not None]
        given = answer.given[1] if call in WITH_INPUT else -1
        self.rows[call, given].append((answer.t_s, code, numbers))


def replay(recording: Path, start_s: float = 0.0, **host: Any) -> Scenario:
    """The machine of a recording; ``host`` are more fields of its ``Scenario``."""
    gpus: list[RecordedGpu] = []
    for answer in read_recording(recording):
        if answer.call == "nvmlDeviceGetCount_v2" and answer.code == 0:
            numbers = range(len(gpus), answer.written)
            gpus += [RecordedGpu(f"{recording.name}-{number}") for number in numbers]
        elif answer.call in HOST and answer.code == 0:
            host.setdefault(HOST[answer.call], answer.written)
        elif answer.call.startswith("nvmlDevice") and answer.given[0] in range(len(gpus)):
            gpus[answer.given[0]].add(replace(answer, t_s=answer.t_s + start_s))
    return Scenario(tuple(gpus), **host)


def read_start_s(recording: Path) -> float:
    """When it began, in seconds of the monotonic clock."""
    start_us: int = next(_iterate_lines(recording))["start_us"]
    return start_us / 1e6


def read_recording(path: Path) -> Iterator[Answer]:
    """Every answer, in the order in which the calls returned."""
    lines = _iterate_lines(path)
    assert next(lines, {"schema": SCHEMA})["schema"] == SCHEMA
    calls: dict[int, tuple[str, list[Any]]] = {}
    last: dict[int, tuple[int, Any]] = {}
    at_s = 0.0
    for line in lines:
        if isinstance(line, dict):
            calls[line["id"]] = line["call"], line["in"]
            continue
        number, since_us, took_us, *answer = line
        if answer and answer[0]:
            last[number] = answer[0]
        at_s, took_s = at_s + since_us / 1e6, took_us / 1e6
        yield Answer(*calls[number], at_s + took_s / 2, took_s, *last[number])


def _iterate_lines(path: Path) -> Iterator[Any]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="ascii") as stream:
        while True:
            try:
                yield json.loads(stream.readline())
            except (EOFError, ValueError):  # torn, or the end
                return
