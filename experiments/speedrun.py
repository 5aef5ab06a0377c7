"""The least joules to 0.80 TEST accuracy on one NVIDIA GPU: search, choose, confirm.

    python experiments/speedrun.py --data FOLDER [--no-setup] …

``speedrun-search.toml`` trains many recipes and judges them on photographs held out of TRAIN; the
cheapest that reaches the target in every seed is written into a copy of ``speedrun.toml``, which
compares it with the published one on new seeds. What the search gave on TEST is not read. Where no
recipe reaches the target the exit code is 4.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from gpu import THRESHOLD, Step, carry_out, conclude, make_environment, make_parser, sweep

SEARCH, CONFIRM = "speedrun-search", "speedrun"
# Columns of runs.csv → keys of the recipe, and whether its value is a text.
SETTINGS = {
    "epochs_planned": ("epochs", False),
    "batch_size": ("batch_size", False),
    "learning_rate": ("learning_rate", False),
    "schedule": ("schedule", True),
    "precision": ("precision", True),
}
FOUND = "# found"  # ends the line of the recipe

Recipe = tuple[str, ...]


def main() -> int:
    """Search, choose, confirm; the exit code is that of the step that failed."""
    arguments = make_parser(__doc__).parse_args()
    steps = [
        *make_environment(arguments),
        sweep(arguments.experiments, SEARCH, arguments),
        Step(
            "choose",
            "Choose the cheapest recipe that reaches the target.",
            lambda: choose(arguments),
        ),
        sweep(arguments.into, CONFIRM, arguments),
        *conclude(CONFIRM, arguments),
    ]
    return carry_out(steps, arguments)


def choose(arguments: argparse.Namespace) -> int:
    """Write the experiment that confirms what the search found; 4 if it found nothing."""
    costs_j, scores, target = read_search(arguments.into / "results" / SEARCH)
    cheapest = sorted(costs_j, key=lambda recipe: fmean(costs_j[recipe]))
    for recipe in cheapest:
        said = ", ".join(recipe)
        print(f"{fmean(costs_j[recipe]):10.1f} J  {min(scores[recipe]):.3f} at least  {said}")
    good = [recipe for recipe in cheapest if min(scores[recipe]) >= target]
    if not good:
        print(f"No recipe reaches {target} in every seed on held-out photographs.", file=sys.stderr)
        return THRESHOLD
    lines = (arguments.experiments / f"{CONFIRM}.toml").read_text().splitlines()
    found = f"  {{ {', '.join(good[0])} }},  {FOUND}"
    text = "\n".join(found if line.endswith(FOUND) else line for line in lines)
    (arguments.into / f"{CONFIRM}.toml").write_text(text + "\n")
    return 0


def read_search(
    study: Path,
) -> tuple[dict[Recipe, list[float]], dict[Recipe, list[float]], float]:
    """Joules of a training and last validation of each run, by recipe, and the target.

    Runs that did not end, or were not measured well, are left out.
    """
    costs_j, scores, target = defaultdict(list), defaultdict(list), 1.0
    with (study / "runs.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["status"] != "done" or row["quality"] == "invalid":
                continue
            recipe = tuple(
                f'{key} = "{row[column]}"' if is_text else f"{key} = {row[column]}"
                for column, (key, is_text) in SETTINGS.items()
            )
            with (study / row["run_id"] / "epochs.csv").open(newline="") as epochs:
                *_, last = csv.DictReader(epochs)
            costs_j[recipe].append(float(row["primary_energy_train_j"]))
            scores[recipe].append(float(last["val_acc"]))
            target = float(row["target_value"])
    return costs_j, scores, target


if __name__ == "__main__":
    sys.exit(main())
