"""``from wbcbench import Meter``: other people's code measured with the same engine."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Process, Scenario
from program import wait_for
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.measure.meter import Meter
from wbcbench.measure.program_run import create_run
from wbcbench.measure.sampling_process import SideSampler
from wbcbench.power.meter import MeterRequest
from wbcbench.power.session import MeteringRequest
from wbcbench.power.simulated import SimulatedMeter, open_meters

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def measured() -> Meter:
    """Two windows end to end inside a third, measured with a known signal."""
    with Meter("simulated", interval_s=0.05) as meter:
        with meter.window("outer"):
            with meter.window("a"):
                time.sleep(0.6)
            with meter.window("b"):
                time.sleep(0.4)
        with pytest.raises(UsageError, match="known when"):
            _ = meter.energy
        with pytest.raises(UsageError, match="used before"), meter.window("a"):
            pass
        with pytest.raises(UsageError, match="empty"), meter.window(""):
            pass
        with pytest.raises(UsageError, match="No window 'c' is open"):
            meter.close("c")
    return meter


def truth_j(meter: Meter, name: str) -> float:
    (known,) = open_meters(MeterRequest())
    assert isinstance(known, SimulatedMeter)
    (window,) = (w for w in meter.windows if w.name == name)
    return known.signal.true_energy_j(window.start_s, window.end_s)


@pytest.mark.parametrize("name", ["a", "b", "outer", "whole"])
def test_the_truth_lies_within_the_interval_of_every_window(measured: Meter, name: str) -> None:
    mine = [energy for energy in measured.energies if energy.window == name]
    assert {energy.channel for energy in mine} == {"simulated/counter", "simulated/power"}
    for energy in mine:
        assert energy.energy_j is not None
        assert energy.uncertainty_j is not None
        assert abs(energy.energy_j - truth_j(measured, name)) <= energy.uncertainty_j


def test_windows_end_to_end_add_up_to_the_one_around_them(measured: Meter) -> None:
    joules = {
        energy.window: energy.energy_j or 0.0
        for energy in measured.energies
        if energy.channel == "simulated/counter"
    }
    times_s = {window.name: window.duration_s for window in measured.windows}
    between = 1 - (times_s["a"] + times_s["b"]) / times_s["outer"]  # long on a busy processor
    sum_j = joules["a"] + joules["b"]
    assert sum_j == pytest.approx(joules["outer"], rel=0.01 + 2 * between)


def test_the_energy_is_of_the_whole_block_when_no_window_is_called_train(
    measured: Meter,
) -> None:
    assert measured.energy.window == "whole"
    assert (measured.energy.status, measured.energy.channel) == (
        "simulated",
        "simulated/counter",
    )
    assert measured.energy.energy_j == pytest.approx(
        measured.window_result("whole").readings[0].energy.energy_j
    )


def test_short_windows_are_flagged_and_each_window_has_its_own_warnings(measured: Meter) -> None:
    for name in ("a", "outer"):
        warnings = {c.code: c for c in measured.window_result(name).warnings}
        assert f"`{name}` lasted" in warnings["short-window"].detail
    with pytest.raises(UsageError, match="Known: a, b, outer, whole"):
        measured.window_result("nowhere")


def test_a_meter_measures_one_block(measured: Meter) -> None:
    with pytest.raises(UsageError, match="one block"), measured:
        pass
    with pytest.raises(UsageError, match="outside"), measured.window("later"):
        pass
    assert measured.sampler_cpu_s is not None
    assert measured.sampler_cpu_s > 0


def test_an_error_in_the_block_passes_through_and_its_joules_are_kept() -> None:
    meter = Meter("simulated")
    with pytest.raises(ZeroDivisionError), meter, meter.window("train"):
        time.sleep(0.3)
        raise ZeroDivisionError
    assert meter.energy.window == "train"
    assert meter.energy.energy_j is not None
    assert meter.energy.energy_j > 0


def test_a_program_whose_words_windows_and_errors_are_no_utf8_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "\udcff"])
    error = ValueError("\udcfe" * 100_000)
    with pytest.raises(ValueError) as raised, Meter("simulated") as meter, meter.window("\udcfd"):
        raise error
    assert raised.value is error
    record = record_of(meter)
    assert meter.window_result("\udcfd").energy.energy_j is not None
    assert {window.name for window in record.windows} == {"\\udcfd", "whole"}
    assert record.provenance["command"] == ["train.py", "\\udcff"]
    assert record.error is not None
    assert "ValueError: \\udcfe" in record.error.message


def test_edges_that_the_sampler_did_not_read_in_time_lose_no_result(tmp_path: Path) -> None:
    request = MeteringRequest(meters=("simulated",))
    program = create_run(tmp_path, ["program"], request)
    sampler = SideSampler(program, request)
    (process,) = samplers()
    process.suspend()
    for _ in range(20_000):  # more than a pipe holds
        sampler.mark()
    threading.Timer(0.3, process.resume).start()
    assert sampler.stop("done", None) is None
    assert program.run.read_record().status == "done"


def samplers() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if "wbcbench.measure.sampling_process" in command(child)
    ]


def command(process: psutil.Process) -> str:
    """Its command line; empty for one that has ended, a zombie until somebody waits for it."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def test_when_the_sampling_process_dies_no_joules_are_invented() -> None:
    with Meter("simulated") as meter:
        (sampler,) = samplers()
        with meter.window("train"):
            time.sleep(0.2)
            sampler.kill()
            sampler.wait()
    assert meter.energy.energy_j is None
    assert meter.energy.status == "absent"
    assert meter.quality == "invalid"
    assert "trace-not-written" in {warning.code for warning in meter.warnings}
    assert meter.sampler_cpu_s is None


