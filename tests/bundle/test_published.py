"""The published study that comes with the repository: verified, whole, and as the README tells it.

`make published` makes its bundle and its report again from the bundle's own evidence.
"""

from __future__ import annotations

import csv
import json
import re
import tarfile
import zipfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from program import wbcbench
from wbcbench.bundle import layout

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "results" / "published.zip"
REPORT = ROOT / "reports" / "published"
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_BYTES = 6_000_000
INTERVAL = re.compile(r"\[[^\]]*\]")
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".npy", ".npz")


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("published")
    with zipfile.ZipFile(BUNDLE) as archive:
        archive.extractall(room)
    (bag,) = room.iterdir()
    return bag / layout.PAYLOAD


@pytest.fixture(scope="module")
def rows(payload: Path) -> list[dict[str, str]]:
    path = payload / layout.study_dir("published") / layout.RUNS_TABLE
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def ask(payload: Path, *words: str) -> Any:
    """The output of a command about the study in the bundle, as wide as the README has it."""
    ended = wbcbench(*words, "--results", str(payload / "results"), env={"COLUMNS": "80"})
    assert ended.code == 0, ended.err
    return ended


def test_it_is_verified_away_from_the_repository(tmp_path: Path) -> None:
    ended = wbcbench("verify", str(BUNDLE), cwd=tmp_path)
    assert ended.code == 0, ended.out
    assert "\nVERIFIED " in ended.out


def test_it_is_small_and_has_no_image() -> None:
    assert BUNDLE.stat().st_size <= MOST_BYTES
    with zipfile.ZipFile(BUNDLE) as archive:
        assert not [name for name in archive.namelist() if name.endswith(PICTURES)]


def test_every_planned_run_is_done_on_a_quiet_processor(rows: list[dict[str, str]]) -> None:
    done = [row for row in rows if row["status"] == "done"]
    assert len({(row["variant"], row["seed"]) for row in done}) == len(done) == 4 * 8
    assert {row["quality"] for row in done} <= {"valid", "marginal"}
    assert {row["primary_status"] for row in done} == {"estimated"}
    assert {row["epochs_planned"] for row in done} == {"25"}
    assert len({row["git_commit"] for row in rows}) == 1
    assert {row["git_dirty"] for row in rows} == {"false"}
    assert [row["status"] for row in rows if row not in done] == ["interrupted"]  # see REVIEW.md


def test_its_claims_are_those_of_the_commit_that_ran(payload: Path) -> None:
    kept = (payload / layout.study_dir("published") / "claims.toml").read_bytes()
    with tarfile.open(payload / layout.SOURCE) as source:
        stream = source.extractfile("experiments/claims.toml")
        assert stream is not None
        assert stream.read() == kept


def test_its_report_is_the_one_in_the_repository(payload: Path) -> None:
    inside = payload / layout.report_dir("published")
    names = {path.relative_to(inside) for path in inside.rglob("*") if path.is_file()}
    there = {path.relative_to(REPORT) for path in REPORT.rglob("*") if path.is_file()}
    assert there == names | {Path("REVIEW.md")}
    assert not [n for n in names if (inside / n).read_bytes() != (REPORT / n).read_bytes()]


# -- what the README says of it -------------------------------------------------------------------


def test_the_readme_shows_its_comparison(payload: Path) -> None:
    shown = ask(payload, "compare", "published").out.strip()
    assert shown.startswith("8 seeds, 4 variants")
    assert shown in README


