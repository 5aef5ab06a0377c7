"""Statements about the runs: contrasts, documents, report."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

from tamperings.bag import Bag
from tamperings.kinds import edited
from tamperings.made_again import UnfitError
from wbcbench.bundle import layout


def edit_number(bag: Bag, path: Path, rng: random.Random, pattern: str = r"\d+\.\d{2,}") -> None:
    """Change one of the numbers of a text a little."""
    text = path.read_text(encoding="utf-8")
    hits = list(re.finditer(pattern, text))
    if not hits:
        raise UnfitError(f"{path.name} has no such number")
    hit = rng.choice(hits)
    new = f"{float(hit[0]) * 1.1 + 0.01:.{len(hit[0].split('.')[1])}f}"
    bag.write(path, text[: hit.start()] + new + text[hit.end() :])


@edited("contrast edited")
def other_contrast(bag: Bag, rng: random.Random) -> None:
    edit_number(bag, bag.results / layout.CONTRASTS, rng)


@edited("finding of a contrast edited")
def other_finding(bag: Bag, rng: random.Random) -> None:
    path = bag.results / layout.CONTRASTS
    text = path.read_text()
    said = [w for w in ("inconclusive", "less", "more", "equivalent") if f",{w}," in text]
    if not said:
        raise UnfitError("nothing was found")
    word = rng.choice(said)
    bag.write(path, text.replace(f",{word},", ",equivalent," if word != "equivalent" else ",less,"))


@edited("count of failed runs edited in submission.json")
def other_counts(bag: Bag, rng: random.Random) -> None:
    bag.edit_json(
        bag.data / layout.SUBMISSION,
        lambda d: d["n_runs"].update(failed=d["n_runs"]["failed"] + 1),
    )


@edited("total of joules edited in submission.json")
def other_total(bag: Bag, rng: random.Random) -> None:
    def change(document: Any) -> None:
        for status in document["energy_total_j"]["study"]:
            document["energy_total_j"]["study"][status] *= 0.9

    bag.edit_json(bag.data / layout.SUBMISSION, change)


@edited("status of the meter edited in submission.json")
def other_meter(bag: Bag, rng: random.Random) -> None:
    bag.edit_json(
        bag.data / layout.SUBMISSION, lambda d: d["meter"]["cpu"].update(status="measured")
    )


@edited("a claim's sentence edited")
def other_claim(bag: Bag, rng: random.Random) -> None:
    def change(document: Any) -> None:
        claim = rng.choice(document["claims"])
        claim["text"] = re.sub(r"\d", "3", claim["text"]) + " Surely."

    bag.edit_json(bag.data / layout.SUBMISSION, change)


@edited("a claim's number edited")
def other_value(bag: Bag, rng: random.Random) -> None:
    def change(document: Any) -> None:
        numbered = [
            (claim, name)
            for claim in document["claims"]
            for name, value in claim["values"].items()
            if isinstance(value, int | float)
        ]
        claim, name = rng.choice(numbered)
        claim["values"][name] = claim["values"][name] * 1.01 + 1

    bag.edit_json(bag.data / layout.SUBMISSION, change)


@edited("a claim removed")
def no_claim(bag: Bag, rng: random.Random) -> None:
    bag.edit_json(
        bag.data / layout.SUBMISSION,
        lambda d: d["claims"].pop(rng.randrange(len(d["claims"]))),
    )


@edited("a number of the report's page edited")
def other_page(bag: Bag, rng: random.Random) -> None:
    edit_number(bag, bag.report / layout.REPORT_PAGE, rng)


@edited("a sentence of the report's text edited")
def other_text(bag: Bag, rng: random.Random) -> None:
    edit_number(bag, bag.report / layout.REPORT_TEXT, rng)


@edited("a figure edited")
def other_figure(bag: Bag, rng: random.Random) -> None:
    figures = sorted((bag.report / layout.FIGURES).glob("*.svg"))
    edit_number(bag, rng.choice(figures), rng, r"\d+\.\d{3,}")


@edited("numbers behind a figure edited")
def other_figure_data(bag: Bag, rng: random.Random) -> None:
    tables = sorted((bag.report / layout.FIGURE_DATA).glob("*.csv"))
    path = rng.choice([t for t in tables if re.search(r"\d+\.\d", t.read_text())])
    edit_number(bag, path, rng, r"\d+\.\d+")


@edited("a figure removed")
def no_figure(bag: Bag, rng: random.Random) -> None:
    bag.remove(rng.choice(sorted((bag.report / layout.FIGURE_DATA).glob("*.csv"))))


@edited("grams in the model card multiplied")
def other_grams(bag: Bag, rng: random.Random) -> None:
    path = bag.data / layout.MODEL_CARD
    hit = re.search(r"emissions: ([\d.]+)", path.read_text())
    assert hit is not None
    bag.edit_text(path, hit[0], f"emissions: {float(hit[1]) / 1000:.6f}")


@edited("a number of README or IMPACT edited")
def other_document(bag: Bag, rng: random.Random) -> None:
    name = rng.choice([layout.README, layout.IMPACT])
    edit_number(bag, bag.data / name, rng, r"\b\d+\.\d+(?= kWh| kJ| J| g)")


@edited("authors of the citation edited")
def other_author(bag: Bag, rng: random.Random) -> None:
    path = bag.data / layout.CITATION
    bag.edit_text(path, "Doe", "Roe")
