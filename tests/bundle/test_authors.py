"""What a bundle's author says: in every document alike, at any time, and checked like the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import bagit
import pytest
import typer
from pypdf import PdfReader
from typer.testing import CliRunner

from builders.bundle import StudyDesign, bundle_study
from program import wbcbench
from wbcbench.bundle import layout
from wbcbench.bundle.document import Author
from wbcbench.bundle.documents import DOCUMENTS, list_places
from wbcbench.bundle.seal import seal
from wbcbench.bundle.verify.inspect import as_text, verify
from wbcbench.bundle.write import Order, submit
from wbcbench.commands.submit import submit as submit_command
from wbcbench.compare.metric import PlannedClaim
from wbcbench.core.errors import UsageError
from wbcbench.report import PAPER
from wbcbench.study.statement import ANSWERS, SubmissionDetails

pytestmark = pytest.mark.usefixtures("sketches")

ADA, ORCID = "Ada Lovelace", "0000-0002-1825-0097"
COURSE = 'Green "AI" & Energy'
PLANNED = SubmissionDetails("Planned Author", "Planned course", "CC0-1.0", limits="As planned.")
DESIGN = StudyDesign(
    blocks=1, variants=("leaky-dropout", "relu-dropout"), epochs=2, submission=PLANNED
)
ALL = {key: f"My own words about {key} | see https://doi.org/10.5281/zenodo.1." for key in ANSWERS}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose experiment file said something else than its author says later."""
    return bundle_study(tmp_path_factory.mktemp("authors") / "results", DESIGN)


