"""The joules of several devices: each by its own reading, or none at all, with the name."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from builders.machine import (
    CODECARBON_CHANNELS,
    COUNTER,
    CPU_MODEL,
    GPU_CHANNELS,
    LOAD_W,
    POWER,
    RAPL_CHANNELS,
)
from builders.run import make_model, make_record
from fakes.known_load import WINDOW_AT_S, Bench
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FULL_TIME, RUNNING_AVERAGE, UNSUPPORTED, Counter, FakeGpu, Fault
from fakes.power_shapes import Constant
from wbcbench.core.record import AbsentMeter, Budget
from wbcbench.core.spec import MEASURED, RunSpec
from wbcbench.core.trace import Channel, Domain, Origin
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy.source import (
    choose_source,
    explain_unknown,
    find_window_energy,
    list_passed_over,
    primary_source,
    source_board_j,
    source_energy_j,
    source_uncertainty_j,
)
from wbcbench.measure.window_result import describe_energy
from wbcbench.table import run_text
from wbcbench.table.view import Run

TRAIN_S = 40.0
ONE_J = LOAD_W * TRAIN_S
CODECARBON_GPU = replace(
    CPU_MODEL, name="codecarbon/gpu", domain=Domain.GPU, origin=Origin.MEASURED, reading="nvml"
)
GPU_LOST = AbsentMeter("nvml/gpu1", "GPU 1 does not answer: GPU is lost.", Domain.GPU)


def on_board(channel: Channel, index: int, meter: str = "nvml") -> Channel:
    name = f"{meter}/gpu{index}/{channel.name.rpartition('/')[2]}"
    return replace(channel, name=name, device=f"{meter}-{index}")


def without_energy(record, *channels):
    energies = tuple(
        replace(
            each,
            energy_j=None,
            uncertainty_j=None,
            reason="its good readings end before the window does",
        )
        if each.channel in channels
        else each
        for each in record.energies
    )
    return replace(record, energies=energies)


def describe(record, domain=Domain.GPU):
    source = choose_source(record, domain)
    return source.method, source_energy_j(record, source, "train")


USAGE = replace(on_board(POWER, 1), reading="power_usage", averaging_s=1.0)


@pytest.mark.parametrize(
    ("second", "method"),
    [
        ((on_board(COUNTER, 1), on_board(POWER, 1)), "counter"),
        ((on_board(POWER, 1),), "counter+integral_instant"),
        ((USAGE,), "counter+integral_usage"),
        ((on_board(COUNTER, 1, "amd"),), "counter"),
    ],
)
def test_boards_of_different_abilities_are_all_in_the_sum(second, method):
    record = make_record(channels=(*GPU_CHANNELS, *second))
    assert describe(record) == (method, 2 * ONE_J)
    assert len(choose_source(record, Domain.GPU).channels) == 2
    assert Run(record).row["primary_method"] == method


def test_a_board_that_loses_its_counter_keeps_its_place_by_its_power():
    boards = (*GPU_CHANNELS, on_board(COUNTER, 1), on_board(POWER, 1))
    record = without_energy(make_record(channels=boards), "nvml/gpu1/counter")
    source = choose_source(record, Domain.GPU)
    assert describe(record) == ("counter+integral_instant", 2 * ONE_J)
    passed = [(first.name, taken.name) for first, taken in list_passed_over(record, source)]
    assert passed == [("nvml/gpu1/counter", "nvml/gpu1/power")]


def test_a_device_without_joules_makes_the_sum_unknown_and_is_named():
    boards = (*GPU_CHANNELS, on_board(COUNTER, 1), on_board(POWER, 1))
    lost = without_energy(make_record(channels=boards), "nvml/gpu1/counter", "nvml/gpu1/power")
    refused = make_record(channels=GPU_CHANNELS, absent=(GPU_LOST,))
    for record in (lost, refused):
        source = primary_source(record)
        assert source.domain is Domain.GPU
        assert source_energy_j(record, source, "train") is None
        assert source_uncertainty_j(record, source, "train") is None
        assert [*explain_unknown(record, source, "train")] == ["nvml/gpu1"]
        assert any("no joules of nvml/gpu1" in line for line in run_text.format_result(Run(record)))


def test_a_column_of_one_kind_of_reading_is_unknown_where_a_board_lacks_it():
    row = Run(make_record(channels=(*GPU_CHANNELS, on_board(COUNTER, 1)))).row
    assert row["energy_gpu_train_j"] == 2 * ONE_J
    assert row["energy_gpu_train_integral_j"] is None


def with_budgets(*channels: Channel, parts_j: tuple[float, float, float] = (3.0, 4.0, 12.0)):
    """A run in which each channel is off by these: steps, edges, between readings."""
    budgets = tuple(
        Budget("train", channel.name, *parts_j, total_j=math.hypot(*parts_j))
        for channel in channels
    )
    record = make_record(channels=channels)
    energies = [replace(e, uncertainty_j=math.hypot(*parts_j)) for e in record.energies]
    return replace(record, energies=tuple(energies), budgets=budgets)


def test_what_devices_in_step_are_off_by_adds_up_and_their_steps_do_not():
    boards = [COUNTER, *(on_board(COUNTER, i) for i in range(1, 4))]
    for n in (1, 2, 4):
        record = with_budgets(*boards[:n])
        both_j = source_uncertainty_j(record, choose_source(record, Domain.GPU), "train")
        assert both_j == pytest.approx(math.hypot(3 * math.sqrt(n), 4 * n, 12 * n))


def test_readings_of_other_kinds_and_meters_are_not_in_step():
    for other in (on_board(POWER, 1), on_board(COUNTER, 0, "amd")):
        record = with_budgets(COUNTER, other)
        both_j = source_uncertainty_j(record, choose_source(record, Domain.GPU), "train")
        assert both_j == pytest.approx(math.hypot(3, 4, 12, 3, 4, 12))


def test_what_is_not_known_to_be_independent_adds_up():
    record = make_record(channels=(COUNTER, on_board(COUNTER, 1)))  # without budgets
    one_j = record.energy("train", COUNTER.name).uncertainty_j
    both_j = source_uncertainty_j(record, choose_source(record, Domain.GPU), "train")
    assert both_j == pytest.approx(2 * one_j)


def test_gains_of_boards_are_independent():
    for n in (1, 2, 4):
        boards = [COUNTER, *(on_board(COUNTER, i) for i in range(1, n))]
        record = make_record(channels=boards)
        board_j = source_board_j(record, choose_source(record, Domain.GPU), "train")
        assert board_j == pytest.approx(0.05 * ONE_J * math.sqrt(n))
        assert Run(record).row["primary_board_uncertainty_train_j"] == board_j


def test_a_board_whose_gain_nobody_knows_makes_that_of_the_sum_unknown():
    other = replace(on_board(COUNTER, 0, "amd"), gain_error=None)
    for channels in ((COUNTER, other), RAPL_CHANNELS, CODECARBON_CHANNELS):
        record = make_record(channels=channels)
        assert source_board_j(record, primary_source(record), "train") is None
    lost = without_energy(make_record(channels=(COUNTER, on_board(COUNTER, 1))), COUNTER.name)
    assert source_board_j(lost, choose_source(lost, Domain.GPU), "train") is None


def test_a_run_states_both_errors_by_name():
    measured, estimated = (
        Run(make_record(channels=channels)) for channels in (GPU_CHANNELS, CODECARBON_CHANNELS)
    )
    [line] = [x for x in run_text.format_details(measured) if "GPU energy" in x]
    assert "11.2 kJ ± 617 J (reading) ± 560 J (board)" in line
    [line] = [x for x in run_text.format_result(measured) if "energy" in x]
    assert "measured ± 6 %, board ± 5 %" in line
    assert "±" not in " ".join(run_text.format_result(estimated))


def test_every_window_of_a_program_states_its_own_errors():
    windows = (Window("train", 20.0, 30.0), Window("whole", 10.0, 110.0))
    energies = tuple(
        WindowEnergy(name, COUNTER.name, energy_j, width_j, 100.0, 50, 0.1)
        for name, energy_j, width_j in (("train", 1e3, 7.0), ("whole", 1e4, 50.0))
    )
    spec = RunSpec(variant="program", study=MEASURED)
    record = make_record(spec=spec, channels=(COUNTER,), windows=windows, energies=energies)
    lines = [line for line in run_text.format_result(Run(record)) if "counter" in line]
    assert lines[0].startswith("  energy       1.00 kJ   train, GPU counter, measured ± 0.7 %")
    assert lines[1].startswith("               10.0 kJ   whole, GPU counter, measured ± 0.5 %")
    result = find_window_energy(record, primary_source(record, "whole"), "whole")
    assert (result.uncertainty_j, result.board_uncertainty_j) == (50.0, pytest.approx(500.0))
    assert result.unrated == ()


def test_where_one_board_has_no_figure_the_error_of_both_is_called_unknown():
    other = replace(on_board(COUNTER, 0, "amd"), gain_error=None)
    record = make_record(channels=(COUNTER, other))
    result = find_window_energy(record, primary_source(record), "train")
    assert (result.board_uncertainty_j, result.unrated) == (None, ("amd/gpu0",))
    assert "(reading) ± unknown (board amd/gpu0), mean" in describe_energy(result)
    assert any(
        "± unknown (board amd/gpu0)" in line for line in run_text.format_details(Run(record))
    )
    words = " ".join(run_text.format_result(Run(record))).split()
    assert "board ± unknown of amd/gpu0" in " ".join(words)
    alone = make_record(channels=(other,))
    result = find_window_energy(alone, primary_source(alone), "train")
    assert (result.board_uncertainty_j, result.unrated) == (None, ())


@pytest.mark.parametrize("beside", [CODECARBON_GPU, CPU_MODEL])
def test_codecarbon_speaks_for_no_board_that_our_meter_lost(beside):
    record = without_energy(
        make_record(channels=(*GPU_CHANNELS, beside)), *(channel.name for channel in GPU_CHANNELS)
    )
    assert primary_source(record).domain is Domain.GPU
    assert describe(record) == ("counter", None)


def test_codecarbons_model_is_not_the_primary_energy_of_a_gpu_that_failed_altogether():
    absent = (AbsentMeter("nvml", "NVML cannot measure GPUs here.", Domain.GPU),)
    for model in (None, make_model()):
        record = make_record(channels=CODECARBON_CHANNELS, absent=absent, model=model)
        source = primary_source(record)
        assert (source.domain, source.channels, source.unread) == ("gpu", (), ("nvml",))
        row = Run(record).row
        assert (row["primary_domain"], row["primary_status"]) == ("gpu", "absent")
        assert row["primary_energy_train_j"] is None
        assert row["energy_cpu_train_j"] is not None


def test_a_run_that_trained_on_a_gpu_that_nobody_measured_has_no_joules_of_the_processor():
    record = make_record(channels=RAPL_CHANNELS, model=make_model())
    assert primary_source(record).unread == ("GPU:0",)
    on_cpu = replace(record, model=make_model(has_gpu=False), absent=(GPU_LOST,))
    assert primary_source(on_cpu).method == "rapl_package"


def test_rapl_that_is_refused_does_not_give_way_to_a_model():
    channels = (*RAPL_CHANNELS, *CODECARBON_CHANNELS)
    record = without_energy(make_record(channels=channels), RAPL_CHANNELS[1].name)
    source = primary_source(record)
    assert (source.method, source_energy_j(record, source, "train")) == ("rapl_package", None)
    assert [*explain_unknown(record, source, "train")] == ["rapl/package-1"]


def test_a_wall_meter_and_the_platforms_counter_are_one_machine():
    wall = Channel("wall/plug", POWER.kind, Origin.MEASURED, Domain.SYSTEM)
    platform = Channel(
        "rapl/psys-0/counter", COUNTER.kind, Origin.MEASURED, Domain.SYSTEM, "psys-0"
    )
    source = choose_source(make_record(channels=(wall, platform)), Domain.SYSTEM)
    assert source.channels == ("wall/plug",)  # it sees the power supply, too


def test_a_counter_that_steps_coarsely_gives_way_to_a_more_exact_integral_without_a_fault():
    def record_with(counter_share, integral_share, steps_s=None, **pace):
        channels = replace(COUNTER, update_s=steps_s), replace(POWER, **pace)
        record = make_record(channels=channels)
        shares = {COUNTER.name: counter_share, POWER.name: integral_share}
        energies = (
            replace(each, uncertainty_j=shares[each.channel] * each.energy_j)
            for each in record.energies
        )
        return replace(record, energies=tuple(energies))

    assert describe(record_with(0.03, 0.01, steps_s=2.0))[0] == "integral_instant"
    assert describe(record_with(0.03, 0.02, steps_s=2.0))[0] == "counter"
    assert describe(record_with(0.019, 0.001, steps_s=2.0))[0] == "counter"
    # Of an unknown pace the ± says how long it may have stood.
    unpaced = record_with(0.03, 0.01)
    assert describe(unpaced)[0] == "integral_instant"
    short = (replace(e, mean_power_w=10 * e.mean_power_w) for e in unpaced.energies)
    assert describe(replace(unpaced, energies=tuple(short)))[0] == "counter"
    assert describe(record_with(0.30, 0.01, steps_s=0.1))[0] == "counter"
    part_time = {"update_s": 0.1, "averaging_s": 0.025}
    assert describe(record_with(0.03, 0.01, **part_time))[0] == "counter"


# --- through the scripted library -----------------------------------------------------------------

WINDOW = Window("block", WINDOW_AT_S, WINDOW_AT_S + 10.0)
FIRST = FakeGpu(power=Constant(250.0), uuid="GPU-aa", bus="00000000:10:00.0")
SECOND = FakeGpu(
    power=Constant(300.0),
    uuid="GPU-bb",
    bus="00000000:20:00.0",
    limit_default_w=400,
    instant=replace(FULL_TIME, noise_w=0.8),
    average=replace(RUNNING_AVERAGE, noise_w=0.8),
    usage=replace(RUNNING_AVERAGE, noise_w=0.8),
)
NO_COUNTER = Counter(supported=False)


@pytest.mark.parametrize(
    ("changes", "method"),
    [
        ({"counter": NO_COUNTER}, "counter+integral_instant"),
        ({"counter": NO_COUNTER, "instant": UNSUPPORTED}, "counter+integral_average"),
        (
            {"counter": NO_COUNTER, "instant": UNSUPPORTED, "average": UNSUPPORTED},
            "counter+integral_usage",
        ),
        ({"faults": (Fault("unknown", on="energy", nth=1, count=9),)}, "counter"),
        ({"faults": (Fault("unsupported", on="fields"),)}, "counter"),
    ],
)
def test_two_boards_of_250_and_300_watts_took_5500_joules_in_ten_seconds(
    changes, method, scripted_nvml: ScriptedNvml, tmp_path
):
    recording = Bench(scripted_nvml, tmp_path).record((FIRST, replace(SECOND, **changes)), 10.0)
    result = recording.measure_window(WINDOW)
    assert result.energy.energy_j == pytest.approx(5500.0, abs=result.energy.uncertainty_j + 1e-6)
    assert result.energy.method == method
    assert result.quality == "valid"


def test_boards_with_instant_and_usage_power_are_both_in_the_sum(
    scripted_nvml: ScriptedNvml, tmp_path
):
    usage = replace(SECOND, counter=NO_COUNTER, instant=UNSUPPORTED, average=UNSUPPORTED)
    boards = (replace(FIRST, counter=NO_COUNTER), usage)
    result = Bench(scripted_nvml, tmp_path).record(boards, 10.0).measure_window(WINDOW)
    assert result.energy.energy_j == pytest.approx(5500.0, rel=1e-3)
    assert result.energy.method == "integral_instant+integral_usage"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("lost", at_s=WINDOW_AT_S + 8.0),
        Fault("lost", at_s=WINDOW_AT_S + 2.0),
        Fault("zero", on="power", at_s=WINDOW_AT_S - 3.0),
    ],
)
def test_one_of_four_boards_that_is_lost_or_reads_nothing_leaves_no_sum(
    fault, scripted_nvml: ScriptedNvml, tmp_path
):
    boards = [
        replace(FIRST, uuid=f"GPU-{i}{i}", bus=f"00000000:{i + 16:02X}:00.0") for i in range(4)
    ]
    boards[2] = replace(boards[2], counter=NO_COUNTER, faults=(fault,))
    result = Bench(scripted_nvml, tmp_path).record(boards, 10.0).measure_window(WINDOW)
    assert (result.energy.energy_j, result.energy.status) == (None, "absent")
    assert result.energy.unread == ("nvml/gpu2",)
    assert "no joules of nvml/gpu2" in describe_energy(result.energy)
    [unknown] = [w for w in result.warnings if w.code == "energy-unknown"]
    assert "nvml/gpu2" in unknown.detail
    assert result.quality == "invalid"