def test_a_program_that_saves_nothing_leaves_nothing_when_it_dies(tmp_path: Path) -> None:
    program = (
        "import os, signal, time\nfrom wbcbench import Meter\n"
        "with Meter('simulated', save=False): print('in', flush=True); time.sleep(60)"
    )
    folder = tmp_path / "temporary"
    folder.mkdir()
    victim = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "in\n"
    (sampler,) = psutil.Process(victim.pid).children()
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    _, alive = psutil.wait_procs([sampler], timeout=30)
    assert alive == []
    wait_for(lambda: not list(folder.glob("wbcbench-*")), "removal of the readings")


def record_of(meter: Meter) -> RunRecord:
    assert meter.run_dir is not None
    return RunDir(meter.run_dir).read_record()


def test_the_record_says_what_the_meter_says_of_every_window(measured: Meter) -> None:
    record = record_of(measured)
    assert record.status == "done"
    assert {w.name: w for w in record.windows} == {w.name: w for w in measured.windows}
    for energy in measured.energies:
        assert record.energy(energy.window, energy.channel) == energy
    assert record.quality == measured.quality
    told = {
        warning for w in measured.windows for warning in measured.window_result(w.name).warnings
    }
    assert set(record.warnings) == told
    assert record.provenance["command"]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ZeroDivisionError("by 0"), "failed", "program-failed"),
        (KeyboardInterrupt(), "interrupted", "program-failed"),
        (SystemExit(3), "failed", "program-failed"),
        (SystemExit(0), "done", None),
    ],
)
def test_however_the_block_ends_its_joules_are_kept(
    error: BaseException, status: str, kind: str | None
) -> None:
    meter = Meter("simulated")
    with pytest.raises(type(error)), meter, meter.window("train"):
        time.sleep(0.2)
        raise error
    record = record_of(meter)
    assert (record.status, record.error and record.error.kind) == (status, kind)
    assert (record.energies[0].energy_j or 0) > 0


FORKS = """
import gc, multiprocessing, os, sys, time
from wbcbench import Meter

with Meter("simulated") as meter:
    with meter.window("train"):
        for leave in (lambda: sys.exit(0), lambda: os._exit(1), lambda: 1 / 0):
            if (pid := os.fork()) == 0:
                meter.open("of a child")
                meter.close("train")
                os.close(2)
                gc.collect()
                leave()
            os.waitpid(pid, 0)
        if (pid := os.fork()) == 0:
            with Meter("simulated", save=False) as own, own.window("nested"):
                pass
            os._exit(own.energy.energy_j is None)
        assert os.waitpid(pid, 0)[1] == 0, "a child measures with a meter of its own"
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(time.sleep, [0.1, 0.1])
print(meter.energy.energy_j, *(window.name for window in meter.windows))
"""


def test_what_a_forked_child_does_with_the_meter_changes_nothing(own_results: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True)
    energy_j, *names = done.stdout.split()
    assert float(energy_j) > 0
    assert names == ["train", "whole"]
    assert str(own_results) in done.stderr, "where it is kept is said"


