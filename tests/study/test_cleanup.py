"""`delete` and `gc`: what goes, what stays, and that nothing else is touched."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from builders.run import failed_record, make_record, make_spec, run_dir, save
from builders.study import Size, write_study
from paused_processes import WHOLE, Line, Paused, Stops, fork
from program import Ended, command, wbcbench
from wbcbench.core.lock import HOST, machine_lock
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.run_state import ProcessIdentity, RunState, this_process
from wbcbench.data.synthetic import MARKER
from wbcbench.study import cleanup
from wbcbench.study.progress import Progress, account_study
from wbcbench.table.deleted import read_deleted

FAILED = 2


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WBCBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", str(tmp_path / "lock"))
    return tmp_path / "cache"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A planned study of eight runs, two of which failed."""
    write_study(tmp_path / "results", Size(blocks=2, images=40), failed=FAILED)
    return tmp_path / "results"


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every name below a folder, and what the files hold."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.name not in {".lock", ".sweep.lock"}
    }


def clean(name: str, results: Path, *words: str) -> Ended:
    return wbcbench(name, *words, "--results", str(results))


def statuses(results: Path) -> list[str]:
    with (results / "runs" / "runs.csv").open() as stream:
        return sorted(row["status"] for row in csv.DictReader(stream))


def killed_process() -> ProcessIdentity:
    process = subprocess.Popen(["sleep", "600"])
    process.kill()
    process.wait()
    return replace(this_process(), pid=process.pid)


def unfinished(results: Path, runner: ProcessIdentity, seed: int) -> RunDir:
    spec = make_spec(seed=seed)
    run = RunDir(results / spec.study / spec.run_id)
    run.create(spec, Local())
    run.write_state(RunState(runner, "alice", "2026-03-01T09:00:00Z", runner=runner))
    return run


