"""Measure code of your own: which costs more joules, multiplying in double or in single precision?

    python experiments/measure_your_own_script.py [--meters auto] [--seconds 5]

Prints the energy of both and of one multiplication each, with their warnings.
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
    products = 0
    while time.monotonic() < end_s:
        matrix @ matrix
        products += 1
    return products


def main() -> None:
    """Measure both, then print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--meters", default="auto", help="auto, or names joined by commas")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement")
    arguments = parser.parse_args()

    products = {}
    with Meter(arguments.meters.split(",")) as meter:
        for dtype in ("float64", "float32"):
            with meter.window(dtype):
                products[dtype] = multiply(dtype, arguments.seconds)

    for dtype, count in products.items():
        result = meter.window_result(dtype)
        energy_j, uncertainty_j = result.energy.energy_j, result.energy.uncertainty_j
        if energy_j is None:
            print(f"{dtype}: energy unknown")
            continue
        spread = "" if uncertainty_j is None else f" ± {uncertainty_j:.1f}"
        print(
            f"{dtype}: {energy_j:.1f} J{spread} {result.energy.status}, {count} products, "
            f"{energy_j / count:.3g} J each; quality {result.quality}"
        )
        for warning in result.warnings:
            if warning.severity != "info":
                print(f"  {warning.severity}: {warning.detail}")


if __name__ == "__main__":
    main()
