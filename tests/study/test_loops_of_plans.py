"""How often runs train is decided once, before their plan is digested."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Scenario
from program import wbcbench
from wbcbench.core.errors import UsageError
from wbcbench.core.run_folder import Local
from wbcbench.study.experiment import Experiment, Pauses
from wbcbench.study.loops import fix_loops
from wbcbench.study.plan import Plan, from_json, keep_plan, make_plan, read_plan

VARIANTS = ("relu-dropout", "leaky-dropout")
TINY = {
    "epochs": 1, "image_size": 32, "batch_size": 16, "meters": ("simulated",), "warmup_steps": 1,
}  # fmt: skip


def made(loops: Any, **run: Any) -> Plan:
    base = Experiment(
        study="mine",
        seeds=(1, 2),
        blocks=2,
        factors={"variant": VARIANTS},
        run={**TINY, "loops": loops, **run},
        pauses=Pauses(rest_s=0.0),
    )
    return make_plan(base)


def refuse(said: str) -> None:
    raise AssertionError(said)


def test_numbers_stay_and_nothing_is_timed(tmp_path: Path) -> None:
    plan = made(3)
    assert fix_loops(plan, Local(), tmp_path, refuse) is plan


def test_without_a_gpu_runs_that_leave_it_to_the_device_stay_as_they_are(tmp_path: Path) -> None:
    plan = made(None)
    assert fix_loops(plan, Local(), tmp_path, refuse) is plan


def test_a_study_that_has_begun_keeps_its_numbers(tmp_path: Path) -> None:
    plan = made("auto")
    numbers = {"relu-dropout": 7, "leaky-dropout": 9}
    begun = replace(plan, runs=tuple(replace(r, loops=numbers[r.variant]) for r in plan.runs))
    keep_plan(begun, tmp_path / "mine")
    again = fix_loops(plan, Local(), tmp_path, refuse)
    assert again.sha256 == begun.sha256
    assert again.sha256 != plan.sha256


def test_a_dry_run_times_nothing(tmp_path: Path) -> None:
    plan = made("auto")
    assert fix_loops(plan, Local(), tmp_path, refuse, may_train=False) is plan


@pytest.mark.tensorflow
def test_each_configuration_is_timed_once_by_a_real_trainer(cells: Path, tmp_path: Path) -> None:
    said: list[str] = []
    local = Local(data=str(cells), cache_dir=str(tmp_path / "cache"))
    plan = fix_loops(made("auto", train_window_s=1.0), local, tmp_path, said.append)
    assert len(said) == len(VARIANTS)
    by_variant = {v: {r.loops for r in plan.runs if r.variant == v} for v in VARIANTS}
    assert all(len(numbers) == 1 for numbers in by_variant.values())
    assert all(isinstance(n, int) and n > 1 for numbers in by_variant.values() for n in numbers)
    assert not list(tmp_path.glob("**/spec.json"))


@pytest.mark.tensorflow
def test_a_trainer_that_fails_says_why(tmp_path: Path) -> None:
    local = Local(data=str(tmp_path / "nowhere"), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(UsageError, match=r"A training was timed: .*nowhere"):
        fix_loops(made("auto"), local, tmp_path, lambda _: None)


@pytest.mark.tensorflow
def test_plan_writes_numbers_that_sweep_takes_as_they_are(cells: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.toml", tmp_path / "mine.json"
    file.write_text(
        'blocks = 2\n[run]\nepochs = 1\nimage_size = 32\nbatch_size = 16\nloops = "auto"\n'
        'train_window_s = 1\nmeters = ["simulated"]\n[factors]\nvariant = ["relu-dropout"]\n'
        "[analysis]\nexploratory = true\n"
    )
    where = ("--data", str(cells), "--results", str(tmp_path / "results"))
    planned = wbcbench("plan", str(file), "--out", str(out), *where)
    assert planned.code == 0, planned.err
    assert "timing a training" in planned.err
    numbers = {run.loops for run in from_json(out).runs}
    assert len(numbers) == 1 and isinstance(numbers.pop(), int)
    shown = wbcbench("sweep", str(out), "--dry-run", *where)
    assert shown.code == 0, shown.err
    assert "timing" not in shown.err


def test_a_search_leaves_them_to_each_run_also_where_a_gpu_trains(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    scripted_nvml.play(Scenario((FakeGpu(),)))
    plan = made(None, meters=("nvml",))
    search = replace(plan, analysis=replace(plan.analysis, exploratory=True))
    assert fix_loops(search, Local(), tmp_path, refuse) is search
    with pytest.raises(AssertionError, match="timing a training of"):
        fix_loops(plan, Local(), tmp_path, refuse)


def test_a_plan_for_another_machine_leaves_them_to_it(tmp_path: Path) -> None:
    said: list[str] = []
    for plan, words in (
        (made("auto", meters=("nvml",)), "loops are decided where the meters are: NVML"),
        (
            made("auto", dataset_id="bccd-kaggle"),
            "where the images of bccd-kaggle are: give --data",
        ),
    ):
        assert fix_loops(plan, Local(), tmp_path, said.append) is plan
        assert words in said.pop()


@pytest.mark.parametrize("loops", ['"often"', "0", "true", "2.5", "[3]"])
@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[run]\nloops = {}\n", "run"),
        ("configurations = [{{ loops = 2 }}, {{ loops = {} }}]\n", "configurations"),
    ],
)
def test_a_wrong_number_in_a_file_is_said_once(
    tmp_path: Path, text: str, key: str, loops: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text.format(loops) + "[analysis]\nexploratory = true\n")
    with pytest.raises(UsageError) as caught:
        read_plan(file)
    assert "Input should" not in str(caught.value)
    assert f"key '{key}.loops' must be auto or lie between 1 and 1000" in str(caught.value)
