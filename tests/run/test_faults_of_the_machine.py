"""No driver, no permission, a wall clock that is set: what the machine can do to a measurement."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fakes.faulty_machine import HEALTHY, environment, measured
from fakes.nvml_scenario import FakeGpu, Scenario
from program import wbcbench

HOURS_S = -7200.0
NOT_LOADED, NO_PERMISSION, MISMATCH = 9, 4, 18


@pytest.mark.parametrize(
    ("init_error", "says"),
    [
        (NOT_LOADED, "driver is not loaded"),
        (NO_PERMISSION, "may not use the NVIDIA driver"),
        (MISMATCH, "different versions"),
    ],
)
def test_a_driver_that_does_not_answer_stops_what_asked_for_it_before_it_begins(
    init_error: int, says: str, nvml_folder: Path, tmp_path: Path
) -> None:
    env = environment(nvml_folder, Scenario(init_error=init_error).write(tmp_path))
    touched = tmp_path / "touched"
    ended = wbcbench("monitor", "--meters", "nvml", "--json", "--", "touch", str(touched), env=env)
    assert ended.code == 3
    assert says in ended.err
    assert "leave the nvml meter out" in ended.err
    assert ended.out == ""
    assert not touched.exists()


def test_a_run_that_asks_for_a_missing_library_fails_at_once_and_leaves_nothing(
    cells: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    ended = wbcbench(
        "run", "--variant", "leaky-dropout", "--meters", "nvml", "--data", str(cells),
        "--results", str(results),
    )  # fmt: skip
    assert ended.code == 3
    assert "libnvidia-ml.so.1 was not found" in ended.err
    assert not results.exists()


def test_auto_goes_on_with_what_is_there_and_says_what_is_missing(
    nvml_folder: Path, tmp_path: Path
) -> None:
    env = environment(nvml_folder, Scenario(init_error=NO_PERMISSION).write(tmp_path))
    ended = wbcbench(
        "monitor", "--meters", "auto", "--json", "--", "sleep", "3",
        env=env | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert ended.code == 0, ended.err
    document = ended.json
    absent = [c["detail"] for c in document["warnings"] if c["code"] == "meter-absent"]
    assert any("may not use the NVIDIA driver" in detail for detail in absent)
    assert not any(channel["name"].startswith("nvml") for channel in document["channels"])
    assert all(c["energy_j"] is None or c["energy_j"] > 0 for c in document["channels"])
    assert document["energy"]["status"] in ("measured", "estimated")


def test_gpus_that_cuda_may_not_see_are_not_measured(nvml_folder: Path, tmp_path: Path) -> None:
    env = environment(nvml_folder, Scenario((FakeGpu(),)).write(tmp_path))
    ended = wbcbench(
        "monitor", "--meters", "nvml", "--", "true", env=env | {"CUDA_VISIBLE_DEVICES": ""}
    )
    assert ended.code == 3
    assert "hides every GPU" in ended.err


@pytest.fixture(scope="module")
def stepped_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) here, so the wall clock cannot be stepped")
    library = tmp_path_factory.mktemp("clock") / "stepped_clock.so"
    source = Path(__file__).parents[1] / "fakes" / "stepped_clock.c"
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    subprocess.run([compiler, *options, "-o", str(library), str(source)], check=True)
    return library


def stepping(library: Path, at_s: float) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(library),
        "WBCBENCH_FAKE_STEP_S": f"{HOURS_S:.0f}",
        "WBCBENCH_FAKE_STEP_AT_S": f"{at_s:.3f}",
    }


def test_the_clock_that_is_stepped_for_these_tests_does_step(stepped_clock: Path) -> None:
    program = "import time; print(time.time(), time.monotonic())"
    env = stepping(stepped_clock, 0.0)
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    wall_s, monotonic_s = map(float, done.stdout.split())
    assert wall_s == pytest.approx(time.time() + HOURS_S, abs=60)
    assert monotonic_s == pytest.approx(time.monotonic(), abs=60)


def test_a_wall_clock_set_back_by_hours_does_nothing_to_joules(
    nvml_folder: Path, stepped_clock: Path, tmp_path: Path
) -> None:
    now_s = time.monotonic()
    seen = measured(
        nvml_folder,
        tmp_path / "clock",
        lambda _: Scenario((HEALTHY,)),
        more=stepping(stepped_clock, now_s + 8.0),
    )
    assert seen.code == 0, seen.err
    assert 1.0 <= seen.document["duration_s"] <= 120.0
    assert seen.states_the_truth()
    assert not set(seen.codes) & {"reads-failed", "heartbeat-lost", "energy-unknown"}


def test_a_full_disk_costs_monitor_its_csv_but_not_its_joules() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is not on this system")
    ended = wbcbench(
        "monitor", "--meters", "simulated", "--json", "--csv", "/dev/full", "--", "true"
    )
    assert ended.code == 2
    assert "No space left" in ended.err
    assert "Traceback" not in ended.err
    assert ended.json["energy"]["energy_j"] > 0
