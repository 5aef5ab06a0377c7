"""Traces: CSV while they grow, Parquet once the record is there, the same polls at any moment."""

from __future__ import annotations

import math
import shutil
import struct
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.evidence import counter, power
from builders.folder import run_folder, write_cpu_time, write_traces
from builders.run import make_spec
from paused_processes import WHOLE, Line, Paused, fork
from wbcbench.core.errors import UsageError
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.trace import Trace
from wbcbench.core.trace_file import (
    Polls,
    parquet_from_polls,
    read_csv_polls,
    read_parquet_names,
    read_parquet_polls,
)
from wbcbench.run.finalise import finalise_abandoned

NUMBERS = st.floats(width=64)


def bits(value: float | None) -> bytes | None:
    return None if value is None else struct.pack("<d", value)


def exact(traces: list[Trace] | list[Polls]) -> list[tuple[str, list[bytes], list[bytes | None]]]:
    """Everything of traces that a comparison could miss: the sign of zero, not-a-number, null."""
    polls = [(t.channel.name, t.t_s, t.value) if isinstance(t, Trace) else t for t in traces]
    return [(name, list(map(bits, t_s)), list(map(bits, value))) for name, t_s, value in polls]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run that was measured by two meters and has no record yet."""
    spec = make_spec()
    run = RunDir(tmp_path / spec.study / spec.run_id)
    run.create(spec, Local())
    traces = (counter(), power())
    run.write_channels([trace.channel for trace in traces])
    write_traces(run, traces)
    longer = run.trace_path("codecarbon").with_name("codecarbon.csv")
    longer.write_text("t_s,codecarbon/cpu\n0.1,\n0.30000000000000004,-0.0\n0.5,nan\n0.7,1e-320\n0.")
    return run


def record_of(run: RunDir) -> RunRecord:
    return RunRecord(run.run_id, run.read_spec(), "done", "then", "now", {})


@settings(max_examples=60)
@given(
    st.lists(st.tuples(NUMBERS, st.none() | NUMBERS, st.none() | NUMBERS).map(list), max_size=20)
)
def test_a_csv_file_and_its_parquet_file_hold_the_same_bits(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("traces")
    lines = [",".join("" if cell is None else repr(cell) for cell in row) for row in rows]
    (folder / "meter.csv").write_text("\n".join(["t_s,meter/a,meter/b", *lines, ""]))
    polls = read_csv_polls(folder / "meter.csv")
    timed = [row for row in rows if math.isfinite(row[0])]  # a time that is none is damage
    latest = accumulate((row[0] for row in timed), max, initial=-math.inf)
    rising = [row for row, before_s in zip(timed, latest, strict=False) if row[0] > before_s]
    finite = [[c if c is None or math.isfinite(c) else None for c in row[1:]] for row in rising]
    assert [list(row) for row in zip(*(values for _, _, values in polls), strict=True)] == finite
    (folder / "traces.parquet").write_bytes(parquet_from_polls(polls))
    assert exact(read_parquet_polls(folder / "traces.parquet")) == exact(polls)


def test_a_record_packs_the_traces_and_every_reader_finds_the_same_polls(run):
    before, growing = run.read_traces(), run.path / "trace"
    polls = [p for path in sorted(growing.glob("*.csv")) for p in read_csv_polls(path)]
    run.write_record(record_of(run))
    assert not growing.exists()
    assert run.has_traces
    assert exact(run.read_traces()) == exact(before)
    assert exact(read_parquet_polls(run.path / "traces.parquet")) == exact(polls)
    assert {len(t_s) for _, t_s, _ in polls} > {4}  # of unlike length


def test_one_channel_is_read_without_the_others(run):
    [expected] = [trace for trace in run.read_traces() if trace.channel == power().channel]
    run.write_record(record_of(run))
    [trace] = run.read_traces([power().channel.name])
    assert exact([trace]) == exact([expected])
    file = pq.ParquetFile(run.path / "traces.parquet")
    groups = [file.read_row_group(i)["channel"].unique().to_pylist() for i in range(4)]
    assert groups[0] == sorted(name for [name] in groups[1:])  # every channel, then one each


def test_a_run_that_measured_nothing_keeps_no_file_of_traces(tmp_path):
    spec = make_spec()
    run = RunDir(tmp_path / spec.study / spec.run_id)
    run.create(spec, Local())
    run.write_record(record_of(run))
    assert not run.has_traces
    assert run.read_traces() == []
    assert not (run.path / "trace").exists()


def test_traces_of_a_killed_run_stay_csv_until_it_is_finalised(run):
    assert len(run.read_traces()) == 2
    assert not (run.path / "traces.parquet").exists()


def test_a_kill_between_any_two_files_leaves_the_same_traces_and_the_next_command_packs_them(run):
    expected = exact(run.read_traces())
    spare, kills = run.path.parents[1] / "spare", 0
    shutil.copytree(run.path, spare)
    while True:
        shutil.rmtree(run.path)
        shutil.copytree(spare, run.path)
        line = Line()
        process = Paused(
            fork(lambda _: run.write_record(record_of(run)) or "done", line, run.path), line
        )
        line.parent_side()
        process.follow()
        if process.advance(kills).startswith("ended"):
            assert process.end == "ended: done"
            break
        process.kill()
        kills += 1
        assert exact(run.read_traces()) == expected
        if run.is_finished:
            finalise_abandoned(run.path.parents[1], run.path.parent.name)
            assert exact(run.read_traces()) == expected
            assert not (run.path / "trace").exists()
            assert [p.name for p in run.path.glob("*.parquet")] == ["traces.parquet"]
    assert kills > 12
    assert exact(run.read_traces()) == expected


def test_two_commands_that_pack_at_once_lose_nothing(run):
    expected = exact(run.read_traces())
    spare = run.path.parents[1] / "spare"
    run.record_path.write_bytes(b"{}")
    shutil.copytree(run.path, spare)
    for stop in range(20):
        shutil.rmtree(run.path)
        shutil.copytree(spare, run.path)
        line = Line()
        process = Paused(fork(lambda _: run.pack_traces() or "done", line, run.path), line)
        line.parent_side()
        process.follow()
        process.advance(stop)
        run.pack_traces()
        if process.is_alive:
            process.advance(WHOLE)
        run.pack_traces()
        assert exact(run.read_traces()) == expected
        assert not (run.path / "trace").exists()


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_torn_file_of_traces_is_refused_with_a_way_out(tmp_path, keep):
    run = run_folder(tmp_path)
    path = run.path / "traces.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UsageError, match=r"traces\.parquet is damaged .*Restore it") as caught:
        run.read_traces()
    assert len(str(caught.value).replace(str(path), "traces.parquet")) < 240


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("wbcbench.run.recorder", "pyarrow"),
        ("wbcbench.run.recorder", "numpy"),
        ("wbcbench.train.trainer", "pyarrow.parquet"),  # Keras itself loads pandas and pyarrow
    ],
)
def test_nothing_that_only_the_end_needs_is_loaded_before(module, library):
    program = f"import sys, {module}; sys.exit('{library}' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_polls_out_of_order_are_no_polls(tmp_path):
    path = tmp_path / "meter.csv"
    path.write_text("t_s,a\n1.0,5\n3.0,6\n3.0,7\n2.0,8\n4.0,9\n")
    assert exact(read_csv_polls(path)) == exact([("a", [1.0, 3.0, 4.0], [5.0, 6.0, 9.0])])
    disordered = [("a", [1.0, 3.0, 3.0, 2.0, 4.0], [5.0, 6.0, 7.0, 8.0, 9.0])]
    (tmp_path / "traces.parquet").write_bytes(parquet_from_polls(disordered))
    assert exact(read_parquet_polls(tmp_path / "traces.parquet")) == exact(read_csv_polls(path))


def test_a_log_of_the_processor_with_other_columns_is_no_log(run):
    write_cpu_time(run, 0.0, 5.0)
    assert len(run.read_cpu_time()) == 6
    text = run.cpu_time_path.read_text()
    run.cpu_time_path.write_text("".join(f"{line},1\n" for line in text.splitlines()))
    assert run.read_cpu_time() == []


def test_a_long_run_is_packed_piece_by_piece_in_the_order_of_time(run):
    before = {name: [] for name in ("rapl/package-0/counter", "codecarbon/cpu")}
    for place, name in enumerate(before):
        times = [0.1 * i + 0.01 * place for i in range(140_000)]
        values = [None if i % 1000 == 7 else 0.25 * i for i in range(len(times))]
        lines = (
            f"{t:.6f},{'' if v is None else repr(v)}\n" for t, v in zip(times, values, strict=True)
        )
        path = run.trace_path(name.split("/")[0])
        path.write_text(f"t_s,{name}\n{''.join(lines)}13999.999,1")  # torn by the kill
        before[name] = [(name, [round(t, 6) for t in times], values)]
    run.pack_traces()
    packed = run.path / "traces.parquet"
    for name, polls in before.items():
        assert exact(read_parquet_polls(packed, [name])) == exact(polls)
    file = pq.ParquetFile(packed)
    groups = [file.read_row_group(i).to_pydict() for i in range(1, file.num_row_groups)]
    assert {len(group["t_s"]) for group in groups} >= {65_536}
    assert max(len(group["t_s"]) for group in groups) <= 65_536
    assert all(len(set(group["channel"])) == 1 for group in groups)
    starts_s = [group["t_s"][0] for group in groups]
    assert starts_s == sorted(starts_s)


ODD = [
    "",
    "0.5,1,2",
    "0.6,x",
    "0.7,1_0",
    " 0.8,1",
    "0.9,nan",
    "1.0",
    "1.1,",
    ",5",
    "1.2,-0.0",
    "1.2,9",
]
ODD += ["1.3,1e999", "1.4,+4", "1.5,\t7", "0.1,3", "1.6,.5", "1.7,0x10", '1.8,"6"', "1.9,1e-320"]


@pytest.mark.parametrize("odd", [ODD, ["", "0.5,1,2", "1.0", "1.1,", ",5", "1.2,-0.0", "0.1,3"]])
def test_a_large_file_is_read_as_a_small_one(tmp_path, odd):
    plain = [f"{10 + 0.1 * i:.6f},{i}.125" for i in range(20_000)]
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    small.write_text("\n".join(["t_s,a", *odd, plain[0], ""]))
    large.write_text("\n".join(["t_s,a", *odd, *plain, ""]))
    [(_, times, values)], [(_, few_times, few_values)] = map(read_csv_polls, (large, small))
    count = len(few_times)
    assert len(times) == count + len(plain) - 1 > count
    assert exact([("a", times[:count], values[:count])]) == exact([("a", few_times, few_values)])


def test_files_of_older_versions_are_read(tmp_path):
    polls = [("b", [0.1, 0.2], [1.0, None]), ("a", [0.5], [-0.0]), ("never", [], [])]
    lists = pa.list_(pa.float64())
    columns = zip(("channel", "t_s", "value"), zip(*polls, strict=True), strict=True)
    kinds = {"channel": pa.string(), "t_s": lists, "value": lists}
    table = pa.table({name: pa.array(column, kinds[name]) for name, column in columns})
    path = tmp_path / "traces.parquet"
    pq.write_table(table, path, row_group_size=1)
    assert exact(read_parquet_polls(path)) == exact(polls)
    assert exact(read_parquet_polls(path, ["a"])) == exact(polls[1:2])
    assert read_parquet_names(path) == ["b", "a", "never"]
    path.write_bytes(parquet_from_polls(polls))
    assert exact(read_parquet_polls(path)) == exact(polls)
    assert read_parquet_names(path) == ["b", "a", "never"]


@pytest.mark.parametrize("row", [("a", None, 1.0), (None, 0.1, 1.0), ("a", math.inf, 1.0)])
def test_a_row_that_is_no_poll_is_damage(tmp_path, row):
    kinds = (pa.string(), pa.float64(), pa.float64())
    columns = [pa.array([cell], kind) for cell, kind in zip(row, kinds, strict=True)]
    path = tmp_path / "traces.parquet"
    pq.write_table(pa.table(columns, ["channel", "t_s", "value"]), path)
    with pytest.raises(UsageError, match=r"traces\.parquet is damaged"):
        read_parquet_polls(path)
