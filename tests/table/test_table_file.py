"""``runs.csv`` as a file: its rules, its order, its bytes, and what it refuses."""

from __future__ import annotations

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from builders.machine import CODECARBON_CHANNELS
from builders.run import failed_record, make_record, make_spec, save
from wbcbench import table
from wbcbench.core.errors import UsageError
from wbcbench.core.record import Attachment, attachment_to_json, to_json
from wbcbench.core.run_folder import study_runs
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.window import WindowEnergy
from wbcbench.table import export
from wbcbench.table.columns import JOB, load_columns

COLUMNS = tuple(load_columns().values())


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_cells_are_written_as_the_rules_say(tmp_path):
    study = save(tmp_path, make_record(channels=CODECARBON_CHANNELS))
    cells = read_csv(table.write_table(study))[0]
    assert cells["synthetic"] == "false"
    assert cells["energy_gpu_train_j"] == ""
    assert cells["accuracy_leakage_free"] == repr(0.8 - 0.015)
    assert cells["started_utc"] == "2026-03-01T10:00:00Z"


def test_rows_are_sorted_by_variant_block_and_run(tmp_path):
    planned = [("relu-dropout", 1, 1), ("leaky-dropout", 2, 2)]
    planned += [("leaky-dropout", 9, 1), ("leaky-dropout", 3, 2)]
    specs = [make_spec(variant, seed, block=block) for variant, seed, block in planned]
    study = save(tmp_path, *(make_record(spec=spec) for spec in specs))
    cells = read_csv(table.write_table(study))
    keys = [(c["variant"], int(c["block"]), c["run_id"]) for c in cells]
    assert keys == sorted(keys)
    assert len(keys) == 4


def test_the_same_records_give_the_same_bytes(tmp_path):
    records = [make_record(seed=seed) for seed in (1, 2, 3)]
    first = table.write_table(save(tmp_path / "a", *records)).read_bytes()
    second = table.write_table(save(tmp_path / "b", *reversed(records))).read_bytes()
    assert first == second
    assert b"\r" not in first


def test_a_run_that_is_still_going_has_no_row(tmp_path):
    study = save(tmp_path, make_record(), make_record(seed=2))
    (study / make_spec(seed=2).run_id / "record.json").unlink()
    assert len(read_csv(table.write_table(study))) == 1


def test_a_table_of_a_newer_version_is_refused_and_left_alone(tmp_path):
    study = save(tmp_path, make_record())
    path = table.write_table(study)
    newer = path.read_bytes().replace(b"\n2.0,", b"\n3.0,")
    path.write_bytes(newer)
    with pytest.raises(UsageError, match=r"runs\.csv has schema 3\.0"):
        table.write_table(study)
    assert path.read_bytes() == newer


def test_a_record_of_a_newer_version_is_refused_and_the_table_left_alone(tmp_path):
    study = save(tmp_path, make_record())
    path = table.write_table(study)
    before = path.read_bytes()
    record = study / make_spec().run_id / "record.json"
    record.write_bytes(record.read_bytes().replace(b'"schema": "2.', b'"schema": "7.'))
    with pytest.raises(UsageError, match=r"schema 7\.\d"):
        table.write_table(study)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    study = save(tmp_path, make_record())
    (study / "runs.csv").mkdir()
    with pytest.raises(UsageError, match=r"runs\.csv cannot be written"):
        table.write_table(study)


def test_the_data_frame_has_a_type_for_every_known_column(tmp_path):
    study = save(tmp_path, make_record(), failed_record(seed=2))
    frame = export.to_frame(table.load_rows(study), COLUMNS)
    assert list(frame.columns) == list(load_columns())
    assert frame["energy_gpu_train_j"].dtype == frame["gpu_idle_after_w"].dtype == "Float64"
    assert frame["epochs_run"].dtype == "Int64"
    assert frame["synthetic"].dtype == "boolean"
    assert frame["accuracy"].isna().sum() == 1


def test_an_empty_study_is_a_header_and_nothing_else(tmp_path):
    (tmp_path / "empty").mkdir()
    assert table.load_rows(tmp_path / "empty") == []
    assert table.to_csv([]).decode().strip() == ",".join(c for c in load_columns() if c not in JOB)


def test_a_comma_in_a_name_stays_in_its_cell():
    cells = table.row(make_record())
    cells["cpu_model"] = 'a "quick", small\ncpu'
    reader = csv.DictReader(io.StringIO(table.to_csv([cells]).decode(), newline=""))
    assert next(reader)["cpu_model"] == 'a "quick", small\ncpu'


def test_commands_that_end_together_leave_every_row(tmp_path):
    """Each lists the runs, then replaces the file: the last one must not miss another's run."""
    study = save(tmp_path, make_record(seed=0))

    def finish(seed):
        save(tmp_path, make_record(seed=seed))
        table.write_table(study)

    with ThreadPoolExecutor(4) as commands:
        list(commands.map(finish, range(1, 25)))
    assert {int(row["seed"]) for row in read_csv(study / "runs.csv")} == set(range(25))


def test_load_runs_gives_a_typed_data_frame_with_units(tmp_path):
    study = save(tmp_path, make_record(), failed_record(seed=2))
    frame = table.load_runs(study)
    assert list(frame.columns) == list(load_columns())
    assert set(frame["status"]) == {"done", "failed"}
    assert frame["primary_energy_train_j"].dtype == "Float64"
    assert frame.attrs["units"]["primary_energy_train_j"] == "J"
    assert table.load_runs(str(study)).equals(frame)
    with pytest.raises(UsageError, match="no study folder"):
        table.load_runs(tmp_path / "nothing")


def test_a_large_study_leaves_no_other_file_beside_its_table(tmp_path):
    text = to_json(make_record(spec=make_spec(seed=70_000))).decode()
    for seed in range(70_000, 70_110):
        folder = tmp_path / "study" / make_spec(seed=70_000).run_id.replace("70000", str(seed))
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text("{}")
        (folder / "record.json").write_text(text.replace("70000", str(seed)))
    assert len(read_csv(table.write_table(tmp_path / "study"))) == 110
    assert [path.name for path in (tmp_path / "study").iterdir() if path.is_file()] == ["runs.csv"]


def test_a_meter_attached_later_shows_in_the_row(tmp_path):
    study = save(tmp_path, make_record())
    [run] = study_runs(tmp_path, study.name)
    channel = Channel("wall/meter", Kind.SAMPLED, Origin.MEASURED, Domain.SYSTEM)
    joules = WindowEnergy("train", channel.name, 12345.0, 1.0, 300.0, 40, 1.0)
    made = Attachment("log.csv", "ab", "W", 0.0, 0.0, "2026-03-02T00:00:00Z", channel, (joules,))
    run.attachment_path.write_bytes(attachment_to_json(made))
    assert read_csv(table.write_table(study))[0]["energy_wall_train_j"] == "12345.0"


def test_rows_keep_the_order_of_the_table_whatever_the_order_of_the_records():
    record = make_record()
    late = replace(record, run_id="z", spec=replace(record.spec, block=2))
    assert [row["run_id"] for row in table.rows([late, record])] == [record.run_id, "z"]
