"""The path that makes an epoch in one call against Keras' ``fit``, in pairs: no limits, no asserts.

    python tests/benchmarks/bench_paths.py [--data PATH] [--epochs N] [--images N] [--rounds N]

Both train the published network on the same images in the same order, each in fresh processes, in
alternating order. The first epoch of a process compiles and is left out. Wanted: at most 1.03 times
the CPU seconds.
"""

from __future__ import annotations

import math
import statistics
import sys

from bench_train_settings import Setting, arguments, measured

from wbcbench.energy.uncertainty import t_95

PATHS = tuple(Setting(name, True, 64, name, {}, {"path": name}) for name in ("resident", "fit"))


def main() -> None:
    """Measure in pairs and print the ratio with its 95 % interval."""
    parser = arguments()
    parser.set_defaults(rounds=10, epochs=3, images=1280)
    options = parser.parse_args()
    logs = []
    for turn in range(options.rounds):
        cpu_s = {}
        for setting in PATHS if turn % 2 == 0 else reversed(PATHS):
            later = [e["cpu_s"] for e in measured(setting, options) if e["epoch"] > 0]
            cpu_s[setting.name] = statistics.median(later)
        logs.append(math.log(cpu_s["resident"] / cpu_s["fit"]))
        print(f"pair {turn + 1}: {cpu_s['resident']:.3f} and {cpu_s['fit']:.3f}", file=sys.stderr)
    mean = statistics.fmean(logs)
    half = t_95(len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    low, middle, high = (math.exp(mean + k * half) for k in (-1, 0, 1))
    print(
        f"resident / fit, CPU seconds an epoch: {middle:.3f} [{low:.3f}, {high:.3f}] x   "
        f"(n = {len(logs)} pairs, wanted: <= 1.03 x)"
    )


if __name__ == "__main__":
    main()
