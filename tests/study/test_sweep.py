"""A sweep: resumes from what lies on disk, survives every end of a run, counts what was wasted."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes.stand_in_launcher import StandIn, record_of
from program import processes_of, start, wait_for, wbcbench
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.lock import machine_lock
from wbcbench.core.run_folder import Local, RunDir, study_runs
from wbcbench.core.run_state import RunState, this_process
from wbcbench.core.spec import RunSpec
from wbcbench.run.recorder import Interrupts
from wbcbench.study import plan as plans
from wbcbench.study.experiment import Experiment, Pauses, Until
from wbcbench.study.plan import Plan, make_plan
from wbcbench.study.progress import Progress, SweepOutcome, account_study, identify_without_images
from wbcbench.study.sweep import Sweep, SweepSettings, refuse_other_runs, study_lock
from wbcbench.table.derive import spent, sum_spent
from wbcbench.table.view import Run

VARIANTS = ("relu-dropout", "leaky-dropout")
FOUR = ("relu-dropout", "leaky-dropout", "relu-batchnorm", "leaky-batchnorm")


class Timeless:
    """A clock that jumps to where somebody waits for."""

    def __init__(self) -> None:
        self.t_s = 0.0
        self.on_sleep: Callable[[], None] = lambda: None

    def now_s(self) -> float:
        return self.t_s

    def sleep_until(self, deadline_s: float) -> None:
        self.t_s = max(self.t_s, deadline_s)
        self.on_sleep()


def made(blocks: int = 2, variants: tuple[str, ...] = VARIANTS, **changes: Any) -> Plan:
    base = Experiment(
        study="mine",
        seeds=tuple(range(1, 1 + max(blocks, changes.pop("most", blocks)))),
        blocks=blocks,
        factors={"variant": variants},
        run={"epochs": 4, "dataset_id": "bccd-kaggle", "dataset_sha256": "ab" * 32},
        pauses=Pauses(rest_s=0.0),
    )
    return make_plan(replace(base, **changes))


class Study:
    """A results folder in which a plan is swept as often as a test likes."""

    def __init__(self, results: Path, asked: Plan, script: Callable[[RunSpec], str]) -> None:
        self.results, self.plan = results, asked
        self.launcher = StandIn(script)
        self.interrupts = Interrupts()
        self.clock = Timeless()
        self.said: list[str] = []

    def sweep(self, **changes: Any) -> SweepOutcome:
        local = Local(plan_sha256=self.plan.sha256)
        setting = SweepSettings(self.results, self.launcher, local, clock=self.clock, **changes)
        sweep = Sweep(self.plan, self.plan.runs, setting, self.interrupts, self.said.append)
        return sweep.carry_out()

    @property
    def started(self) -> list[RunSpec]:
        return self.launcher.started

    def rows(self) -> list[dict[str, str]]:
        with (self.results / "mine" / "runs.csv").open() as stream:
            return list(csv.DictReader(stream))


def always(end: str) -> Callable[[RunSpec], str]:
    return lambda _: end


def where(end: str, *, block: int, variant: str, **fields: Any) -> Callable[[RunSpec], str]:
    """That end for one run of the plan, ``done`` for all others."""
    wanted = {"block": block, "variant": variant, **fields}

    def script(spec: RunSpec) -> str:
        return end if all(getattr(spec, k) == v for k, v in wanted.items()) else "done"

    return script


def test_a_plan_is_carried_out_in_its_order_and_every_row_names_it(tmp_path: Path) -> None:
    study = Study(tmp_path, made(), always("done"))
    outcome = study.sweep()
    assert [(s.block, s.variant) for s in study.started] == [
        (s.block, s.variant) for s in study.plan.runs
    ]
    assert outcome.states() == {"done": 4}
    assert {row["plan_sha256"] for row in study.rows()} == {study.plan.sha256}
    assert sorted(int(row["order_global"]) for row in study.rows()) == [1, 2, 3, 4]
    assert plans.from_json(tmp_path / "mine" / "plan.json") == study.plan


def test_finished_runs_are_skipped(tmp_path: Path) -> None:
    study = Study(tmp_path, made(), always("done"))
    study.sweep()
    before = {run.run_id: run.record_path.read_bytes() for run in study_runs(tmp_path, "mine")}
    outcome = study.sweep()
    assert (outcome.started, len(study.started)) == (0, 4)
    assert {r.run_id: r.record_path.read_bytes() for r in study_runs(tmp_path, "mine")} == before


def test_blocks_that_are_added_to_the_plan_are_all_that_is_left(tmp_path: Path) -> None:
    Study(tmp_path, made(blocks=1), always("done")).sweep()
    more = Study(tmp_path, made(blocks=3), always("done"))
    more.sweep()
    assert [spec.block for spec in more.started] == [2, 2, 3, 3]
    assert any("plan has changed" in line for line in more.said)


def test_one_failed_run_never_stops_the_study(tmp_path: Path) -> None:
    study = Study(tmp_path, made(), where("failed", block=1, variant=VARIANTS[0]))
    outcome = study.sweep()
    assert outcome.states() == {"done": 3, "failed": 1}
    assert len(study.started) == 4


def test_a_run_without_record_counts_as_lost_and_is_restarted_by_the_next_sweep(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path, made(), where("no record", block=1, variant=VARIANTS[0], repeat=1))
    first = study.sweep()
    assert first.states() == {"done": 3, "interrupted": 1}
    second = study.sweep()
    assert second.states() == {"done": 4}
    assert study.started[-1].repeat == 2
    assert len(study_runs(tmp_path, "mine")) == 5


def test_a_failed_run_is_tried_again_only_when_asked_and_only_once(tmp_path: Path) -> None:
    study = Study(tmp_path, made(), where("failed", block=2, variant=VARIANTS[1]))
    study.sweep()
    assert study.sweep().started == 0
    again = study.sweep(retry_failed=True)
    assert (again.started, again.states()) == (1, {"done": 3, "failed": 1})
    study.launcher.script = always("done")
    assert study.sweep(retry_failed=True).states() == {"done": 4}
    assert [s.repeat for s in study.started if s.variant == VARIANTS[1] and s.block == 2] == [
        1,
        2,
        3,
    ]


def test_an_invalid_run_makes_its_whole_block_repeat_at_once(tmp_path: Path) -> None:
    first = made().block(1)[0].variant
    study = Study(tmp_path, made(), where("invalid", block=1, variant=first, block_attempt=1))
    outcome = study.sweep()
    assert [(s.block, s.block_attempt) for s in study.started] == [
        (1, 1), (1, 2), (1, 2), (2, 1), (2, 1),
    ]  # fmt: skip
    assert outcome.states() == {"done": 4}
    found = account_study(outcome.specs, outcome.progress, ())
    assert {kind: each.runs for kind, each in found.wasted.items()} == {"invalid": 1}


def test_valid_runs_of_a_repeated_block_are_counted_as_wasted(tmp_path: Path) -> None:
    last = made().block(1)[-1].variant
    study = Study(tmp_path, made(), where("invalid", block=1, variant=last, block_attempt=1))
    outcome = study.sweep()
    found = account_study(outcome.specs, outcome.progress, ())
    assert {k: v.runs for k, v in found.wasted.items()} == {"invalid": 1, "repeated block": 1}
    assert found.counted.runs == 4
    assert found.all_wasted.runs == 2


def test_a_block_that_stays_invalid_is_given_up_at_the_cap_and_the_study_goes_on(
    tmp_path: Path,
) -> None:
    first = made().block(1)[0].variant
    asked = made(block_repeats=1)
    study = Study(tmp_path, asked, where("invalid", block=1, variant=first))
    outcome = study.sweep()
    assert [(s.block, s.block_attempt) for s in study.started] == [
        (1, 1), (1, 2), (1, 2), (2, 1), (2, 1),
    ]  # fmt: skip
    assert outcome.states() == {"invalid": 1, "done": 3}
    assert study.sweep().started == 0


def test_the_repeated_block_is_the_one_a_comparison_uses(tmp_path: Path) -> None:
    from wbcbench.compare.analysis import compare
    from wbcbench.study.plan import analysis_settings
    from wbcbench.table.view import read_study

    last = made().block(2)[-1].variant
    ends = {(2, last, 1, 1): "invalid", (1, VARIANTS[0], 1, 1): "interrupted"}

    def script(spec: RunSpec) -> str:
        return ends.get((spec.block, spec.variant, spec.block_attempt, spec.repeat), "done")

    study = Study(tmp_path, made(blocks=3), script)
    study.sweep()
    study.sweep()
    found = compare(read_study(tmp_path / "mine").runs, analysis_settings(made(blocks=3)), ["mine"])
    assert len(found.blocks.runs) == 3 and not found.blocks.left_out
    used = [run.spec for block in found.blocks.runs for run in block]
    assert {s.block_attempt for s in used if s.block == 2} == {2}
    assert {s.repeat for s in used if s.block == 1 and s.variant == VARIANTS[0]} == {2}


def test_a_ctrl_c_in_a_run_ends_the_sweep_and_the_run_is_restarted_next_time(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path, made(), always("done"))

    def script(spec: RunSpec) -> str:
        if spec.order_global == 2 and spec.repeat == 1:
            study.interrupts._on_interrupt(signal.SIGINT, None)
            return "interrupted"
        return "done"

    study.launcher.script = script
    outcome = study.sweep()
    assert outcome.interrupted and len(study.started) == 2
    assert outcome.states() == {"done": 1, "interrupted": 1, "todo": 2}
    study.interrupts = Interrupts()
    assert study.sweep().states() == {"done": 4}
    assert [s.order_global for s in study.started] == [1, 2, 2, 3, 4]


def test_a_ctrl_c_in_a_rest_starts_no_other_run(tmp_path: Path) -> None:
    study = Study(tmp_path, made(pauses=Pauses(rest_s=60.0)), always("done"))
    study.clock.on_sleep = lambda: study.interrupts._on_interrupt(signal.SIGINT, None)
    outcome = study.sweep()
    assert outcome.interrupted and len(study.started) == 1


def test_a_rest_lies_between_runs_and_not_before_the_first(tmp_path: Path) -> None:
    study = Study(tmp_path, made(pauses=Pauses(rest_s=7.0)), always("done"))
    study.sweep()
    assert study.clock.t_s == pytest.approx(3 * 7.0)


def test_fewer_blocks_can_be_asked_for_without_changing_the_plan(tmp_path: Path) -> None:
    study = Study(tmp_path, made(blocks=3), always("done"))
    assert study.sweep(blocks=1).states() == {"done": 2}
    assert study.sweep().states() == {"done": 6}
    assert {row["plan_sha256"] for row in study.rows()} == {study.plan.sha256}


def test_runs_are_told_their_place_and_what_is_left_of_the_study(tmp_path: Path) -> None:
    study = Study(tmp_path, made(), always("done"))
    study.sweep()
    assert study.launcher.options[0] == ["--place", "run 1/4, block 1/2"]
    second = list(study.launcher.options[1])
    assert second[second.index("--place") + 1] == "run 2/4, block 1/2"
    assert float(second[second.index("--after-s") + 1]) == pytest.approx(2 * 75.0, abs=1)
    assert float(second[second.index("--after-j") + 1]) == pytest.approx(
        2 * spent(Run(record_of(study_runs(tmp_path, "mine")[0], "done"))).energy_j, rel=0.01
    )


def test_a_second_sweep_of_a_study_is_refused(tmp_path: Path) -> None:
    study = Study(tmp_path, made(), always("done"))
    with study_lock(tmp_path / "mine"), pytest.raises(UsageError, match="Another sweep"):
        study.sweep()
    assert study.started == []


def test_a_sweep_waits_for_a_recorder_whose_sweep_was_killed(tmp_path: Path) -> None:
    study = Study(tmp_path, made(), always("done"))
    spec = study.plan.runs[0]
    run = RunDir(tmp_path / "mine" / spec.run_id)
    run.create(spec, Local())
    watching, ended = threading.Event(), threading.Event()

    def recorder() -> None:
        with run.hold_lock():
            watching.set()
            ended.wait()
            run.write_record(record_of(run, "interrupted"))

    thread = threading.Thread(target=recorder)
    thread.start()
    watching.wait()

    def let_it_end() -> None:
        ended.set()
        thread.join()

    study.clock.on_sleep = let_it_end
    assert study.sweep().states() == {"done": 4}
    assert study.started[0].repeat == 2


def test_a_run_that_somebody_else_carries_out_is_not_overtaken(tmp_path: Path) -> None:
    study = Study(tmp_path, made(), always("done"))
    spec = study.plan.runs[0]
    run = RunDir(tmp_path / "mine" / spec.run_id)
    run.create(spec, Local())
    with run.hold_lock(), pytest.raises(UsageError, match="carried out by another process"):
        study.sweep()
    assert study.started == []


def test_a_run_that_cannot_be_seen_from_here_stops_the_sweep_at_once(tmp_path: Path) -> None:
    study = Study(tmp_path, made(), always("done"))
    spec = study.plan.runs[0]
    run = RunDir(tmp_path / "mine" / spec.run_id)
    run.create(spec, Local())
    who = replace(this_process(), hostname="node17")
    run.write_state(RunState(who, "alice", "2026-03-01T09:00:00Z", runner=who))
    with pytest.raises(UsageError, match=r"node17.*finalise .* --force"):
        study.sweep()
    assert study.started == []
    assert study.clock.now_s() == 0.0


def test_another_harness_on_this_machine_stops_the_sweep_before_a_run_fails(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path, made(), always("done"))
    with machine_lock("host", share=False), pytest.raises(CannotMeasureError):
        study.sweep()
    assert study_runs(tmp_path, "mine") == []


def test_a_study_does_not_go_on_with_other_images(tmp_path: Path) -> None:
    study = Study(tmp_path, made(), always("done"))
    study.sweep(blocks=1)
    others = [replace(spec, dataset_sha256="cd" * 32) for spec in study.plan.runs]
    with pytest.raises(UsageError, match=r"\(\w{12}, not cdcdcdcdcdcd\).* cannot be compared"):
        refuse_other_runs(others, Progress(tmp_path, "mine"), tmp_path / "mine")
    refuse_other_runs(study.plan.runs, Progress(tmp_path, "mine"), tmp_path / "mine")


def test_a_study_does_not_go_on_with_another_design_but_with_its_own_plan(tmp_path: Path) -> None:
    """As when a default changed between two calls of the same command."""
    study = Study(tmp_path, made(), always("done"))
    study.sweep(blocks=1)
    progress, folder = Progress(tmp_path, "mine"), tmp_path / "mine"
    changed = [replace(spec, learning_rate=0.5) for spec in study.plan.runs]
    with pytest.raises(UsageError, match=r"learning_rate was 0\.\d+ and is now 0\.5") as error:
        refuse_other_runs(changed, progress, folder)
    assert f"wbcbench sweep {folder / 'plan.json'}" in str(error.value)
    refuse_other_runs(plans.from_json(folder / "plan.json").runs, progress, folder)
    refuse_other_runs(made(blocks=5).runs, progress, folder)


def test_a_dry_run_knows_finished_runs_whatever_their_images(tmp_path: Path) -> None:
    study = Study(tmp_path, made(), always("done"))
    study.sweep(blocks=1)
    unknown = [replace(s, dataset_id="", dataset_sha256="") for s in study.plan.runs]
    progress = Progress(tmp_path, "mine", by=identify_without_images)
    assert [progress.state(s) for s in unknown] == ["done", "done", "todo", "todo"]


UNTIL = Until("leaky-dropout", width=1.0, max_blocks=6)


def varied(by: float) -> Callable[[RunDir], None]:
    """Joules that differ by so much from block to block, in one variant more than in the other."""

    def change(run: RunDir) -> None:
        record = run.read_record()
        noise = by * ((record.spec.block * 7) % 5 - 2) * (record.spec.variant == VARIANTS[0])
        energies = tuple(
            replace(e, energy_j=e.energy_j * (1 + noise) if e.energy_j else e.energy_j)
            for e in record.energies
        )
        run.record_path.unlink()
        run.write_record(replace(record, energies=energies))

    return change


class Varied(StandIn):
    """A stand-in whose joules vary."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def __call__(self, run_dirs: Any, options: Any, host_lock: int | None = None) -> Any:
        for path in super().__call__(run_dirs, options, host_lock):
            varied(self.by)(RunDir(path))
            yield path


