"""What can go wrong around a run: trainer, disk, keyboard, a second harness; and what is left."""

from __future__ import annotations

import csv
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.faulty_machine import HEALTHY, POWER_W, environment
from fakes.nvml_scenario import Scenario
from program import Ended, only_run, processes_of, start, wait_for, wait_for_window, wbcbench
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir, study_runs

pytestmark = pytest.mark.tensorflow

RUN = ("run", "--variant", "leaky-dropout")


def words(cells: Path, results: Path, *more: str) -> list[str]:
    return [
        *RUN, "--data", str(cells), "--results", str(results), "--meters", "simulated",
        "--epochs", "500", "--idle", "0", "--inference", "0", "--batch-size", "8", *more,
    ]  # fmt: skip


def whole(run: RunDir) -> RunRecord:
    """The record, and nothing half written beside it."""
    assert not list(run.path.glob("*.tmp*")) + list(run.path.glob(".*.tmp*"))
    return run.read_record()


def joules(record: RunRecord, window: str) -> list[float | None]:
    return [each.energy_j for each in record.energies if each.window == window]


# --- the trainer -------------------------------------------------------------------------------


def short_of_memory(pid: int) -> None:
    """Take from a running process all memory that it does not have yet."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    size = pages * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (size, size))


@pytest.mark.parametrize(
    ("strike", "statuses"),
    [
        (lambda pid: os.kill(pid, signal.SIGSEGV), {-signal.SIGSEGV}),
        (short_of_memory, {1, -signal.SIGABRT, -signal.SIGSEGV}),  # of Python, of a library
    ],
    ids=["segmentation fault", "out of memory"],
)
def test_a_trainer_that_dies_leaves_a_failed_record_with_its_joules(
    strike: Callable[[int], None], statuses: set[int], cells: Path, tmp_path: Path
) -> None:
    # The loop of Keras asks for memory with every epoch; the resident path has all that it needs.
    process = start(*words(cells, tmp_path, "--path", "fit"))
    run = wait_for_window(tmp_path, "epoch-2")
    (pid,) = processes_of(run, "wbcbench.train.trainer")
    strike(pid)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 7, err
    record = whole(run)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.exit_status in statuses
    assert record.quality == "invalid"
    assert all((energy_j or 0) > 0 for energy_j in joules(record, "train"))
    assert {"window-truncated", "not-finished"} <= {warning.code for warning in record.warnings}
    assert (tmp_path / "runs" / "runs.csv").exists()


def test_a_loss_that_is_no_number_fails_the_run_and_keeps_its_joules(
    cells: Path, tmp_path: Path
) -> None:
    # Half precision overflows soon and computes slowly on a processor: small images, no warm-up.
    diverging = ("--learning-rate", "9", "--precision", "mixed_float16")
    diverging = (*diverging, "--image-size", "40", "--warmup-steps", "0")
    ended = wbcbench(*words(cells, tmp_path, *diverging))
    assert ended.code == 7, ended.err
    record = whole(only_run(tmp_path))
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.kind == "nan-loss"
    assert "NanLossError" in record.error.traceback
    assert record.quality == "invalid"
    assert len(record.epochs) < 500
    assert "window-truncated" not in {warning.code for warning in record.warnings}
    assert all((energy_j or 0) > 0 for energy_j in joules(record, "startup"))
    assert all((energy_j or 0) > 0 for energy_j in joules(record, "train"))


# --- the keyboard ------------------------------------------------------------------------------


def test_a_second_ctrl_c_stops_at_once_and_the_joules_so_far_are_kept(
    cells: Path, tmp_path: Path
) -> None:
    process = start(*words(cells, tmp_path, "--idle", "600"))
    run = wait_for_window(tmp_path, "idle_cold")
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    record = whole(run)
    assert record.status == "interrupted"
    assert record.quality == "invalid"
    for each in record.energies:  # stopped at once, the last poll may lie before the last mark
        assert each.reason if each.energy_j is None else each.energy_j > 0
    assert not processes_of(run, "wbcbench.train.trainer")


# --- two harnesses -----------------------------------------------------------------------------


OTHER = replace(HEALTHY, uuid="GPU-other", bus="00000000:5E:00.0")


@pytest.fixture
def scripted(nvml_folder: Path, tmp_path: Path) -> dict[str, str]:
    """A machine with two healthy GPUs and a space of its own for locks."""
    env = environment(nvml_folder, Scenario((HEALTHY, OTHER)).write(tmp_path))
    return env | {"WBCBENCH_LOCK_DIR": str(tmp_path)}


def idling(cells: Path, results: Path, *more: str) -> list[str]:
    """A run that goes no further than its first idle window."""
    return words(cells, results, "--idle", "600", "--meters", "nvml", *more)


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def codes(results: Path) -> set[str]:
    return {warning.code for warning in whole(only_run(results)).warnings}


def test_a_second_harness_is_refused_and_one_that_shares_marks_both(
    scripted: dict[str, str], cells: Path, tmp_path: Path
) -> None:
    first = start(*idling(cells, tmp_path / "first"), env=scripted)
    wait_for_window(tmp_path / "first", "idle_cold")
    (tmp_path / "elsewhere").mkdir()
    moved = scripted | {"TMPDIR": str(tmp_path / "elsewhere")}
    refused = wbcbench(*idling(cells, tmp_path / "second"), env=moved)
    assert refused.code == 3
    assert "--share" in refused.err
    assert not (tmp_path / "second").exists()
    third = start(*idling(cells, tmp_path / "third", "--share"), env=moved)
    wait_for_window(tmp_path / "third", "idle_cold")
    for process in (third, first):
        stop(process)
    for name in ("first", "third"):
        assert "shared-machine" in codes(tmp_path / name)
        assert whole(only_run(tmp_path / name)).quality != "valid"


def test_runs_on_two_boards_go_side_by_side_and_only_the_processor_is_shared(
    scripted: dict[str, str], cells: Path, tmp_path: Path
) -> None:
    started = []
    for name, board in (("first", HEALTHY), ("second", OTHER)):
        started.append(start(*idling(cells, tmp_path / name, "--gpus", board.uuid), env=scripted))
        wait_for_window(tmp_path / name, "idle_cold")
    refused = wbcbench(*words(cells, tmp_path / "third"), env=scripted)  # on the processor alone
    assert (refused.code, (tmp_path / "third").exists()) == (3, False)
    for process in started:
        stop(process)
    for name in ("first", "second"):
        assert "shared-processor" in codes(tmp_path / name)
        assert "shared-machine" not in codes(tmp_path / name)


# --- the disk ----------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small file system in memory; skips where that is not permitted."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        path = tmp_path / f"disk{len(mounted)}"
        path.mkdir()
        told = ["mount", "-t", "tmpfs", "-o", options, "wbcbench-test", str(path)]
        if shutil.which("mount") is None or subprocess.run(told, check=False).returncode != 0:
            pytest.skip("a small file system cannot be mounted here (needs root)")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_disk_with_too_little_room_is_refused_before_training(
    disk: Callable[[str], Path], cells: Path
) -> None:
    results = disk("size=20m")
    ended = wbcbench(*words(cells, results))
    assert ended.code == 2
    assert "Training was not started" in ended.err
    assert "--results" in ended.err
    record = whole(only_run(results))
    assert (record.status, record.epochs) == ("failed", ())


@pytest.mark.parametrize("options", ["ro", "size=4k"])
def test_a_results_folder_that_cannot_be_written_is_refused_before_anything(
    options: str, disk: Callable[[str], Path], cells: Path
) -> None:
    results = disk(options)
    ended = wbcbench(*words(cells, results))
    assert ended.code == 2
    assert "--results" in ended.err
    assert "Traceback" not in ended.err
    assert not list(results.rglob("record.json"))


def fill(folder: Path) -> Path:
    path = folder / "filler"
    with path.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(1 << 16))
        except OSError:
            return path


def test_a_disk_that_fills_up_fails_the_run_whole_and_the_next_command_accounts_for_it(
    disk: Callable[[str], Path], cells: Path
) -> None:
    results = disk("size=130m")
    process = start(*words(cells, results))
    run = wait_for_window(results, "epoch-2")
    filler = fill(results)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 7, err
    assert "No space left" in err
    assert "Traceback" not in err
    assert not processes_of(run, "wbcbench.train.trainer")
    assert not run.record_path.exists() or run.read_record().status == "failed"
    filler.unlink()
    another = start(*words(cells, results, "--idle", "600", "--seed", "2"))
    wait_for(lambda: len(study_runs(results, "runs")) > 1, "the next run")
    stop(another)
    record = whole(run)
    assert record.status in ("failed", "interrupted")
    assert record.quality == "invalid"


# --- a scripted GPU under a whole run ----------------------------------------------------------


@pytest.fixture(scope="module")
def on_a_frozen_counter(
    nvml_folder: Path, cells: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RunRecord, Ended]:
    folder = tmp_path_factory.mktemp("frozen")
    gpu = replace(HEALTHY, counter=replace(HEALTHY.counter, frozen_at_s=0.0))
    env = environment(nvml_folder, Scenario((gpu,)).write(folder)) | {"TMPDIR": str(folder)}
    ended = wbcbench(
        *words(cells, folder, "--meters", "nvml", "--epochs", "3", "--idle", "2"),
        "--cooldown", "60", env=env,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    return folder, whole(only_run(folder)), ended


def test_a_run_on_a_frozen_counter_has_the_integrals_joules(
    on_a_frozen_counter: tuple[Path, RunRecord, Ended],
) -> None:
    _, record, _ = on_a_frozen_counter
    codes = {warning.code for warning in record.warnings}
    assert {"counter-frozen", "gpu-not-used"} <= codes
    assert record.quality == "invalid"
    for window in ("idle_cold", "train"):
        counter = record.energy(window, "nvml/gpu0/counter")
        power = record.energy(window, "nvml/gpu0/power")
        assert counter is not None
        assert counter.energy_j is None
        assert counter.reason
        assert power is not None
        assert power.mean_power_w == pytest.approx(POWER_W, rel=0.02)


def test_a_run_keeps_the_cards_of_its_sensors_and_how_long_it_cooled(
    on_a_frozen_counter: tuple[Path, RunRecord, Ended],
) -> None:
    _, record, _ = on_a_frozen_counter
    cards = {card.channel: card for card in record.sensor_cards}
    assert cards["nvml/gpu0/counter"].update_s is None
    assert "moved 0 times" in cards["nvml/gpu0/counter"].reason
    assert cards["nvml/gpu0/power"].polls > 20
    cooled = record.provenance["cooldown"]
    assert isinstance(cooled, dict)
    assert cooled["is_reached"] is True


def test_unknown_joules_are_empty_cells_in_the_table(
    on_a_frozen_counter: tuple[Path, RunRecord, Ended],
) -> None:
    folder, _, _ = on_a_frozen_counter
    with (folder / "runs" / "runs.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    zeros = [name for name, cell in row.items() if name.endswith("_j") and cell in ("0", "0.0")]
    assert zeros == []


def test_piped_output_has_one_line_an_epoch_and_no_escape_codes(
    on_a_frozen_counter: tuple[Path, RunRecord, Ended],
) -> None:
    _, _, ended = on_a_frozen_counter
    assert "\x1b" not in ended.out + ended.err
    lines = [line for line in ended.err.splitlines() if " epoch " in line]
    assert len(lines) == 3
    assert "epoch 1/3 loss=" in lines[0]
