"""Columns: the joules of every part of the machine, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable

from wbcbench.core.record import Inference
from wbcbench.core.trace import Domain, Kind
from wbcbench.core.window import IDLE_AFTER, IDLE_BEFORE, STARTUP, TRAIN
from wbcbench.energy.metrics import (
    DEFAULT_PUE,
    Intensity,
    Reached,
    carbon_g,
    energy_delay_product_js,
    intensity,
    ratio,
    sum_if_all_known,
)
from wbcbench.energy.source import CODECARBON, source_energy_j, source_power_w, source_uncertainty_j
from wbcbench.table.column import Cell, Column, ColumnGroup, unfilled
from wbcbench.table.columns_run import images_seen
from wbcbench.table.view import ABSENT, Run

GPU_UNKNOWN = "no GPU meter, or its trace cannot say"

UNKNOWN = "no meter, or its trace cannot say"
NO_CODECARBON = "CodeCarbon did not run, or has no such part"

TABLE_BATCH = 64

NO_INFERENCE = "inference was not timed"
NOT_REACHED = "target not reached"
NO_GRID = "no row for this place"


def _energy_method(run: Run, domain: Domain) -> str:
    """How a part was read; ``none`` if it was not."""
    who = run.source(domain)
    return who.method if who else "none"


def energy_status(run: Run, domain: Domain) -> str:
    """How far the part's joules are from a sensor; ``absent`` if nothing read it."""
    who = run.source(domain)
    return who.status.value if who else ABSENT


def integral_j(run: Run) -> float | None:
    """Joules of ``train`` from integrated GPU power, whether or not a counter speaks."""
    sampled = {c.name for c in run.record.channels if c.kind is Kind.SAMPLED}
    witnesses = (
        source_energy_j(run.record, who, TRAIN)
        for who in run.readings[Domain.GPU]
        if sampled.issuperset(who.channels)
    )
    return next((energy_j for energy_j in witnesses if energy_j is not None), None)


def _total_j(run: Run) -> float | None:
    return sum_if_all_known([run.energy_j(Domain.GPU, phase.name) for phase in run.phases])


def _gpu(run: Run, window: str) -> float | None:
    return run.energy_j(Domain.GPU, window)


ENERGY_GPU = ColumnGroup(
    "Energy, GPU",
    (
        Column(
            "gpu_energy_method",
            "enum",
            "",
            "counter, integral_instant, integral_average or none",
            lambda r: _energy_method(r, Domain.GPU),
            formula="most trusted way of reading the part that knows E(train); counter "
            "before integral",
        ),
        Column(
            "gpu_energy_status",
            "enum",
            "",
            "measured, estimated absent or synthetic",
            lambda r: energy_status(r, Domain.GPU),
            formula="origin of that way's channels; of several the least trusted",
        ),
        Column(
            "energy_gpu_train_j",
            "float",
            GPU_UNKNOWN,
            "training steps of all epochs: window `train` without its validation passes; gross",
            lambda r: _gpu(r, TRAIN),
            formula="E(train) - sum of E(validate-k), added up over the GPUs",
        ),
        Column(
            "energy_gpu_train_above_idle_j",
            "float",
            f"{GPU_UNKNOWN}, or no idle window",
            "gross minus mean idle power before and after × duration; never floored",
            lambda r: r.energy_above_idle_j(r.source(Domain.GPU)),
            formula="{energy_gpu_train_j} - {idle_w} * {time_train_s}",
            terms={"idle_w": lambda r: r.idle_mean_w(r.source(Domain.GPU))},
        ),
        Column(
            "energy_gpu_eval_j",
            "float",
            GPU_UNKNOWN,
            "validation passes of all epochs, counted apart",
            lambda r: r.validation_j(Domain.GPU),
            formula="sum of E(validate-k), added up over the GPUs",
        ),
        Column(
            "energy_gpu_setup_j",
            "float",
            GPU_UNKNOWN,
            "window `startup`",
            lambda r: _gpu(r, STARTUP),
            formula="E(startup), added up over the GPUs",
        ),
        Column(
            "energy_gpu_total_j",
            "float",
            GPU_UNKNOWN,
            "all windows that lie in no other, idle included",
            _total_j,
            formula="sum of E over all windows that lie in no other, train without its "
            "validation passes",
        ),
        Column(
            "energy_gpu_train_integral_j",
            "float",
            GPU_UNKNOWN,
            "cross-check: integrated power",
            integral_j,
            formula="E(train) - sum of E(validate-k) of power readings, integrated by trapezoids",
        ),
        Column(
            "gpu_idle_before_w",
            "float",
            GPU_UNKNOWN,
            "mean power in `idle_context`, else `idle_cold`",
            lambda r: r.idle_w(r.source(Domain.GPU), IDLE_BEFORE),
            formula="E(idle_context) / its seconds, else of idle_cold, added up over the GPUs",
        ),
        Column(
            "gpu_idle_after_w",
            "float",
            GPU_UNKNOWN,
            "mean power in `idle_post`",
            lambda r: r.idle_w(r.source(Domain.GPU), IDLE_AFTER),
            formula="E(idle_post) / its seconds, added up over the GPUs",
        ),
        Column(
            "gpu_power_mean_w",
            "float",
            GPU_UNKNOWN,
            "mean power in `train`",
            lambda r: source_power_w(r.record, r.source(Domain.GPU), TRAIN),
            formula="{energy_gpu_train_j} / {time_train_s}",
        ),
        unfilled("gpu_power_p95_w", "float", "95th percentile in `train`"),
        unfilled("gpu_power_max_w", "float", "highest sample in `train`"),
    ),
)


