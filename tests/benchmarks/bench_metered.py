"""What measuring costs: a metered run against the plain Keras ``fit`` of the same spec.

    python tests/benchmarks/bench_metered.py [--data PATH] [--epochs N] [--rounds N]

Both train the same network on the same arrays in the same execution settings, in turns, each in
fresh processes. An epoch's time is that of its training steps; the first epoch of each process is
left out, and medians are compared. No limits, no asserts; wanted: ratio <= 1.02, and the watcher's
CPU <= 1 % of one core while it samples at the default rate.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from wbcbench.core.spec import RunSpec
from wbcbench.run.trainer_process import trainer_environment

PLAIN = """
import json, sys, time, keras
from pathlib import Path
from wbcbench.data import load
from wbcbench.core.spec import RunSpec
from wbcbench.train import inputs, trainer
spec = RunSpec(**json.loads(sys.argv[1]))
trainer.configure_tensorflow(spec)
parts = inputs.divide_dataset(load(Path(sys.argv[2]) if sys.argv[2] else None), spec)
trainer.wake_device()
model = trainer.build_network(spec)

class Stamps(keras.callbacks.Callback):
    seconds = []
    def on_epoch_begin(self, epoch, logs=None): self.start = time.perf_counter()
    def on_epoch_end(self, epoch, logs=None): self.seconds.append(time.perf_counter() - self.start)

stamps = Stamps()
model.fit(inputs.training(parts.train, spec), epochs=spec.epochs, shuffle=False, verbose=0,
          callbacks=[stamps])
print(json.dumps(stamps.seconds))
"""


def plain(spec: RunSpec, data: str) -> list[float]:
    """Return the epochs' seconds of a ``fit`` that nobody watches."""
    words = {k: v for k, v in asdict(spec).items() if not isinstance(v, tuple)}
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, json.dumps(words), data],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=trainer_environment(spec, os.environ),
    )
    epochs: list[float] = json.loads(done.stdout.splitlines()[-1])
    return epochs[1:]


def metered(spec: RunSpec, data: str) -> tuple[list[float], float]:
    """Return the epochs' seconds of a metered run, and the watcher's share of one core."""
    with tempfile.TemporaryDirectory() as results:
        words = ["run", "--variant", spec.variant, "--epochs", str(spec.epochs), "--json"]
        words += ["--results", results, "--inference", "0", *(["--data", data] if data else [])]
        done = subprocess.run(
            [sys.executable, "-m", "wbcbench", *words],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        run = Path(json.loads(done.stdout)["run_dir"])
        record = json.loads((run / "record.json").read_text())
    seconds = [epoch["end_s"] - epoch["start_s"] for epoch in record["epochs"]]
    ends = [window["end_s"] for window in record["windows"]]
    starts = [window["start_s"] for window in record["windows"]]
    return seconds[1:], record["recorder_cpu_s"] / (max(ends) - min(starts))


def report(plain_s: Sequence[float], metered_s: Sequence[float], shares: Sequence[float]) -> None:
    """Print the medians side by side."""
    base, ours = statistics.median(plain_s), statistics.median(metered_s)
    print(f"plain fit     {base:7.3f} s an epoch   (n = {len(plain_s)})")
    print(f"metered run   {ours:7.3f} s an epoch   {ours / base:.3f} x   (wanted: <= 1.02 x)")
    print(
        f"watcher       {100 * statistics.median(shares):.2f} % of one core, its start included"
        "   (wanted: <= 1 %)"
    )


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    spec = RunSpec(variant="leaky-dropout", epochs=asked.epochs)
    plain_s, metered_s, shares = [], [], []
    for turn in range(asked.rounds):
        plain_s += plain(spec, asked.data)
        seconds, share = metered(spec, asked.data)
        metered_s += seconds
        shares.append(share)
        print(f"round {turn + 1} of {asked.rounds} done", file=sys.stderr)
    report(plain_s, metered_s, shares)


if __name__ == "__main__":
    main()
