"""Realistic run records for tests: what a run on a GPU machine or on a bare laptop leaves behind.

Joules are mean power × duration on every channel, so that any sum a test asks for can be worked
out by hand: GPU 280 W under load and 60 W idle, each CPU 40 and 10 W,
memory 6 and 5 W.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wbcbench.joules.energy import Channel, Domain, Kind, Origin, Window, WindowEnergy
from wbcbench.report.page.evidence import ReportStudy
from wbcbench.runs.local_facts import Local
from wbcbench.runs.records import (
    AbsentMeter,
    DatasetFacts,
    Epoch,
    Failure,
    Inference,
    ModelFacts,
    RunRecord,
    Sampling,
    Scores,
)
from wbcbench.runs.rundir import RunDir
from wbcbench.runs.study import RunSpec
from wbcbench.sensors.board_state import Telemetry
from wbcbench.table.view import Run
from wbcbench.trust.apart import steps_alone

CLASSES = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")
EPOCH_S = 10.0
VALIDATION_S = 1.0
START_S = 100.0  # of `train`, on the monotonic clock
IDLE_W = 60.0
LOAD_W = 280.0

GPU_CHANNELS = (
    Channel(
        "nvml/gpu0/counter",
        Kind.COUNTER,
        Origin.MEASURED,
        Domain.GPU,
        reading="total_energy",
        update_s=0.1,
        gain_error=0.05,
        limit_w=400.0,
        device="GPU-1b2c",
    ),
    Channel(
        "nvml/gpu0/power",
        Kind.SAMPLED,
        Origin.MEASURED,
        Domain.GPU,
        reading="power_instant",
        device="GPU-1b2c",
    ),
)
RAPL_CHANNELS = (
    Channel("rapl/package-0", Kind.COUNTER, Origin.MEASURED, Domain.CPU, reading="package-0"),
    Channel("rapl/package-1", Kind.COUNTER, Origin.MEASURED, Domain.CPU, reading="package-1"),
    Channel("rapl/dram-0", Kind.COUNTER, Origin.MEASURED, Domain.DRAM, reading="dram-0"),
)
CODECARBON_CHANNELS = (
    Channel("codecarbon/cpu", Kind.COUNTER, Origin.MODELLED, Domain.CPU, reading="tdp_load"),
    Channel("codecarbon/ram", Kind.COUNTER, Origin.MODELLED, Domain.DRAM, reading="constant"),
)
SYNTHETIC_CHANNELS = (
    Channel("synthetic/gpu0/counter", Kind.COUNTER, Origin.SYNTHETIC, Domain.GPU),
)

GPU_MACHINE = GPU_CHANNELS + RAPL_CHANNELS + CODECARBON_CHANNELS
LAPTOP = CODECARBON_CHANNELS


def make_spec(variant: str = "leaky-dropout", seed: int = 1, **changes: object) -> RunSpec:
    """A spec on the published images."""
    spec = RunSpec(
        variant=variant,
        seed=seed,
        epochs=4,
        dataset_id="bccd-kaggle",
        dataset_sha256="ab" * 32,
        target_value=0.8,
    )
    return replace(spec, **changes)  # type: ignore[arg-type]


def make_epochs(accuracies: Sequence[float | None] = (0.50, 0.70, 0.82, 0.81)) -> tuple[Epoch, ...]:
    """One epoch for each validation accuracy: ten seconds of training, one of validation."""
    return tuple(_epoch(i, value) for i, value in enumerate(accuracies))


def _epoch(i: int, accuracy: float | None) -> Epoch:
    start_s = START_S + i * (EPOCH_S + VALIDATION_S)
    return Epoch(
        index=i + 1,
        start_s=start_s,
        end_s=start_s + EPOCH_S,
        evaluate_end_s=start_s + EPOCH_S + VALIDATION_S,
        loss=1.2 / (i + 1),
        accuracy=0.4 + 0.12 * i,
        val_loss=1.3 / (i + 1),
        val_accuracy=accuracy,
        val_balanced_accuracy=accuracy,
        images_seen=8400,
        learning_rate=0.001,
    )


def make_windows(epochs: Sequence[Epoch]) -> tuple[Window, ...]:
    """The windows of a run with these epochs, end to end."""
    train_end_s = epochs[-1].evaluate_end_s if epochs else START_S + 5.0
    after = [
        Window("evaluate", train_end_s, train_end_s + 2.0),
        Window("infer-b1", train_end_s + 2.0, train_end_s + 5.0),
        Window("infer-b64", train_end_s + 5.0, train_end_s + 8.0),
        Window("idle_post", train_end_s + 8.0, train_end_s + 11.0),
    ]
    return (
        Window("idle_cold", START_S - 20.0, START_S - 17.0),
        Window("startup", START_S - 17.0, START_S - 5.0),
        Window("idle_context", START_S - 5.0, START_S - 2.0),
        Window("warmup", START_S - 2.0, START_S),
        Window("train", START_S, train_end_s),
        *(Window(f"epoch-{each.index}", each.start_s, each.end_s) for each in epochs),
        *(Window(f"validate-{each.index}", each.end_s, each.evaluate_end_s) for each in epochs),
        *after,
    )


def power_w(channel: Channel, window: Window) -> float:
    """The constant power this factory's machine draws."""
    idle_w, load_w = {
        Domain.GPU: (IDLE_W, LOAD_W),
        Domain.CPU: (10.0, 40.0),
        Domain.DRAM: (5.0, 6.0),
        Domain.SYSTEM: (120.0, 400.0),
    }[channel.domain]
    return idle_w if window.name.startswith("idle") else load_w