@pytest.mark.parametrize(
    ("by", "width", "blocks", "needed"),
    [(0.0, 1.0, 3, 3), (0.01, 6.2, 5, 5), (0.2, 1.0, 6, 59_358)],
    ids=["no-spread", "second-stage", "the-maximum"],
)
def test_the_spread_of_the_first_blocks_decides_how_many_there_are(
    by: float, width: float, blocks: int, needed: int, tmp_path: Path
) -> None:
    asked = made(blocks=3, most=6, until=replace(UNTIL, width=width))
    study = Study(tmp_path, asked, always("done"))
    study.launcher = Varied(by)
    outcome = study.sweep()
    assert {s.block for s in study.started} == set(range(1, blocks + 1))
    analyses = outcome.interim_analyses
    assert [analysis.blocks for analysis in analyses] == list(range(3, blocks + 1))
    assert {(analysis.first, analysis.needed) for analysis in analyses} == {(3, needed)}
    assert analyses[-1].stops is (needed <= 6)
    kept = json.loads((tmp_path / "mine" / "interim-analyses.json").read_text())
    assert len(kept["interim_analyses"]) == len(analyses)
    again = study.sweep()
    assert again.started == 0 and again.interim_analyses == analyses


def test_a_comparison_keeps_the_interval_of_the_two_stages(tmp_path: Path) -> None:
    from wbcbench.compare.analysis import compare
    from wbcbench.study.plan import analysis_settings
    from wbcbench.table.view import read_study

    asked = made(blocks=3, most=6, until=replace(UNTIL, width=6.2))
    study = Study(tmp_path, asked, always("done"))
    study.launcher = Varied(0.01)
    (*_, last) = study.sweep().interim_analyses
    found = compare(read_study(tmp_path / "mine").runs, analysis_settings(asked), ["mine"])
    energy, accuracy = (effect for effect in found.effects if effect.family == "primary")
    assert energy.interval and energy.interval.method == "stein"
    low, high = (math.log1p(end / 100) for end in (energy.interval.low, energy.interval.high))
    assert 100 * math.expm1(high - low) == pytest.approx(last.width)
    assert accuracy.interval and accuracy.interval.method == "t"


