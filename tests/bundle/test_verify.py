"""``wbcbench verify``: its results for an honest bundle, and for others."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from builders.bundle import StudyDesign
from builders.machine import CODECARBON_CHANNELS
from builders.run import make_record
from program import wbcbench
from tamperings.bag import Bag
from tamperings.trials import TWO, bundle
from wbcbench import registry
from wbcbench.bundle import document, layout, rerun
from wbcbench.bundle.crate import write_zip
from wbcbench.bundle.rerun import Sameness
from wbcbench.bundle.verify import Status, report_not_checked, report_outcome
from wbcbench.bundle.verify.bundle import Bundle, load_bundle
from wbcbench.bundle.verify.energies import _check_plausible
from wbcbench.bundle.verify.files import check_bag, check_citation, check_required
from wbcbench.bundle.verify.inspect import (
    Inspection,
    Result,
    as_document,
    as_text,
    get_title,
    verify,
)
from wbcbench.bundle.verify.statements import check_rendering, check_statements
from wbcbench.commands.verify import verify as verify_command
from wbcbench.compare.metric import PlannedClaim
from wbcbench.core.errors import UsageError, VerificationError
from wbcbench.core.files import sha256_of
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import Local
from wbcbench.core.spec import RunSpec
from wbcbench.core.window import WindowEnergy

pytestmark = pytest.mark.usefixtures("sketches")

IDS = [f"V{number:02d}" for number in range(1, 24)]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Bag:
    room = tmp_path_factory.mktemp("verify")
    return Bag(bundle(StudyDesign(blocks=2, variants=TWO, epochs=2), room), room / "spare")


@pytest.fixture(scope="module")
def inspected(bag: Bag) -> Inspection:
    """What is found in it; nothing in it is written."""
    before = {path: path.stat().st_mtime_ns for path in bag.root.rglob("*")}
    found = verify(bag.root)
    assert {path: path.stat().st_mtime_ns for path in bag.root.rglob("*")} == before
    return found


@pytest.fixture
def opened(bag: Bag):
    """The bundle, put back afterwards."""
    yield bag
    bag.restore()


@pytest.mark.parametrize("word", ["mit", "My own"])
def test_a_licence_that_no_reader_of_a_citation_knows_is_named(opened, word):
    path = opened.data / "CITATION.cff"
    opened.write(path, path.read_text().replace('license: "MIT"', f'license: "{word}"'))
    outcome = check_citation(load_bundle(opened.root))
    assert outcome.status is Status.WARNING
    assert f"'{word}'" in outcome.detail


def test_an_honest_bundle_is_verified_in_a_line_a_check_and_nothing_is_written(inspected):
    assert inspected.verified
    lines = as_text(inspected).splitlines()
    checks = [line for line in lines[:-1] if not line.startswith(" " * 12)]
    assert [line.split()[1] for line in checks] == IDS
    assert re.fullmatch(r"VERIFIED +\d+ ok, \d+ warnings?, 0 errors, 0 skipped", lines[-1])
    assert lines[0].startswith("  ok    V01 Bag complete: ")
    assert {line.split()[0] for line in checks} <= {"ok", "warn"}
    assert max(map(len, lines)) <= 80


def test_a_claim_of_the_plan_is_stated_and_recomputed(tmp_path):
    same = PlannedClaim("balanced_accuracy", TWO, within=50.0, text='R & D: a < b, "no" matter.')
    less = PlannedClaim("energy_gpu_train_j", TWO, direction="lower", margin=50.0)
    design = StudyDesign(blocks=6, variants=TWO, epochs=2, claims={"same": same, "less": less})
    claimed = Bag(bundle(design, tmp_path), tmp_path / "spare")
    path = claimed.data / layout.SUBMISSION
    stated = {c.row: c for c in document.from_json(path.read_bytes(), "").claims}
    less_of = stated[f"{TWO[0]} vs {TWO[1]}: energy_gpu_train_j (claim)"]
    assert less_of.text.startswith("Claim less is not supported, because ")
    assert (less_of.values["family"], less_of.values["rope_high"]) == ("claim", -50.0)
    found = verify(claimed.root)
    assert found.verified
    words = " ".join(as_text(found).split())
    assert less_of.text in words
    assert words.index(less_of.text) < words.index("Claim same is supported, because ")
    shown = {claim["name"]: claim for claim in as_document(found)["claims"]}
    assert (shown["less"]["result"], shown["less"]["sentence"]) == ("not supported", less_of.text)
    assert shown["same"]["ci_low"] <= shown["same"]["estimate"] <= shown["same"]["ci_high"]
    readme = (claimed.data / layout.README).read_text(encoding="utf-8").replace("\\", "")
    assert f"- {less_of.text}\n" in readme
    table = claimed.results / layout.CONTRASTS
    text = table.read_text(encoding="utf-8")
    claimed.write(table, text.replace(",not supported,", ",supported,"))
    found = verify(claimed.root)
    assert not found.verified
    words = " ".join(as_text(found).split())
    assert "result = 'supported'; the records give 'not supported'" in words
    assert "Claim " not in as_text(found)
    assert found.summary is not None
    assert [(claim.text, claim.result) for claim in found.summary.claims] == [
        (f"Claim {name}: {claim.statement}.", "not checked")
        for name, claim in sorted(design.claims.items())
    ]


def test_strict_counts_warnings_as_errors(bag):
    found = verify(bag.root, strict=True)
    assert not found.verified
    assert found.warnings == 0
    assert as_text(found).splitlines()[-1].startswith("NOT VERIFIED  ")


def test_a_zip_is_checked_as_its_folder_is(bag, inspected, tmp_path):
    target = tmp_path / "bundle.zip"
    write_zip(bag.root, target, "bundle")
    before = target.read_bytes()
    assert verify(target).outcomes == inspected.outcomes
    assert target.read_bytes() == before


def test_a_bundle_that_does_not_hold_ends_with_exit_6(opened, capsys):
    run = opened.runs()[0]
    opened.edit_record(run, lambda record: record["energies"][0].update(energy_j=1.0))
    with pytest.raises(VerificationError) as caught:
        verify_command([opened.root], as_json=True)
    assert caught.value.exit_code == 6
    found = json.loads(capsys.readouterr().out)
    status = {check["id"]: check["status"] for check in found["checks"]}
    assert not found["verified"]
    assert status["V01"] == status["V06"] == "error"
    assert status["V12"] == "not_checked"


def test_a_bundle_that_is_refused_says_so_in_the_same_form(tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "bagit.txt").touch()
    (tmp_path / "odd" / "link").symlink_to("/etc/passwd")
    found = verify(tmp_path / "odd")
    assert list(found.outcomes) == IDS
    assert found.outcomes["V01"].status is Status.ERROR
    assert {each.status for name, each in found.outcomes.items() if name != "V01"} == {
        Status.NOT_CHECKED
    }
    with pytest.raises(UsageError, match="no bundle"):
        verify(tmp_path / "none")


@pytest.mark.parametrize(("by", "way_out"), [(-1, "`wbcbench submit`"), (1, "newer one")])
def test_a_bundle_of_another_format_is_refused_with_the_way_out(opened, by, way_out):
    name, _, number = layout.SCHEMA.rpartition("/")
    path = opened.data / layout.SUBMISSION
    opened.edit_json(path, lambda d: d.update(schema=f"{name}/{int(number) + by}"))
    first, *others = verify(opened.root).outcomes.values()
    assert first.status is Status.ERROR
    assert way_out in first.detail
    assert len(first.detail) < 240
    assert {outcome.status for outcome in others} == {Status.NOT_CHECKED}
    with pytest.raises(UsageError, match=way_out):
        document.from_json(path.read_bytes(), layout.SUBMISSION)


def test_words_from_a_bundle_cannot_steer_a_terminal():
    found = Inspection({"V01": report_outcome("", ["\x1b[2J<script>\r\nOK"])})
    text = as_text(found)
    assert text.replace("\n", "").isprintable()
    assert len(text.splitlines()) == 2


def test_what_is_left_out_for_one_reason_stands_in_one_line():
    left_out = dict.fromkeys(("V02", "V03", "V04"), report_not_checked("It was refused unread."))
    found = Inspection({"V01": report_outcome("", ["It is no zip."]), **left_out})
    _, rest, _ = as_text(found).splitlines()
    assert rest == "  skip  V02 to V04: It was refused unread."


def test_html_in_texts_stays_text(opened):
    """Author and title are a third party's; what is made of them again is compared, not shown."""
    evil = "<script>alert(1)</script>"
    opened.edit_json(opened.data / "submission.json", lambda d: d.update(title=evil))
    opened.rehash()
    found = verify(opened.root)
    assert not found.verified
    assert found.outcomes["V11"].status is Status.ERROR


