"""What is kept of runs between commands gives what their records give, or is not believed."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from builders.machine import CODECARBON_CHANNELS, GPU_MACHINE
from builders.run import failed_record, make_record, make_spec, run_dir, save
from builders.study import draw
from wbcbench import table
from wbcbench.core import cache
from wbcbench.core.cache import KeptValues
from wbcbench.core.errors import UsageError
from wbcbench.core.record import Attachment, attachment_to_json, to_json
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.window import WindowEnergy
from wbcbench.table import merge, summary
from wbcbench.table.derive import spent
from wbcbench.table.view import Run

KINDS = [
    make_record(),
    make_record(seed=2, channels=CODECARBON_CHANNELS),
    make_record(seed=3, channels=GPU_MACHINE, provenance={"cpu_model": 'a "quick", small\ncpu'}),
    failed_record(seed=4),
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache that no other test has filled; each command would begin with nothing in memory."""
    monkeypatch.setenv("WBCBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(summary, "_READ", {})
    return tmp_path / "cache"


def forget():
    """As a new process begins."""
    summary._READ.clear()


def count_read(monkeypatch):
    """The names of the runs whose records are read from now on."""
    names, read = [], RunDir.read_record

    def note(run):
        names.append(run.run_id)
        return read(run)

    monkeypatch.setattr(RunDir, "read_record", note)
    return names


def attach(run, energy_j):
    channel = Channel("wall/meter", Kind.SAMPLED, Origin.MEASURED, Domain.SYSTEM)
    energy = WindowEnergy("train", channel.name, energy_j, 1.0, 300.0, 40, 1.0)
    attachment = Attachment(
        "log.csv", "ab", "W", 0.0, 0.0, "2026-03-02T00:00:00Z", channel, (energy,)
    )
    run.attachment_path.write_bytes(attachment_to_json(attachment))


def test_what_is_kept_gives_the_cells_of_the_record_exactly(tmp_path, monkeypatch):
    study = save(tmp_path, *KINDS)
    wanted = sorted((table.row(record) for record in KINDS), key=lambda row: row["run_id"])
    for _ in range(2):
        forget()
        found = sorted(map(dict, table.load_rows(study)), key=lambda row: row["run_id"])
        assert found == wanted
        assert [list(map(type, row.values())) for row in found] == [
            list(map(type, row.values())) for row in wanted
        ]
    forget()
    names = count_read(monkeypatch)
    for run in summary.summarise_study(study).runs:
        record = next(record for record in KINDS if record.run_id == run.run_id)
        assert run.spec == record.spec
        assert run.summary.spent == spent(Run(record))
        assert dict(run.origins) == dict(Run(record).origins)
    assert names == []


def test_an_attachment_that_is_added_or_replaced_counts_at_once(tmp_path):
    study = save(tmp_path, make_record())
    run = study_runs(tmp_path, study.name)[0]
    assert table.load_rows(study)[0]["energy_wall_train_j"] is None
    for energy_j in (500.0, 600.0):
        attach(run, energy_j)
        assert table.load_rows(study)[0]["energy_wall_train_j"] == energy_j
    run.attachment_path.unlink()
    assert table.load_rows(study)[0]["energy_wall_train_j"] is None


def test_a_record_that_was_edited_is_read_again(tmp_path):
    study = save(tmp_path, make_record())
    assert table.load_rows(study)[0]["accuracy"] == 0.8
    path = study_runs(tmp_path, study.name)[0].record_path
    path.write_bytes(path.read_bytes().replace(b'"accuracy": 0.8,', b'"accuracy": 0.7,'))
    assert table.load_rows(study)[0]["accuracy"] == 0.7
    path.write_text("{")
    with pytest.raises(UsageError, match="is not a run record"):
        table.load_rows(study)


def test_a_copy_of_a_folder_is_not_known_by_the_name_of_the_first(tmp_path):
    study = save(tmp_path, make_record())
    table.load_rows(study)
    run = study_runs(tmp_path, study.name)[0]
    run.path.rename(study / "leaky-dropout-s7-12345678")
    with pytest.raises(UsageError, match="was copied or renamed"):
        table.load_rows(study)


def test_what_another_version_kept_is_not_believed(tmp_path, monkeypatch):
    study = save(tmp_path, make_record())
    table.load_rows(study)
    forget()
    monkeypatch.setattr(cache, "CODE", "another")
    names = count_read(monkeypatch)
    assert table.load_rows(study)[0]["accuracy"] == 0.8
    assert len(names) == 1


@pytest.mark.parametrize(
    "spoil",
    [b"", b"{", b"[1, 2]\n", b"\xff\n[", b"123\n", b"[[1], 2, 3]\n", b'["x", [], {}]\n' * 900],
)
def test_what_is_torn_or_foreign_in_the_cache_costs_time_and_changes_nothing(
    tmp_path, own_cache, spoil
):
    study = save(tmp_path, *KINDS)
    wanted = table.load_rows(study)
    [path] = own_cache.rglob("*.jsonl")
    kept = path.read_bytes()
    path.write_bytes(kept[: len(kept) // 2] + spoil)
    for _ in range(2):
        forget()
        assert table.load_rows(study) == wanted


def test_where_nothing_can_be_kept_everything_is_read(tmp_path, own_cache):
    own_cache.write_text("a file where the folder should be")
    study = save(tmp_path, *KINDS)
    for _ in range(2):
        forget()
        assert len(table.load_rows(study)) == len(KINDS)


def test_what_several_keep_at_once_is_all_kept(tmp_path):
    def keep(number):
        kept = KeptValues(tmp_path)
        kept.keep(f"run {number}", [[number]], number)
        kept.save()

    KeptValues(tmp_path).save()
    keep(0)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(1, 60)))
    kept = KeptValues(tmp_path)
    assert [kept.take(f"run {number}", [[number]]) for number in range(60)] == [*range(60)]


def test_what_is_kept_of_folders_that_are_gone_is_removed(tmp_path, own_cache):
    for name in ("gone", "here"):
        (tmp_path / name).mkdir()
        kept = KeptValues(tmp_path / name)
        kept.keep("run", [], 1)
        if name == "here":
            (tmp_path / "gone").rmdir()
        kept.save()
    assert len([*own_cache.rglob("*.jsonl")]) == 1


def test_many_runs_are_worked_out_by_several_processes(tmp_path, monkeypatch):
    study = save(tmp_path, *draw(4))
    monkeypatch.setattr(summary, "_RUNS_WORTH_A_PROCESS", 5)
    monkeypatch.setattr(summary, "usable_cores", lambda: 3)
    broken = study_runs(tmp_path, study.name)[3].record_path
    whole = broken.read_bytes()
    broken.write_bytes(b"{}")
    with pytest.raises(UsageError, match=r"record\.json is not a run record"):
        table.load_rows(study)
    broken.write_bytes(whole)
    forget()
    names = count_read(monkeypatch)
    assert len(table.load_rows(study)) == 16
    assert names == [broken.parent.name]  # the others were read by children, the time before


def test_one_run_more_costs_the_table_a_row(tmp_path, monkeypatch):
    study = save(tmp_path, *KINDS[:-1])
    table.write_table(study)
    forget()
    names = count_read(monkeypatch)
    save(tmp_path, KINDS[-1])
    path = table.write_table(study)
    assert names == [KINDS[-1].run_id]
    assert path.read_bytes() == table.to_csv(table.load_rows(study))


@pytest.mark.parametrize("change", ["table", "record", "attachment", "removed", "version"])
def test_a_table_that_is_not_of_these_records_is_written_anew(tmp_path, monkeypatch, change):
    study = save(tmp_path, *KINDS)
    path = table.write_table(study)
    run = study_runs(tmp_path, study.name)[0]
    if change == "table":
        path.write_bytes(path.read_bytes().replace(b",0.8,", b",0.9,"))
    elif change == "record":
        record = replace(run.read_record(), ended_utc="2026-03-01T11:11:11Z")
        run.record_path.write_bytes(to_json(record))
    elif change == "attachment":
        attach(run, 500.0)
    elif change == "removed":
        run.path.rename(tmp_path / "elsewhere")
    else:
        monkeypatch.setattr(cache, "CODE", "another")
        path.write_bytes(path.read_bytes().replace(b",0.8,", b",0.9,"))
    save(tmp_path, make_record(spec=make_spec("relu-dropout", 8)))
    table.write_table(study)
    wanted = [table.row(each.read_record()) for each in study_runs(tmp_path, study.name)]
    wanted.sort(key=lambda row: (row["variant"], row["block"], row["run_id"]))
    assert path.read_bytes() == table.to_csv(wanted)


def test_processes_that_end_runs_of_one_study_at_once_leave_every_row(tmp_path):
    study = save(tmp_path, make_record(seed=0))
    table.write_table(study)
    code = "import sys; from pathlib import Path; from wbcbench import table; " + (
        "run = Path(sys.argv[2]); run.rename(run.with_name('record.json')); "
        "table.write_table(Path(sys.argv[1]))"
    )
    waiting = []
    for seed in range(1, 7):
        save(tmp_path, make_record(seed=seed))
        run = run_dir(tmp_path, make_record(seed=seed))
        aside = run.record_path.with_name("aside")
        run.record_path.rename(aside)
        waiting.append([sys.executable, "-c", code, str(study), str(aside)])
    processes = [subprocess.Popen(words) for words in waiting]
    assert [process.wait(timeout=120) for process in processes] == [0] * 6
    rows = (study / "runs.csv").read_text().splitlines()
    assert len(rows) == 1 + 7
    assert (study / "runs.csv").read_bytes() == table.to_csv(table.load_rows(study))


def test_what_a_damaged_line_says_of_a_run_is_worked_out_again(tmp_path, own_cache):
    study = save(tmp_path, *KINDS)
    wanted = table.load_rows(study)
    [path] = own_cache.rglob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"primary":', b'"primary":1,"x":'))
    forget()
    assert table.load_rows(study) == wanted


def test_a_program_that_was_replaced_while_it_ran_keeps_nothing(tmp_path, own_cache, monkeypatch):
    study = save(tmp_path, make_record())
    monkeypatch.setattr(cache, "_stamp_code", lambda: "the new version")
    table.write_table(study)
    assert [*own_cache.rglob("*.jsonl")] == []


def test_what_is_attached_while_the_table_is_written_counts_in_the_next(tmp_path, monkeypatch):
    study = save(tmp_path, make_record())
    run, load = study_runs(tmp_path, study.name)[0], table.load_rows

    def load_and_be_late(folder):
        rows = load(folder)
        if not run.has_attachment:
            attach(run, 500.0)
        return rows

    monkeypatch.setattr(table, "load_rows", load_and_be_late)
    path = table.write_table(study)
    assert path.read_bytes() == table.to_csv(load(study))
    assert b",500.0," in path.read_bytes()


def test_a_copy_of_a_run_that_changed_while_it_was_copied_is_read_itself(tmp_path, monkeypatch):
    study = save(tmp_path, make_record())
    run, copytree = study_runs(tmp_path, study.name)[0], merge.shutil.copytree

    def copy_late(*words, **options):
        attach(run, 500.0)
        return copytree(*words, **options)

    monkeypatch.setattr(merge.shutil, "copytree", copy_late)
    merge.merge_studies([study], tmp_path / "both")
    assert table.load_rows(tmp_path / "both")[0]["energy_wall_train_j"] == 500.0


@pytest.mark.parametrize("word", ["a\rb", "a\r\nb", "a\nb", 'a "b", c', "x" * 140_000])
def test_a_row_more_changes_no_other_whatever_their_cells_hold(tmp_path, word):
    first = make_record(provenance={"cpu_model": word})
    study = save(tmp_path, first)
    table.write_table(study)
    save(tmp_path, make_record(seed=2))
    path = table.write_table(study)
    assert path.read_bytes() == table.to_csv([table.row(first), table.row(make_record(seed=2))])


def test_a_table_that_is_a_link_to_nowhere_is_written_each_time(tmp_path):
    study = save(tmp_path, make_record())
    (study / "runs.csv").symlink_to("/dev/null")
    for _ in range(2):
        assert table.write_table(study).is_symlink()


def test_folders_that_vanish_or_may_not_be_read_cost_no_command(tmp_path, monkeypatch):
    study = save(tmp_path, make_record())
    scan = os.scandir

    def vanish(path):
        if str(path).endswith("trace"):
            raise FileNotFoundError(path)
        return scan(path)

    monkeypatch.setattr("os.scandir", vanish)
    assert len(table.load_rows(study)) == 1


def test_processes_that_help_end_with_the_command_that_asked_them(tmp_path, monkeypatch):
    study = save(tmp_path, *draw(4))
    monkeypatch.setattr(summary, "_RUNS_WORTH_A_PROCESS", 5)
    monkeypatch.setattr(summary, "usable_cores", lambda: 3)
    children, start = [], summary._start_child
    monkeypatch.setattr(
        summary, "_start_child", lambda *words: children.append(start(*words)) or children[-1]
    )

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(summary.Summaries, "_work_out", stop)
    with pytest.raises(KeyboardInterrupt):
        table.load_rows(study)
    assert [child.poll() is not None for child in children] == [True, True]


def test_where_no_process_can_be_started_this_one_does_all(tmp_path, monkeypatch):
    study = save(tmp_path, *draw(4))
    monkeypatch.setattr(summary, "_RUNS_WORTH_A_PROCESS", 5)
    monkeypatch.setattr(summary, "usable_cores", lambda: 3)
    monkeypatch.setattr("sys.executable", "")
    assert len(table.load_rows(study)) == 16
