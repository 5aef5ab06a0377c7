"""Runs that were deleted: a bundle tells of them, and `verify` believes no more than it must."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from pydantic import TypeAdapter

from builders.bundle import StudyDesign, bundle_study
from program import wbcbench
from tamperings.bag import Bag
from tamperings.made_again import submit_study
from tamperings.trials import TWO, errors
from wbcbench.bundle import layout
from wbcbench.bundle.document import from_json
from wbcbench.bundle.verify import Outcome, Status
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.bundle.verify.files import check_required
from wbcbench.bundle.verify.history import check_history
from wbcbench.bundle.verify.inspect import as_text, verify
from wbcbench.bundle.verify.plan import check_plan
from wbcbench.bundle.verify.records import check_seeds
from wbcbench.bundle.verify.sheet import format_markdown
from wbcbench.core.errors import UsageError
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import DELETED_RUNS, pilot_study
from wbcbench.study.cleanup import delete, find_garbage, find_removable_runs
from wbcbench.table.deleted import read_deleted

pytestmark = pytest.mark.usefixtures("sketches")

Entry = dict[str, Any]
ENDS = {3: "interrupted", 5: "failed"}
DESIGN = StudyDesign(
    blocks=4,
    variants=TWO,
    epochs=2,
    retried=True,
    again=(1,),
    pilots=1,
    ends=lambda spec: ENDS.get(spec.order_global, "done"),
)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planned study of twelve runs, three of which had no result and were deleted."""
    study = bundle_study(tmp_path_factory.mktemp("swept") / "results", DESIGN)
    garbage = find_garbage(study.parent, with_caches=False)[0]
    assert len(delete(study.parent, garbage)[0]) == 3
    return study


