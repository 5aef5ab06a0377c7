"""What a grader gets: a summary of a bundle, a table of several, and which of them are alike."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import builders.bundle
from builders.bundle import StudyDesign, bundle_study
from program import wbcbench
from tamperings.bag import Bag
from tamperings.trials import FORMATS
from wbcbench.bundle import layout
from wbcbench.bundle.document import Author
from wbcbench.bundle.verify import Status, budget, sheet
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.bundle.verify.files import check_bag
from wbcbench.bundle.verify.fingerprint import (
    Alike,
    Fingerprint,
    compare_fingerprints,
    cut_words,
)
from wbcbench.bundle.verify.inspect import Inspection, refuse, verify
from wbcbench.bundle.verify.sheet import Submitted
from wbcbench.bundle.verify.summary import choose_first, group_by_seed
from wbcbench.bundle.write import Order, submit
from wbcbench.commands.verify import verify as verify_command
from wbcbench.core.errors import UsageError, VerificationError
from wbcbench.core.spec import RunSpec
from wbcbench.core.text import markdown_text
from wbcbench.core.trace import Trace

pytestmark = pytest.mark.usefixtures("sketches")

TINY = StudyDesign(blocks=1, variants=("leaky-dropout", "relu-dropout"), epochs=2)
HOSTILE = "![x](http://evil) | <b> `a` www.evil.org [y]: z " + "x" * 500
ANSWER = "We chose the slope by trying four values on held-out photographs of the training set"


def bundle_of(folder: Path, design: StudyDesign, author: str = "Ada", title: str = "") -> Path:
    study, out = bundle_study(folder / "results", design), folder / "b"
    order = Order(study.parent, "study", (Author(author),), "MIT", out=out, formats=FORMATS)
    return submit(replace(order, title=title or None)).path


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("submissions")


@pytest.fixture(scope="module")
def first(room: Path) -> Path:
    return bundle_of(room / "first", TINY, "Bob | <script>", HOSTILE[:290])


@pytest.fixture(scope="module")
def found(first: Path) -> Inspection:
    return verify(first, is_compared=True)


@pytest.fixture(scope="module")
def edited(room: Path) -> Inspection:
    """The first study with its readings changed a little: the same polls, other joules."""

    def bend(_: RunSpec, trace: Trace) -> Trace:
        return replace(trace, value=[1.01 * each for each in trace.value])

    return verify(bundle_of(room / "edited", replace(TINY, bend=bend)), is_compared=True)


@pytest.fixture(scope="module")
def other(room: Path) -> Inspection:
    """An independent study of the same networks."""
    return verify(bundle_of(room / "other", replace(TINY, seed=9), "Cy"), is_compared=True)


def prints(*inspections: Inspection) -> Mapping[int, Fingerprint]:
    known = [each.fingerprint for each in inspections]
    return {place: each for place, each in enumerate(known) if each}


def told(alike: list[Alike]) -> list[tuple[str, bool]]:
    return [(each.what, each.is_expected) for each in alike]


def test_the_summary_says_who_what_it_cost_and_what_was_not_measured(found):
    text = sheet.format_markdown("b.zip", found)
    summary = found.summary
    assert summary is not None
    [(status, energy_j)] = summary.energy.energy_j.items()
    assert status == "measured"
    assert energy_j > 1000
    lines = text.splitlines()
    assert lines[0].startswith("## ")
    assert "- Result: **VERIFIED** (23 checks: " in text
    assert "- Runs: 2 planned; 2 done" in lines
    assert "- Estimated by a model, not measured: cpu" in lines
    assert "- Neither measured nor estimated: dram" in lines
    assert lines[lines.index("Not checked:") + 2] == "- nothing"
    assert sum("**follows from the runs**" in line for line in lines) == len(summary.claims) > 0
    assert sum(line.startswith("| leaky-dropout | 1 | 0.") for line in lines) == 1


def test_a_repeated_block_counts_once_as_in_the_report(tmp_path):
    made = verify(bundle_of(tmp_path, replace(TINY, blocks=2, again=(2,))))
    assert made.summary is not None
    assert made.summary.states == {"done": 5, "failed": 1}
    assert sheet.build_rows([Submitted("a", made)])[0][3] == "4 of 4"
    means = group_by_seed(made.summary.results)
    assert {label: each.runs for label, each in means.items()} == dict.fromkeys(TINY.variants, 2)
    seeds = [(run.configuration, run.seed) for run in made.summary.results]
    assert len(set(seeds)) == len(seeds)


def test_of_runs_of_one_seed_the_first_attempt_counts(found):
    first = found.summary.results[0]
    later = replace(first, run_id="again", attempt=(1, 2, 1))
    assert choose_first([later, first]) == (first,)


def test_an_accuracy_that_is_no_result_is_named_in_the_sheet(found):
    results = [replace(run, is_one_class=True) for run in found.summary.results]
    collapsed = replace(found, summary=replace(found.summary, results=tuple(results)))
    words = "(no result: one class predicted in 1 of 1 run)"
    assert words in sheet.build_rows([Submitted("a", collapsed)])[0][5]
    assert sheet.format_markdown("a", collapsed).count(words) == 2


def test_words_of_a_bundle_are_no_markup_in_a_grading_sheet(found):
    table = sheet.format_markdown_table([Submitted("a|b", found)], [])
    for text in (sheet.format_markdown("a|b", found), table):
        plain = text.replace("\\|", "").replace("\\<", "").replace("\\[", "").replace("\\]", "")
        assert "<" not in plain
        assert "](" not in plain
        assert "http://" not in plain
        assert text.replace("\n", "").isprintable()
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert {row.replace("\\|", "").count("|") for row in rows} == {8}
    assert len(markdown_text(HOSTILE)) < 400
    assert markdown_text("\u202ea\x1b[2J\n\n# b") == "�a�\\[2J \\# b"


def test_an_author_is_no_row_of_the_table(found, tmp_path, monkeypatch, capsys):
    name = "Ada\n Bob   Bob   verified   2 of 2"
    forged = replace(found, summary=replace(found.summary, authors=(name,)))
    assert "\n" not in "".join(sheet.build_rows([Submitted("a", forged)])[0])
    monkeypatch.setattr(budget, "verify_within_budget", lambda *_, **__: forged)
    verify_command([Path("x\ny   verified"), tmp_path])
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if line.strip().startswith(("Bob", "y "))]
    assert not [line for line in lines if "Bob   " in line]


def test_a_bundle_that_does_not_verify_says_so_of_its_numbers(found):
    outcomes = dict(found.outcomes)
    outcomes["V06"] = replace(outcomes["V06"], status=Status.ERROR, detail="Wrong | joules.")
    text = sheet.format_markdown("b.zip", replace(found, outcomes=outcomes))
    assert "**NOT VERIFIED**" in text
    assert "numbers above are the bundle's own, which is not verified" in text
    assert "- V06 Energy integrated again: Wrong \\| joules." in text


def test_a_copy_without_a_document_or_a_record_is_still_compared(bag, found):
    (bag.data / "MODEL_CARD.md").unlink()
    first, *_ = bag.runs()
    first.record_path.write_text("{}")
    damaged = verify(bag.root, is_compared=True)
    assert not damaged.verified
    assert damaged.fingerprint is not None
    copy = replace(damaged.fingerprint, bag="sealed again")
    alike = compare_fingerprints({0: found.fingerprint, 1: copy})
    [traces] = [each for each in alike if each.text.startswith("equal traces")]
    assert traces.text.endswith("in 1 of 1 run")
    submissions = [Submitted("a", found, is_compared=True), Submitted("b", None, "No bundle.")]
    assert sheet.count_results(submissions, []).endswith("0 pairs alike, 1 submission not compared")


def test_independent_studies_are_not_said_to_be_alike(found, other):
    alike = compare_fingerprints(prints(found, other))
    assert not [each for each in alike if not each.is_expected]


def test_copies_are_named_with_how_alike_they_are_and_in_which_runs(found, edited, other):
    alike = compare_fingerprints(prints(found, edited, other))
    accused = [each for each in alike if not each.is_expected]
    assert {(each.one, each.other) for each in accused} == {(0, 1)}
    assert {each.what for each in accused} == {"traces", "epochs"}
    [traces] = [each for each in accused if each.what == "traces"]
    assert traces.text.startswith("nearly equal traces")
    assert traces.text.endswith("in 2 of 2 runs")
    assert traces.runs[0][0] == traces.runs[0][1]
    [trained] = [each for each in alike if each.what == "predictions"]
    assert trained.is_expected
    assert "equal predictions, same seeds: to be expected" in trained.text
    names = [Submitted(name, each) for name, each in (("a", found), ("b", edited), ("c", other))]
    lines = list(sheet.describe_alike(names, alike))
    assert lines[0].startswith("a and b: ")
    assert all("b: " not in line for line in lines if line.startswith("No sign of copying"))


def test_equal_predictions_are_a_copy_only_of_unlike_trainings(found):
    mine = found.fingerprint
    fresh = [
        replace(
            run, traces=f"t{place}", lengths_s=(float(place), 1.0), moves="", pace="", outputs=""
        )
        for place, run in enumerate(mine.runs)
    ]
    theirs = replace(mine, bag="other", title="another", claims=(), runs=tuple(fresh))
    assert told(compare_fingerprints({0: mine, 1: theirs})) == [("predictions", True)]
    reseeded = [replace(run, seed=run.seed + 1, training=f"x{run.seed}") for run in fresh]
    copied = compare_fingerprints({0: mine, 1: replace(theirs, runs=tuple(reseeded))})
    assert told(copied) == [("predictions", False), ("losses", False)]
    near = [replace(run, outputs=old.outputs) for run, old in zip(reseeded, mine.runs, strict=True)]
    near = [replace(run, predictions=run.run_id, losses="") for run in near]
    close = compare_fingerprints({0: mine, 1: replace(theirs, runs=tuple(near))})
    assert told(close) == [("predictions", False)]
    assert close[0].text.startswith("nearly equal predictions")


@pytest.mark.filterwarnings("error")
def test_networks_that_diverged_or_collapsed_are_no_copies_of_each_other(tmp_path, monkeypatch):
    def collapse(spec: RunSpec, design: StudyDesign) -> NDArray[np.float64]:
        shares = predict(spec, design)
        return (
            np.eye(shares.shape[1])[[3] * len(shares)] if spec.variant == "relu-dropout" else shares
        )

    predict = builders.bundle._predict
    monkeypatch.setattr(builders.bundle, "_predict", collapse)
    ends = {"leaky-dropout": "diverged", "relu-dropout": "done"}
    design = replace(TINY, ends=lambda spec: ends[spec.variant])
    honest = [
        verify(bundle_of(tmp_path / str(seed), replace(design, seed=seed)), is_compared=True)
        for seed in (11, 12)
    ]
    assert len(prints(*honest)) == 2
    assert [each for each in compare_fingerprints(prints(*honest)) if not each.is_expected] == []


@pytest.mark.parametrize("shift", [1, 2])
def test_a_copy_without_its_first_readings_is_found_by_its_polls(found, shift):
    mine = found.fingerprint
    runs = [
        replace(run, traces=run.run_id, lengths_s=(), moves="", pace=run.pace[shift:])
        for run in mine.runs
    ]
    theirs = replace(mine, bag="other", title="", claims=(), runs=tuple(runs))
    for pair in ({0: mine, 1: theirs}, {0: theirs, 1: mine}):
        [traces] = [each for each in compare_fingerprints(pair) if not each.is_expected]
        assert traces.text.startswith("nearly equal traces")
        assert traces.text.endswith("in 2 of 2 runs")


def test_epochs_moved_by_less_than_a_poll_are_the_same_epochs(found):
    def with_lengths(bag: str, lengths_s: NDArray[np.float64]) -> Fingerprint:
        run = replace(found.fingerprint.runs[0], traces=bag, moves="", pace="", predictions="")
        runs = (replace(run, lengths_s=tuple(lengths_s.tolist()), losses="", outputs=""),)
        return replace(found.fingerprint, bag=bag, title=bag, claims=(), words=(), runs=runs)

    rng = np.random.default_rng(1)
    own, others = rng.normal(20, 0.1, (2, 10))
    moved, steady = own + rng.uniform(-1e-4, 1e-4, 10), np.full(10, 20.0)
    told_of = [own, moved, others, steady, steady + 1e-4, own[:5], own[:5] + 1e-4]
    prints_of = {place: with_lengths(str(place), each) for place, each in enumerate(told_of)}
    assert [(each.one, each.other, each.what) for each in compare_fingerprints(prints_of)] == [
        (0, 1, "epochs")
    ]


def test_runs_beside_each_other_on_one_machine_may_move_alike(found):
    mine = found.fingerprint
    runs = [replace(run, traces="", lengths_s=(), predictions="", losses="") for run in mine.runs]
    theirs = replace(mine, bag="other", title="", claims=(), runs=tuple(runs))
    assert told(compare_fingerprints({0: mine, 1: theirs})) == [("traces", False)]
    beside = tuple(replace(run, is_contended=True) for run in runs)
    pair = {0: replace(mine, runs=beside), 1: replace(theirs, runs=beside)}
    assert compare_fingerprints(pair) == []


def with_answers(found: Inspection, bag: str, *answers: str) -> Fingerprint:
    words = tuple(sorted(cut_words(answers)))
    return replace(found.fingerprint, bag=bag, title=bag, claims=(), runs=(), words=words)  # type: ignore[type-var]


HONEST = "The slope is the one of the assignment; nothing else was tried by us, or by others."


def test_answers_are_compared_by_their_words_and_short_ones_are_not(found):
    submissions = [
        with_answers(found, "a", ANSWER, "None of our own."),
        with_answers(found, "b", ANSWER.upper().replace("CHOSE", "set"), "No."),
        with_answers(found, "c", HONEST),
        with_answers(found, "d", "None of our own."),
    ]
    alike = compare_fingerprints(dict(enumerate(submissions)))
    assert [(each.one, each.other, each.what) for each in alike] == [(0, 1, "answers")]
    assert "% of the shorter ones' sequences of 4 words" in alike[0].text


def test_a_statement_that_was_handed_out_accuses_nobody_and_hides_no_copy(found):
    handed_out = [with_answers(found, bag, ANSWER) for bag in "abc"]
    alike = compare_fingerprints(dict(enumerate(handed_out)))
    assert told(alike) == [("answers", True)] * 3
    assert "a template, which most submissions share (100%" in alike[0].text
    copies = [with_answers(found, bag, ANSWER, HONEST) for bag in "de"]
    alike = compare_fingerprints(dict(enumerate([*handed_out, *copies])))
    assert [(each.one, each.other) for each in alike if not each.is_expected] == [(3, 4)]
    two_of_three = [*handed_out[:2], with_answers(found, "f", HONEST)]
    assert told(compare_fingerprints(dict(enumerate(two_of_three)))) == [("answers", False)]


def test_one_bundle_submitted_twice_is_told_as_that_alone(found):
    [same] = compare_fingerprints({0: found.fingerprint, 3: found.fingerprint})
    assert (same.one, same.other, same.what) == (0, 3, "bundle")


def test_several_are_a_row_each_and_one_that_is_refused_stops_no_other(found):
    refused = refuse("It is no zip.", "The bundle was refused unread.", strict=False)
    nothing = Submitted("c", None, "There is no bundle c.")
    submissions = [Submitted("a", found), Submitted("b", refused), nothing]
    rows = sheet.build_rows(submissions)
    assert [row[:3] for row in rows] == [
        ("a", "Bob | <script>", "verified"),
        ("b", "–", "not verified"),
        ("c", "–", "no bundle"),
    ]
    assert rows[0][3] == "2 of 2"
    assert rows[0][4].endswith(" kJ measured")
    lines = list(sheet.describe_problems(submissions))
    assert lines == ["b: V01 Bag complete: It is no zip.", "There is no bundle c."]
    document = sheet.build_document(submissions, [])
    assert document["schema"] == "wbcbench.verify-several/1"
    assert [each["result"] for each in document["submissions"]] == [row[2] for row in rows]
    assert document["submissions"][0]["summary"]["states"] == {"done": 2}
    json.dumps(document, allow_nan=False)


def test_the_command_checks_a_folder_of_submissions_with_the_worst_exit_code(tmp_path):
    for name in ("Ada", "Bob"):
        (tmp_path / "all" / name / "data").mkdir(parents=True)
        (tmp_path / "all" / name / "bagit.txt").write_text(layout.BAGIT_TEXT)
    with zipfile.ZipFile(tmp_path / "all" / "Cy.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    ended = wbcbench("verify", str(tmp_path / "all"), "--format", "json")
    assert ended.code == 6
    results = [each["result"] for each in ended.json["submissions"]]
    assert results == ["not verified", "not verified", "no bundle"]
    assert "3/3" in ended.err
    with pytest.raises(UsageError, match="x and 1 more: no bundle"):
        verify_command([Path("x"), Path("y")])
    with pytest.raises(UsageError, match="trains one bundle again, not 2"):
        verify_command([Path("x"), Path("y")], rerun=True)


@pytest.fixture
def bag(first: Path, tmp_path: Path) -> Bag:
    shutil.copytree(first, tmp_path / "bag")
    return Bag(tmp_path / "bag", tmp_path / "spare")


def test_a_table_that_a_spreadsheet_saved_is_named_with_the_cause(bag):
    table = bag.results / layout.RUNS_TABLE
    saved = table.read_bytes().replace(b"true", b"TRUE").replace(b"\n", b"\r\n")
    table.write_bytes(b"\xef\xbb\xbf" + saved)
    outcome = check_bag(load_bundle(bag.root))
    assert outcome.status is Status.ERROR
    assert "runs.csv' was changed" in outcome.detail
    assert "as where a spreadsheet saved it" in outcome.detail
    table.write_bytes(saved + "±".encode("cp1252"))
    with pytest.raises(VerificationError, match=r"not UTF-8 .* as where a spreadsheet saved it"):
        load_bundle(bag.root)


def test_a_file_whose_line_ends_alone_were_changed_is_told_as_that(bag):
    path = bag.data / layout.README
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert "but for line ends of Windows" in check_bag(load_bundle(bag.root)).detail


def test_litter_in_the_bag_changes_no_result_and_is_named(bag, found):
    for name in (".DS_Store", "data/Thumbs.db"):
        (bag.root / name).write_bytes(b"\0")
    [run, *_] = bag.runs()
    (run.path / "telemetry" / "._x.csv").write_bytes(b"t_s,extra\n1,2\n")
    here = verify(bag.root)
    assert here.verified
    assert "and 2 more" in here.outcomes["V01"].detail
    assert here.statuses == found.statuses
