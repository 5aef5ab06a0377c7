"""Which number speaks for a run, on machines with and without sensors."""

from __future__ import annotations

import ast
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import wbcbench
from builders.machine import (
    CODECARBON_CHANNELS,
    GPU_CHANNELS,
    GPU_MACHINE,
    LAPTOP,
    LOAD_W,
    RAPL_CHANNELS,
    SYNTHETIC_CHANNELS,
)
from builders.run import make_record
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.energy.source import (
    choose_source,
    expected_source,
    is_codecarbon,
    list_readings,
    meter_of,
    primary_source,
    source_energy_j,
    source_power_w,
)

TRAIN_S = 40.0  # four epochs of ten seconds; the validation passes between them are counted apart


def without_energy(record, channel, energy_j=None):
    energies = tuple(
        replace(each, energy_j=energy_j) if each.channel == channel else each
        for each in record.energies
    )
    return replace(record, energies=energies)


def test_with_a_gpu_the_measured_counter_is_the_headline():
    primary = primary_source(make_record(channels=GPU_MACHINE))
    assert (primary.domain, primary.method, primary.status) == ("gpu", "counter", "measured")
    assert primary.channels == ("nvml/gpu0/counter",)


def test_without_a_counter_the_integrated_power_is_the_headline():
    primary = primary_source(make_record(channels=GPU_CHANNELS[1:] + CODECARBON_CHANNELS))
    assert (primary.method, primary.status) == ("integral_instant", "measured")


@pytest.mark.parametrize("energy_j", [None, 0.0])
def test_a_counter_that_knows_nothing_or_stood_still_gives_way_to_the_integral(energy_j):
    record = without_energy(make_record(), "nvml/gpu0/counter", energy_j)
    assert primary_source(record).method == "integral_instant"


def test_a_counter_with_an_invalid_training_window_gives_way_to_the_integral():
    fault = QualityWarning("counter-frozen", Severity.INVALID, "", "", "train", "nvml/gpu0/counter")
    assert primary_source(make_record(warnings=(fault,))).method == "integral_instant"


def test_without_gpu_and_rapl_the_headline_is_codecarbon_and_says_estimated():
    primary = primary_source(make_record(channels=LAPTOP))
    assert primary.domain is Domain.CPU
    assert primary.method == "codecarbon_tdp_load"
    assert primary.status is Origin.ESTIMATED


def test_with_rapl_codecarbon_stays_the_second_opinion():
    source = expected_source(CODECARBON_CHANNELS + RAPL_CHANNELS, Domain.CPU)
    assert (source.method, source.status) == ("rapl_package", "measured")


def test_codecarbon_reading_the_same_counter_is_not_taken_before_rapl():
    same = Channel("codecarbon/cpu", Kind.COUNTER, Origin.MEASURED, Domain.CPU, reading="rapl")
    record = make_record(channels=(same, *RAPL_CHANNELS))
    assert choose_source(record, Domain.CPU).method == "rapl_package"


def test_both_sockets_are_added_and_no_other_meter():
    record = make_record(channels=GPU_MACHINE)
    cpu = choose_source(record, Domain.CPU)
    assert cpu.channels == ("rapl/package-0/counter", "rapl/package-1/counter")
    assert source_energy_j(record, cpu, "train") == 2 * 40.0 * TRAIN_S


def test_two_gpus_are_added_when_both_are_known_and_unknown_when_one_is_not():
    second = replace(GPU_CHANNELS[0], name="nvml/gpu1/counter", device="GPU-2d3e")
    record = make_record(channels=(GPU_CHANNELS[0], second))
    gpu = choose_source(record, Domain.GPU)
    assert source_energy_j(record, gpu, "train") == 2 * LOAD_W * TRAIN_S
    assert source_power_w(record, gpu, "train") == 2 * LOAD_W
    blind = without_energy(record, "nvml/gpu1/counter")
    assert source_energy_j(blind, choose_source(blind, Domain.GPU), "train") is None


def test_a_wall_meter_is_the_headline_only_where_neither_gpu_nor_cpu_can_be_read():
    wall = Channel("wall/plug", Kind.SAMPLED, Origin.MEASURED, Domain.SYSTEM)
    assert primary_source(make_record(channels=(wall, *LAPTOP))).domain is Domain.CPU
    assert primary_source(make_record(channels=(wall,))).domain is Domain.SYSTEM


def test_a_demonstration_says_synthetic():
    assert primary_source(make_record(channels=SYNTHETIC_CHANNELS)).status is Origin.SIMULATED


def test_without_any_meter_there_is_no_headline():
    record = make_record(channels=())
    assert primary_source(record) is None
    assert source_energy_j(record, None, "train") is None


def test_what_is_nearest_to_a_sensor_is_trusted_most():
    in_order = (Origin.MEASURED, Origin.ESTIMATED, Origin.SIMULATED)
    assert [origin.rank for origin in in_order] == [0, 1, 2]
    assert [origin for origin in in_order if origin.is_estimated] == ["estimated"]


@pytest.mark.parametrize(("first", "second"), tuple(pairwise(Origin)))
def test_each_reading_goes_before_one_of_the_next_lower_trust(first, second):
    low = Channel("a/gpu0/counter", Kind.COUNTER, second, Domain.GPU)
    high = Channel("b/gpu0/power_average", Kind.SAMPLED, first, Domain.GPU, "power_average")
    assert [[who.origin for who in each] for each in list_readings([low, high], Domain.GPU)] == [
        [first]
    ]


@pytest.mark.parametrize(
    ("channel", "meter", "yes"),
    [
        ("codecarbon/cpu", "codecarbon", True),
        ("codecarbon/cpu+codecarbon/gpu", "codecarbon", True),
        ("codecarbonate/cpu", "codecarbonate", False),
        ("rapl/package-0", "rapl", False),
        ("nvml/gpu0/counter", "nvml", False),
    ],
)
def test_the_meter_of_a_channel_stands_before_the_first_slash(channel, meter, yes):
    assert meter_of(channel) == meter
    assert is_codecarbon(channel) is yes


def test_no_other_module_orders_the_statuses():
    """Three of them in a row, as members or as words, are an order of trust of one's own."""
    words = {origin.value for origin in Origin}
    copies = []
    for path in Path(wbcbench.__file__).parent.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        # The type of a key in an experiment file lists them without an order.
        types = {id(node.slice) for node in nodes if isinstance(node, ast.Subscript)}
        for node in nodes:
            if isinstance(node, ast.Tuple | ast.List | ast.Set) and id(node) not in types:
                spelt = {ast.unparse(each).strip("'").split(".")[-1].lower() for each in node.elts}
                copies += [path.name] if len(spelt & words) >= 3 else []
    assert copies == []
