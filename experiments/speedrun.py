"""The least joules to 0.80 TEST accuracy on one NVIDIA GPU: search, choose, confirm.

    python experiments/speedrun.py --data FOLDER [--no-setup] …

``speedrun-search.toml`` trains many recipes and judges them on photographs held out of TRAIN. Of
those that end, on average over the seeds, at least as well there as the published recipe, which
reaches 0.80 on TEST, the cheapest is written into a copy of ``speedrun.toml``. That compares it
with the published one on TEST, on new seeds. What the search gave on TEST is not read.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

from gpu import THRESHOLD, USAGE, Step, carry_out, conclude, make_environment, make_parser, sweep

SEARCH, CONFIRM = "speedrun-search", "speedrun"
# Columns of runs.csv → keys of the recipe, and what reads their values.
SETTINGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "epochs_planned": ("epochs", int),
    "batch_size": ("batch_size", int),
    "learning_rate": ("learning_rate", float),
    "schedule": ("schedule", str),
    "precision": ("precision", str),
}
FOUND = "# found"  # ends the line of the recipe

Recipe = tuple[tuple[str, Any], ...]


def main() -> int:
    """Search, choose, confirm; the exit code is that of the step that failed."""
    arguments = make_parser(__doc__).parse_args()
    steps = [
        *make_environment(arguments),
        sweep(arguments.experiments, SEARCH, arguments),
        Step(
            "choose",
            "Choose the cheapest recipe that is as good as the published one.",
            lambda: choose(arguments),
        ),
        sweep(arguments.into, CONFIRM, arguments),
        *conclude(CONFIRM, arguments),
    ]
    return carry_out(steps, arguments)


def choose(arguments: argparse.Namespace) -> int:
    """Write the experiment that confirms what the search found.

    Returns:
        0; 2 if the search lacks the published recipe, 4 if no other one is as good for less.
    """
    text = (arguments.experiments / f"{CONFIRM}.toml").read_text()
    published = tomllib.loads(text)["configurations"][0]
    trained = read_search(arguments.into / "results" / SEARCH)
    means = {recipe: tuple(map(fmean, zip(*runs, strict=True))) for recipe, runs in trained.items()}
    least = next((score for recipe, (_, score) in means.items() if dict(recipe) == published), None)
    if least is None:
        print(f"The search has no run of the published recipe: {published}.", file=sys.stderr)
        return USAGE
    cheapest = sorted(means, key=lambda recipe: means[recipe][0])
    for recipe in cheapest:
        energy_j, score = means[recipe]
        print(f"{energy_j:10.1f} J  {score:.3f} of held-out images  {format_recipe(recipe)}")
    chosen = next(recipe for recipe in cheapest if means[recipe][1] >= least)
    if dict(chosen) == published:
        print("No recipe is as good as the published one for less.", file=sys.stderr)
        return THRESHOLD
    found = f"  {{ {format_recipe(chosen)} }},  {FOUND}"
    lines = (found if line.endswith(FOUND) else line for line in text.splitlines())
    (arguments.into / f"{CONFIRM}.toml").write_text("\n".join(lines) + "\n")
    print(f"At least the {least:.3f} of the published recipe: {format_recipe(chosen)}")
    return 0


def format_recipe(recipe: Recipe) -> str:
    """As TOML writes it."""
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in recipe)


def read_search(study: Path) -> dict[Recipe, list[tuple[float, float]]]:
    """Joules of a training and the last validation accuracy of each run, by recipe.

    Runs that did not end, or were not measured well, are left out, and so is a recipe that failed
    with a seed: by its other seeds alone it would look better than it is.
    """
    trained, failed, ended = defaultdict(list), set(), set()
    with (study / "runs.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            recipe = tuple((key, read(row[column])) for column, (key, read) in SETTINGS.items())
            if row["status"] == "failed":
                failed.add((recipe, row["seed"]))
            if row["status"] != "done" or row["quality"] == "invalid":
                continue
            ended.add((recipe, row["seed"]))
            with (study / row["run_id"] / "epochs.csv").open(newline="") as epochs:
                *_, last = csv.DictReader(epochs)
            trained[recipe].append((float(row["primary_energy_train_j"]), float(last["val_acc"])))
    for recipe, _ in failed - ended:
        trained.pop(recipe, None)
    return trained


if __name__ == "__main__":
    sys.exit(main())
