"""What the tuned execution settings save, as ratios measured in one process tree: no limits.

    python tests/benchmarks/bench_train_settings.py
        [--data PATH] [--epochs N] [--images N] [--rounds N] [--all]

Trains the published network with each setting in a fresh process, in alternating order. The naive
reference is what one writes first: ``fit`` on float32 arrays with Keras' defaults, batch size 32.
CPU seconds (user + system) tell more than wall seconds on a machine that does other work. The
first epoch of a process traces and compiles and is left out. Batch size changes the training and
is no tuning, so the ratio at equal batch size stands first and the one to the default apart.
Accuracies stand beside the times: settings that train worse are not faster.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wbcbench.core.spec import RunSpec
from wbcbench.run.trainer_process import trainer_environment

PREFIXES_OF_SETTINGS = ("TF_", "ONEDNN_", "GLIBC_", "MALLOC_", "OMP_", "XLA_")


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to train.

    Attributes:
        name: What the table calls it.
        tuned: The project's settings, or the naive ``fit``.
        batch_size: Images a step.
        compared_with: The name of the setting its ratio refers to.
        environment: Set on top of the rest.
        spec: Further fields of the ``RunSpec``.
    """

    name: str
    tuned: bool
    batch_size: int
    compared_with: str
    environment: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)


DEFAULT = "tuned, batch 64 (default)"
NO_ONEDNN = {"TF_ENABLE_ONEDNN_OPTS": "0"}
SETTINGS = (
    Setting("naive, batch 32", False, 32, "naive, batch 32"),
    Setting("tuned, batch 32", True, 32, "naive, batch 32"),
    Setting("naive, batch 64", False, 64, "naive, batch 64"),
    Setting(DEFAULT, True, 64, "naive, batch 64"),
    Setting("naive, batch 32, no oneDNN", False, 32, "naive, batch 32, no oneDNN", NO_ONEDNN),
)
"""The last is what TensorFlow does by itself on a processor without AVX-512."""
MORE = (
    Setting("one inter-op thread", True, 64, DEFAULT, {"TF_NUM_INTEROP_THREADS": "1"}),
    Setting("no huge pages", True, 64, DEFAULT, {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}),
    Setting(
        "fit, 16 steps a call", True, 64, DEFAULT, {}, {"path": "fit", "steps_per_execution": 16}
    ),
    Setting("mixed_bfloat16", True, 64, DEFAULT, {}, {"precision": "mixed_bfloat16"}),
    Setting("XLA", True, 64, DEFAULT, {}, {"xla": True}),
)
"""Tried and not taken, or factors of a study rather than tunings; with ``--all``."""


def main() -> None:
    """Measure and print."""
    options = arguments().parse_args()
    if options.worker:
        work(json.loads(options.worker))
        return
    settings = SETTINGS + (MORE if options.all else ())
    seen: dict[str, list[dict[str, Any]]] = {setting.name: [] for setting in settings}
    for round_ in range(options.rounds):
        for setting in settings if round_ % 2 == 0 else reversed(settings):
            seen[setting.name] += measured(setting, options)
    print_table(settings, seen, options)


