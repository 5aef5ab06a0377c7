"""Measure code of your own: which costs more joules, multiplying in double or in single precision?

    python experiments/measure_your_own_script.py [--meters auto] [--seconds 5]

Prints the joules of both and of one multiplication each, with the doubts that belong to them.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from wbcbench import Meter

SIDE = 1000


def multiply(dtype: str, for_s: float) -> int:
    """Multiply two square matrices for a while; returns how often."""
    matrix = np.random.default_rng(1).random((SIDE, SIDE)).astype(dtype)
    end_s = time.monotonic() + for_s
    done = 0
    while time.monotonic() < end_s:
        matrix @ matrix
        done += 1
    return done


def main() -> None:
    """Measure both, then tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--meters", default="auto", help="auto, or names joined by commas")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement")
    asked = parser.parse_args()

    done = {}
    with Meter(asked.meters.split(",")) as meter:
        for dtype in ("float64", "float32"):
            with meter.window(dtype):
                done[dtype] = multiply(dtype, asked.seconds)

    for dtype, times in done.items():
        span = meter.span(dtype)
        energy_j, uncertainty_j = span.primary.energy_j, span.primary.uncertainty_j
        if energy_j is None:
            print(f"{dtype}: joules unknown")
            continue
        spread = "" if uncertainty_j is None else f" ± {uncertainty_j:.1f}"
        print(
            f"{dtype}: {energy_j:.1f} J{spread} {span.primary.status}, {times} products, "
            f"{energy_j / times:.3g} J each; verdict {span.verdict}"
        )
        for warning in span.warnings:
            if warning.severity != "info":
                print(f"  {warning.severity}: {warning.detail}")


if __name__ == "__main__":
    main()
