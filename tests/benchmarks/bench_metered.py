"""What measuring costs: a metered run against the same training that nobody measures.

    python tests/benchmarks/bench_metered.py [--data PATH] [--epochs N] [--rounds N]

Both train the same network on the same images by the same path, in turns, each in fresh
processes. An epoch's cost is the CPU seconds of all that was started: those of a long training less
those of one of a single epoch, by the epochs between them, so that no start counts. No limits, no
asserts; wanted: ratio <= 1.02, and the recorder's CPU <= 1 % of one core while it samples.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from wbcbench.core.spec import RunSpec
from wbcbench.energy.uncertainty import t_95
from wbcbench.run.trainer_process import trainer_environment

PLAIN = """
import json, sys
from pathlib import Path
from wbcbench.data.load import load
from wbcbench.core.spec import RunSpec
from wbcbench.core.window import MonotonicClock
from wbcbench.train import inputs, paths, trainer
spec = RunSpec(**json.loads(sys.argv[1]))
trainer.configure_tensorflow(spec)
sets = inputs.divide_dataset(load(Path(sys.argv[2]) if sys.argv[2] else None), spec)
trainer.wake_device()
model = trainer.build_network(spec)
images = inputs.place_images(sets, inputs.HOST)
path = paths.ResidentPath(model, images.train, spec.batch_size, MonotonicClock())
forward = inputs.Forward(model, jit_compile=False)
for epoch in range(spec.epochs):
    path.train_epoch(inputs.shuffle_epoch(len(sets.train), spec.seed, epoch + 1), lambda *_: None)
    forward.probabilities(images.validation)
"""


def spend(words: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Run a command; return the CPU seconds of all that it started, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        words, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def plain_s(spec: RunSpec, data: str) -> float:
    """Return the CPU seconds of a training that nobody measures."""
    words = {k: v for k, v in asdict(spec).items() if not isinstance(v, tuple)}
    command = [sys.executable, "-c", PLAIN, json.dumps(words), data]
    return spend(command, trainer_environment(spec, os.environ))[0]


def metered_s(spec: RunSpec, data: str) -> tuple[float, float]:
    """Return the CPU seconds of a metered run, and its recorder's share of one core."""
    with tempfile.TemporaryDirectory() as results:
        words = ["run", "--variant", spec.variant, "--epochs", str(spec.epochs), "--json"]
        words += ["--results", results, "--inference", "0", "--idle", "0", "--warmup-steps", "0"]
        words += ["--data", data] if data else []
        command = [sys.executable, "-m", "wbcbench", *words]
        cpu_s, out = spend(command, dict(os.environ))
        record = json.loads((Path(json.loads(out)["run_dir"]) / "record.json").read_text())
    edges_s = [t_s for w in record["windows"] for t_s in (w["start_s"], w["end_s"])]
    return cpu_s, record["recorder_cpu_s"] / (max(edges_s) - min(edges_s))


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=4)
    asked = parser.parse_args()
    long = RunSpec(variant="leaky-dropout", epochs=asked.epochs)
    short = replace(long, epochs=1)
    logs, shares = [], []
    for turn in range(asked.rounds):
        cost_s = {}
        for name in ("plain", "metered") if turn % 2 == 0 else ("metered", "plain"):
            if name == "plain":
                more_s = plain_s(long, asked.data) - plain_s(short, asked.data)
            else:
                whole_s, share = metered_s(long, asked.data)
                more_s = whole_s - metered_s(short, asked.data)[0]
                shares.append(share)
            cost_s[name] = more_s / (asked.epochs - 1)
        logs.append(math.log(cost_s["metered"] / cost_s["plain"]))
        print(
            f"round {turn + 1}: plain {cost_s['plain']:.3f}, metered {cost_s['metered']:.3f} CPU s",
            file=sys.stderr,
        )
    mean = statistics.fmean(logs)
    half = t_95(len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    low, middle, high = (math.exp(mean + k * half) for k in (-1, 0, 1))
    epochs = asked.rounds * (asked.epochs - 1)
    print(
        f"metered / plain, CPU seconds an epoch: {middle:.3f} [{low:.3f}, {high:.3f}] x   "
        f"({epochs} epochs a side in {asked.rounds} rounds, wanted: <= 1.02 x)"
    )
    print(
        f"recorder: {100 * statistics.median(shares):.2f} % of one core, its start included   "
        "(wanted: <= 1 %)"
    )


if __name__ == "__main__":
    main()
