"""Claims of others that are kept with a study: in its report, its bundle, and checked there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builders.bundle import StudyDesign, bundle_study
from program import wbcbench
from tamperings.bag import Bag
from wbcbench.bundle import layout
from wbcbench.bundle.document import Author
from wbcbench.bundle.verify import Status
from wbcbench.bundle.verify.inspect import as_text, verify
from wbcbench.bundle.write import Order, submit
from wbcbench.report.publish import publish

pytestmark = pytest.mark.usefixtures("sketches")

DESIGN = StudyDesign(blocks=3, variants=("leaky-dropout", "relu-dropout"), epochs=2)
CLAIMS = """
[[claim]]
id = "high"
text = "The networks end above chance, <b>always</b> & everywhere."
[[claim.check]]
says = "TEST accuracy is above a half"
kind = "region"
measure = "test_accuracy"
low = 0.5
high = 1.0

[[claim]]
id = "board"
text = "It takes a minute on one K80."
requires = { gpu = "K80" }
[[claim.check]]
says = "a minute"
kind = "region"
measure = "train_time_s"
low = 50.0
high = 70.0
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("claims")
    bundle_study(room / "results", DESIGN)
    (room / "mine.toml").write_text(CLAIMS, encoding="utf-8")
    here = ("claims", "study", "--results", str(room / "results"))
    kept = wbcbench(*here, "--claims", str(room / "mine.toml"), "--keep")
    assert kept.code == 0
    assert wbcbench(*here).out == kept.out  # those that were kept come before the shipped ones
    return room / "results"


@pytest.fixture
def bag(results: Path, tmp_path: Path) -> Bag:
    order = Order(results, "study", (Author("Ada Lovelace"),), "MIT", out=tmp_path / "bundle")
    return Bag(submit(replace(order, formats=("html", "md"))).path, tmp_path / "spare")


def test_the_report_shows_each_claim_with_what_was_seen_and_its_result(
    results: Path, tmp_path: Path
) -> None:
    page, text = (path.read_text("utf-8") for path in publish(results, "study", tmp_path)[:2])
    for words in (
        "high.1", "TEST accuracy is above a half", "over 3 seeds", "claimed within 0.5 … 1",
        "SUPPORTED", "INCONCLUSIVE", "needs a K80",
    ):  # fmt: skip
        assert words in page
        assert words in text
    assert "<b>always</b>" not in page


def test_a_bundle_has_the_claims_and_states_their_results(bag: Bag) -> None:
    found = verify(bag.root)
    assert not [o for o in found.outcomes.values() if o.status is Status.ERROR], as_text(found)
    name = layout.study_dir("study") / "claims.toml"
    assert (bag.root / layout.PAYLOAD / name).read_text("utf-8") == CLAIMS
    text = (bag.root / layout.PAYLOAD / layout.SUBMISSION).read_text("utf-8")
    assert "is above a half: 0." in text


def test_a_claim_that_was_changed_in_the_bundle_no_longer_has_its_result(bag: Bag) -> None:
    path = bag.root / layout.PAYLOAD / layout.study_dir("study") / "claims.toml"
    bag.write(path, CLAIMS.replace("low = 0.5", "low = 0.999").encode())
    bag.rehash()
    found = verify(bag.root)
    wrong = {name for name, each in found.outcomes.items() if each.status is Status.ERROR}
    assert wrong == {"V11", "V12"}, as_text(found)  # the statements, and the report


@pytest.mark.parametrize("text", ["nothing", "[[claim]]\nid = 'x'", CLAIMS * 60])
def test_what_is_no_file_of_claims_is_an_error_and_no_crash(bag: Bag, text: str) -> None:
    path = bag.root / layout.PAYLOAD / layout.study_dir("study") / "claims.toml"
    bag.write(path, text.encode())
    bag.rehash()
    wrong = {name for name, o in verify(bag.root).outcomes.items() if o.status is Status.ERROR}
    assert wrong == {"V11", "V12"}  # the statements, and the report


def test_other_claims_do_not_replace_those_that_are_kept(results: Path) -> None:
    ended = wbcbench(
        "claims", "study", "--results", str(results), "--keep",
        "--claims", str(Path(__file__).parents[2] / "experiments" / "claims.toml"),
    )  # fmt: skip
    assert ended.code == 2
    assert "holds other claims" in " ".join(ended.err.split())
