"""wbcbench beside zeus, CodeCarbon, carbontracker and a plain loop, on boards of known joules.

    python tests/benchmarks/bench_peers.py [--write] [--check] [--from peers.csv]

Every tool is installed in an environment of its own (``--cache``; a network is needed once) and
measures the same windows as its documentation tells its users to: begin, ten seconds of load, end.
Power is idle, a shape between two moments, idle; a tool begins its window just before the load
begins, and the truth is computed from the shape for exactly the span between the return of its
beginning and the call of its end. Phases of sensors and loads are drawn from the seed, alike for
all tools. ``peers_table.py`` makes a table of the windows and says whether what is wanted holds.

Windows run side by side, which takes two idle cores. One whose beginning or end came more than
``--late-ms`` late for any tool says more of the machine than of the tools: it is measured again,
whatever came of it. Some 45 minutes for everything.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

from peer_rows import LENGTH_S, LOAD_AT_S, ROWS, Row  # noqa: E402
from peers_table import PAGE, TOOLS, Result, check, read_csv, table, write_csv, write_page  # noqa: E402

from fakes.nvml_plugin import SONAME  # noqa: E402
from fakes.nvml_scenario import VARIABLE, FakeGpu, Scenario  # noqa: E402

NVML = "nvidia-ml-py==13.615.71"
PACKAGES = {
    "zeus": ("zeus==0.16.0", NVML),
    "codecarbon": ("codecarbon==3.3.2", NVML),
    "carbontracker": ("carbontracker==2.4.7", NVML),
    "loop": (NVML,),
}
CSV = HERE / "peers.csv"
LATE_MS = 25.0
TRIES = 4
# From a batch's jobs to its first load: processes start and probe their sensors. Longer after a
# batch in which that was not enough.
PREPARE_S, PREPARE_LANE_S, LONGER = 6.0, 0.7, 1.3
UNPREPARED_MS, MOST_PREPARE_S = 500.0, 30.0
STAGGER_S = 0.12
READ_S = 40.0  # after the last load; a tool that hangs longer is given up
# A tool's window begins this long before the load does: what its beginning takes at most.
LEADS_S = {"wbcbench": 0.03, "zeus": 0.03, "codecarbon": 0.05, "carbontracker": 0.03, "loop": 0.03}


# --- environments ------------------------------------------------------------------------------


def install(cache: Path) -> dict[str, Path | str]:
    """The Python of each tool's environment, or why there is none."""
    pythons: dict[str, Path | str] = {"wbcbench": Path(sys.executable)}
    for tool, packages in PACKAGES.items():
        folder = cache / tool
        stamp, wanted = folder / ".packages", " ".join(packages)
        python = folder / "bin" / "python"
        if not stamp.exists() or stamp.read_text() != wanted:
            print(f"installing {wanted} into {folder}", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            command = [str(python), "-m", "pip", "install", "--quiet", *packages]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pythons[tool] = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
                continue
            stamp.write_text(wanted)
        pythons[tool] = python
    return pythons


def build_library(folder: Path) -> None:
    """The scripted NVML library, and a mute ``nvidia-smi``, which some tools look for."""
    sources = [str(path) for path in sorted((HERE.parent / "fakes").glob("nvml*.c"))]
    options = ["-O2", "-fPIC", "-shared", f"-Wl,-soname,{SONAME}"]
    command = ["cc", *options, "-o", str(folder / SONAME), *sources, "-lm", "-lpthread"]
    subprocess.run(command, check=True)
    smi = folder / "nvidia-smi"
    smi.write_text("#!/bin/sh\nexit 0\n")
    smi.chmod(0o755)


def environment(folder: Path) -> dict[str, str]:
    """The library for every tool, no network, one thread for arithmetic."""
    nowhere = "http://127.0.0.1:9"
    env = {name: value for name, value in os.environ.items() if not name.startswith("CUDA_")}
    return env | {
        "LD_LIBRARY_PATH": str(folder),
        "PATH": f"{folder}:{os.environ['PATH']}",
        VARIABLE: str(Scenario().write(folder, "idle.txt")),
        "WBCBENCH_LOCK_DIR": str(folder),
        "WBCBENCH_CACHE": str(folder / "cache"),
        "TMPDIR": str(folder),
        "http_proxy": nowhere,
        "https_proxy": nowhere,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


# --- windows -----------------------------------------------------------------------------------


class Server:
    """A process that has imported a tool and measures each window in a child of its own."""

    def __init__(self, tool: str, python: Path, env: dict[str, str], folder: Path) -> None:
        self.tool = tool
        self.answers: dict[str, dict[str, Any]] = {}
        self._ready = threading.Event()
        with (folder / f"{tool}.log").open("w") as log:
            self._process = subprocess.Popen(
                [str(python), str(HERE / "peer_tools.py"), tool],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env=env, cwd=folder,
            )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            if "ready" in answer:
                self._ready.set()
            else:
                self.answers[answer.pop("id")] = answer

    def wait_until_ready(self) -> None:
        if not self._ready.wait(60):
            raise SystemExit(f"{self.tool} cannot be imported; see its log")

    def send(self, job: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


@dataclass
class Slot:
    """One row with one seed, which all tools measure at the same time."""

    row: Row
    seed: int
    attempt: int = 0
    load_s: float = 0.0
    boards: tuple[FakeGpu, ...] = ()
    results: list[Result] = field(default_factory=list)

    @property
    def late_ms(self) -> float:
        """How late the latest stamp of any tool was; joules are not looked at."""
        return max((r.late_ms for r in self.results if r.late_ms is not None), default=0.0)

    @property
    def identity(self) -> str:
        return re.sub(r"\W+", "-", f"{self.row.key} {self.seed + 100} {self.attempt}")

    def prepare(self, folder: Path, load_s: float) -> Path:
        """Write the scenario whose load begins at ``load_s`` of ``CLOCK_MONOTONIC``."""
        self.load_s = load_s
        self.boards = self.row.draw_boards(random.Random(f"{self.row.key} {self.seed}"))
        named = (
            replace(
                board, uuid=f"GPU-{self.identity}-{place}", bus=f"00000000:{place + 16:02X}:00.0"
            )
            for place, board in enumerate(self.boards)
        )
        return Scenario(tuple(named), epoch_s=load_s - LOAD_AT_S).write(folder)

    def energy_j(self, start_s: float, end_s: float) -> float:
        """Joules that all boards drew between two moments of ``CLOCK_MONOTONIC``."""
        offset_s = LOAD_AT_S - self.load_s
        spans = (start_s + offset_s, end_s + offset_s)
        return sum(board.power.energy_j(*spans) for board in self.boards)


def measure_batch(
    slots: Sequence[Slot], servers: Sequence[Server], folder: Path, prepare_s: float
) -> None:
    """Have every tool measure every slot, all at once; fills in their results."""
    first_s = time.monotonic() + prepare_s
    for number, slot in enumerate(slots):
        slot.attempt += 1
        room = folder / slot.identity
        room.mkdir()
        path = slot.prepare(room, first_s + number * STAGGER_S)
        for server in servers:
            job = {
                "id": slot.identity,
                "scenario": str(path),
                "log": str(room / f"{server.tool}.log"),
                "begin_s": slot.load_s - LEADS_S[server.tool],
                "end_s": slot.load_s + LENGTH_S,
            }
            server.send(job)
    give_up_s = first_s + LENGTH_S + READ_S
    while time.monotonic() < give_up_s:
        time.sleep(0.5)
        if all(slot.identity in server.answers for slot in slots for server in servers):
            break
    for slot in slots:
        slot.results = [_result(slot, server, folder) for server in servers]
        shutil.rmtree(folder / slot.identity)


def _result(slot: Slot, server: Server, folder: Path) -> Result:
    answer = server.answers.pop(slot.identity, {"error": "no answer"})
    log = folder / slot.identity / f"{server.tool}.log"
    start_s, end_s = answer.get("start_s"), answer.get("end_s")
    joules, error, late_s = answer.get("joules"), None, None
    u_pct = None
    if start_s is not None and end_s is not None:
        true_j = slot.energy_j(start_s, end_s)
        late_s = max(start_s - slot.load_s, end_s - slot.load_s - LENGTH_S)
        error = None if joules is None else 100 * (joules / true_j - 1)
        u_j = answer.get("u_j")
        u_pct = None if u_j is None else 100 * u_j / true_j
    elif start_s is not None:
        late_s = start_s - slot.load_s
    return Result(
        row=slot.row.key,
        seed=slot.seed,
        tool=server.tool,
        error_pct=error,
        u_pct=u_pct,
        late_ms=None if late_s is None else 1000 * late_s,
        cpu_s=answer.get("cpu_s"),
        messages=_describe_messages(
            answer, log.read_text(errors="replace") if log.exists() else ""
        ),
    )


# What a tool prints about the boards; numbers and times differ from window to window.
_ABOUT_BOARDS = re.compile(r"(?=.*(warn|error|critical))(?=.*(gpu|nvml))", re.IGNORECASE)
_NUMBERS = re.compile(r"GPU-[\w-]+|\d[\d:.,]*")


def _describe_messages(answer: dict[str, Any], log: str) -> str:
    """Errors and warnings in few words; of ours, the quality and the codes."""
    if "quality" in answer:
        return " ".join([answer["quality"], *answer["codes"]])
    lines = [
        _NUMBERS.sub("", line).strip(" []@-")[:70]
        for line in filter(_ABOUT_BOARDS.match, log.splitlines())
    ]
    if "error" in answer:
        lines.insert(0, f"error: {answer['error'][:70]}")
    return " | ".join(dict.fromkeys(lines))


def plan(rows: Sequence[Row], seeds: tuple[int, int], lanes: int) -> list[list[Slot]]:
    """Batches of windows in a seeded order, rows mixed, those without a counter spread evenly.

    Seeds of a fault-free row are ..., -1, 0 for choosing the best peer and 1, 2, ... for comparing.
    """
    slots = [
        Slot(row, seed)
        for row in rows
        for seed in range(1 if row.is_faulty else 1 - seeds[0], seeds[1] + 1)
    ]
    random.Random(12).shuffle(slots)
    slots.sort(key=lambda slot: slot.row.has_counter)
    count = -(-len(slots) // lanes)
    return [slots[number::count] for number in range(count)]


def measure_batches(
    batches: list[list[Slot]], servers: Sequence[Server], folder: Path, late_ms: float
) -> tuple[list[Result], int]:
    """Measure every batch, and again what came late; also how many windows that were."""
    results, lanes, repeats = list[Result](), max(map(len, batches)), 0
    prepare_s = PREPARE_S + PREPARE_LANE_S * lanes
    for _ in range(TRIES):
        late = list[Slot]()
        for number, batch in enumerate(batches, start=1):
            measure_batch(batch, servers, folder, prepare_s)
            for slot in batch:
                if slot.late_ms > late_ms:
                    late.append(slot)
                else:
                    results += slot.results
            latest_ms = max(slot.late_ms for slot in batch)
            if latest_ms > UNPREPARED_MS:
                prepare_s = min(LONGER * prepare_s, MOST_PREPARE_S)
            progress = f"batch {number} of {len(batches)}: at most {latest_ms:.1f} ms late"
            print(f"{progress}, {len(late)} windows to repeat", file=sys.stderr, flush=True)
        if not late:
            break
        repeats += len(late)
        count = -(-len(late) // lanes)
        batches = [late[number::count] for number in range(count)]
    return results, repeats


def main() -> int:
    """Measure, or read what was measured, and print the table; returns 1 if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "peers")
    parser.add_argument("--lanes", type=int, default=5, help="windows at a time")
    parser.add_argument(
        "--seeds", type=int, nargs=2, default=(6, 12), metavar=("CHOOSE", "COMPARE")
    )
    parser.add_argument(
        "--late-ms", type=float, default=LATE_MS, help="repeat windows later than this"
    )
    parser.add_argument(
        "--rows", default="", help="a regular expression: only rows whose key it matches"
    )
    parser.add_argument("--tools", nargs="+", default=list(TOOLS))
    parser.add_argument(
        "--from", dest="source", type=Path, help="a CSV of windows instead of measuring"
    )
    parser.add_argument(
        "--csv", type=Path, help=f"where windows are written; with --write {CSV.name}"
    )
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if what is wanted does not hold"
    )
    options = parser.parse_args()
    if options.source:
        results, facts = read_csv(options.source)
    else:
        results, facts = measure_rows(options)
        if target := options.csv or (CSV if options.write else None):
            write_csv(target, results, facts)
    rows = [row for row in ROWS if any(result.row == row.key for result in results)]
    text = table(rows, results, facts)
    print(text)
    if options.write:
        write_page(text)
    misses = check(rows, results)
    print("\n".join(["", *misses] if misses else ["", "Everything that is wanted holds."]))
    return int(options.check and bool(misses))


def measure_rows(options: argparse.Namespace) -> tuple[list[Result], dict[str, str]]:
    """Install, build, measure; also the facts that are printed with the table."""
    rows = [row for row in ROWS if re.search(options.rows, row.key)]
    began_s, pythons = time.monotonic(), install(options.cache)
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        build_library(folder)
        env = environment(folder)
        tools = [tool for tool in options.tools if isinstance(pythons[tool], Path)]
        servers = [Server(tool, Path(pythons[tool]), env, folder) for tool in tools]
        for server in servers:
            server.wait_until_ready()
        batches = plan(rows, options.seeds, options.lanes)
        results, repeats = measure_batches(batches, servers, folder, options.late_ms)
        for server in servers:
            server.close()
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "repeats": str(repeats),
        "minutes": f"{(time.monotonic() - began_s) / 60:.0f}",
        "packages": ", ".join(packages[0] for packages in PACKAGES.values()),
        "missing": "; ".join(
            f"{tool}: {why}" for tool, why in pythons.items() if isinstance(why, str)
        ),
    }
    return results, facts


if __name__ == "__main__":
    sys.exit(main())