def old(path: Path) -> Path:
    """A file that nobody has written for two hours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    hours_ago = time.time() - 7200
    os.utime(path, (hours_ago, hours_ago))
    return path


# --- asking ------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_nothing_goes_where_nobody_can_be_asked(results: Path, words: tuple[str, ...]) -> None:
    before = snapshot(results)
    ended = clean("gc", results, *words)
    assert (ended.code, "--yes" in ended.err, "--dry-run" in ended.err) == (2, True, True)
    assert snapshot(results) == before


def test_a_dry_run_lists_and_deletes_nothing(results: Path) -> None:
    before = snapshot(results)
    ended = clean("gc", results, "--dry-run", "--no-cache")
    assert ended.code == 0
    assert "Would delete 2 runs" in ended.out
    assert "Stays in the sum of the study: 1.64 kJ estimated (2 whole runs)." in ended.out
    document = clean("gc", results, "--dry-run", "--json").json
    assert document["schema"] == "wbcbench.gc/2"
    assert [item["what"] for item in document["would_delete"] if item["kind"] == "run"] == [
        "failed", "failed",
    ]  # fmt: skip
    assert document["deleted"] == [] and document["freed_bytes"] == 0
    assert snapshot(results) == before


def test_a_run_that_cannot_be_read_stays_and_the_way_out_is_named(results: Path) -> None:
    (record, *_) = sorted((results / "runs").glob("*/record.json"))
    record.write_text("{")
    by_hand = "To be rid of it, remove its folder by hand."
    for name, *words in (("gc",), ("delete", str(record.parent)), ("compare", "runs")):
        force = {"delete": ["--force", "--yes"], "gc": ["--yes"]}.get(name, [])
        assert by_hand in clean(name, results, *words, *force).err
    assert record.parent.is_dir()


# --- what goes ---------------------------------------------------------------------------------


def test_failed_runs_go_and_what_they_cost_stays(results: Path) -> None:
    ended = clean("gc", results, "--yes", "--no-cache")
    assert ended.code == 0, ended.err
    assert statuses(results) == ["done"] * 6
    assert len(list((results / "runs").glob("*/spec.json"))) == 6
    kept = read_deleted(results / "runs")
    assert [each.status for each in kept] == ["failed"] * FAILED
    assert sum(each.spent.energy_j or 0 for each in kept) == pytest.approx(1640)
    account = account_study([], Progress(results, "runs"), (), kept)
    assert account.wasted["deleted"].energy_j == {"estimated": pytest.approx(1640)}
    assert clean("gc", results, "--yes", "--no-cache").out == "Nothing to delete.\n"


def test_a_run_that_is_repeated_under_its_name_does_not_bring_its_cost_back(results: Path) -> None:
    (failed, *_) = [
        item for item in cleanup.find_garbage(results)[0] if item.kind == "run"
    ]  # fmt: skip
    name, before = failed.path, snapshot(failed.path)
    assert clean("delete", results, name.name, "--yes", "--force").code == 0
    assert len(read_deleted(results / "runs")) == 1
    for inside, data in before.items():  # as from a backup: it is there, so it is not deleted
        if data is not None:
            (name / inside).parent.mkdir(parents=True, exist_ok=True)
            (name / inside).write_bytes(data)
    assert read_deleted(results / "runs") == []
    assert clean("delete", results, name.name, "--yes", "--force").code == 0
    assert len(read_deleted(results / "runs")) == 1


def test_an_orphaned_run_gets_its_record_first(results: Path) -> None:
    run = unfinished(results, killed_process(), seed=77)
    listed = clean("gc", results, "--dry-run", "--json", "--no-cache").json["would_delete"]
    assert {item["what"] for item in listed} == {"failed", "orphaned"}
    (orphaned,) = [item for item in listed if item["what"] == "orphaned"]
    assert orphaned["energy_j"] is None
    assert not run.is_finished
    assert clean("gc", results, "--yes", "--no-cache").code == 0
    assert not run.path.exists()
    assert [each.status for each in read_deleted(results / "runs")].count("interrupted") == 1


def test_leftovers_of_killed_commands_go_and_young_or_foreign_files_stay(results: Path) -> None:
    study, gone = results / "runs", killed_process()
    (some_run, *_) = study.glob("*/spec.json")
    left = [
        old(study / ".runs.csv.0a1b2c3d.tmp"),
        old(some_run.parent / ".record.json.0a1b2c3d.tmp"),
        old(study / ".evil\x1b[2J\n.0a1b2c3d.tmp"),
        old(study / f".new.{gone.token}.0a1b2c3d" / "spec.json").parent,
        old(study / f".deleted.{gone.token}.0a1b2c3d" / "spec.json").parent,
    ]
    stay = [
        old(study / "notes.tmp"),
        old(study / ".notes.tmp"),
        old(study / ".notes.0a1b2c3d"),
        old(study / f".new.{this_process().token}.0a1b2c3d" / "spec.json"),
    ]
    young = study / ".plan.json.0a1b2c3d.tmp"
    young.write_bytes(b"")
    ended = clean("gc", results, "--yes", "--no-cache")
    assert ended.code == 0, ended.err
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in (*stay, young))
    assert "\x1b" not in ended.out and len(ended.out.splitlines()) < 20


def test_caches_go_unless_they_are_to_stay_and_nothing_else_in_their_folder(
    results: Path, cache: Path
) -> None:
    clean("list", results)  # fills a part of it
    ours = [
        old(cache / "pixels" / f"{'0a' * 16}-80px-cv2.raw"),
        old(cache / "listings" / f"{'0a' * 32}.json"),
        old(cache / "sensor-cards" / "GPU-0a1b2c3d.json"),
        old(cache / "pixels" / ".new.x0_1b2c3"),
        old(cache / "synthetic-cells-v1-s1-24-8" / "images" / MARKER).parents[1],
    ]
    mine = [
        old(cache / "pixels" / "holiday.raw"),
        old(cache / "thesis.tex"),
        old(cache / "studies" / "mine.jsonl"),
        old(cache / "synthetic-cells-v1-s2-24-8" / "notes.txt"),
    ]
    assert any((cache / "studies").glob("*.jsonl"))
    assert clean("gc", results, "--yes", "--no-cache").code == 0
    assert all(path.exists() for path in ours)
    ended = clean("gc", results, "--yes")
    assert ended.code == 0, ended.err
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in mine)


def test_caches_stay_while_a_run_measures_here(results: Path, cache: Path) -> None:
    kept = old(cache / "listings" / f"{'0a' * 32}.json")
    (item,) = (each for each in cleanup.find_garbage(results)[0] if each.kind == "cache")
    with machine_lock(HOST, share=False):
        ended = clean("gc", results, "--yes")
        assert (ended.code, "measures on this machine" in ended.err) == (0, True)
        assert cleanup.delete(results, [item])[0] == []
    assert kept.exists()
    assert cleanup.delete(results, [item])[0] == [item]


# --- what stays --------------------------------------------------------------------------------


def test_a_finished_run_of_a_plan_takes_force_and_no_other_does(results: Path) -> None:
    """Without one no bundle is verified; what has no result is told in the list of deleted runs."""
    single = make_record(spec=make_spec(seed=99, study="tries"))
    failed = failed_record(spec=make_spec(seed=98, study="tries"))
    save(results, single, failed)
    done = min((results / "runs").glob("relu-dropout-s1001-*")).name
    refused = clean("delete", results, single.run_id, done, "--yes")
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert run_dir(results, single).path.exists()  # all of them, or none
    swept = clean("gc", results, "--yes", "--no-cache")
    assert (swept.code, swept.err) == (0, "")
    assert "Deleted 3 runs" in swept.out and "Stays in the sum" in swept.out
    assert not run_dir(results, failed).path.exists()
    assert not (results / "tries" / "deleted-runs.json").exists()
    assert clean("delete", results, single.run_id, "--yes").code == 0
    assert clean("delete", results, done, "--yes", "--force").code == 0
    kept = read_deleted(results / "runs")
    assert [each.status for each in kept] == ["failed"] * FAILED + ["done"]
    assert [each.has_result for each in kept] == [False] * FAILED + [True]
    assert kept[-1].run_id == kept[-1].spec.run_id == done


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_run_that_goes_on_or_may_stays(results: Path, force: tuple[str, ...]) -> None:
    elsewhere = replace(this_process(), hostname="node17", boot_id="another", pid=4711)
    for runner, says in ((this_process(), "is being carried out"), (elsewhere, "node17")):
        run = unfinished(results, runner, seed=70 + len(says))
        ended = clean("delete", results, run.run_id, "--yes", *force)
        assert (ended.code, says in ended.err) == (2, True), ended.err
        swept = clean("gc", results, "--yes", "--no-cache")
        assert swept.code == 0 and str(run.path.name) in swept.err
        assert run.path.exists() and not run.is_finished


def test_a_run_whose_folder_is_locked_stays(results: Path) -> None:
    (failed, *_) = [item for item in cleanup.find_garbage(results)[0] if item.what == "failed"]
    with RunDir(failed.path).hold_lock() as is_ours:
        assert is_ours
        ended = clean("delete", results, failed.path.name, "--yes", "--force")
        assert (ended.code, "locked" in ended.err) == (2, True)
    assert failed.path.exists()


def test_no_link_is_followed(results: Path, tmp_path: Path, cache: Path) -> None:
    outside = tmp_path / "elsewhere"
    write_study(outside, Size(blocks=2, images=40), study="theirs", failed=FAILED)
    (results / "linked").symlink_to(outside / "theirs")
    failed = [item for item in cleanup.find_garbage(outside)[0] if item.what == "failed"]
    (results / "runs" / failed[0].path.name).symlink_to(failed[0].path)
    precious = old(tmp_path / "precious.txt")
    mine = next(item for item in cleanup.find_garbage(results)[0] if item.what == "failed").path
    (mine / ".lock").unlink(missing_ok=True)
    (mine / "tb").mkdir(exist_ok=True)
    (mine / "tb" / "link").symlink_to(precious)
    (mine / "tb" / "folder").symlink_to(outside)
    cache.mkdir(exist_ok=True)
    (cache / "pixels").symlink_to(outside)
    old(outside / f"{'0a' * 16}-80px-cv2.raw")
    before = snapshot(outside)
    ended = clean("gc", results, "--yes")
    assert ended.code == 0, ended.err
    assert not mine.exists()
    assert "link" in ended.err
    assert precious.read_bytes() == b"half"
    assert snapshot(outside) == before
    for name in (f"linked/{failed[1].path.name}", f"runs/{failed[0].path.name}"):
        refused = clean("delete", results, str(results / name), "--yes", "--force")
        assert refused.code == 2, (name, refused.out)
    assert snapshot(outside) == before


def test_a_lock_that_is_a_link_truncates_nothing(results: Path, tmp_path: Path) -> None:
    precious = old(tmp_path / "precious.txt")
    failed = [item.path for item in cleanup.find_garbage(results)[0] if item.what == "failed"]
    (failed[0] / ".lock").unlink(missing_ok=True)
    (failed[0] / ".lock").symlink_to(precious)
    clean("gc", results, "--yes", "--no-cache")
    assert precious.read_bytes() == b"half"


@pytest.mark.parametrize("name", ["", ".", "..", "/", "runs", "relu", "*", "../results/runs", "-1"])
def test_what_names_no_run_of_the_results_deletes_nothing(results: Path, name: str) -> None:
    before = snapshot(results)
    ended = clean("delete", results, "--yes", "--force", "--", name)
    assert (ended.code, "Traceback" in ended.err) == (2, False), ended.err
    assert snapshot(results) == before


def test_a_run_elsewhere_is_not_deleted(results: Path, tmp_path: Path) -> None:
    record = make_record(seed=3)
    save(tmp_path / "other", record)
    path = run_dir(tmp_path / "other", record).path
    ended = clean("delete", results, str(path), "--yes", "--force")
    assert (ended.code, "does not lie in a study" in ended.err) == (2, True)
    assert path.exists()


def test_a_damaged_run_is_named_and_stops_no_other(results: Path) -> None:
    (done, *_) = (results / "runs").glob("relu-dropout-s1001-*")
    (done / "record.json").write_bytes(b"{")
    ended = clean("gc", results, "--dry-run", "--no-cache")
    assert ended.code == 0
    assert "Would delete 2 runs" in ended.out and done.name in ended.err


# --- kills -------------------------------------------------------------------------------------


def test_a_delete_that_is_killed_anywhere_leaves_no_half_run_and_loses_no_cost(
    results: Path, tmp_path: Path
) -> None:
    shutil.copytree(results, tmp_path / "whole")
    names = {item.path.name for item in cleanup.find_garbage(results)[0] if item.kind == "run"}
    touches, ended = 0, ""
    while not ended.startswith("ended"):
        shutil.rmtree(results)
        shutil.copytree(tmp_path / "whole", results)

        def work(_: Stops) -> str:
            items = [each for each in cleanup.find_garbage(results)[0] if each.kind == "run"]
            cleanup.delete(results, items)
            return "done"

        line = Line()
        pid = fork(work, line, results)
        line.parent_side()
        paused = Paused(pid, line)
        paused.follow()
        ended = paused.advance(touches)
        if paused.is_alive:
            paused.kill()
        there = {path.parent.name for path in (results / "runs").glob("[!.]*/spec.json")} & names
        for name in there:
            assert snapshot(results / "runs" / name) == snapshot(tmp_path / "whole" / "runs" / name)
        costs = {each.run_id for each in read_deleted(results / "runs")}
        assert costs == names - there, touches
        touches += 1
    assert ended == "ended: done" and touches > 10
    assert touches < WHOLE
    assert clean("gc", results, "--yes", "--no-cache").code == 0
    assert not [path for path in (results / "runs").iterdir() if path.name.startswith(".d")]


def test_a_list_of_deleted_runs_that_is_damaged_is_not_replaced(results: Path) -> None:
    path = results / "runs" / "deleted-runs.json"
    swept = results.with_name("swept")
    shutil.copytree(results, swept)
    clean("gc", swept, "--yes", "--no-cache")
    other = json.loads((swept / "runs" / path.name).read_text())
    other["runs"][0]["run_id"] = "../relu-dropout-s1-0a1b2c3d"
    versions = ({"schema": "wbcbench.deleted-runs/9", "runs": []}, other)
    for text in ("{", *map(json.dumps, versions)):
        path.write_text(text)
        ended = clean("gc", results, "--yes", "--no-cache")
        assert (ended.code, "deleted-runs.json" in ended.err) == (2, True)
        assert path.read_text() == text
        assert len(list((results / "runs").glob("*/spec.json"))) == 8


@pytest.mark.parametrize(("answer", "left"), [("n", 8), ("y", 6)])
def test_on_a_terminal_the_answer_counts(results: Path, answer: str, left: int) -> None:
    ours, theirs = os.openpty()
    program = subprocess.Popen(
        command("gc", "--results", str(results), "--no-cache"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(ours, 4096)
    assert b"Delete 2 runs" in seen
    os.write(ours, f"{answer}\n".encode())
    assert program.wait(timeout=60) == 0
    os.close(ours)
    assert len(list((results / "runs").glob("*/spec.json"))) == left