def make_energies(
    channels: Sequence[Channel], windows: Sequence[Window]
) -> tuple[WindowEnergy, ...]:
    """Power × duration of every window on every channel."""
    return tuple(_energy(channel, window) for channel in channels for window in windows)


def _energy(channel: Channel, window: Window) -> WindowEnergy:
    mean_w = power_w(channel, window)
    return WindowEnergy(
        window=window.name,
        channel=channel.name,
        energy_j=mean_w * window.duration_s,
        uncertainty_j=0.05 * mean_w * window.duration_s,
        mean_power_w=mean_w,
        samples=int(window.duration_s * 10),
        max_gap_s=0.12,
    )


def make_scores(accuracy: float = 0.80, images: int = 2487, photographs: int = 71) -> Scores:
    """Test scores with an interval by photograph ten points to either side."""
    return Scores(
        images=images,
        photographs=photographs,
        accuracy=accuracy,
        balanced_accuracy=accuracy + 0.01,
        macro_f1=accuracy - 0.01,
        loss=0.55,
        ece=0.07,
        correct=round(accuracy * images),
        recall=dict.fromkeys(CLASSES, accuracy),
        confusion=((500, 60, 3, 60), (9, 600, 1, 10), (20, 30, 540, 30), (90, 20, 4, 510)),
        classes=CLASSES,
        interval=(accuracy - 0.1, accuracy + 0.1),
    )


PROVENANCE = {
    "host_id": "5f1e9c",
    "wbcbench_version": "0.1.0",
    "git_commit": "0123456789abcdef",
    "git_dirty": False,
    "lock_sha256": "cd" * 32,
    "os": "Linux 6.1",
    "cpu_model": "Example CPU 2.0 GHz",
    "cpu_count": 2,
    "ram_bytes": 8_000_000_000,
    "in_container": False,
}
METERS = {
    "codecarbon": {"codecarbon_version": "3.3.2", "parts": {"cpu": {"mode": "cpu_load"}}},
    "nvml/gpu0": {
        "index": 0,
        "name": "Example GPU",
        "uuid": "GPU-1b2c",
        "driver": "555.1",
        "mig_mode": False,
        "power_limit_enforced_w": 400.0,
    },
}
TELEMETRY = Telemetry(
    window="train",
    device="GPU-1b2c",
    samples=40,
    temperature_start_c=45.0,
    temperature_mean_c=60.0,
    temperature_max_c=66.0,
    clock_sm_hz=1.4e9,
    clock_memory_hz=1.2e9,
    throttled_s={"sw_power_cap": 3.0, "hw_thermal_slowdown": 0.5},
    utilization=0.9,
    memory_peak_bytes=2_000_000_000,
    power_limit_w=400.0,
    sees_own=True,
    processes_most=1,
)