def read_table(name: str) -> dict[str, list[str]]:
    """The rows of a table of the report by their first cell."""
    with (REPORT / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return {row[0]: row[1:] for row in csv.reader(stream)}


def test_the_readme_gives_each_variant_its_accuracies_joules_and_seconds() -> None:
    result, accuracy, target = map(read_table, ("result-1", "accuracy-1", "learning-1"))
    for variant in ("relu-dropout", "relu-batchnorm", "leaky-dropout", "leaky-batchnorm"):
        share, energy, time = (result[variant][place] for place in (1, 2, 4))
        over_photographs, leakage_free = accuracy[variant][2:4]
        reached, energy_to, time_to = target[variant]
        to_target = f"{time_to}, {energy_to} kJ ({reached})"
        cells = (f"`{variant}`", share, over_photographs, leakage_free, energy, time, to_target)
        assert f"| {' | '.join(cells)} |" in README


def test_the_readme_gives_each_claim_its_result_with_the_intervals(payload: Path) -> None:
    lines = README.splitlines()
    claims = ask(payload, "claims", "published", "--json").json["claims"]
    assert [claim["id"] for claim in claims] == ["C1", "C2", "C3", "C4", "C5", "C6"]
    for claim in claims:
        (line,) = [line for line in lines if line.startswith(f"| {claim['id']} ")]
        assert claim["text"] in line
        assert f"**{claim['result']}**" in line
        known = set()
        for check in claim["checks"]:
            seen = "{estimate:.3g} [{ci_low:.3g}, {ci_high:.3g}]".format(**check)
            if check["over_photographs"]:
                seen += ", over photographs [{:.3g}, {:.3g}]".format(*check["over_photographs"])
            assert seen in line or not check["decides"], (claim["id"], seen)
            known |= set(INTERVAL.findall(seen))
        assert known >= set(INTERVAL.findall(line))
    results = [claim["result"] for claim in claims]
    counts = [results.count(word) for word in ("supported", "not supported", "inconclusive")]
    assert counts == [1, 1, 4]
    assert "Of six claims one is supported, one is not, and four stay open." in README


# -- what its page for sceptical readers says -----------------------------------------------------


def count_epochs(payload: Path, key: str, level: float) -> dict[str, dict[int, int]]:
    """Epochs before a validation score is first reached, by variant and seed."""
    counts: dict[str, dict[int, int]] = {}
    for path in (payload / layout.study_dir("published")).glob("*/epochs.csv"):
        if json.loads((path.parent / "record.json").read_text("utf-8"))["status"] == "done":
            with path.open(encoding="utf-8", newline="") as stream:
                scores = [float(row[key]) for row in csv.DictReader(stream)]
            first = next((i for i, s in enumerate(scores) if s >= level), len(scores))
            variant, seed, _ = path.parent.name.rsplit("-", 2)
            counts.setdefault(variant, {})[int(seed[1:])] = first
    return counts


@pytest.mark.parametrize(
    ("says", "key", "level", "activations"),
    [
        ("as defined: accuracy, 0.55", "val_acc", 0.55, ("relu", "leaky")),
        ("ReLU alone", "val_acc", 0.55, ("relu",)),
        ("LeakyReLU alone", "val_acc", 0.55, ("leaky",)),
        ("balanced accuracy, 0.55", "val_balanced_accuracy", 0.55, ("relu", "leaky")),
        ("accuracy, 0.50", "val_acc", 0.50, ("relu", "leaky")),
        ("accuracy, 0.60", "val_acc", 0.60, ("relu", "leaky")),
        ("accuracy, 0.65", "val_acc", 0.65, ("relu", "leaky")),
    ],
)
def test_how_firm_faster_is(
    payload: Path, says: str, key: str, level: float, activations: tuple[str, ...]
) -> None:
    counts = count_epochs(payload, key, level)
    differences = np.array(
        [
            np.mean([counts[f"{a}-batchnorm"][s] - counts[f"{a}-dropout"][s] for a in activations])
            for s in range(1001, 1009)
        ]
    )
    interval = ttest_1samp(differences, 0.0).confidence_interval()
    means = [abs((differences * signs).mean()) for signs in product((1, -1), repeat=8)]
    p = np.mean([mean >= abs(differences.mean()) - 1e-12 for mean in means])
    seen = f"{differences.mean():.2f} [{interval.low:.2f}, {interval.high:.2f}] | {p:.2g}"
    review = (REPORT / "REVIEW.md").read_text(encoding="utf-8").replace("\N{MINUS SIGN}", "-")
    assert f"| {says} | {seen} |" in review
