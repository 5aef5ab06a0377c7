"""CodeCarbon, for real, in its own process: its joules, its modes, its silence, its end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Fault, Scenario
from fakes.power_shapes import Constant
from fakes.user_settings import noisy_python
from wbcbench.core.errors import UsageError
from wbcbench.core.trace import Domain, Kind, Origin
from wbcbench.power.codecarbon import open_meters
from wbcbench.power.meter import EnergyMeter, MeterRequest, SlowMeter

LOCK = ".codecarbon.lock"


@pytest.fixture(autouse=True)
def temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A temporary folder of its own shows what CodeCarbon leaves there."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def only_meter(request: MeterRequest | None = None) -> EnergyMeter:
    (meter,) = open_meters(request or MeterRequest())
    return meter


def wait_for(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds; long, for the machine may be busy."""
    deadline_s = time.monotonic() + 60.0
    while not holds():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.05)


def feeds() -> Iterator[psutil.Process]:
    for child in psutil.Process().children(recursive=True):
        try:
            if "wbcbench.power.codecarbon_process" in child.cmdline():
                yield child
        except psutil.Error:
            continue


def test_its_joules_grow_and_each_part_says_how_far_it_is_from_a_sensor(
    capfd: pytest.CaptureFixture[str], temporary_folder: Path
) -> None:
    options = {"codecarbon.cpu_power_w": "50", "codecarbon.ram_power_w": "7"}
    with only_meter(MeterRequest(country="FRA", options=options)) as meter:
        by_name = {channel.name: channel for channel in meter.channels}
        place = list(by_name).index("codecarbon/ram")
        first_j = meter.read()[place]
        assert first_j is not None
        wait_for(lambda: (meter.read()[place] or 0.0) > first_j + 7.0, "another second's joules")
        facts = meter.describe()
    ram, cpu = by_name["codecarbon/ram"], by_name["codecarbon/cpu"]
    assert (ram.kind, ram.domain, ram.origin) == (Kind.COUNTER, Domain.DRAM, Origin.ESTIMATED)
    assert cpu.domain is Domain.CPU
    measured = cpu.reading == "rapl"
    assert cpu.origin is (Origin.MEASURED if measured else Origin.ESTIMATED)
    assert facts["country"] == "FRA"
    assert facts["codecarbon_version"]
    assert isinstance(facts["emissions_g"], float)
    assert facts["emissions_g"] > 0
    assert capfd.readouterr() == ("", "")
    assert list(temporary_folder.iterdir()) == []


def test_its_gpu_joules_are_of_the_gpus_that_are_measured(scripted_nvml: ScriptedNvml) -> None:
    boards = (
        FakeGpu(power=Constant(900.0), uuid="GPU-a", bus="00000000:AF:00.0"),
        FakeGpu(power=Constant(100.0), uuid="GPU-b", bus="00000000:3B:00.0"),
    )
    scripted_nvml.play(Scenario(boards))
    with only_meter(MeterRequest(gpus=("GPU-b",))) as meter:
        names = [channel.name for channel in meter.channels]
        place = names.index("codecarbon/gpu")
        channel = meter.channels[place]
        assert (channel.domain, channel.origin) == (Domain.GPU, Origin.MEASURED)
        seen: list[tuple[float, float]] = []

        def enough() -> bool:
            energy_j = meter.read()[place]
            if energy_j is not None and (not seen or energy_j != seen[-1][1]):
                seen.append((time.monotonic(), energy_j))
            return len(seen) >= 5

        wait_for(enough, "five totals")
    (start_s, start_j), (end_s, end_j) = seen[1], seen[-1]
    assert (end_j - start_j) / (end_s - start_s) == pytest.approx(100.0, rel=0.35)


@pytest.mark.parametrize("lost", [0, 1])
def test_when_one_of_its_gpus_is_lost_it_has_no_joules_of_any(
    lost: int, scripted_nvml: ScriptedNvml
) -> None:
    boards = [FakeGpu(uuid=f"GPU-{i}", bus=f"00000000:{i + 16:02X}:00.0") for i in range(2)]
    boards[lost] = replace(boards[lost], faults=(Fault("lost", at_s=50.0),))
    clock = scripted_nvml.clock()
    scripted_nvml.play(Scenario(tuple(boards), clock=clock.path))
    with only_meter() as meter:
        place = [channel.name for channel in meter.channels].index("codecarbon/gpu")
        assert meter.read()[place] is not None
        clock.set_s(100.0)
        wait_for(lambda: meter.read()[place] is None, "the end of its joules")
        cpu = [channel.name for channel in meter.channels].index("codecarbon/cpu")
        assert meter.read()[cpu] is not None