def _codecarbon(domain: Domain) -> Callable[[Run], Cell]:
    return lambda run: run.meter_energy_j(CODECARBON, domain)


ENERGY_REST = ColumnGroup(
    "Energy, rest",
    (
        Column(
            "cpu_energy_method",
            "enum",
            "",
            "rapl_package, codecarbon_<mode>, …, none",
            lambda r: _energy_method(r, Domain.CPU),
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
            lambda r: _energy_method(r, Domain.DRAM),
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
            lambda r: _energy_method(r, Domain.SYSTEM),
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


# What follows from joules, seconds and images. Joules here are the headline's.
def primary_energy_j(run: Run, window: str = TRAIN) -> float | None:
    """Joules of one window on the headline's channels."""
    return source_energy_j(run.record, run.primary, window)


def _inference(batch_size: int, read: Callable[[Run, Inference], Cell]) -> Callable[[Run], Cell]:
    def value(run: Run) -> Cell:
        found = run.inference(batch_size)
        return read(run, found) if found else None

    return value


def _per_image_j(run: Run, inference: Inference) -> float | None:
    return ratio(primary_energy_j(run, inference.window), inference.images)


def _images_per_s(run: Run, inference: Inference) -> float | None:
    return ratio(inference.images, run.duration_s(inference.window))


def _reached(read: Callable[[Reached], Cell]) -> Callable[[Run], Cell]:
    return lambda run: read(run.reached) if run.reached else None


def _grid(read: Callable[[Intensity], Cell]) -> Callable[[Run], Cell]:
    def value(run: Run) -> Cell:
        found = intensity(run.record.spec.country)
        return read(found) if found else None

    return value


def _co2e_g(run: Run) -> float | None:
    grid = intensity(run.record.spec.country)
    return carbon_g(primary_energy_j(run), grid.g_per_kwh if grid else None)


def _target_reached(run: Run) -> bool | None:
    return run.reached is not None if run.record.epochs else None


INFERENCE = (
    Column(
        "infer_batch_size",
        "int",
        NO_INFERENCE,
        f"{TABLE_BATCH}; batch 1 has its own columns",
        _inference(TABLE_BATCH, lambda _, i: i.batch_size),
    ),
    Column(
        "infer_images",
        "int",
        NO_INFERENCE,
        "images forwarded",
        _inference(TABLE_BATCH, lambda _, i: i.images),
        formula="images forwarded in window infer-b64, as the trainer counted them",
    ),
    Column(
        "infer_window_s",
        "float",
        NO_INFERENCE,
        "length of the window",
        _inference(TABLE_BATCH, lambda r, i: r.duration_s(i.window)),
        formula="end - start of window infer-b64",
    ),
    Column(
        "energy_per_infer_image_j",
        "float",
        NO_INFERENCE,
        "headline joules an image",
        _inference(TABLE_BATCH, _per_image_j),
        formula="{infer_energy_j} / {infer_images}",
        terms={
            "infer_energy_j": _inference(TABLE_BATCH, lambda r, i: primary_energy_j(r, i.window))
        },
    ),
    Column(
        "infer_images_per_s",
        "float",
        NO_INFERENCE,
        "images a second",
        _inference(TABLE_BATCH, _images_per_s),
        formula="{infer_images} / {infer_window_s}",
    ),
)

TARGET = (
    Column(
        "target_metric", "str", "", "fixed before the run", lambda r: r.record.spec.target_metric
    ),
    Column(
        "target_value", "float", "", "fixed before the run", lambda r: r.record.spec.target_value
    ),
    Column(
        "target_reached",
        "bool",
        "no epoch finished",
        "whether any epoch reached it",
        _target_reached,
        formula="whether {target_metric} of any epoch is at least {target_value}",
    ),
    Column(
        "energy_to_target_j",
        "float",
        NOT_REACHED,
        "headline joules of the training steps up to the end of the reaching epoch",
        _reached(lambda t: t.energy_j),
        formula="sum of E(epoch-1) … E(epoch-{epochs_to_target}), the headline's channels added up",
    ),
    Column(
        "time_to_target_s",
        "float",
        NOT_REACHED,
        "seconds of the same steps",
        _reached(lambda t: t.time_s),
        formula="sum of the seconds of epoch-1 … epoch-{epochs_to_target}",
    ),
    Column(
        "epochs_to_target",
        "int",
        NOT_REACHED,
        "epochs, the reaching one included",
        _reached(lambda t: t.epochs),
        formula="first epoch whose {target_metric} is at least {target_value}",
    ),
)

CARBON = (
    Column(
        "co2e_g",
        "float",
        f"{UNKNOWN}; {NO_GRID}",
        "headline joules of `train` × PUE × grid",
        _co2e_g,
        formula="{primary_energy_train_j} / 3600000 * {pue} * {carbon_g_per_kwh}",
    ),
    Column("carbon_zone", "str", "", "country of the grid", lambda r: r.record.spec.country),
    Column(
        "carbon_g_per_kwh",
        "float",
        NO_GRID,
        "yearly mean of that grid",
        _grid(lambda g: g.g_per_kwh),
        formula="yearly mean of zone {carbon_zone} in the table that comes with wbcbench",
    ),
    Column(
        "carbon_source",
        "str",
        NO_GRID,
        "where that mean is from, and its year",
        _grid(lambda g: g.source),
        formula="source and year of that row",
    ),
    Column(
        "pue",
        "float",
        "",
        "building over machine",
        lambda _: DEFAULT_PUE,
        formula="constant of wbcbench: no building is counted",
    ),
)

PRIMARY = (
    Column(
        "primary_domain",
        "enum",
        "no meter",
        "part the headline speaks of: gpu, cpu or system",
        lambda r: r.primary.domain.value if r.primary else None,
        formula="gpu, else cpu, else system: the first part whose E(train) is known",
    ),
    Column(
        "primary_method",
        "enum",
        "no meter",
        "how that part was read",
        lambda r: r.primary.method if r.primary else None,
        formula="most trusted way of reading that part that knows E(train)",
    ),
    Column(
        "primary_status",
        "enum",
        "",
        "measured, estimated absent or synthetic",
        lambda r: r.primary.status.value if r.primary else ABSENT,
        formula="origin of that way's channels; of several the least trusted",
    ),
    Column(
        "primary_energy_train_j",
        "float",
        UNKNOWN,
        "window `train`, gross",
        primary_energy_j,
        formula="E(train) - sum of E(validate-k), added up over the headline's channels",
    ),
    Column(
        "primary_energy_train_above_idle_j",
        "float",
        f"{UNKNOWN}, or no idle window",
        "gross minus idle power × duration; never floored",
        lambda r: r.energy_above_idle_j(r.primary),
        formula="{primary_energy_train_j} - {idle_w} * {time_train_s}",
        terms={"idle_w": lambda r: r.idle_mean_w(r.primary)},
    ),
    Column(
        "primary_uncertainty_train_j",
        "float",
        UNKNOWN,
        "half-width of the gross joules' interval, about 95 %",
        lambda r: source_uncertainty_j(r.record, r.primary, TRAIN),
        formula="root of the sum of squares of the budgets of train and of each "
        "validation pass; devices added up",
    ),
    Column(
        "energy_per_infer_image_b1_j",
        "float",
        NO_INFERENCE,
        "as energy_per_infer_image_j, one image at a time",
        _inference(1, _per_image_j),
        formula="{infer_energy_j} / {images}",
        terms={
            "infer_energy_j": _inference(1, lambda r, i: primary_energy_j(r, i.window)),
            "images": _inference(1, lambda _, i: i.images),
        },
    ),
    Column(
        "infer_images_per_s_b1",
        "float",
        NO_INFERENCE,
        "as infer_images_per_s, one image at a time",
        _inference(1, _images_per_s),
        formula="{images} / {window_s}",
        terms={
            "images": _inference(1, lambda _, i: i.images),
            "window_s": _inference(1, lambda r, i: r.duration_s(i.window)),
        },
    ),
)

DERIVED = ColumnGroup(
    "Derived",
    (
        Column(
            "energy_per_train_image_j",
            "float",
            UNKNOWN,
            "headline joules of `train` over images seen",
            lambda r: ratio(primary_energy_j(r), images_seen(r)),
            formula="{primary_energy_train_j} / {images_seen_train}",
        ),
        *INFERENCE,
        *TARGET,
        Column(
            "edp_js",
            "float",
            UNKNOWN,
            "headline joules of `train` × its seconds",
            lambda r: energy_delay_product_js(primary_energy_j(r), r.duration_s(TRAIN)),
            formula="{primary_energy_train_j} * {time_train_s}",
        ),
        *CARBON,
        *PRIMARY,
    ),
)
