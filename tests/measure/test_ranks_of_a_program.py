"""Several processes of one program, each with a ``Meter``: joules of a board are counted once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fakes.faulty_machine import HEALTHY, POWER_W, environment
from fakes.nvml_scenario import Scenario
from fakes.power_shapes import Constant
from program import command, wait_for

RANKS = 4
OTHER_W = 90.0
OTHER = replace(HEALTHY, uuid="GPU-other", bus="00000000:5E:00.0", power=Constant(OTHER_W))
# All ranks measure the same two seconds: each begins and ends when all are there.
PROGRAM = """
import json, os, time
from pathlib import Path
from wbcbench import Meter
def meet(where):
    (Path(os.environ["MEET"]) / f"{where}-{os.environ['RANK']}").touch()
    while len([*Path(os.environ["MEET"]).glob(f"{where}-*")]) < int(os.environ["WORLD_SIZE"]):
        time.sleep(0.01)
with Meter("nvml") as m:
    meet("begin")
    with m.window("train"):
        time.sleep(2.0)
    meet("end")
train = m.window_result("train")
print(json.dumps({
    "energy_j": m.energy.energy_j, "uncertainty_j": m.energy.uncertainty_j,
    "length_s": train.window.duration_s, "channel": m.energy.channel, "quality": m.quality,
    "codes": [w.code for w in m.warnings], "kept": m.run_dir is not None,
    "status": m.energy.status,
}))
"""


@dataclass(frozen=True)
class Ended:
    """What a rank printed."""

    result: Mapping[str, Any]
    notes: str


@pytest.fixture
def node(nvml_folder: Path, tmp_path: Path) -> dict[str, str]:
    env = environment(nvml_folder, Scenario((HEALTHY, OTHER)).write(tmp_path))
    results = {"WBCBENCH_RESULTS": str(tmp_path / "results"), "MEET": str(tmp_path)}
    return env | results | {"WBCBENCH_LOCK_DIR": str(tmp_path)}


def torchrun(rank: int, size: int) -> dict[str, str]:
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
    }  # fmt: skip


def run_ranks(node: dict[str, str], *each: Mapping[str, str]) -> list[Ended]:
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM], env=node | own, stdout=pipe, stderr=pipe, text=True
        )
        for own in reversed(
            [torchrun(rank, len(each)) | dict(own) for rank, own in enumerate(each)]
        )
    ]
    ended = []
    for process in reversed(started):
        out, notes = process.communicate(timeout=120)
        assert process.returncode == 0, notes
        ended.append(Ended(json.loads(out), notes))
    return ended


def test_ranks_that_see_the_same_boards_count_their_joules_once(
    node: dict[str, str], tmp_path: Path
) -> None:
    first, *others = run_ranks(node, *[{}] * RANKS)
    assert first.result["kept"]
    true_j = (POWER_W + OTHER_W) * first.result["length_s"]
    assert first.result["energy_j"] == pytest.approx(true_j, abs=2 * first.result["uncertainty_j"])
    for number, rank in enumerate(others, start=1):
        assert rank.result["energy_j"] is None
        assert (rank.result["status"], rank.result["quality"]) == ("absent", "invalid")
        assert rank.result["codes"] == ["measured-elsewhere"]
        assert not rank.result["kept"]
        assert rank.notes.count(f"Rank {number} measures nothing") == 1
    assert len([*(tmp_path / "results" / "measured").glob("*/record.json")]) == 1


def test_ranks_with_a_board_each_measure_each_their_own(node: dict[str, str]) -> None:
    boards = [{"CUDA_VISIBLE_DEVICES": board.uuid} for board in (HEALTHY, OTHER)]
    for ended, power_w in zip(run_ranks(node, *boards), (POWER_W, OTHER_W), strict=True):
        result = ended.result
        true_j = power_w * result["length_s"]
        assert result["energy_j"] == pytest.approx(true_j, abs=2 * result["uncertainty_j"])
        assert "+" not in result["channel"]


SPAWNING = """
import multiprocessing, time
from wbcbench import Meter
def measure(barrier, answers):
    with Meter("nvml", save=False) as m:
        barrier.wait()
        time.sleep(1.0)
        barrier.wait()
    answers.put(m.energy.energy_j)
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    each = [context.Process(target=measure, args=(barrier, answers)) for _ in range(3)]
    with Meter("nvml", save=False) as m:  # around all of them: its joules hold theirs
        [process.start() for process in each]
        energies_j = [answers.get() for _ in each]
        [process.join() for process in each]
    print(sum(e is None for e in energies_j), m.energy.energy_j > max(e or 0 for e in energies_j))
"""


def test_of_processes_that_python_starts_one_measures_and_their_parent_as_well(
    node: dict[str, str], tmp_path: Path
) -> None:
    program = tmp_path / "spawning.py"
    program.write_text(SPAWNING)
    ended = subprocess.run(
        [sys.executable, str(program)],
        env=node,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert ended.stdout.split() == ["2", "True"], ended.stderr


def test_the_command_of_a_rank_that_measures_nothing_runs_and_ends_as_it_would(
    node: dict[str, str], tmp_path: Path
) -> None:
    wait = f"touch {tmp_path}/begun-$RANK; while [ ! -e {tmp_path}/begun-1 ]; do sleep 0.1; done"
    monitor = ("monitor", "--meters", "nvml", "--json", "--", "sh", "-c")
    first = subprocess.Popen(
        command(*monitor, f"{wait}; sleep 1"),
        env=node | torchrun(0, 2),
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for((tmp_path / "begun-0").exists, "the first rank")
    second = subprocess.run(
        command(*monitor, f"{wait}; exit 5"),
        env=node | torchrun(1, 2),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    out, _ = first.communicate(timeout=120)
    assert json.loads(out)["energy"]["energy_j"] > 0
    assert second.returncode == 5, second.stderr
    document = json.loads(second.stdout)
    assert document["energy"]["energy_j"] is None
    assert [warning["code"] for warning in document["warnings"]] == ["measured-elsewhere"]
    assert document["run_dir"] is None
