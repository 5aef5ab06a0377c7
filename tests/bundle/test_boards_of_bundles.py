"""Bundles of studies on a cluster: several nodes and boards, honest ones and forged ones."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders.bundle import Board, Machine, StudyDesign, bundle_study
from tamperings.made_again import Forgery, submit_study
from tamperings.trials import TWO
from wbcbench.bundle.verify import Status
from wbcbench.bundle.verify.inspect import Inspection, as_text, verify
from wbcbench.core.spec import RunSpec

pytestmark = pytest.mark.usefixtures("sketches")

FIRST = "GPU-4b2c3d4e-5f60-7182-93a4-b5c6d7e8f904"
OTHER = "GPU-2b2c3d4e-5f60-7182-93a4-b5c6d7e8f902"
NODES = {FIRST: "gpu-node-a7", OTHER: "gpu-node-b3"}


def on(uuid: str, job: int, node: str | None = None) -> Machine:
    """The node of a board, in a job; with ``node`` another one."""
    name = node or NODES[uuid]
    facts = {
        "host_id": f"ho5t{name[-2:]}",
        "boot_id": f"b00t{name[-2:]}",
        "job": {"engine": "slurm", "id": str(job), "node": name, "cpus": 2, "node_cpus": 8},
    }
    return Machine(boards=(Board(uuid=uuid),), facts=facts)


def choose(spec: RunSpec) -> str:
    """The board of a block, in turn."""
    return (OTHER, FIRST)[spec.block % 2]


PAIRED = StudyDesign(
    blocks=4,
    variants=TWO,
    epochs=2,
    blocks_at_once=2,
    machine=lambda spec: on(choose(spec), 100 + spec.block),
)
ONE_NODE = replace(PAIRED, machine=lambda spec: on(choose(spec), 100 + spec.block, "gpu-node-a7"))
SPREAD = replace(
    PAIRED,
    blocks=6,
    blocks_at_once=1,
    machine=lambda spec: on((FIRST, OTHER)[spec.order_global % 3 == 0], 100 + spec.order_global),
)
TORN = replace(
    PAIRED,
    machine=lambda spec: on(
        OTHER if (spec.block, spec.order_in_block) == (3, 2) else choose(spec), 100 + spec.block
    ),
    blocks_at_once=1,
)


def details(found: Inspection, status: Status) -> dict[str, str]:
    outcomes = found.outcomes.items()
    return {name: outcome.detail for name, outcome in outcomes if outcome.status is status}


def submitted(design: StudyDesign, room: Path) -> tuple[Path, Inspection]:
    bundle_study(room / "results", design)
    bag = submit_study(room / "results", design.study, room / "bag")
    return bag, verify(bag)


@pytest.mark.parametrize("design", [PAIRED, ONE_NODE], ids=["two nodes", "one node"])
def test_blocks_side_by_side_on_two_boards_are_verified_as_paired(design, tmp_path):
    _, found = submitted(design, tmp_path)
    assert found.verified, as_text(found)
    good = "8 finished runs on 2 boards of one model, each block on one of them, with one lock file"
    assert found.outcomes["V10"].detail.startswith(good)
    assert "V04" not in details(found, Status.WARNING)


def test_the_name_of_a_node_is_a_hash_in_the_bundle_and_its_number_of_jobs_is_told(tmp_path):
    bag, _ = submitted(PAIRED, tmp_path)
    data = bag / "data"
    texts = [path.read_bytes() for path in data.rglob("*") if path.is_file()]
    assert not any(name.encode() in text for name in NODES.values() for text in texts)
    with (data / "results" / "study" / "runs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["node"] for row in rows}) == 2
    assert all(row["node"].startswith("node-") for row in rows)
    assert {row["job_id"] for row in rows} == {"101", "102", "103", "104"}
    assert {row["cpu_share"] for row in rows} == {"0.25"}
    report = (data / "reports" / "study" / "report.md").read_text()
    assert "Boards that the finished runs came from." in report


def test_a_study_that_was_spread_is_verified_and_said_not_to_be_paired(tmp_path):
    bag, found = submitted(SPREAD, tmp_path)
    assert found.verified, as_text(found)
    assert "spread over boards: joules and seconds are not paired" in found.outcomes["V10"].detail
    report = (bag / "data" / "reports" / "study" / "report.md").read_text()
    assert "The runs of a seed were spread over 2 boards." in report
    assert "what its boards differ in does not cancel" in report


def test_a_block_on_two_boards_is_named_and_left_out(tmp_path):
    bag, found = submitted(TORN, tmp_path)
    assert found.verified, as_text(found)
    assert "Block 3 is not paired: its runs come from 2 boards" in found.outcomes["V10"].detail
    report = (bag / "data" / "reports" / "study" / "report.md").read_text()
    assert "Not used: block 3" in report


def rename_board(text: str) -> str:
    return text.replace(OTHER, FIRST)


def relabel(study: Forgery, change: Callable[[dict[str, Any]], None]) -> None:
    """Give every run of the other board to the first one, wherever a run names its board."""
    for run in study.runs():
        began = json.loads((run.path / "began.json").read_text())
        if OTHER not in json.dumps(began):
            continue
        for path in run.path.iterdir():
            if path.suffix in {".json", ".jsonl"} and path.name not in {"spec.json"}:
                path.write_text(rename_board(path.read_text()))
        for path in [p for p in run.path.rglob(f"*{OTHER}*") if p.is_file()]:
            path.rename(path.with_name(rename_board(path.name)))
        study.edit_began(run, lambda b: change(b["provenance"]))


def keep(facts: dict[str, Any]) -> None:
    """Say the same of the node, but who looked."""
    facts["loadavg_start"] = 0.02


def move(facts: dict[str, Any]) -> None:
    """Say that it was the first node, too."""
    facts.update(host_id="ho5ta7", boot_id="b00ta7", loadavg_start=0.02)
    facts["job"]["node"] = NODES[FIRST]


@pytest.mark.parametrize(("design", "change"), [(PAIRED, keep), (PAIRED, move), (ONE_NODE, keep)])
def test_two_boards_side_by_side_that_are_called_one_are_found(design, change, tmp_path):
    bundle_study(tmp_path / "results", design)
    study = Forgery(tmp_path / "results", "study")
    relabel(study, change)
    found = verify(study.submit(tmp_path / "bag"))
    assert not found.verified
    assert "ended, on the same board." in details(found, Status.ERROR)["V04"]


def test_runs_spread_over_two_nodes_that_are_called_one_board_are_found(tmp_path):
    bundle_study(tmp_path / "results", SPREAD)
    study = Forgery(tmp_path / "results", "study")
    relabel(study, keep)
    found = verify(study.submit(tmp_path / "bag"))
    assert not found.verified
    assert "no board changes machines while they run" in details(found, Status.ERROR)["V21"]


def test_contrasts_that_pair_a_block_on_two_boards_do_not_follow_from_the_runs(tmp_path):
    """The table of the paired study sold with runs of which one block is torn."""
    bundle_study(tmp_path / "a" / "results", TORN)
    honest = replace(TORN, machine=lambda spec: on(FIRST, 100 + spec.block))
    bundle_study(tmp_path / "b" / "results", honest)
    torn, paired = (
        submit_study(tmp_path / name / "results", "study", tmp_path / name / "bag")
        for name in ("a", "b")
    )
    place = Path("data/results/study/contrasts.csv")
    shutil.copy(paired / place, torn / place)
    assert not verify(torn).verified


def test_a_missing_run_of_a_block_is_an_error_and_a_block_that_never_ran_a_warning(tmp_path):
    """Jobs of blocks end in any order; inside a job the runs follow one another."""
    bundle_study(tmp_path / "results", replace(PAIRED, blocks_at_once=1))
    study = Forgery(tmp_path / "results", "study")
    for run in study.runs(block=2):
        shutil.rmtree(run.path)
    study.edit_began(study.runs(block=3)[0], lambda b: b["provenance"].update(loadavg_start=0.03))
    found = verify(study.submit(tmp_path / "bag"))
    assert found.outcomes["V04"].status is Status.WARNING, as_text(found)
    assert "2 planned runs were not carried out" in found.outcomes["V04"].detail
    study = Forgery(tmp_path / "results", "study")
    shutil.rmtree(study.runs(block=3)[0].path)
    study.edit_began(study.runs(block=3)[0], lambda b: b["provenance"].update(loadavg_start=0.04))
    found = verify(study.submit(tmp_path / "again"))
    assert "was planned and is missing" in details(found, Status.ERROR)["V04"]