def make_record(
    variant: str = "leaky-dropout",
    seed: int = 1,
    *,
    channels: Sequence[Channel] = GPU_MACHINE,
    accuracy: float = 0.80,
    epochs: tuple[Epoch, ...] | None = None,
    spec: RunSpec | None = None,
    **changes: object,
) -> RunRecord:
    """A finished run; ``changes`` replace any field of the record."""
    spec = spec or make_spec(variant, seed)
    epochs = make_epochs() if epochs is None else epochs
    windows = make_windows(epochs)
    has_gpu = any(channel.name.startswith("nvml/") for channel in channels)
    record = RunRecord(
        run_id=spec.run_id,
        spec=spec,
        status="done",
        started_utc="2026-03-01T10:00:00Z",
        ended_utc="2026-03-01T10:01:15Z",
        provenance=PROVENANCE,
        synthetic=any(channel.origin is Origin.SYNTHETIC for channel in channels),
        dataset=DatasetFacts("bccd-kaggle", "ab" * 32, False, True, 8400, 1557, 2487, 202),
        model=make_model(),
        channels=tuple(channels),
        meters=METERS if has_gpu else {"codecarbon": METERS["codecarbon"]},
        telemetry=(TELEMETRY,) if has_gpu else (),
        absent=() if has_gpu else (AbsentMeter("nvml", "no NVIDIA driver"),),
        sampling=(Sampling(_first_meter(channels), 0.1, 0.1, 0.12, 750, 0, 0),),
        windows=windows,
        energies=steps_alone(make_energies(channels, windows), windows),
        epochs=epochs,
        test=make_scores(accuracy),
        test_leak_free=make_scores(accuracy - 0.015, images=2285, photographs=65),
        inference=(Inference("infer-b1", 1, 300), Inference("infer-b64", 64, 6400)),
        watcher_cpu_s=0.6,
        trainer_cpu_s=70.0,
        trainer_rss_peak_bytes=1_500_000_000,
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def make_model() -> ModelFacts:
    """The published network on the first GPU."""
    return ModelFacts(
        params_total=291_173,
        params_trainable=291_173,
        flops_per_image=60_000_000,
        steps_per_epoch=132,
        optimizer="adam",
        jit_compile=False,
        device="/GPU:0",
        device_pci_bus_id="0000:01:00.0",
        versions={"python": "3.11.7", "tensorflow": "2.21.0", "cuda": "12.5", "cudnn": "9"},
        environment={"TF_ENABLE_ONEDNN_OPTS": "1"},
    )


def failed_record(variant: str = "leaky-dropout", seed: int = 1, **changes: object) -> RunRecord:
    """A run whose trainer was killed before the first epoch ended, on a bare laptop."""
    windows = tuple(w for w in make_windows(()) if w.end_s <= START_S + 5.0)
    return make_record(
        variant,
        seed,
        channels=LAPTOP,
        epochs=(),
        status="failed",
        windows=windows,
        energies=steps_alone(make_energies(LAPTOP, windows), windows),
        model=None,
        test=None,
        test_leak_free=None,
        inference=(),
        error=Failure("killed", "The trainer was ended by signal 9 (SIGKILL).", -9),
        **changes,
    )


def _first_meter(channels: Sequence[Channel]) -> str:
    return channels[0].name.split("/")[0] if channels else "none"


def save(results: Path, *records: RunRecord) -> Path:
    """Write run folders as a run does; returns the folder of the last record's study."""
    for record in records:
        run = RunDir(results / record.spec.study / record.run_id)
        run.create(record.spec, Local())
        run.write_record(record)
    return results / records[-1].spec.study


def gather(
    name: str, records: Sequence[RunRecord], unfinished: int = 0, folder: Path | None = None
) -> ReportStudy:
    """These records as a study that the report reads; with ``folder`` they lie there."""
    runs = [Run(r, RunDir(folder / r.run_id) if folder else None, name) for r in records]
    return ReportStudy(name, tuple(sorted(runs, key=lambda run: run.place)), unfinished, folder)