def test_a_dead_program_is_noticed_although_a_child_holds_its_pipe_open(tmp_path: Path) -> None:
    program = (
        "import os, time\nfrom wbcbench import Meter\n"
        "with Meter('simulated'):\n"
        "    if os.fork() == 0: print(os.getpid(), flush=True); time.sleep(60); os._exit(0)\n"
        "    time.sleep(1); os._exit(5)"
    )
    env = {**os.environ, "WBCBENCH_RESULTS": str(tmp_path)}
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) as victim:
        assert victim.stdout is not None
        child = int(victim.stdout.readline())
        assert victim.wait() == 5
        try:
            (run,) = study_runs(tmp_path, "measured")
            wait_for(lambda: run.is_finished, "the record")
        finally:
            os.kill(child, signal.SIGKILL)
    record = run.read_record()
    assert (record.status, record.error and record.error.kind) == ("interrupted", "program-ended")
    assert (record.energies[0].energy_j or 0) > 0


def test_a_hundred_windows_and_a_meter_inside_another_are_all_in_their_records() -> None:
    with Meter("simulated") as outer, Meter("simulated") as inner:
        for number in range(100):
            outer.open(f"window {number}")
        time.sleep(0.3)
        for number in range(100):
            outer.close(f"window {number}")
    assert len(record_of(outer).windows) == 101
    assert [window.name for window in record_of(inner).windows] == ["whole"]
    assert outer.run_dir != inner.run_dir


@pytest.mark.parametrize("folder", ["/proc/no", "file/results"])
def test_where_nothing_can_be_written_it_measures_and_says_that_nothing_is_kept(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WBCBENCH_RESULTS", str(tmp_path / folder))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Meter("simulated") as meter:
        pass
    assert meter.energy.energy_j is not None
    assert meter.run_dir is None
    assert "Nothing of this measurement is kept." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_python_prints_at_its_start_and_a_closed_stderr_keep_no_program_from_measuring(
    tmp_path: Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('module loaded', flush=True)\n")
    program = (
        "import os; os.close(2)\nfrom wbcbench import Meter\n"
        "with Meter('simulated') as m: pass\n"
        "print(m.energy.status)"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=env)
    assert done.stdout == "module loaded\nsimulated\n"


def test_what_cannot_be_measured_is_refused_at_the_door(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario(init_error=9))
    with pytest.raises(UsageError, match="period"):
        Meter(interval_s=0.001)
    with pytest.raises(CannotMeasureError, match="driver is not loaded"), Meter("nvml"):
        pytest.fail("the block must not begin")
    with pytest.raises(UsageError, match="Did you mean 'nvml'"), Meter("nvlm"):
        pytest.fail("the block must not begin")
    assert samplers() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("meters", None), ("meters", 5), ("meters", [5]), ("meters", b"nvml"), ("meters", []),
        ("gpus", None), ("gpus", 0.5), ("gpus", [None]), ("gpus", True),
        ("interval_s", None), ("interval_s", "often"), ("interval_s", float("nan")),
        ("seed", None), ("seed", -1), ("seed", 2**32), ("seed", 1.5), ("seed", "one"),
        ("options", [1]), ("options", {1: 2}), ("options", {"simulated.load_w": None}),
        ("save", None), ("save", "perhaps"),
    ],
)  # fmt: skip
def test_an_argument_of_another_kind_is_refused_where_it_is_given(name: str, value: Any) -> None:
    words = {"interval_s": "interval_s|period", "meters": "meters|meter is named"}
    with pytest.raises(UsageError, match=words.get(name, name)):
        Meter(**{name: value})


def test_numbers_of_any_kind_name_gpus_and_set_options(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((FakeGpu(), FakeGpu())))
    options = {"simulated.load_w": np.float32(0), "simulated.idle_w": 100}
    number, step_s = np.int64(1), np.float32(0.1)
    meters = ("nvml", "simulated")
    with Meter(meters, gpus=[number], interval_s=step_s, options=options) as meter:
        with pytest.raises(UsageError, match="no text"):
            meter.open(1)  # type: ignore[arg-type]
        time.sleep(0.1)
    (power,) = (t for t in meter.traces if t.channel.name == "simulated/power")
    assert {value for value in power.value if value is not None} == {100.0}
    assert {t.channel.name.split("/")[1] for t in meter.traces if "nvml" in t.channel.name} == {
        "gpu1"
    }