def test_blocks_that_are_lost_are_made_up_for_in_the_second_stage(tmp_path: Path) -> None:
    asked = made(blocks=3, most=6, until=replace(UNTIL, width=6.2))
    study = Study(tmp_path, asked, always("done"))
    study.launcher = Varied(0.01)
    study.launcher.script = where("failed", block=4, variant=VARIANTS[0])
    outcome = study.sweep()
    assert [(a.used, a.needed, a.stops) for a in outcome.interim_analyses] == [
        (3, 5, False), (3, 5, False), (4, 5, False), (5, 5, True)
    ]  # fmt: skip


def test_an_interim_analysis_that_cannot_be_made_says_why_and_does_not_stop(tmp_path: Path) -> None:
    asked = made(blocks=2, most=3, until=replace(UNTIL, max_blocks=3))
    study = Study(tmp_path, asked, always("failed"))
    outcome = study.sweep()
    assert [analysis.stops for analysis in outcome.interim_analyses] == [False, False]
    assert all(analysis.reason for analysis in outcome.interim_analyses)


def test_joules_of_different_status_are_not_added(tmp_path: Path) -> None:
    study = Study(tmp_path, made(), where("failed", block=1, variant=VARIANTS[0]))
    outcome = study.sweep()
    found = account_study(outcome.specs, outcome.progress, ())
    assert set(found.counted.energy_j) == {"measured"}
    assert set(found.all_wasted.energy_j) == {"estimated"}
    together = sum_spent(each.spent for each in outcome.progress if each.spent)
    assert set(together.energy_j) == {"measured", "estimated"}


