"""The published study that comes with the repository: verified, whole, and as the README tells it.

`make published` makes its bundle and its report again from the bundle's own evidence.
"""

from __future__ import annotations

import csv
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from program import wbcbench
from wbcbench.bundle import layout
from wbcbench.report.publish import MANIFEST_FILE

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "results" / "published.zip"
REPORT = ROOT / "reports" / "published"
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_BYTES = 6_000_000
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
    assert ended.out.splitlines()[-1].startswith("VERIFIED")


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
    assert {row["git_dirty"] for row in rows} == {"False"}
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
    other = [n for n in names if (inside / n).read_bytes() != (REPORT / n).read_bytes()]
    assert not [name for name in other if name.name != MANIFEST_FILE]


def test_the_readme_shows_its_comparison(payload: Path) -> None:
    assert ask(payload, "compare", "published").out.strip() in README


def test_the_readme_gives_each_claim_its_result_with_the_intervals(payload: Path) -> None:
    lines = README.splitlines()
    claims = ask(payload, "claims", "published", "--json").json["claims"]
    assert [claim["id"] for claim in claims] == ["C1", "C2", "C3", "C4", "C5", "C6"]
    for claim in claims:
        (line,) = [line for line in lines if line.startswith(f"| {claim['id']} ")]
        assert claim["text"] in line
        assert f"**{claim['result']}**" in line
        for check in claim["checks"]:
            if check["decides"] and check["ci_low"] is not None:
                seen = "{estimate:.3g} [{ci_low:.3g}, {ci_high:.3g}]".format(**check)
                assert seen in line, (claim["id"], seen)