def forge_report(bag: Bag, words: str) -> None:
    """Put a claim into the page and its text, and make every digest fit."""
    for name in (layout.REPORT_PAGE, layout.REPORT_TEXT):
        path = bag.report / name
        text = path.read_text(encoding="utf-8")
        at = text.index("</main>") if name == layout.REPORT_PAGE else len(text)
        bag.write(path, f"{text[:at]}<p>{words}</p>\n{text[at:]}")


@pytest.mark.parametrize("name", ["source", "matplotlib"])
def test_what_a_bundle_says_of_its_program_switches_no_check_off(opened, name):
    """One field of twelve zeros, and a report that says what no run gives."""
    opened.edit_json(
        opened.data / layout.SUBMISSION, lambda d: d["renderer"].update({name: "0" * 12})
    )
    opened.refit()
    assert verify(opened.root).verified, "nothing else was changed"
    forge_report(opened, "Leaky ReLU needs 40 % less energy (p < 0.001).")
    opened.refit()
    found = verify(opened.root)
    assert found.result is Result.NOT_VERIFIED
    assert "40 % less" in found.outcomes["V12"].detail


def test_numbers_as_another_processor_gives_them_are_the_same(opened):
    """The last of seventeen digits, in a table and in the numbers behind a figure."""
    for path in (opened.results / layout.CONTRASTS, opened.report / "summary.csv"):
        text = path.read_text(encoding="utf-8")
        number = re.search(r"\d+\.\d{12,}", text)
        assert number is not None
        opened.write(path, text.replace(number[0], repr(float(number[0]) * (1 + 1e-13)), 1))
    opened.refit()
    assert verify(opened.root).outcomes["V11"].status is Status.OK
    assert verify(opened.root).outcomes["V12"].status is Status.OK