@pytest.mark.tensorflow
@pytest.mark.parametrize("words", [("meter",), (None,), (Meter("simulated"), 1)])
def test_the_keras_callback_wants_a_meter_and_a_prefix(words: tuple[Any, ...]) -> None:
    from wbcbench import EpochEnergy

    with pytest.raises(UsageError, match="needs a wbcbench"):
        EpochEnergy(*words)


def test_the_measured_program_is_not_foreign_on_its_gpu(scripted_nvml: ScriptedNvml) -> None:
    gpu = FakeGpu(processes=(Process(os.getpid()), Process(1)))
    scripted_nvml.play(Scenario((gpu,)))
    with Meter("nvml") as meter:
        time.sleep(1.1)
    assert meter.energy.status == "measured"
    (warning,) = (c for c in meter.warnings if c.code == "foreign-process")
    assert warning.detail.startswith(f"Foreign processes on {gpu.uuid}: 1.")


def test_importing_the_package_loads_nothing_else() -> None:
    program = (
        "import sys; before = set(sys.modules); import wbcbench; wbcbench.__version__;"
        "import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)} - set(sys.stdlib_module_names)
    assert loaded == {"wbcbench"}
    assert "wbcbench.measure.meter" not in done.stdout


def test_a_name_that_the_package_does_not_have_is_an_attribute_error() -> None:
    import wbcbench

    with pytest.raises(AttributeError, match="no attribute 'Metre'"):
        _ = wbcbench.Metre


def test_the_example_measures_both_precisions() -> None:
    script = REPOSITORY / "experiments" / "measure_your_own_script.py"
    words = [sys.executable, str(script), "--meters", "simulated", "--seconds", "0.2"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if "products" in line]
    assert [line.split(":")[0] for line in lines] == ["float64", "float32"]
    assert all("J each" in line for line in lines)


@pytest.fixture
def fitted() -> Iterator[Meter]:
    """Two epochs with validation, then one without, of a tiny network."""
    import keras
    import numpy as np

    from wbcbench import EpochEnergy

    x, y = np.zeros((32, 4), "float32"), np.zeros(32, "float32")
    network = keras.Sequential([keras.layers.Dense(1)])
    network.compile(loss="mse", run_eagerly=True)  # a graph would be traced for each
    with Meter("simulated") as meter:
        first = [EpochEnergy(meter)]
        network.fit(x, y, epochs=2, validation_data=(x, y), callbacks=first, verbose=0)
        network.fit(x, y, epochs=1, callbacks=[EpochEnergy(meter, "again/")], verbose=0)
        network.evaluate(x, y, callbacks=[EpochEnergy(meter, "no/")], verbose=0)
    yield meter


@pytest.mark.tensorflow
def test_the_keras_callback_marks_training_epochs_and_validation_apart(fitted: Meter) -> None:
    windows = {window.name: window for window in fitted.windows}
    assert list(windows) == [
        "epoch-1",
        "validate-1",
        "epoch-2",
        "validate-2",
        "fit",
        "again/epoch-1",
        "again/fit",
        "whole",
    ]
    assert fitted.energy.window == "fit"
    inside = [windows[name] for name in ("epoch-1", "validate-1", "epoch-2", "validate-2")]
    for before, after in itertools.pairwise(inside):
        assert before.end_s <= after.start_s
    assert windows["fit"].start_s <= inside[0].start_s
    assert windows["fit"].end_s >= inside[-1].end_s


@pytest.mark.tensorflow
def test_the_keras_callback_has_no_batch_hook() -> None:
    import keras

    from wbcbench import EpochEnergy

    for hook in dir(keras.callbacks.Callback):
        if "batch" in hook:
            assert getattr(EpochEnergy, hook) is getattr(keras.callbacks.Callback, hook)


def test_a_device_that_cannot_be_waited_for_leaves_no_measurement_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cuda:
        def is_initialized(self) -> bool:
            return True

        def synchronize(self) -> None:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=Cuda()))
    monkeypatch.setenv("WBCBENCH_RESULTS", str(tmp_path))
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(RuntimeError, match="illegal memory"), Meter("simulated"):
        raise AssertionError("the block does not run")
    assert {child.pid for child in psutil.Process().children()} <= before
    assert not any(tmp_path.glob("measured/*"))
