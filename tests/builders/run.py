"""Records of runs in memory, on a GPU machine or on a bare laptop.

Joules are mean power × duration on every channel, so that any sum a test asks for can be worked
out by hand from ``machine.WATTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from builders.machine import GPU_MACHINE, LAPTOP, METERS, PROVENANCE, TELEMETRY, power_w
from builders.timeline import START_S, make_epochs, make_windows
from wbcbench.core.record import (
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
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Channel, Domain, Origin
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy.appraise import remove_validation

CLASSES = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")


def make_spec(variant: str = "leaky-dropout", seed: int = 1, **changes: object) -> RunSpec:
    """A spec on the published images."""
    spec = RunSpec(
        variant=variant,
        seed=seed,
        epochs=4,
        dataset_id="bccd-kaggle",
        dataset_sha256="ab" * 32,
        target_value=0.8,
        country="DEU",
    )
    return replace(spec, **changes)  # type: ignore[arg-type]


def make_model(*, has_gpu: bool = True) -> ModelFacts:
    """The published network on the first GPU, or without one."""
    return ModelFacts(
        params_total=291_173,
        params_trainable=291_173,
        flops_per_image=60_000_000,
        steps_per_epoch=132,
        optimizer="adam",
        jit_compile=False,
        device="/GPU:0" if has_gpu else "/CPU:0",
        device_pci_bus_id="0000:01:00.0" if has_gpu else None,
        versions={"python": "3.11.7", "tensorflow": "2.21.0", "cuda": "12.5", "cudnn": "9"},
        environment={"TF_ENABLE_ONEDNN_OPTS": "1"},
    )


def make_scores(accuracy: float = 0.80, images: int = 2487, photographs: int = 71) -> Scores:
    """Test scores with an interval by photograph ten points to either side."""
    return Scores(
        images=images,
        photographs=photographs,
        accuracy=accuracy,
        balanced_accuracy=min(accuracy + 0.01, 1.0),
        macro_f1=accuracy - 0.01,
        loss=0.55,
        ece=0.07,
        correct=round(accuracy * images),
        recall=dict.fromkeys(CLASSES, accuracy),
        confusion=((500, 60, 3, 60), (9, 600, 1, 10), (20, 30, 540, 30), (90, 20, 4, 510)),
        classes=CLASSES,
        interval=(max(accuracy - 0.1, 0.0), min(accuracy + 0.1, 1.0)),
    )


def make_energies(
    channels: Sequence[Channel], windows: Sequence[Window]
) -> tuple[WindowEnergy, ...]:
    """Power × duration of every window on every channel; training without its validation."""
    whole = tuple(_energy(channel, window) for channel in channels for window in windows)
    return remove_validation(whole, windows)


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
    first_meter = channels[0].name.split("/")[0] if channels else "none"
    record = RunRecord(
        run_id=spec.run_id,
        spec=spec,
        status="done",
        started_utc="2026-03-01T10:00:00Z",
        ended_utc="2026-03-01T10:01:15Z",
        provenance=PROVENANCE,
        synthetic=any(channel.origin is Origin.SIMULATED for channel in channels),
        dataset=DatasetFacts("bccd-kaggle", "ab" * 32, False, True, 8400, 1557, 2487, 202),
        model=make_model(has_gpu=any(channel.domain is Domain.GPU for channel in channels)),
        channels=tuple(channels),
        meters=METERS if has_gpu else {"codecarbon": METERS["codecarbon"]},
        telemetry=(TELEMETRY,) if has_gpu else (),
        absent=() if has_gpu else (AbsentMeter("nvml", "no NVIDIA driver"),),
        sampling=(Sampling(first_meter, 0.1, 0.1, 0.12, 750, 0, 0),),
        windows=windows,
        energies=make_energies(channels, windows),
        epochs=epochs,
        test=make_scores(accuracy),
        test_leakage_free=make_scores(accuracy - 0.015, images=2285, photographs=65),
        inference=(Inference("infer-b1", 1, 300), Inference("infer-b64", 64, 6400)),
        recorder_cpu_s=0.6,
        trainer_cpu_s=70.0,
        trainer_rss_peak_bytes=1_500_000_000,
    )
    return replace(record, **changes)  # type: ignore[arg-type]


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
        energies=make_energies(LAPTOP, windows),
        model=None,
        test=None,
        test_leakage_free=None,
        inference=(),
        error=Failure("killed", "The trainer was ended by signal 9 (SIGKILL).", -9),
        **changes,
    )


def scaled(record: RunRecord, factor: float) -> RunRecord:
    """The same run with every joule times ``factor``."""
    energies = tuple(
        replace(energy, energy_j=None if energy.energy_j is None else energy.energy_j * factor)
        for energy in record.energies
    )
    return replace(record, energies=energies)


def changed(
    records: Sequence[RunRecord], which: Callable[[RunRecord], bool], **fields: object
) -> list[RunRecord]:
    """The records, those that ``which`` names with other fields."""
    return [replace(r, **fields) if which(r) else r for r in records]  # type: ignore[arg-type]


def run_dir(results: Path, record: RunRecord) -> RunDir:
    """The folder of a record's run."""
    return RunDir(results / record.spec.study / record.run_id)


def save(results: Path, *records: RunRecord) -> Path:
    """Write run folders with spec and record alone; returns the folder of the last one's study."""
    for record in records:
        run = run_dir(results, record)
        run.create(record.spec, Local())
        run.write_record(record)
    return results / records[-1].spec.study
