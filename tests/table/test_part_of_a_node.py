"""Joules of a whole node, of whose processors a job had some: said wherever they are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.machine import GPU_MACHINE, LAPTOP, PROVENANCE
from builders.run import make_record, save
from builders.study import gather
from program import wbcbench
from wbcbench.core.job import JOB
from wbcbench.core.record import RunRecord
from wbcbench.report.sections.breakdown import build_breakdown
from wbcbench.report.sections.measurement import build_measurement

SHARE = "of the whole node; the job had 2 of its 8 CPUs."


def record_of_job(seed: int = 1, cpus: int = 2, **more: object) -> RunRecord:
    facts = {"engine": "slurm", "id": "7", "node": "n1", "cpus": cpus, "node_cpus": 8}
    return make_record(seed=seed, provenance={**PROVENANCE, JOB: facts}, **more)


def said(*words: str) -> str:
    """What a command prints, on one line."""
    ended = wbcbench(*words)
    assert ended.code == 0, ended.err
    return " ".join(ended.out.split())


@pytest.mark.parametrize(
    ("channels", "parts"), [(GPU_MACHINE, "CPU and DRAM"), (LAPTOP, "CPU and DRAM")]
)
def test_show_says_whose_joules_they_are(tmp_path: Path, channels: object, parts: str) -> None:
    record = record_of_job(channels=channels)
    save(tmp_path, record)
    assert f"Joules of {parts} are {SHARE}" in said(
        "show", record.run_id, "--results", str(tmp_path)
    )


def test_explain_says_it_of_the_processor_and_not_of_the_board(tmp_path: Path) -> None:
    record = record_of_job()
    save(tmp_path, record)
    words = (record.run_id, "--results", str(tmp_path))
    cpu = said("explain", words[0], "energy_cpu_train_j", *words[1:])
    assert f"Joules of CPU are {SHARE}" in cpu
    assert "whole node" not in said("explain", words[0], "energy_gpu_train_j", *words[1:])


def test_the_report_says_it_beside_its_conditions_and_its_totals() -> None:
    study = gather("runs", (record_of_job(1), record_of_job(2), record_of_job(3, cpus=8)))
    rows = {about: (words, flag) for about, words, flag in build_measurement(study).tables[0].rows}
    assert rows["runs in a part of a node"] == (
        f"2 runs: Joules of CPU and DRAM are {SHARE}",
        "note",
    )
    section = build_breakdown(study)
    assert section is not None
    assert any(SHARE in table.caption for table in section.tables)


def test_a_run_with_the_whole_node_says_nothing_of_it(tmp_path: Path) -> None:
    record = record_of_job(cpus=8)
    save(tmp_path, record)
    assert "whole node" not in said("show", record.run_id, "--results", str(tmp_path))
