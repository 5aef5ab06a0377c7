"""How often the stated ± holds the truth, and how wide it is, on simulated sensors.

``python tests/benchmarks/uncertainty_coverage.py [REPETITIONS]`` prints one row for each sensor and
signal and one group of columns for each window length: share of windows whose truth lies inside ±,
median half-width and median and 95th percentile of the error, all in per cent of the truth.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulated_sensors import SENSORS, SIGNALS
from wbcbench.core.window import Window
from wbcbench.energy.integrate import window_energy
from wbcbench.energy.uncertainty import with_uncertainty

LENGTHS_S = (1, 10, 60)


def one(sensor: str, signal: str, length_s: int, repetition: int) -> tuple[float, float]:
    """Relative error and relative half-width of one simulated window, in per cent."""
    rng = random.Random(f"bench-{sensor}-{signal}-{length_s}-{repetition}")
    start_s = 4 + rng.random()
    window = Window("w", start_s, start_s + length_s)
    power = SIGNALS[signal](rng, length_s + 9.0)
    trace = SENSORS[sensor].trace(power, rng, length_s + 8.0, poll_s=0.1)
    found = with_uncertainty(trace, window, window_energy(trace, window))
    true_j = power.energy_j(window.end_s) - power.energy_j(window.start_s)
    assert found.energy_j is not None
    assert found.uncertainty_j is not None
    return 100 * abs(found.energy_j / true_j - 1), 100 * found.uncertainty_j / true_j


def cell(sensor: str, signal: str, length_s: int, repetitions: int) -> str:
    """Coverage, width and errors of one sensor, signal and length."""
    runs = [one(sensor, signal, length_s, i) for i in range(repetitions)]
    inside = 100 * sum(error <= width + 1e-7 for error, width in runs) / repetitions
    errors = sorted(error for error, _ in runs)
    return (
        f"{inside:5.1f} {median(width for _, width in runs):6.2f} "
        f"{median(errors):6.2f} {errors[int(0.95 * repetitions)]:6.2f}"
    )


def main() -> None:
    """Print the table."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    heads = (f"{f'{t} s: in, ±, err, err95 (%)':<28}" for t in LENGTHS_S)
    print(f"{'sensor':<22}{'signal':<11}", *heads)
    for sensor in SENSORS:
        for signal in SIGNALS:
            cells = (f"{cell(sensor, signal, t, repetitions):<28}" for t in LENGTHS_S)
            print(f"{sensor:<22}{signal:<11}", *cells)


if __name__ == "__main__":
    main()
