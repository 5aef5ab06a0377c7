"""Columns: the joules of processor, memory and wall, and CodeCarbon's as a second opinion."""

from __future__ import annotations

from collections.abc import Callable

from wbcbench.core.trace import Domain
from wbcbench.energy.source import CODECARBON
from wbcbench.table.column import Cell, Column, ColumnGroup
from wbcbench.table.energy_gpu import energy_status, method
from wbcbench.table.view import Run

UNKNOWN = "no meter, or its trace cannot say"
NO_CODECARBON = "CodeCarbon did not run, or has no such part"


def _codecarbon(domain: Domain) -> Callable[[Run], Cell]:
    return lambda run: run.meter_energy_j(CODECARBON, domain)


GROUP = ColumnGroup(
    "Energy, rest",
    (
        Column(
            "cpu_energy_method",
            "enum",
            "",
            "rapl_package, codecarbon_<mode>, …, none",
            lambda r: method(r, Domain.CPU),
            formula="most trusted way of reading the part that knows E(train); counter "
            "before integral",
        ),
        Column(
            "cpu_energy_status",
            "enum",
            "",
            "as for the GPU",
            lambda r: energy_status(r, Domain.CPU),
            formula="origin of that way's channels; of several the least trusted",
        ),
        Column(
            "energy_cpu_train_j",
            "float",
            UNKNOWN,
            "window `train`, gross",
            lambda r: r.energy_j(Domain.CPU),
            formula="E(train) - sum of E(validate-k), added up over the processors",
        ),
        Column(
            "dram_energy_method",
            "enum",
            "",
            "rapl_dram, codecarbon_<mode>, …, none",
            lambda r: method(r, Domain.DRAM),
            formula="most trusted way of reading the part that knows E(train); counter "
            "before integral",
        ),
        Column(
            "dram_energy_status",
            "enum",
            "",
            "as for the GPU",
            lambda r: energy_status(r, Domain.DRAM),
            formula="origin of that way's channels; of several the least trusted",
        ),
        Column(
            "energy_dram_train_j",
            "float",
            UNKNOWN,
            "window `train`, gross",
            lambda r: r.energy_j(Domain.DRAM),
            formula="E(train) - sum of E(validate-k), added up over the memories",
        ),
        Column(
            "wall_energy_method",
            "enum",
            "",
            "meter of the whole machine, or none",
            lambda r: method(r, Domain.SYSTEM),
            formula="most trusted way of reading the whole machine that knows E(train)",
        ),
        Column(
            "energy_wall_train_j",
            "float",
            UNKNOWN,
            "whole machine in `train`; holds the parts, never added to them",
            lambda r: r.energy_j(Domain.SYSTEM),
            formula="E(train) of the meter of the whole machine",
        ),
        Column(
            "codecarbon_version",
            "str",
            NO_CODECARBON,
            "its version",
            lambda r: r.meter_fact(CODECARBON, "codecarbon_version"),
        ),
        Column(
            "codecarbon_cpu_mode",
            "str",
            NO_CODECARBON,
            "how it comes to CPU joules",
            lambda r: r.meter_fact(CODECARBON, "parts", "cpu", "mode"),
        ),
        Column(
            "codecarbon_energy_gpu_j",
            "float",
            NO_CODECARBON,
            "window `train`",
            _codecarbon(Domain.GPU),
            formula="E(train) - sum of E(validate-k) of CodeCarbon's own joules",
        ),
        Column(
            "codecarbon_energy_cpu_j",
            "float",
            NO_CODECARBON,
            "window `train`",
            _codecarbon(Domain.CPU),
            formula="E(train) - sum of E(validate-k) of CodeCarbon's own joules",
        ),
        Column(
            "codecarbon_energy_ram_j",
            "float",
            NO_CODECARBON,
            "window `train`",
            _codecarbon(Domain.DRAM),
            formula="E(train) - sum of E(validate-k) of CodeCarbon's own joules",
        ),
    ),
)
