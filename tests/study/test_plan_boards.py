"""How long a plan takes on several boards: by hand arithmetic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.run import make_record, make_spec, save
from program import wbcbench
from study.test_plan import experiment
from wbcbench.run.launchers.cluster import ClusterSettings
from wbcbench.study.boards import JOB_OVERHEAD_S, forecast_boards, schedule_jobs
from wbcbench.study.experiment import Pauses
from wbcbench.study.plan import Plan, make_plan
from wbcbench.study.running import pasts
from wbcbench.study.text import describe_boards
from wbcbench.table.derive import Past

RUN_S = 75.0 - 44 + 88  # the builder's run has 4 epochs of 11 s in 75 s; here there are 8


def plan_of(rest_s: float = 2.0, blocks: int = 3) -> Plan:
    """Blocks of four runs."""
    seeds = tuple(range(blocks))
    return make_plan(
        experiment(run={"epochs": 8}, pauses=Pauses(rest_s), seeds=seeds, blocks=blocks)
    )


def past_of(plan: Plan, results: Path) -> list[Past]:
    save(results, make_record(spec=replace(plan.runs[0], epochs=4)))
    return list(pasts(plan, results))


def test_jobs_begin_in_their_order_where_a_board_is_free_first() -> None:
    assert schedule_jobs([3.0, 1.0, 2.0, 2.0], boards=2) == 5.0  # 3 + 2 beside 1 + 2
    assert schedule_jobs([3.0, 1.0, 2.0, 2.0], boards=1) == 8.0
    assert schedule_jobs([3.0, 1.0, 2.0, 2.0], boards=9) == 3.0
    assert schedule_jobs([], boards=2) == 0.0


@given(st.lists(st.floats(0.0, 1e6), min_size=1), st.integers(1, 20))
def test_no_schedule_beats_its_bounds(lengths_s: list[float], boards: int) -> None:
    """List scheduling is at most twice as long as the best there is (Graham, 1969)."""
    least_s = max(sum(lengths_s) / boards, *lengths_s)
    wall_s = schedule_jobs(lengths_s, boards)
    assert least_s * (1 - 1e-9) <= wall_s <= least_s * (2 - 1 / boards) * (1 + 1e-9)


def test_a_block_is_one_job_that_rests_between_its_runs(tmp_path: Path) -> None:
    plan = plan_of()
    found = forecast_boards(plan, past_of(plan, tmp_path), boards=2, is_spread=False)
    assert found is not None
    block_s = JOB_OVERHEAD_S + 4 * RUN_S + 3 * 2.0
    assert found.wall_s == pytest.approx(2 * block_s)  # three blocks on two boards
    assert found.board_s == pytest.approx(3 * block_s)
    assert found.longest_job_s == pytest.approx(block_s)
    assert found.epoch_s == pytest.approx(11.0)
    assert (found.jobs, found.boards_used) == (3, 2)


def test_spread_makes_each_run_a_job_that_rests_nowhere(tmp_path: Path) -> None:
    plan = plan_of()
    found = forecast_boards(plan, past_of(plan, tmp_path), boards=5, is_spread=True)
    assert found is not None
    assert found.jobs == 12
    assert found.wall_s == pytest.approx(3 * (JOB_OVERHEAD_S + RUN_S))  # 5, 5 and 2 at once
    assert found.board_s == pytest.approx(12 * (JOB_OVERHEAD_S + RUN_S))


def test_boards_without_a_job_are_told(tmp_path: Path) -> None:
    plan = plan_of()
    found = forecast_boards(plan, past_of(plan, tmp_path), boards=8, is_spread=False)
    assert found is not None
    assert describe_boards(found) == (
        "on 8 boards about 8 min 03 s: 3 blocks, each a job of 8 min 03 s at most; 5 of the "
        "boards have none; 24 min 09 s of boards in all. The joules are the same. 1.1 s a job "
        "are in it, waiting in the queue is not"
    )


def test_no_more_jobs_run_at_once_than_max_parallel(tmp_path: Path) -> None:
    plan = replace(plan_of(), cluster=ClusterSettings(max_parallel=2))
    found = forecast_boards(plan, past_of(plan, tmp_path), boards=12, is_spread=True)
    assert found is not None
    assert found.wall_s == pytest.approx(6 * (JOB_OVERHEAD_S + RUN_S))
    assert "10 of the boards have none, for max_parallel is 2" in describe_boards(found)


def test_without_a_past_run_nothing_is_forecast() -> None:
    assert forecast_boards(plan_of(), [], boards=2, is_spread=False) is None


def test_plan_tells_it_to_people_and_to_programs(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        "seeds = [1, 2, 3, 4, 5, 6, 7, 8]\n[run]\nepochs = 8\n[pauses]\nrest_s = 2.0\n"
        '[factors]\nvariant = ["relu-dropout", "leaky-dropout"]\n'
    )
    results = tmp_path / "results"
    spec = replace(make_spec(), study="mine", epochs=4)
    save(results, make_record(spec=spec))
    words = ["plan", str(file), "--results", str(results)]

    def ask(*more: str) -> Any:
        ended = wbcbench(*words, *more, "--json")
        assert ended.code == 0, ended.err
        return ended.json["boards"]

    assert ask() is None
    assert ask("--boards", "3")["jobs"] == 8
    assert ask("--boards", "3", "--spread")["jobs"] == 16
    assert "Boards" in wbcbench(*words, "--boards", "3").out
    refused = wbcbench(*words, "--spread")
    assert refused.code == 2
    assert "--boards" in refused.err
