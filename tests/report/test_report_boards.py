"""What a report says where runs came from several boards: where they ran, and what that leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from builders.machine import METERS, PROVENANCE
from builders.run import save
from builders.study import draw
from wbcbench.core.record import RunRecord
from wbcbench.report.figures.run_order import collect_series
from wbcbench.report.publish import read_report_study
from wbcbench.report.sections.measurement import build_uncertainty
from wbcbench.report.sections.methods import build_environment, build_limits, build_methods
from wbcbench.report.sections.result import build_result
from wbcbench.report.study import ReportStudy

UUIDS = [f"GPU-{n}b2c3d4e-5f60-7182-93a4-b5c6d7e8f90{n}" for n in range(8)]


def read(tmp_path: Path, choose: Callable[[RunRecord], int]) -> ReportStudy:
    """A study whose runs are on the boards that ``choose`` numbers, each on a node of its own."""
    records = []
    for record in draw(8):
        number = choose(record)
        job = {"id": "1", "node": f"n{number}", "cpus": 1, "node_cpus": 4}
        facts = {**PROVENANCE, "host_id": f"ho5t{number}", "job": job}
        meters = {**METERS, "nvml/gpu0": {**METERS["nvml/gpu0"], "uuid": UUIDS[number]}}
        records.append(replace(record, provenance=facts, meters=meters))
    folder = save(tmp_path, *records)
    return read_report_study(folder.parent, folder.name)


@pytest.fixture
def paired(tmp_path):
    return read(tmp_path, lambda record: record.spec.block % 2)


@pytest.fixture
def spread(tmp_path):
    """Each variant has a board of its own."""
    variants = sorted({record.spec.variant for record in draw(1)})
    return read(tmp_path, lambda record: variants.index(record.spec.variant))


def test_boards_and_nodes_stand_in_the_environment_with_their_blocks(paired):
    section = build_environment(paired)
    (_, boards) = section.parts
    assert section.summary.endswith(", 2 boards")
    assert [row[1:] for row in sorted(boards.rows, key=lambda row: row[1])] == [
        ("n0", "ho5t0", "Example GPU", "555.1", "400.0", "4", "16"),
        ("n1", "ho5t1", "Example GPU", "555.1", "400.0", "4", "16"),
    ]
    (facts,) = build_environment(ReportStudy("one", paired.runs[:1])).parts
    assert facts.caption.startswith("Settings and circumstances")


def test_blocks_on_boards_of_their_own_are_told_as_any_others_but_for_the_order(paired):
    texts = [each.text for each in build_result(paired).statements]
    assert any("less energy than" in text for text in texts)
    assert not any("board" in text for text in texts)
    assert collect_series(paired) == []
    (table,) = build_methods(paired).parts
    assert "boards" not in dict(table.rows)
    assert "The blocks come from board " in dict(table.rows)["notes"]


def test_what_a_board_for_each_variant_leaves_open_is_said_first(spread):
    texts = [each.text for each in build_result(spread).statements]
    assert not any("less energy" in text for text in texts)
    assert (
        "The runs of a seed were spread over 4 boards: joules and seconds are not tested." in texts
    )
    section = build_methods(spread)
    assert section.summary == "blocks spread over boards, so joules and seconds are not tested"
    assert (
        "cannot be told from differences between variants" in dict(section.parts[0].rows)["boards"]
    )
    gain = build_uncertainty(spread).parts[-1].rows[0]
    assert (gain[0], gain[-1]) == ("gain", "no")


def test_that_boards_differ_stands_among_the_limits(paired):
    texts = [str(part) for part in build_limits(paired).parts]
    assert any(
        text.startswith("The runs come from 2 boards. Boards of one model") for text in texts
    )
    alone = ReportStudy("one", paired.runs[:1])
    assert not any("boards." in str(part) for part in build_limits(alone).parts)


def test_a_gain_cancels_within_a_board(paired):
    assert build_uncertainty(paired).parts[-1].rows[0][-1] == "yes"