@pytest.fixture(scope="module")
def bag(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("said") / "bag"
    authors = (Author(ADA, ORCID), Author("Bob"))
    formats = ("html", "md", "pdf")
    order = Order(
        study.parent, "study", authors, "MIT", course=COURSE, out=out, answers=ALL, formats=formats
    )
    return submit(order).path


def read_words(path: Path) -> str:
    """The words of a document as its reader sees them."""
    if path.suffix == ".pdf":
        text = " ".join(page.extract_text() for page in PdfReader(path).pages)
        return " ".join(text.replace("\u200b", "").split())
    text = path.read_text(encoding="utf-8").replace("\\", "")
    return text.replace("&#34;", '"').replace("&amp;", "&")


def test_every_answer_has_one_place():
    assert sorted(key for name in DOCUMENTS for key in list_places(name)) == sorted(ANSWERS)


def test_authors_and_course_stand_in_every_document_alike(bag):
    payload, report = bag / layout.PAYLOAD, bag / layout.PAYLOAD / layout.report_dir("study")
    documents = [payload / name for name in DOCUMENTS if name != layout.LICENCE]
    files = [*documents, payload / layout.SUBMISSION, payload / layout.CRATE]
    files += [report / layout.REPORT_PAGE, report / layout.REPORT_TEXT, report / PAPER]
    for path in files:
        words = read_words(path)
        assert all(word in words for word in (ADA, "Bob", COURSE)), path
        assert "Planned" not in words, path
    info = bagit.Bag(str(bag)).info
    assert info["Contact-Name"] == f"{ADA}, Bob"
    assert info["Internal-Sender-Description"] == f"Submitted to {COURSE}"
    assert f"Copyright (c) 2026 {ADA}, Bob" in read_words(payload / layout.LICENCE)


def test_answers_fill_their_places_and_verify(bag):
    for name in DOCUMENTS:
        text = (bag / layout.PAYLOAD / name).read_text(encoding="utf-8")
        assert "[author" not in text
        assert text.count("My own words about") == len(list_places(name))
        assert all(ALL[key].replace("|", "\\|") in text for key in list_places(name))
    found = verify(bag)
    assert found.verified, as_text(found)
    assert " ".join(as_text(found).split()).endswith(
        "(13 answers of the author's own, which nothing checks)"
    )


def test_words_that_look_like_a_place_for_an_answer_are_words(tmp_path):
    words = "On [author: x] | [author]"
    pair = ("leaky-dropout", "relu-dropout")
    claim = PlannedClaim("balanced_accuracy", pair, "higher", text=f"{words} <b>")
    design = replace(DESIGN, blocks=2, claims={"better": claim})
    results = bundle_study(tmp_path / "results", design).parent
    order = Order(
        results, "study", (Author(words),), "MIT", words, words, out=tmp_path / "bag",
        answers={"limits": "a|b " * 499, "doi": "[author] | x"}, formats=("html", "md"),
    )  # fmt: skip
    bag = submit(order).path
    found = verify(bag)
    assert found.verified, as_text(found)
    assert found.remarks == ["2 answers of the author's own, which nothing checks"]
    path = bag / "data" / layout.APPENDIX
    path.write_text(path.read_text("utf-8").replace("[author: availability]", "a\\|b " * 499))
    assert seal(bag).changed == (layout.APPENDIX,)
    for name in (layout.MODEL_CARD, layout.README):
        text = (bag / "data" / name).read_text(encoding="utf-8")
        assert "\\[author: x" in text.partition("In the author's words")[2]
        assert " <b>" not in text


def command(*words: str) -> tuple[int, str, BaseException | None]:
    app = typer.Typer()
    app.command()(submit_command)
    ended = CliRunner().invoke(app, words)
    return ended.exit_code, ended.stdout, ended.exception


def test_a_statement_wins_over_the_plan_and_options_win_over_it(study, tmp_path):
    statement, bag = tmp_path / "statement.toml", tmp_path / "bag"
    statement.write_text(
        f'author = "{ADA}, {ORCID}"\ncourse = "Said later"\nethics = "None."\nimpact = ""\n'
    )
    here = ("study", "--results", str(study.parent), "--out", str(bag), "--no-verify")
    code, out, _ = command(*here, "--statement", str(statement), "--course", "Optics")
    assert code == 0
    made = json.loads((bag / "data" / layout.SUBMISSION).read_bytes())
    assert made["authors"] == [{"name": ADA, "orcid": ORCID}]
    assert (made["course"], made["licence"]) == ("Optics", "CC0-1.0")
    checklist = read_words(bag / "data" / layout.CHECKLIST)
    assert "Ethics, broader impact, safeguards: None." in checklist
    assert "those of the paper: As planned." in checklist
    missing = [key for key in ANSWERS if key not in {"ethics", "limits"}]
    words = " ".join(out.split())
    assert f"to answer (--statement, or wbcbench seal): {', '.join(missing)}." in words


def test_what_stayed_open_can_be_answered_and_sealed(study, tmp_path):
    answers = {"ethics": "None.", "limits": "Few."}
    order = Order(
        study.parent, "study", (Author(ADA),), "MIT", out=tmp_path / "bag", answers=answers,
        formats=("html", "md"),
    )  # fmt: skip
    written = submit(order)
    assert written.open == tuple(key for key in ANSWERS if key not in answers)
    path = written.path / "data" / layout.IMPACT
    path.write_text(path.read_text(encoding="utf-8").replace("[author: impact]", "Small."))
    assert seal(written.path).changed == (layout.IMPACT,)
    found = verify(written.path)
    assert found.verified, as_text(found)
    assert found.remarks == ["3 answers of the author's own, which nothing checks"]


def test_the_template_is_printed_without_a_study(tmp_path):
    code, out, _ = command("--statement-template", "--results", str(tmp_path / "none"))
    assert code == 0
    assert out.startswith("# What only its author can say")


def test_a_statement_that_is_wrong_leaves_no_bundle(study, tmp_path):
    statement = tmp_path / "statement.toml"
    statement.write_text('author = "Ada"\nethic = "none"\n"\\u001b[31m" = "x"\n')
    words = ("--results", str(study.parent), "--statement", str(statement))
    ended = wbcbench("submit", "study", *words, "--out", str(tmp_path / "bag"))
    assert ended.code == 2
    assert "did you mean 'ethics'?" in ended.err
    assert "\x1b[31m" not in ended.err
    assert list(tmp_path.iterdir()) == [statement]


def test_what_is_private_in_an_answer_is_refused(study, tmp_path):
    order = Order(
        study.parent, "study", (Author(ADA),), "MIT", out=tmp_path / "bag",
        answers={"data_source": "/home/alice/cells"},
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"answer to 'data_source' .* a home folder"):
        submit(order)