@pytest.mark.parametrize(
    ("by", "way_out"), [(None, "`wbcbench submit`"), (1, "wbcbench '0.1.0' wrote the bundle")]
)
def test_a_bundle_of_other_rules_says_which_program_has_them(opened, by, way_out):
    def change(submission):
        del submission["rules"]
        if by is not None:
            submission["rules"] = layout.RULES + by

    opened.edit_json(opened.data / layout.SUBMISSION, change)
    opened.refit()
    found = verify(opened.root)
    assert found.result is Result.NOT_VERIFIED
    assert way_out in found.outcomes["V01"].detail


@pytest.mark.parametrize(
    "name",
    [
        "data/ERRATUM.md", "data/reports/study/report2.html", "data/reports/other/report.html",
        "data/results/study/better.csv", "data/code/other.tar", "data/.hidden.txt", "note.txt",
        "data/results/study/{run}/better.csv", "data/results/study/{run}/telemetry/a/b.csv",
        "data/results/study-pilot/better.csv",
    ],
)  # fmt: skip
def test_a_file_that_nothing_makes_does_not_belong_in_a_bundle(opened, name):
    path = opened.root / name.format(run=opened.runs()[0].run_id)
    opened.write(path, "Energy: 40 % less (p < 0.001)\n")
    opened.refit()
    if "/" not in name:
        manifest = opened.root / layout.TAG_MANIFEST
        manifest.write_text(f"{manifest.read_text()}{sha256_of(path)}  {name}\n")
    found = load_bundle(opened.root)
    outcomes = [check_bag(found), check_required(found)]
    if name.startswith("data/reports/study/"):
        outcomes.append(check_rendering(found))
    errors = [o.detail for o in outcomes if o.status is Status.ERROR]
    assert any(path.name in detail for detail in errors), errors


@pytest.mark.parametrize("table", ["runs.csv", "contrasts.csv", "files.csv", "summary.csv"])
@pytest.mark.parametrize("what", ["column", "row"])
def test_a_table_has_no_row_and_no_column_of_its_own(opened, table, what):
    [path, *_] = opened.data.rglob(table)
    lines = path.read_text(encoding="utf-8").splitlines()
    more = (
        [f"{line},{'saving' if i == 0 else 40}" for i, line in enumerate(lines)]
        if what == "column"
        else [*lines, lines[-1].replace("a", "b", 1)]
    )
    opened.write(path, "\n".join(more) + "\n")
    opened.refit()
    assert verify(opened.root).result is Result.NOT_VERIFIED