def test_beside_a_sensor_it_measures_when_it_is_read_and_not_before() -> None:
    (meter,) = open_meters(MeterRequest(options={"codecarbon.ram_power_w": "7"}))
    assert isinstance(meter, SlowMeter)
    meter.is_sparse = True
    with meter:
        assert all(channel.sparse and channel.update_s is None for channel in meter.channels)
        place = [channel.name for channel in meter.channels].index("codecarbon/ram")
        seen = []
        for _ in range(3):
            before_s = time.monotonic()
            energy_j = meter.read()[place]
            assert energy_j is not None
            seen.append((before_s, energy_j, time.monotonic()))
            time.sleep(1.5)
        for (first_s, first_j, until_s), (from_s, last_j, last_s) in pairwise(seen):
            # It leaves out what passes within a measurement, which a busy machine may stretch.
            assert 7 * (from_s - until_s) - 2.0 <= last_j - first_j <= 7 * (last_s - first_s) + 0.5
        for process in feeds():
            process.send_signal(signal.SIGSTOP)
        assert set(meter.read()) == {None}  # it waits a moment for the answer, and not again
        for process in feeds():
            process.send_signal(signal.SIGCONT)
        assert set(meter.read()) == {None}
        assert meter.describe()["measure_power_s"] is None


def test_settings_of_the_user_do_not_reach_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".codecarbon.config").write_text(
        "[codecarbon]\nforce_cpu_power=12345\nsave_to_file=true\n"
        "emissions_endpoint=http://127.0.0.1:9\noutput_dir=/nonexistent\n"
    )
    here = tmp_path / "here"
    here.mkdir()
    (here / ".codecarbon.config").write_text("this is no configuration\n")
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CODECARBON_FORCE_RAM_POWER", "54321")
    monkeypatch.setenv("CODECARBON_SAVE_TO_API", "true")
    with only_meter() as meter:
        parts = meter.describe()["parts"]
    assert isinstance(parts, dict)
    assert "12345" not in str(parts)
    assert "54321" not in str(parts)
    assert sorted(path.name for path in home.iterdir()) == [".codecarbon.config"]


def test_what_is_printed_as_python_starts_is_no_measurement(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", noisy_python(tmp_path))
    with only_meter() as meter:
        assert None not in meter.read()
        assert meter.describe()["cpu_model"]


def test_it_measures_beside_another_codecarbon_and_leaves_its_lock_alone(
    temporary_folder: Path,
) -> None:
    (temporary_folder / LOCK).touch(mode=0o000)  # as one of another user, whom a kill struck
    with only_meter() as first, only_meter() as second:
        assert None not in (*first.read(), *second.read())
        notes = second.describe()["notes"]
    assert "Multiple instances" not in str(notes)
    assert [path.name for path in temporary_folder.iterdir()] == [LOCK]


def test_when_it_is_killed_its_channels_fall_silent_and_the_run_goes_on(
    temporary_folder: Path,
) -> None:
    with only_meter() as meter:
        assert None not in meter.read()
        for process in feeds():
            process.send_signal(signal.SIGKILL)
        wait_for(lambda: set(meter.read()) == {None}, "silence")
    assert list(temporary_folder.iterdir()) == []


def test_it_ends_with_the_watcher_and_leaves_no_file(temporary_folder: Path) -> None:
    program = (
        "import time\n"
        "from wbcbench.power.meter import MeterRequest\n"
        "from wbcbench.power.codecarbon import open_meters\n"
        "with open_meters(MeterRequest())[0]:\n"
        "    print('ready', flush=True)\n    time.sleep(600)\n"
    )
    watcher = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "ready\n"
    (feed,) = feeds()
    watcher.kill()
    watcher.wait()
    wait_for(lambda: not feed.is_running() or feed.status() == "zombie", "the feed's end")
    assert list(temporary_folder.iterdir()) == []


def test_without_a_country_it_has_joules_and_neither_grams_nor_a_place() -> None:
    with only_meter(MeterRequest(options={"codecarbon.cpu_power_w": "50"})) as meter:
        assert meter.read()
    facts = meter.describe()
    assert facts["country"] is None
    assert facts["emissions_g"] is None
    assert facts["cpu_tdp_known"] is True  # it was told


def test_a_country_that_its_table_lacks_has_joules_but_no_grams() -> None:
    with only_meter(MeterRequest(country="XXX")) as meter:
        assert None not in meter.read()
        facts = meter.describe()
    assert facts["country_known"] is False
    assert facts["emissions_g"] is None


def test_an_option_that_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="cpu_power_w"):
        open_meters(MeterRequest(options={"codecarbon.cpu_power_w": "much"}))
