"""Columns: the joules of the GPU. Only channels of the GPU fill them."""

from __future__ import annotations

from wbcbench.core.trace import Domain, Kind
from wbcbench.core.window import IDLE_AFTER, IDLE_BEFORE, STARTUP, TRAIN
from wbcbench.energy.metrics import sum_if_all_known
from wbcbench.energy.source import spoken_energy_j, spoken_power_w
from wbcbench.table.column import Column, ColumnGroup, unfilled
from wbcbench.table.view import Run

UNKNOWN = "no GPU meter, or its trace cannot say"
ABSENT = "absent"


def method(run: Run, domain: Domain) -> str:
    """How a part was read; ``none`` if it was not."""
    who = run.speaker(domain)
    return who.method if who else "none"


def energy_status(run: Run, domain: Domain) -> str:
    """How far the part's joules are from a sensor; ``absent`` if nothing read it."""
    who = run.speaker(domain)
    return who.status.value if who else ABSENT


def integral_j(run: Run) -> float | None:
    """Joules of ``train`` from integrated GPU power, whether or not a counter speaks."""
    sampled = {c.name for c in run.record.channels if c.kind is Kind.SAMPLED}
    witnesses = (
        spoken_energy_j(run.record, who, TRAIN)
        for who in run.readings[Domain.GPU]
        if sampled.issuperset(who.channels)
    )
    return next((energy_j for energy_j in witnesses if energy_j is not None), None)


def _total_j(run: Run) -> float | None:
    return sum_if_all_known([run.energy_j(Domain.GPU, phase.name) for phase in run.phases])


def _gpu(run: Run, window: str) -> float | None:
    return run.energy_j(Domain.GPU, window)


GROUP = ColumnGroup(
    "Energy, GPU",
    (
        Column(
            "gpu_energy_method",
            "enum",
            "",
            "counter, integral_instant, integral_average or none",
            lambda r: method(r, Domain.GPU),
            formula="most trusted way of reading the part that knows E(train); counter "
            "before integral",
        ),
        Column(
            "gpu_energy_status",
            "enum",
            "",
            "measured, estimated, modelled, absent or synthetic",
            lambda r: energy_status(r, Domain.GPU),
            formula="origin of that way's channels; of several the least trusted",
        ),
        Column(
            "energy_gpu_train_j",
            "float",
            UNKNOWN,
            "training steps of all epochs: window `train` without its validation passes; gross",
            lambda r: _gpu(r, TRAIN),
            formula="E(train) - sum of E(validate-k), added up over the GPUs",
        ),
        Column(
            "energy_gpu_train_net_j",
            "float",
            f"{UNKNOWN}, or no idle window",
            "gross minus mean idle power before and after × duration; never floored",
            lambda r: r.net_energy_j(r.speaker(Domain.GPU)),
            formula="{energy_gpu_train_j} - {idle_w} * {time_train_s}",
            terms={"idle_w": lambda r: r.idle_mean_w(r.speaker(Domain.GPU))},
        ),
        Column(
            "energy_gpu_eval_j",
            "float",
            UNKNOWN,
            "validation passes of all epochs, counted apart",
            lambda r: r.validation_j(Domain.GPU),
            formula="sum of E(validate-k), added up over the GPUs",
        ),
        Column(
            "energy_gpu_setup_j",
            "float",
            UNKNOWN,
            "window `startup`",
            lambda r: _gpu(r, STARTUP),
            formula="E(startup), added up over the GPUs",
        ),
        Column(
            "energy_gpu_total_j",
            "float",
            UNKNOWN,
            "all windows that lie in no other, idle included",
            _total_j,
            formula="sum of E over all windows that lie in no other, train without its "
            "validation passes",
        ),
        Column(
            "energy_gpu_train_integral_j",
            "float",
            UNKNOWN,
            "cross-check: integrated power",
            integral_j,
            formula="E(train) - sum of E(validate-k) of power readings, integrated by trapezoids",
        ),
        Column(
            "gpu_idle_before_w",
            "float",
            UNKNOWN,
            "mean power in `idle_context`, else `idle_cold`",
            lambda r: r.idle_w(r.speaker(Domain.GPU), IDLE_BEFORE),
            formula="E(idle_context) / its seconds, else of idle_cold, added up over the GPUs",
        ),
        Column(
            "gpu_idle_after_w",
            "float",
            UNKNOWN,
            "mean power in `idle_post`",
            lambda r: r.idle_w(r.speaker(Domain.GPU), IDLE_AFTER),
            formula="E(idle_post) / its seconds, added up over the GPUs",
        ),
        Column(
            "gpu_power_mean_w",
            "float",
            UNKNOWN,
            "mean power in `train`",
            lambda r: spoken_power_w(r.record, r.speaker(Domain.GPU), TRAIN),
            formula="{energy_gpu_train_j} / {time_train_s}",
        ),
        unfilled("gpu_power_p95_w", "float", "95th percentile in `train`"),
        unfilled("gpu_power_max_w", "float", "highest sample in `train`"),
    ),
)