@pytest.mark.parametrize("place", [layout.CITATION, layout.CRATE, layout.README, "bag-info.txt"])
def test_authors_are_the_same_everywhere(opened, place):
    path = opened.root / place if place == "bag-info.txt" else opened.data / place
    text = path.read_text(encoding="utf-8")
    opened.write(path, text.replace("Alice Doe", "Mallory Roe"))
    opened.refit()
    if place == "bag-info.txt":
        path.write_text(path.read_text(encoding="utf-8").replace("Alice Doe", "Mallory Roe"))
        tags = [(name, sha256_of(opened.root / name)) for name in layout.TAG_FILES]
        (opened.root / layout.TAG_MANIFEST).write_text(layout.format_manifest(tags))
    assert verify(opened.root).result is Result.NOT_VERIFIED


def test_answers_of_the_author_are_told_and_nothing_else_of_a_document_may_change(opened):
    path = opened.data / layout.CHECKLIST
    text = path.read_text(encoding="utf-8")
    answered = text.replace(
        "- Assumptions stated: [author: assumptions]", "- Assumptions stated: None, *really*."
    )
    opened.write(path, answered)
    opened.refit()
    found = verify(opened.root)
    assert found.verified, as_text(found)
    assert "1 answer of the author's own, which nothing checks" in found.outcomes["V11"].detail
    last = " ".join(as_text(found).split())
    assert last.endswith("0 skipped (1 answer of the author's own, which nothing checks)")
    for forged in (
        "None.\n\n## Result\n\n40 % less",
        "None.\n- Energy: 40 % less",
        "![](https://example.org/verified.png)",
        "See [the report](https://example.org/better.html).",
        "See [the report][1].",
    ):
        path.write_text(text.replace("[author: ethics]", forged))
        opened.refit()
        assert verify(opened.root).outcomes["V11"].status is Status.ERROR


def test_a_schema_is_compared_and_never_carried_out(opened):
    """Two kilobytes that would keep a validator busy for ever."""
    twice = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}
    bomb = {"$ref": "#/$defs/a0", "$defs": twice | {"a40": {"pattern": "^(a+)+$"}}}
    for path in sorted((opened.data / "schemas").iterdir()):
        opened.write(path, json.dumps(bomb))
        opened.refit()
        outcome = check_required(load_bundle(opened.root))
        assert outcome.status is Status.ERROR
        assert path.name in outcome.detail


def test_a_licence_is_one_identifier_and_nothing_more(opened):
    words = "MIT\n\nERRATUM: 40 % less"
    opened.edit_json(opened.data / layout.SUBMISSION, lambda d: d.update(licence=words))
    [problem] = document.find_invalid_words(load_bundle(opened.root).document)
    assert "no SPDX identifier" in problem


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"title": "A\nB"}, "is not one line"),
        ({"authors": [{"name": "A", "orcid": "40 % less"}]}, "is no ORCID"),
        ({"authors": [{"name": "A", "orcid": "0000-0002-1825-0098"}]}, "is no ORCID"),
        ({"authors": []}, "has no author"),
        ({"Erratum: 40 % less": None}, "does not belong there"),
    ],
)
def test_the_words_of_an_author_are_names_and_nothing_more(opened, change, words):
    opened.edit_json(opened.data / layout.SUBMISSION, lambda d: d.update(change))
    outcome = check_statements(load_bundle(opened.root))
    assert outcome.status is Status.ERROR
    assert words in outcome.detail


def test_a_field_that_no_record_has_is_refused(opened):
    run = opened.runs()[0]
    opened.edit_record(run, lambda record: record["energies"][0].update(saving_pct=40))
    opened.refit()
    found = verify(opened.root)
    assert "'saving_pct', which no record has" in found.outcomes["V03"].detail


def test_a_slow_counter_may_put_a_second_into_half_a_second():
    slow = replace(CODECARBON_CHANNELS[0], limit_w=8.0, update_s=1.0)
    record = make_record(channels=(slow,))
    short = WindowEnergy("idle_cold", slow.name, 6.5, None, 13.0, 1, 1.0)
    assert list(_check_plausible(replace(record, energies=(short,)))) == []
    long = replace(short, energy_j=650.0)
    assert "13 W" in next(_check_plausible(replace(record, energies=(long,))))