def arguments() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the published set; default: where tests look")
    parser.add_argument("--epochs", type=int, default=4, help="a process; the first is not timed")
    parser.add_argument("--images", type=int, default=2560, help="0 = all of TRAIN")
    parser.add_argument("--rounds", type=int, default=2, help="processes a setting")
    parser.add_argument("--all", action="store_true", help="also settings that were not taken")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def measured(setting: Setting, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train once in a fresh process; return what it says of each epoch."""
    job = asdict(setting) | {
        "data": str(options.data or default_data()),
        "epochs": options.epochs,
        "images": options.images,
    }
    clean = {k: v for k, v in os.environ.items() if not k.startswith(PREFIXES_OF_SETTINGS)}
    environment = clean | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    if setting.tuned:
        environment = trainer_environment(spec_of(job), environment, {"CUDA_VISIBLE_DEVICES": ""})
    done = subprocess.run(
        [sys.executable, __file__, "--worker", json.dumps(job)],
        env=environment | dict(setting.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if not os.environ.get("BENCH_DEBUG") else None,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def default_data() -> Path:
    """Return the published set where the tests would find it."""
    given = os.environ.get("WBCBENCH_TEST_DATA")
    folder = Path(given or Path(__file__).resolve().parents[3] / "shared" / "data" / "wbc")
    if not folder.is_dir():
        sys.exit("The published set is not here: give --data PATH or set WBCBENCH_TEST_DATA.")
    return folder


def spec_of(job: Mapping[str, Any]) -> RunSpec:
    """Return the run that a job describes."""
    return RunSpec(
        variant="leaky-dropout", tuned=job["tuned"], batch_size=job["batch_size"], **job["spec"]
    )


def work(job: dict[str, Any]) -> None:
    """Train in this process and print one line an epoch."""
    import numpy as np

    from wbcbench.core.window import MonotonicClock
    from wbcbench.data.load import load
    from wbcbench.train import inputs, paths, trainer

    spec = spec_of(job)
    trainer.configure_tensorflow(spec)
    dataset = load(Path(job["data"]))
    chosen = np.random.default_rng(0).permutation(len(dataset.train))
    train = dataset.train.take(chosen[: job["images"] or None])
    model = trainer.build_network(spec, jit_compile=bool(spec.xla))
    placed = inputs.PlacedImages(train, inputs.HOST)
    test = inputs.Forward(model, jit_compile=False)
    tested = inputs.PlacedImages(dataset.test, inputs.HOST)
    if not spec.tuned:  # what one writes first
        pixels, labels = train.images.astype(np.float32) / 255, inputs.one_hot(train.labels)
    elif spec.path == "fit":
        path: paths.TrainingPath = paths.FitPath(model, placed, spec.batch_size)
    else:
        path = paths.ResidentPath(model, placed, spec.batch_size, MonotonicClock())

    def train_epoch(epoch: int) -> dict[str, float]:
        if not spec.tuned:
            done = model.fit(x=pixels, y=labels, batch_size=spec.batch_size, verbose=0).history
            return {name: values[-1] for name, values in done.items()}
        order = inputs.shuffle_epoch(len(train), spec.seed, epoch + 1)
        return path.train_epoch(order, lambda step, means: None)._asdict()

    for epoch in range(job["epochs"]):
        before = resources()
        means = train_epoch(epoch)
        spent = {k: v - before[k] for k, v in resources().items()}
        scores = {}
        if epoch + 1 == job["epochs"]:
            right = np.argmax(test.probabilities(tested), axis=1) - 1 == dataset.test.labels
            scores["test"] = float(right.mean())
        print(json.dumps(spent | {"epoch": epoch, **means} | scores), flush=True)


def resources() -> dict[str, float]:
    """Return what this process has used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.monotonic(),
        "faults": used.ru_minflt,
    }


def print_table(
    settings: tuple[Setting, ...],
    seen: Mapping[str, list[dict[str, Any]]],
    options: argparse.Namespace,
) -> None:
    """Print one line a setting, then the ratios to what a plain ``fit`` costs."""
    later = {name: [e for e in epochs if e["epoch"] > 0] for name, epochs in seen.items()}
    cpu_s = {name: statistics.median(e["cpu_s"] for e in epochs) for name, epochs in later.items()}
    print(f"{options.images or 'all'} images, {options.epochs} epochs, {options.rounds} processes")
    print(f"{'setting':28} CPU s/epoch  wall s  faults  ratio  train  TEST accuracy at the end")
    for setting in settings:
        epochs = later[setting.name]
        wall_s = statistics.median(e["wall_s"] for e in epochs)
        faults = statistics.median(e["faults"] for e in epochs)
        ratio = cpu_s[setting.compared_with] / cpu_s[setting.name]
        ends = [e for e in epochs if "test" in e]
        train, test = (statistics.mean(e[key] for e in ends) for key in ("accuracy", "test"))
        print(
            f"{setting.name:28} {cpu_s[setting.name]:11.2f} {wall_s:7.2f} {faults:7.0f} "
            f"{ratio:6.2f} {train:6.3f} {test:6.3f}"
        )
    print_energies(cpu_s)


def print_energies(cpu_s: Mapping[str, float]) -> None:
    """Print what the settings save against the naive fit, batch size apart."""
    naive, tuned, _, default, without_onednn = (setting.name for setting in SETTINGS)
    for slow, fast in (
        (naive, tuned),
        (naive, default),
        (without_onednn, tuned),
        (without_onednn, default),
    ):
        print(f"{slow} → {fast}: {cpu_s[slow] / cpu_s[fast]:.2f} ×")


if __name__ == "__main__":
    main()