def test_runs_outside_the_plan_and_pilots_are_wasted_joules(tmp_path: Path) -> None:
    Study(tmp_path, made(variants=FOUR), always("done")).sweep()
    study = Study(tmp_path, made(), always("done"))
    outcome = study.sweep()
    pilots = [next(iter(outcome.progress))]
    found = account_study(outcome.specs, outcome.progress, pilots)
    assert {k: v.runs for k, v in found.wasted.items()} == {"outside the plan": 4, "pilot": 1}
    assert found.counted.runs == 4


SWEPT = """
blocks = 2
[run]
epochs = 1
idle_s = 0.5
inference_s = 0.3
warmup_steps = 2
meters = ["simulated"]
[factors]
variant = ["relu-dropout", "leaky-dropout"]
[pauses]
rest_s = 0.5
[analysis]
lowest_status = "simulated"
exploratory = true
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(SWEPT)
    return path


def test_a_dry_run_says_what_is_left_and_writes_nothing(file: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    ended = wbcbench("sweep", str(file), "--dry-run", "--results", str(results))
    assert ended.code == 0, ended.err
    assert ended.out.count("todo") == 4
    assert "4 runs are left" in ended.err
    told = wbcbench("sweep", str(file), "--dry-run", "--json", "--results", str(results))
    assert [each["state"] for each in told.json["states"]] == ["todo"] * 4
    assert not results.exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("none.toml",), 2, "none.toml cannot be read"),
        (("tiny.toml", "--launcher", "locl"), 2, "Did you mean 'local'"),
        (("tiny.toml", "--set", "meters=['nvml']"), 3, "NVML"),
        (("tiny.toml", "--set", "batch_size=5000"), 2, "--batch-size is 5000"),
        (("tiny.toml", "--set", "dataset_id=bccd-kaggle"), 2, "is about other images"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_is_written(
    words: tuple[str, ...], code: int, says: str, file: Path, cells: Path, tmp_path: Path
) -> None:
    ended = wbcbench("sweep", *words, "--data", str(cells), cwd=tmp_path)
    assert ended.code == code, ended.err
    assert says in ended.err
    assert not (tmp_path / "results").exists()


@pytest.mark.tensorflow
def test_a_sweep_that_was_killed_is_taken_up_and_loses_one_run_at_most(
    file: Path, cells: Path, tmp_path: Path
) -> None:
    """kill -9 of sweep and recorder while the second run trains; then the same command again."""
    results = tmp_path / "results"
    words = ("sweep", str(file), "--set", "blocks=1", "--data", str(cells))
    words = (*words, "--results", str(results))

    def second_trains() -> bool:
        runs = study_runs(results, "tiny")
        training = [r for r in runs if any(m.get("window") == "train" for m in r.read_messages())]
        return sum(r.is_finished for r in runs) == 1 and len(training) == 2

    sweep = start(*words)
    wait_for(second_trains, "training of the second run", within_s=240)
    (going_on,) = [r for r in study_runs(results, "tiny") if not r.is_finished]
    for process in (sweep.pid, *processes_of(going_on, "work")):
        os.kill(process, signal.SIGKILL)
    sweep.communicate()
    (kept,) = [r for r in study_runs(results, "tiny") if r.is_finished]
    before = kept.record_path.read_bytes()

    ended = wbcbench(*words, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["states"] == {"done": 2}
    assert ended.json["carried_out"] == 1
    assert ended.json["wasted"]["interrupted"]["runs"] == 1
    assert kept.record_path.read_bytes() == before
    with (results / "tiny" / "runs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(row["status"] for row in rows) == ["done"] * 2 + ["interrupted"]
    asked = plans.read_plan(file, ["blocks=1"])
    assert {row["plan_sha256"] for row in rows} == {asked.sha256}


@pytest.mark.tensorflow
def test_a_killed_trainer_and_two_ctrl_c_cost_their_own_runs_and_no_other(
    file: Path, cells: Path, tmp_path: Path
) -> None:
    """First run: its trainer is killed. Second: Ctrl-C twice. Then the same command again."""
    results = tmp_path / "results"
    words = ("sweep", str(file), "--set", "blocks=1", "--data", str(cells))
    words = (*words, "--results", str(results))

    def trainer_of(number: int) -> list[int]:
        going = [r for r in study_runs(results, "tiny") if r.read_spec().order_global == number]
        return processes_of(going[0], "wbcbench.train.trainer") if going else []

    sweep = start(*words)
    wait_for(lambda: bool(trainer_of(1)), "trainer of the first run")
    os.kill(trainer_of(1)[0], signal.SIGKILL)
    wait_for(lambda: bool(trainer_of(2)), "trainer of the second run")
    for _ in range(2):
        sweep.send_signal(signal.SIGINT)
        time.sleep(0.2)  # two signals at once would be delivered as one
    out, err = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, err
    assert "1 failed, 1 interrupted" in out
    assert "wasted" in out
    assert "Resume: wbcbench sweep" in err

    ended = wbcbench(*words)
    assert ended.code == 7, ended.err
    assert "1 done, 1 failed of 2 runs; 1 carried out now" in ended.out
    assert "--retry-failed" in ended.err