def test_every_check_has_a_name_of_its_own():
    assert list(registry.VERIFICATIONS) == IDS
    assert len(set(registry.VERIFICATIONS.values())) == len(IDS)
    assert len({get_title(name) for name in IDS}) == len(IDS)


# --- training again ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(bag: Bag) -> Bundle:
    return load_bundle(bag.root)


def trainer(change) -> rerun.Train:
    """Trains nothing: the bundle's own record, changed."""

    def train(spec: RunSpec, local: Local) -> RunRecord:
        assert spec.meters == ("auto",)
        assert local.data is None
        return change(spec)

    return train


def test_a_run_that_gives_the_same_epochs_and_scores_is_reproduced(loaded):
    records = rerun.select_runs(loaded, None, None)
    assert {record.spec.block for record in records} == {1}
    same = {record.spec.variant: record for record in records}
    found = rerun.rerun(loaded, records, None, trainer(lambda spec: same[spec.variant]))
    assert [each.sameness for each in found] == [Sameness.REPRODUCED] * 2
    assert [each.energy_sameness for each in found] == [Sameness.WITHIN] * 2
    assert "reproduced" in found[0].text
    assert "First weights and order of images are the same." in found[0].text


@pytest.mark.parametrize(("program", "is_different"), [("same", True), ("other", False)])
def test_other_first_weights_are_different_where_the_software_is_the_same(
    loaded, program, is_different
):
    record, *_ = rerun.select_runs(loaded, None, None)
    assert record.model is not None
    software = {} if program == "same" else {"program_sha256": "ef" * 32}
    other = replace(
        record,
        model=replace(record.model, first_weights_sha256="ab" * 32),
        provenance={**record.provenance, **software},
    )
    [again] = rerun.rerun(loaded, [record], None, trainer(lambda _: other))
    assert again.is_different is is_different
    assert "First weights differ" in again.text


def test_accuracy_may_differ_by_twice_what_seeds_differ_by(loaded):
    [record] = rerun.select_runs(loaded, None, rerun.select_runs(loaded, 2, None)[0].run_id)
    [same] = rerun.rerun(loaded, [record], None, trainer(lambda _: record))
    slack = same.tolerance
    assert slack is not None

    def off(by: float) -> rerun.Again:
        assert record.test is not None
        test = replace(record.test, balanced_accuracy=record.test.balanced_accuracy + by)
        other = replace(record, test=test, channels=())
        return rerun.rerun(loaded, [record], None, trainer(lambda _: other))[0]

    assert off(0.9 * slack).sameness is Sameness.WITHIN
    assert off(1.1 * slack).sameness is Sameness.DIFFERENT
    assert "not compared" in off(0.0).energy


def test_a_block_or_run_that_is_not_there_is_named_with_those_that_are(loaded):
    with pytest.raises(UsageError, match="it has: 1, 2"):
        rerun.select_runs(loaded, 7, None)
    with pytest.raises(UsageError, match="no done run of the bundle 'x'"):
        rerun.select_runs(loaded, None, "x")
    with pytest.raises(UsageError, match="add --rerun"):
        verify_command([Path("x")], block=1)


@pytest.mark.tensorflow
def test_a_real_run_of_a_bundle_is_trained_again(finished, cells, tmp_path):
    """Synthetic images: the bundle is verified as such, and its run can be repeated."""
    results, _ = finished
    bag = tmp_path / "bag"
    sent = wbcbench(
        "submit", "runs", "--results", str(results), "--author", "Ada", "--licence", "MIT",
        "--allow-synthetic", "--no-verify", "--out", str(bag),
    )  # fmt: skip
    assert sent.code == 0, sent.err
    found = wbcbench("verify", str(bag), "--rerun", "--json", "--data", str(cells))
    assert found.code == 0, found.err
    [again] = found.json["rerun"]
    assert again["sameness"] == "reproduced"
    assert again["accuracy"] == again["accuracy_again"]
    assert found.json["remarks"] == ["synthetic: practice, no result to quote"]
    assert again["drawn_sameness"] == "reproduced"
