"""``doctor --launcher``: what the engine says, and what a job sees of its node and of us."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import Scenario
from program import wbcbench
from study.test_sweep import Timeless
from wbcbench.core.child import python_command
from wbcbench.core.errors import UsageError
from wbcbench.core.files import read_file, write_new
from wbcbench.core.run_folder import to_json
from wbcbench.core.strict_json import read_document
from wbcbench.core.window import Clock, MonotonicClock
from wbcbench.doctor import Groups, Line, State, exchange
from wbcbench.doctor.cluster import MOST_APART_S, ClusterCheck, check_clock, check_shared_folder
from wbcbench.doctor.exchange import (
    REPORT,
    ROUNDS,
    NodeReport,
    NodeRequest,
    Round,
    ask_submitter,
    bound_clock,
    try_links,
)
from wbcbench.power.session import MeteringRequest
from wbcbench.run.job import CHECK
from wbcbench.run.launchers import (
    CarryOut,
    EngineError,
    EngineFacts,
    GpusOfKind,
    JobStage,
    JobStatus,
)
from wbcbench.run.launchers.cluster import ClusterSettings
from wbcbench.study.boards import BoardForecast

FACTS = EngineFacts(
    name="Toy 1.0",
    gpus=(GpusOfKind("gpu:a100", 8, 6),),
    job_s=7200.0,
    longest_s=86_400.0,
    most_in_submission=1000,
    most_jobs=10_000,
    most_own_jobs=64,
    kill_s=30.0,
    keeps_ended=True,
)


@dataclass
class NodeQueue:
    """A queue whose jobs start at once, or never; ``node`` is what one does with its folder."""

    node: Callable[[Path], JobStage] = lambda _: JobStage.ENDED
    is_queue = True
    stage: JobStage = JobStage.RUNNING
    cancelled: list[str] = field(default_factory=list)
    refuses: Exception | None = None
    falls_silent: bool = False
    most_in_submission = 1

    def connect(self, settings: ClusterSettings, jobs: Path) -> NodeQueue:
        return self

    def submit(
        self, name: str, folders: Sequence[Path], carry_out: CarryOut, node: str = ""
    ) -> list[str]:
        if self.refuses is not None:
            raise self.refuses
        [folder] = folders
        if self.stage is not JobStage.WAITING:
            threading.Thread(target=self._carry_out, args=(folder,), daemon=True).start()
        return ["7"]

    def _carry_out(self, folder: Path) -> None:
        self.stage = self.node(folder)

    def find(self, name: str, place: int) -> str | None:
        return None

    def ask(self, jobs: Mapping[str, str]) -> Mapping[str, JobStatus]:
        if self.falls_silent:
            raise EngineError("The queue does not answer: it is down.")
        node = "" if self.stage is JobStage.WAITING else "n7"
        return {job_id: JobStatus(self.stage, node, self.stage.upper()) for job_id in jobs}

    def cancel(self, jobs: Mapping[str, str]) -> None:
        self.cancelled += jobs


@dataclass
class TellingQueue(NodeQueue):
    """One that says what its engine is."""

    facts: EngineFacts = FACTS

    def describe(self) -> EngineFacts:
        return self.facts


def report(folder: Path, **changes: Any) -> JobStage:
    """What a node leaves that answers at once."""
    check = read_document(NodeRequest, read_file(folder / CHECK))
    found = NodeReport("n7", ask_submitter(folder, check.token), try_links(folder))
    write_new(folder / REPORT, to_json(asdict(replace(found, **changes))))
    return JobStage.ENDED


def examine(
    queue: NodeQueue, results: Path, clock: Clock | None = None, **changes: Any
) -> tuple[Groups, NodeReport | None]:
    check = ClusterCheck(
        queue,
        changes.pop("settings", ClusterSettings()),
        results,
        MeteringRequest(("simulated",)),
        clock=clock or MonotonicClock(),
        **changes,
    )
    return check.examine(lambda _: None)


def line(groups: Groups, group: str, name: str) -> Line:
    return next(each for each in groups[group] if each.name == name)


def names(groups: Groups, group: str) -> list[str]:
    return [each.name for each in groups[group]]


# --- the job ------------------------------------------------------------------------------------


def test_a_node_looks_at_itself_and_nothing_is_left_behind(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    scripted_nvml.play(Scenario(init_error=9))  # a node without a GPU

    def carry_out(folder: Path) -> JobStage:
        environment = {**os.environ, "SCRATCH": str(tmp_path / "scratch")}
        words = python_command("wbcbench", "work", str(folder))
        done = subprocess.run(words, env=environment, check=False)
        return JobStage.ENDED if done.returncode == 0 else JobStage.LOST

    results = tmp_path / "results"
    settings = ClusterSettings(cache="$SCRATCH/images")
    require = ("gpu=measured", "gpu=simulated")
    groups, found = examine(NodeQueue(carry_out), results, settings=settings, require=require)
    assert found is not None
    assert not results.exists()
    assert [item.is_met for item in found.requirements] == [False, True]
    assert found.primary_energy["status"] == "simulated"
    assert list(groups)[:4] == ["engine", "limits", "job", "node"]
    assert list(groups)[4:] == [
        "packages", "device", "meters", "quiet machine", "data", "storage and time",
    ]  # fmt: skip
    assert line(groups, "job", "shared").state is State.OK
    assert line(groups, "job", "links").state is State.OK
    assert line(groups, "job", "clock-difference").state is State.OK
    assert "asked for gpu:1, and no board" in line(groups, "node", "boards").text
    assert "TensorFlow is imported in" in line(groups, "node", "training").text
    assert str(tmp_path / "scratch" / "images") in line(groups, "node", "cache").text


def test_a_cache_whose_variable_the_node_lacks_is_told(tmp_path: Path) -> None:
    from wbcbench.doctor.node import check_cache

    assert check_cache("$NO_SUCH_VARIABLE/x").state is State.WARN
    assert check_cache("/proc/none").state is State.WARN
    assert check_cache(str(tmp_path / "new")).state is State.OK
    assert check_cache("").state is State.INFO


def test_a_job_that_waits_too_long_is_cancelled_with_the_queues_reason(tmp_path: Path) -> None:
    queue = NodeQueue(stage=JobStage.WAITING)
    groups, found = examine(queue, tmp_path, Timeless(), wait_s=40.0)
    assert found is None
    assert queue.cancelled == ["7"]
    waiting = line(groups, "job", "job")
    assert waiting.state is State.WARN
    assert "still waited after 40" in waiting.text and "WAITING" in waiting.text
    assert "--wait" in waiting.fix


def test_a_job_that_is_put_back_into_the_queue_waits_again(tmp_path: Path) -> None:
    queue = NodeQueue(stage=JobStage.WAITING)
    stages = iter([JobStage.WAITING, *[JobStage.RUNNING] * 30])
    clock = Timeless()

    def go_on() -> None:
        queue.stage = next(stages, JobStage.WAITING)

    clock.on_sleep = go_on
    groups, _ = examine(queue, tmp_path, clock, wait_s=40.0)
    assert queue.cancelled == ["7"]
    assert "still waited after 40" in line(groups, "job", "job").text


def test_a_job_that_ends_without_an_answer_is_a_failure_with_its_log(tmp_path: Path) -> None:
    def die(folder: Path) -> JobStage:
        (folder.parent / "job_7.out").write_text("python: command not found\n")
        return JobStage.ENDED

    queue = NodeQueue(die)
    clock = Timeless()
    clock.on_sleep = lambda: time.sleep(0.001)
    groups, found = examine(queue, tmp_path, clock)
    assert found is None
    silent = line(groups, "job", "job")
    assert silent.state is State.FAIL
    assert "python: command not found" in silent.text
    [kept] = tmp_path.glob(".doctor-*")
    assert str(kept) in silent.fix


def test_an_engine_that_falls_silent_or_refuses_is_a_failure(tmp_path: Path) -> None:
    silent = NodeQueue(lambda _: JobStage.RUNNING, falls_silent=True)
    groups, _ = examine(silent, tmp_path, Timeless())
    assert [each.state for each in groups["job"]] == [State.FAIL]
    assert "does not answer" in groups["job"][0].text
    refusing = NodeQueue(refuses=UsageError("The queue refuses the job: no. Change [cluster]."))
    groups, _ = examine(refusing, tmp_path, Timeless())
    assert line(groups, "job", "job").fix == "Change [cluster]."


def test_an_interrupted_check_cancels_its_job_and_leaves_nothing(tmp_path: Path) -> None:
    queue = NodeQueue(lambda _: JobStage.RUNNING)

    def interrupt() -> None:
        raise KeyboardInterrupt

    clock = Timeless()
    clock.on_sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        examine(queue, tmp_path, clock)
    assert queue.cancelled == ["7"]
    assert list(tmp_path.iterdir()) == []


def test_what_a_node_could_not_measure_is_told(tmp_path: Path) -> None:
    queue = NodeQueue(lambda folder: report(folder, error="No meter 'nvml' works here."))
    groups, _ = examine(queue, tmp_path)
    assert "No meter 'nvml' works" in line(groups, "job", "node").text


# --- files, links and clocks --------------------------------------------------------------------


def test_a_clock_is_bound_by_both_directions_whatever_the_disk_takes() -> None:
    """The node is 100 s ahead; files take 0.3 s there and 2 s back, then 1 s and 0.2 s."""
    rounds = (
        Round(asked_s=1100.0, heard_s=1000.3, answered_s=1000.4, seen_s=1102.4),
        Round(asked_s=1110.0, heard_s=1011.0, answered_s=1011.0, seen_s=1111.2),
    )
    assert bound_clock(rounds) == pytest.approx((99.7, 100.2))
    assert [each.both_ways_s for each in rounds] == pytest.approx([2.3, 1.2])
    told = check_clock(rounds)
    assert told.state is State.WARN
    assert "+99.70 to +100.20 s" in told.text


@pytest.mark.parametrize("ahead_s", [-MOST_APART_S - 1, 0.0, MOST_APART_S + 1])
def test_only_a_clock_that_is_certainly_wrong_is_a_warning(ahead_s: float) -> None:
    ok_or_not = State.OK if abs(ahead_s) <= MOST_APART_S else State.WARN
    rounds = (Round(100.0 + ahead_s, 100.1, 100.1, 100.2 + ahead_s),)
    assert check_clock(rounds).state is ok_or_not


def test_a_node_that_does_not_see_our_files_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ROUNDS > 1
    one = (Round(1.0, 1.1, 1.1, 1.2),)
    lines = list(check_shared_folder(tmp_path, NodeReport("n7", one, "")))
    assert [each.state for each in lines if each.name == "shared"] == [State.FAIL, State.OK]
    nothing = list(check_shared_folder(tmp_path, NodeReport("n7", (), "Operation not permitted")))
    assert [(each.name, each.state) for each in nothing] == [
        ("shared", State.FAIL),
        ("links", State.FAIL),
    ]
    monkeypatch.setattr(exchange, "PATIENCE_S", 0.0)
    assert ask_submitter(tmp_path, "token") == ()


def test_a_folder_whose_files_a_link_may_replace_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / CHECK).touch()
    assert try_links(tmp_path) == ""
    assert try_links(tmp_path / "nowhere") == "No such file or directory"
    for name in ("link", "linked"):
        (tmp_path / name).unlink()
    monkeypatch.setattr(Path, "hardlink_to", lambda path, target: None)
    assert "took the place" in try_links(tmp_path)


# --- the engine ---------------------------------------------------------------------------------


def limits(facts: EngineFacts, tmp_path: Path, **changes: Any) -> dict[str, Line]:
    """What is said of an engine that would then refuse the job."""
    queue = TellingQueue(refuses=UsageError("no"), facts=facts)
    groups, _ = examine(queue, tmp_path, Timeless(), **changes)
    return {each.name: each for name in ("engine", "limits") for each in groups[name]}


def forecast(job_s: float, epoch_s: float = 5.0) -> BoardForecast:
    return BoardForecast(1, 32, 2, False, 2 * job_s, 2 * job_s, job_s, epoch_s)


def test_a_queue_that_tells_nothing_is_used_all_the_same(tmp_path: Path) -> None:
    groups, found = examine(NodeQueue(report), tmp_path)
    assert found is not None
    assert [each.text for name in ("engine", "limits") for each in groups[name]] == [
        "not asked: this launcher does not say"
    ] * 2


def test_an_engine_within_its_limits_is_ok(tmp_path: Path) -> None:
    said = limits(FACTS, tmp_path, file=Path("mine.toml"), forecast=forecast(3600.0))
    assert {each.state for each in said.values()} <= {State.OK, State.INFO}
    assert said["gpus"].text == "gpu:a100 6 of 8 up"
    assert "about 1 h 00 min" in said["time"].text


@pytest.mark.parametrize(
    ("changes", "name", "state", "says"),
    [
        ({"refusal": "no such partition"}, "request", State.FAIL, "no such partition"),
        ({"gpus": ()}, "gpus", State.FAIL, "0 GPUs"),
        ({"gpus": (GpusOfKind("gpu", 8, 0),)}, "gpus", State.FAIL, "8 GPUs where"),
        ({"gpus": None}, "gpus", State.INFO, "not asked"),
        ({"job_s": 90_000.0}, "time", State.FAIL, "25 h"),
        ({"job_s": None}, "time", State.INFO, "unknown time"),
        ({"job_s": 3700.0}, "time", State.WARN, "longest block"),  # 120 s of grace do not fit
        ({"most_own_jobs": 31}, "own-jobs", State.FAIL, "31 jobs"),
        ({"most_jobs": 20}, "jobs", State.FAIL, "20 jobs of all"),
        ({"most_own_jobs": None}, "own-jobs", State.OK, "no limit"),
        ({"kill_s": 4.0}, "kill", State.INFO, "an epoch takes 5.00 s"),
        ({"keeps_ended": False}, "accounting", State.WARN, "no accounts"),
    ],
)
def test_a_limit_that_is_in_the_way_is_told_with_its_way_out(
    changes: dict[str, Any], name: str, state: State, says: str, tmp_path: Path
) -> None:
    facts = replace(FACTS, **changes)
    said = limits(facts, tmp_path, file=Path("mine.toml"), forecast=forecast(3600.0))[name]
    assert said.state is state
    assert says in said.text
    assert said.fix or said.why or state in {State.OK, State.INFO}


def test_a_job_that_the_engine_would_not_run_is_not_submitted(tmp_path: Path) -> None:
    groups, found = examine(TellingQueue(facts=replace(FACTS, refusal="no")), tmp_path)
    assert found is None
    assert "no job was submitted" in groups["job"][0].text
    assert list(tmp_path.iterdir()) == []


# --- the command --------------------------------------------------------------------------------


def test_without_slurm_doctor_says_so_and_ends_with_3(tmp_path: Path) -> None:
    empty = {"PATH": str(tmp_path)}
    words = ["doctor", "--launcher", "slurm", "--results", str(tmp_path / "results")]
    ended = wbcbench(*words, env=empty)
    assert ended.code == 3
    assert "FAIL" in ended.out and "sbatch is not on this machine" in ended.out.replace("\n", " ")
    told = wbcbench(*words, "--json", env=empty)
    assert told.code == 3
    assert told.json["failures"] == 1
    assert told.json["primary_energy"] is None
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--launcher", "local"], "has no queue"),
        (["--launcher", "nope"], "launcher"),
        (["--launcher", "slurm", "--calibrate"], "go without --launcher"),
        (["--launcher", "slurm", "--cluster", "colour=red"], "colour"),
        (["mine.toml"], "--launcher"),
        (["--cluster", "cpus=2"], "--launcher"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], says: str) -> None:
    ended = wbcbench("doctor", *words)
    assert ended.code == 2
    assert says in ended.err