@pytest.fixture(scope="module")
def submitted(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return submit_study(swept.parent, swept.name, tmp_path_factory.mktemp("submitted") / "bag")


@pytest.fixture
def bag(submitted: Path, tmp_path: Path) -> Bag:
    copytree(submitted, tmp_path / "bag")
    return Bag(tmp_path / "bag", tmp_path / "spare")


@pytest.fixture
def results(swept: Path, tmp_path: Path) -> Path:
    """The study in the hands of somebody who changes it."""
    copytree(swept.parent, tmp_path / "results")
    return tmp_path / "results"


def delete_runs(results: Path, *run_ids: str) -> None:
    """Delete also what is finished."""
    items, _ = find_removable_runs(results, run_ids, force=True)
    assert len(delete(results, items)[0]) == len(run_ids)


def done(folder: Path, block: int) -> list[str]:
    """Ids of the runs of a block, in their order."""
    specs = [json.loads(path.read_bytes()) for path in folder.glob("*/spec.json")]
    places = {
        (spec["block_attempt"], spec["order_in_block"]): path.parent.name
        for spec, path in zip(specs, folder.glob("*/spec.json"), strict=True)
        if spec["block"] == block
    }
    return [places[place] for place in sorted(places)]


# --- honest ------------------------------------------------------------------------------------


def test_a_study_whose_failed_runs_were_deleted_is_verified_and_says_so(submitted: Path) -> None:
    found = verify(submitted)
    assert found.verified, as_text(found)
    detail = found.outcomes["V20"].detail
    assert found.outcomes["V20"].status is Status.WARNING
    assert detail.startswith("Deleted after they failed or were interrupted: ")
    assert detail.endswith(" measured (3 whole runs).")
    assert "3 deleted, 9 done" in format_markdown("bag", found)


def test_study_report_documents_and_grading_sheet_agree_on_the_sum(
    swept: Path, submitted: Path
) -> None:
    payload = submitted / layout.PAYLOAD
    deleted = read_deleted(payload / layout.study_dir("study"))
    assert deleted == read_deleted(swept)
    gone_j = sum(each.spent.energy_j or 0.0 for each in deleted)
    submission = from_json((payload / layout.SUBMISSION).read_bytes(), "submission.json")
    (cost,) = [claim for claim in submission.claims if claim.id == "cost"]
    assert cost.values["runs"] == 12
    assert cost.values["runs_deleted"] == cost.values["runs_wasted"] == 3
    assert cost.values["energy_deleted_measured_j"] == pytest.approx(gone_j)
    assert "without result (3 runs, 3 of them deleted since)" in cost.text
    assert submission.energy_total_j.study["measured"] == pytest.approx(
        cost.values["energy_measured_j"]
    )
    assert submission.energy_total_j.wasted["measured"] == pytest.approx(gone_j)
    assert (submission.n_runs.deleted, submission.n_runs.spoiled) == (3, 3)
    summary = verify(submitted).summary
    assert summary is not None
    assert summary.energy.energy_j == pytest.approx(submission.energy_total_j.study)
    assert summary.wasted.energy_j["measured"] == pytest.approx(gone_j)
    readme = (payload / layout.README).read_text()
    assert "3 runs that failed, stopped early or had invalid quality (3 of them deleted" in readme
    assert DELETED_RUNS in readme
    assert "That is 12 runs from" in (payload / layout.IMPACT).read_text()
    assert "**12** (9 done, 0 failed" in (payload / layout.CHECKLIST).read_text()


def test_the_sum_is_the_one_before_anything_was_deleted(submitted: Path, tmp_path: Path) -> None:
    whole = bundle_study(tmp_path / "results", DESIGN)
    bag = submit_study(whole.parent, whole.name, tmp_path / "bag")
    before, after = (
        from_json((root / layout.PAYLOAD / layout.SUBMISSION).read_bytes(), "submission.json")
        for root in (bag, submitted)
    )
    assert after.energy_total_j.study == pytest.approx(before.energy_total_j.study)
    assert after.energy_total_j.wasted == pytest.approx(before.energy_total_j.wasted)
    assert after.n_runs.spoiled == before.n_runs.spoiled
    assert not (bag / layout.PAYLOAD / layout.study_dir("study") / DELETED_RUNS).exists()


def test_runs_that_were_deleted_while_the_study_went_on_are_no_contradiction(
    results: Path, tmp_path: Path
) -> None:
    """The run after one that is no more names the one before it."""
    folder = results / "study"
    gone = read_deleted(folder)[0]
    [after] = [path for path in folder.glob("*/began.json") if gone.run_id in path.read_text()]
    for path in (after, after.with_name("record.json")):
        document = json.loads(path.read_bytes())
        document["provenance"]["after_run"] = gone.after_run
        path.write_text(json.dumps(document))
    early = json.loads((folder / DELETED_RUNS).read_bytes())
    early["runs"][0]["deleted_utc"] = document["started_utc"]
    (folder / DELETED_RUNS).write_text(json.dumps(early))
    found = verify(submit_study(results, "study", tmp_path / "bag"))
    assert found.verified, as_text(found)
    assert "names another" not in found.outcomes["V20"].detail


def test_a_run_that_is_there_in_spite_of_the_list_is_not_told_as_deleted(
    swept: Path, tmp_path: Path
) -> None:
    whole = bundle_study(tmp_path / "results", DESIGN)  # as a kill left it, before it was deleted
    (whole / DELETED_RUNS).write_bytes((swept / DELETED_RUNS).read_bytes())
    bag = submit_study(whole.parent, whole.name, tmp_path / "bag")
    assert not (bag / layout.PAYLOAD / layout.study_dir("study") / DELETED_RUNS).exists()
    assert not errors(bag)


def test_a_run_that_was_deleted_and_carried_out_again_has_its_name_twice(tmp_path: Path) -> None:
    before, after = (
        bundle_study(
            tmp_path / name / "results",
            StudyDesign(blocks=2, variants=TWO, epochs=1, ends=lambda s, ends=ends: ends[s.block]),
        )
        for name, ends in (("before", ["", "failed", "done"]), ("after", ["", "done", "done"]))
    )
    garbage = find_garbage(before.parent, with_caches=False)[0]
    assert len(delete(before.parent, garbage)[0]) == 2
    (after / DELETED_RUNS).write_bytes((before / DELETED_RUNS).read_bytes())
    assert all((after / each.run_id / "record.json").exists() for each in read_deleted(after))
    found = verify(submit_study(after.parent, after.name, tmp_path / "bag"))
    assert found.verified, as_text(found)
    assert found.outcomes["V04"].status is Status.OK
    assert "(2 whole runs)" in found.outcomes["V20"].detail


def test_pilots_may_be_deleted_and_their_joules_stay(results: Path, tmp_path: Path) -> None:
    (pilot,) = (path.parent.name for path in (results / pilot_study("study")).glob("*/spec.json"))
    delete_runs(results, pilot)
    found = verify(submit_study(results, "study", tmp_path / "bag"))
    assert found.verified, as_text(found)
    assert "Deleted pilots: " in found.outcomes["V20"].detail
    assert found.summary is not None and found.summary.pilots.energy_j["measured"] > 0


def test_what_a_spec_in_the_list_says_is_kept_and_what_else_is_private_is_not(
    results: Path, tmp_path: Path
) -> None:
    folder = results / "study"
    document = json.loads((folder / DELETED_RUNS).read_bytes())
    document["runs"][0]["host_id"] = "alice@alices-tower.local"
    (folder / DELETED_RUNS).write_text(json.dumps(document))
    bag = submit_study(results, "study", tmp_path / "bag")
    told = read_deleted(bag / layout.PAYLOAD / layout.study_dir("study"))
    assert [each.spec for each in told] == [each.spec for each in read_deleted(folder)]
    assert "alice" not in str(told)


# --- tampered with -----------------------------------------------------------------------------


def test_a_finished_run_that_was_deleted_is_missed(results: Path, tmp_path: Path) -> None:
    victim = done(results / "study", 3)[0]
    delete_runs(results, victim)
    found = errors(submit_study(results, "study", tmp_path / "bag"))
    assert f"{victim} was deleted, and it was done." in found["V20"]


def test_a_finished_run_that_is_said_to_have_failed_leaves_a_hole_that_is_told(
    results: Path, tmp_path: Path
) -> None:
    victim = done(results / "study", 2)[0]
    delete_runs(results, victim)
    path = results / "study" / DELETED_RUNS
    path.write_text(path.read_text().replace('"status": "done"', '"status": "failed"'))
    found = verify(submit_study(results, "study", tmp_path / "bag"))
    assert found.outcomes["V04"].status is Status.WARNING
    assert f"{victim} was deleted, and none is in its place." in found.outcomes["V04"].detail
    assert "(4 whole runs)" in found.outcomes["V20"].detail


def edit_entry(place: int, **changes: Any) -> Callable[[list[Entry]], None]:
    return lambda entries: entries[place].update(changes)


def edit_spec(place: int, **changes: Any) -> Callable[[list[Entry]], None]:
    """Ask for something else, under the name that this makes."""

    def edit(entries: list[Entry]) -> None:
        entries[place]["spec"].update(changes)
        rename(entries[place])

    return edit


def rename(entry: Entry) -> None:
    entry["run_id"] = TypeAdapter(RunSpec).validate_python(entry["spec"]).run_id


def add_repeat(entries: list[Entry]) -> None:
    """One more attempt at a run that was repeated, between two that are there."""
    entry = json.loads(json.dumps(entries[-1]))
    entry["spec"]["repeat"] = 3
    entry["started_utc"] = entry["started_utc"].replace(":01:00Z", ":03:00Z")
    rename(entry)
    entries.append(entry)


FORGED: dict[str, tuple[Callable[[list[Entry]], None], Callable[..., Outcome], Status, str]] = {
    "status made done": (edit_entry(0, status="done"), check_history, Status.ERROR, "it was done"),
    "status made invalid": (
        edit_entry(1, status="invalid"), check_history, Status.ERROR, "it was invalid",
    ),
    "status that none has": (edit_entry(0, status="lost"), check_history, Status.ERROR, "status"),
    "cost below nothing": (
        edit_entry(0, spent={"energy_j": -1.0, "status": "measured", "is_complete": True,
                             "time_s": 1.0}),
        check_history, Status.ERROR, "energy_j",
    ),
    "entry dropped": (lambda entries: entries.pop(0), check_history, Status.ERROR, "is missing"),
    "entry dropped, of a repeated run": (
        lambda entries: entries.pop(-1), check_plan, Status.ERROR, "number 1 is missing",
    ),
    "run before it removed from its provenance": (
        edit_entry(0, after_run="relu-dropout-s1-0a1b2c3d"),
        check_history, Status.ERROR, "which is missing",
    ),
    "deleted before it began": (
        edit_entry(0, deleted_utc="2026-01-01T00:00:00Z"),
        check_history, Status.ERROR, "before it began",
    ),
    "named otherwise than asked for": (
        edit_entry(0, run_id="relu-dropout-s1-0a1b2c3d"),
        check_seeds, Status.ERROR, "its spec was changed",
    ),
    "named as a place elsewhere": (
        edit_entry(0, run_id="../../relu-dropout-s1-0a1b2c3d"),
        check_plan, Status.ERROR, "a name that no run has",
    ),
    "of no plan": (
        edit_spec(0, seed=77), check_plan, Status.ERROR, "is in no plan: its settings are others",
    ),
    "at another place": (
        edit_spec(0, order_global=7), check_plan, Status.ERROR, "another place than in the plan",
    ),
    "begun before the plan": (
        edit_entry(0, started_utc="2026-01-01T00:00:00Z"), check_plan, Status.ERROR, "The plan is",
    ),
    "with words that nothing reads": (
        edit_entry(0, note="call me"), check_plan, Status.ERROR, "which no list of deleted runs",
    ),
    "an attempt added": (add_repeat, check_history, Status.WARNING, "names another"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORGED)
def test_a_list_that_was_edited_is_found_out(bag: Bag, kind: str) -> None:
    edit, check, status, words = FORGED[kind]
    bag.edit_json(bag.results / DELETED_RUNS, lambda document: edit(document["runs"]))
    outcome = check_or_error(check, bag)
    assert (outcome.status, words in outcome.detail) == (status, True), outcome.detail


def check_or_error(check: Callable[..., Outcome], bag: Bag) -> Outcome:
    """The outcome, as ``verify`` has it of a file that cannot be read."""
    try:
        return check(load_bundle(bag.root))
    except UsageError as error:
        return Outcome(Status.ERROR, str(error))


def test_a_list_that_was_taken_away_or_damaged_is_no_verified_bundle(bag: Bag) -> None:
    path = bag.results / DELETED_RUNS
    for text in ("[]", json.dumps({"schema": "wbcbench.deleted-runs/9", "runs": []}), None):
        bag.remove(path) if text is None else bag.write(path, text)
        bag.rehash()
        found = verify(bag.root)
        assert {"V04", "V20"} <= errors(bag.root).keys(), as_text(found)
        bag.restore()


def test_a_cost_that_was_edited_is_no_more_what_the_documents_say(bag: Bag) -> None:
    def halve(document: Any) -> None:
        document["runs"][0]["spent"]["energy_j"] /= 2

    bag.edit_json(bag.results / DELETED_RUNS, halve)
    bag.rehash()
    assert {"V11", "V12"} <= errors(bag.root).keys()


def test_a_list_elsewhere_does_not_belong_in_a_bundle(bag: Bag) -> None:
    (run, *_) = bag.runs()
    data = (bag.results / DELETED_RUNS).read_bytes()
    for path in (run.path / DELETED_RUNS, bag.data / DELETED_RUNS):
        bag.write(path, data)
    assert "does not belong" in check_required(load_bundle(bag.root)).detail


def test_a_damaged_list_is_refused_by_submit(results: Path, tmp_path: Path) -> None:
    (results / "study" / DELETED_RUNS).write_text("{")
    words = ("--results", str(results), "--author", "Ada", "--out", str(tmp_path / "bag"))
    ended = wbcbench("submit", "study", *words, "--licence", "MIT")
    assert (ended.code, DELETED_RUNS in ended.err) == (2, True), ended.err
    assert not (tmp_path / "bag").exists()
