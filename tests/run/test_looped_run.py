"""A run that trains several times in one window, by the real command: record, table, bundle."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path

import pytest

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import Counter, FakeGpu, Scenario
from fakes.power_shapes import Square
from program import only_run, processes_of, start, wait_for, wait_for_window, wbcbench
from wbcbench.energy.account import replay
from wbcbench.energy.bill import make_bill

pytestmark = pytest.mark.tensorflow

LOOPS = 4
WORDS = (
    "run", "--variant", "relu-dropout", "--epochs", "2", "--batch-size", "16", "--idle", "0.3",
    "--inference", "0.3", "--warmup-steps", "2", "--deterministic",
)  # fmt: skip


@pytest.fixture
def boards(scripted_nvml: ScriptedNvml) -> None:
    """Two unlike boards, of which the first is measured; its load is periodic."""
    first = FakeGpu(power=Square(120.0, 260.0, 0.37), counter=Counter(step_s=0.02))
    other = FakeGpu(
        uuid="GPU-22", bus="00000000:5E:00.0", name="Another", counter=Counter(step_s=1)
    )
    scripted_nvml.play(Scenario((first, other)))


@pytest.mark.usefixtures("boards")
def test_joules_seconds_and_epochs_are_those_of_one_training(cells: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    words = ("--data", str(cells), "--results", str(results), "--meters", "nvml")
    ended = wbcbench(*WORDS, *words, "--loops", str(LOOPS))
    assert ended.code == 0, ended.err
    record = only_run(results).read_record()
    assert [loop.index for loop in record.loops] == [1, 2, 3, 4]
    assert len({loop.weights_sha256 for loop in record.loops}) == 1
    (counter,) = [c.name for c in record.channels if c.reading == "total_energy"]
    train = record.energy("train", counter)
    epochs = [record.energy(f"epoch-{k}", counter) for k in (1, 2)]
    assert train.energy_j == pytest.approx(sum(e.energy_j for e in epochs), rel=0.1)
    assert train.mean_power_w == pytest.approx(190.0, rel=0.1)
    (row,) = csv.DictReader((results / "runs" / "runs.csv").open())
    steps_s = [end_s - start_s for loop in record.loops for start_s, end_s in loop.spans_s]
    assert row["loops"] == str(LOOPS)
    assert float(row["time_train_s"]) == pytest.approx(sum(steps_s) / LOOPS, rel=0.1)
    spent_j = float(row["energy_gpu_run_j"])
    assert spent_j > (LOOPS - 1) * float(row["energy_gpu_train_j"])
    assert int(row["images_seen_train"]) == 2 * record.dataset.n_train
    shown = wbcbench("show", record.run_id, "--results", str(results))
    assert "one of 4 in the window" in shown.out

    bundle = tmp_path / "bundle"
    own = ("--author", "A", "--licence", "MIT", "--out", str(bundle), "--no-verify")
    told = wbcbench("submit", "runs", *own, "--results", str(results), "--allow-synthetic")
    assert told.code == 0, told.err
    verified = wbcbench("verify", str(bundle))
    assert "FAIL" not in verified.out, verified.out


def test_a_run_killed_among_the_loops_leaves_its_first_training(
    cells: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    words = ("--data", str(cells), "--results", str(results), "--meters", "simulated")
    process = start(*WORDS, *words, "--loops", "900")
    run = wait_for_window(results, "validate-2")

    def reads_later_loops() -> bool:
        epochs = replay(run.read_messages()).epochs
        traces = [trace for part in run.iterate_parts() for trace in part]
        read_s = min((trace.t_s[-1] for trace in traces if len(trace.t_s)), default=0.0)
        return len(epochs) == 2 and read_s > epochs[-1].evaluate_end_s

    wait_for(reads_later_loops, "polls of a later loop")
    for pid in processes_of(run, "work"):
        os.kill(pid, signal.SIGKILL)
    process.wait(timeout=120)
    record = only_run(results).read_record()
    assert record.status == "interrupted"
    assert record.loops == ()
    train, cut = record.window("train"), record.window("cut-loop")
    assert train.end_s == cut.start_s == record.epochs[-1].evaluate_end_s
    assert "window-truncated" not in {warning.code for warning in record.warnings}
    bill = make_bill(record)
    trained_s = next(item.time_s for item in bill.parts if item.name == "train")
    assert trained_s > cut.duration_s > 0
    assert abs(bill.unexplained.time_s) < 0.05 * bill.whole.time_s


def test_after_ctrl_c_the_loop_in_hand_is_in_the_bill_and_in_no_training(
    cells: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    words = ("--data", str(cells), "--results", str(results), "--meters", "simulated")
    process = start(*WORDS, *words, "--loops", "900")
    wait_for_window(results, "validate-2")
    process.send_signal(signal.SIGINT)
    process.wait(timeout=120)
    record = only_run(results).read_record()
    assert record.status == "interrupted"
    assert 1 <= record.loop_count < 900
    assert record.window("train").end_s == record.window("cut-loop").start_s
