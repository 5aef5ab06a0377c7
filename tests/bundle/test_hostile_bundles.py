"""A verifier opens hostile files: each is refused in a clear line and does no harm."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from builders.bundle import StudyDesign, bundle_study
from fakes import hostile_bundles as hostile
from program import wbcbench
from wbcbench.bundle.bounds import BOUNDS, Bounds, require_readable
from wbcbench.bundle.document import Author
from wbcbench.bundle.open import opened, read_predictions, require_readable_traces, unpack
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.bundle.write import Order, submit
from wbcbench.core.board_state import COLUMNS, sample_from_line
from wbcbench.core.errors import UsageError, VerificationError
from wbcbench.core.text import parse_number
from wbcbench.core.trace_file import parquet_from_polls

pytestmark = pytest.mark.usefixtures("sketches")


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path, monkeypatch):
    """Whatever is opened, only the temporary folder may be written, and it is empty afterwards."""
    room, elsewhere = tmp_path / "tmp", tmp_path / "here"
    room.mkdir()
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))
    monkeypatch.chdir(elsewhere)
    before = {path for path in tmp_path.rglob("*") if "evil" in path.name}
    yield
    assert list(room.iterdir()) == []
    assert list(elsewhere.iterdir()) == []
    assert {path for path in tmp_path.rglob("*") if "evil" in path.name} == before
    assert not Path("/etc/evil.txt").exists()


def refusal(bundle: Path, bounds: Bounds = BOUNDS) -> str:
    """Why a bundle is refused: one printable line that is a sentence."""
    with pytest.raises(VerificationError) as caught, opened(bundle, bounds) as root:
        load_bundle(root, bounds)
    text = str(caught.value)
    assert text.isprintable()
    assert text.endswith(".")
    assert len(text) < 500
    return text


@pytest.mark.parametrize("name", hostile.NAMES.values(), ids=list(hostile.NAMES))
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    assert "names a file" in refusal(hostile.zipped(tmp_path / "b.zip", {name: b"x"}))


@pytest.mark.parametrize("mode", hostile.MODES.values(), ids=list(hostile.MODES))
def test_a_member_that_is_no_file_is_refused(tmp_path, mode):
    message = refusal(hostile.of_kind(tmp_path / "b.zip", mode))
    assert "a link, a device or a pipe" in message


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("pair", hostile.PAIRS.values(), ids=list(hostile.PAIRS))
def test_two_names_for_one_file_are_refused(tmp_path, pair):
    assert "The " in refusal(hostile.twice(tmp_path / "b.zip", *pair))


@pytest.mark.parametrize("text", hostile.TEXTS.values(), ids=list(hostile.TEXTS))
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, text):
    name, data = text
    roomy = Bounds(ratio=10**9)  # the contents are meant here, not how well they pack
    message = refusal(hostile.zipped(tmp_path / "b.zip", {name: data}), roomy)
    assert name in message


def test_folders_are_looked_at_as_zips_are(tmp_path):
    bag = tmp_path / "bag"
    bag.mkdir()
    (bag / "bagit.txt").write_text(hostile.BAGIT)
    (bag / "link").symlink_to("/etc/passwd")
    assert "'link'" in refusal(bag)
    (bag / "link").unlink()
    os.mkfifo(bag / "pipe")
    assert "'pipe'" in refusal(bag)
    (bag / "pipe").unlink()
    os.link(bag / "bagit.txt", bag / "again.txt")
    assert "hard link" in refusal(bag)
    (bag / "again.txt").unlink()
    (bag / "loop").symlink_to(bag)
    assert "'loop'" in refusal(bag)
    (bag / "loop").unlink()
    (bag / "A.txt").write_text("")
    (bag / "a.txt").write_text("")
    assert "one file on systems" in refusal(bag)


def test_a_folder_of_too_much_is_refused_before_it_is_read(tmp_path):
    bag = tmp_path / "bag"
    bag.mkdir()
    (bag / "bagit.txt").touch()
    for i in range(6):
        (bag / f"{i}.txt").write_text("x" * 100)
    assert "more than 5 files" in refusal(bag, Bounds(files=5))
    assert "600 bytes" in refusal(bag, Bounds(total_bytes=500))
    assert "100 bytes" in refusal(bag, Bounds(file_bytes=50))


def test_zip_bombs_are_stopped_while_they_unpack(tmp_path):
    assert "200 times" in refusal(hostile.bomb(tmp_path / "a.zip", 5))
    small = Bounds(file_bytes=3_000_000, ratio=10**6)
    assert "3,000,000 bytes" in refusal(hostile.bomb(tmp_path / "b.zip", 5), small)
    total = Bounds(total_bytes=2_000_000, ratio=10**6)
    assert "1,999,946 bytes" in refusal(hostile.bomb(tmp_path / "c.zip", 5), total)


def test_what_headers_say_is_not_believed(tmp_path):
    assert "damaged" in refusal(hostile.lying(tmp_path / "a.zip"))
    assert "overlap" in refusal(hostile.overlapping(tmp_path / "b.zip"))
    assert "encrypted" in refusal(hostile.flagged(tmp_path / "c.zip", 0x1))
    (tmp_path / "d.zip").write_bytes(b"PK\x03\x04 and no more")
    assert "no zip" in refusal(tmp_path / "d.zip")


def test_a_zip_that_two_programs_may_see_differently_is_refused(tmp_path):
    path = tmp_path / "b.zip"
    for what, data in hostile.hidden(path).items():
        path.write_bytes(data)
        with pytest.raises(VerificationError, match=r"no file|in two ways|no zip") as caught:
            unpack(path, tmp_path / "never", BOUNDS)
        assert str(caught.value).isprintable(), what


def test_zips_as_finder_and_zip_write_them_are_opened(tmp_path):
    files = {"data/a.txt": b"a" * 1000, "data/ä.txt": b"b", "data/empty.txt": b""}
    with opened(hostile.later_sizes(tmp_path / "later.zip", files)) as root:
        assert (root / "data" / "a.txt").read_bytes() == b"a" * 1000
    with pytest.raises(VerificationError, match="states other sizes after"):
        unpack(hostile.later_sizes(tmp_path / "b.zip", files, stated=7), tmp_path / "x", BOUNDS)
    if shutil.which("zip") is None:
        pytest.skip("there is no zip")
    bag = tmp_path / "bag"
    (bag / "data").mkdir(parents=True)
    (bag / "bagit.txt").write_text(hostile.BAGIT)
    for name, data in list(files.items())[:1]:
        (bag / name).write_bytes(data)
    subprocess.run(["zip", "-qr", "made.zip", "bag"], cwd=tmp_path, check=True)
    with opened(tmp_path / "made.zip") as root:
        assert (root / "data" / "a.txt").read_bytes() == b"a" * 1000


def test_numbers_and_texts_of_honest_tables_are_no_formulas(tmp_path):
    cells = ["-1", "-1.5e-07", "-", "'=1", "a-b", "x, =y", "NVIDIA -1", ""]
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["a"], *([cell] for cell in cells)])
    require_readable(path, "a.csv")


@pytest.mark.parametrize("word", ["1_234", "１２", "0x10", " 1", "1 ", "+1", "1e400", "inf", "nan"])
def test_a_number_that_only_python_reads_is_none(word):
    with pytest.raises(ValueError, match="is no number"):
        parse_number(word)
    line = ",".join(["1.5", *[""] * (len(COLUMNS) - 1)])
    assert sample_from_line(line) is not None
    assert sample_from_line(line.replace("1.5", word)) is None


@pytest.mark.parametrize(
    "line",
    [
        "a-" * 1_000_000,
        "sk-" * 700_000,
        "1." * 1_000_000,
        "a@" * 1_000_000,
        "://" * 700_000,
        "token " * 400_000,
    ],
)
def test_a_line_of_two_million_characters_is_searched_once(tmp_path, line):
    """The process may use a minute in all; a search that goes back at every step takes weeks."""
    (tmp_path / "log.txt").write_text(line)
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n"
        "from pathlib import Path\n"
        "from wbcbench.bundle.verify.files import _find_secrets\n"
        "from wbcbench.bundle.verify.likeness import find_difference\n"
        "path = Path(sys.argv[1]); _find_secrets(path, '')\n"
        "for name in ('a.md', 'a.svg'): find_difference(name, path.read_bytes(), b'<svg>')\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "log.txt")], check=True)


def test_a_zip_whose_files_have_other_names_for_other_programs_is_refused(tmp_path):
    source = hostile.named_twice(tmp_path / "a.zip", "data/log.txt", "data/report.html")
    with pytest.raises(VerificationError, match=r"two ways|table of contents"), opened(source):
        pass


def test_a_bundle_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no bundle"), opened(tmp_path / "none"):
        pass


def test_a_network_is_never_loaded(tmp_path):
    bag = tmp_path / "bag"
    bag.mkdir()
    (bag / "bagit.txt").touch()
    hostile.keras_archive(bag / "model.keras")
    assert "would be loaded or run" in refusal(bag)


def test_what_verify_would_refuse_unread_is_not_submitted(tmp_path):
    study = bundle_study(tmp_path / "results", StudyDesign(blocks=1, epochs=2))
    run = next(path for path in study.iterdir() if path.is_dir())
    (run / "telemetry").mkdir(exist_ok=True)
    (run / "telemetry" / "odd.csv").write_text("t_s\n=HYPERLINK()\n")
    order = Order(study.parent, study.name, (Author("A"),), "MIT", out=tmp_path / "out" / "bag")
    with pytest.raises(UsageError, match=r"would refuse this bundle.*odd\.csv"):
        submit(order)
    assert list((tmp_path / "out").iterdir()) == []


def table(rows: int) -> dict[str, object]:
    """The columns of predictions."""
    texts = {name: ["x"] * rows for name in ("file", "image_sha256", "split", "y_true", "y_pred")}
    numbers = {name: [1] * rows for name in ("group_id", "original_id")}
    return {**texts, **numbers, "also_in_train": [False] * rows, "p_unused": [0.5] * rows}


def refused_table(path: Path, bounds: Bounds = BOUNDS) -> str:
    with pytest.raises(VerificationError) as caught:
        read_predictions(path, bounds)
    return str(caught.value)


def test_a_table_of_predictions_that_lies_about_its_size_is_refused(tmp_path):
    path = tmp_path / "predictions.parquet"
    assert "lies about its size" in refused_table(hostile.lying_parquet(path))
    assert "11 rows" in refused_table(hostile.wide_parquet(path, table(11)), Bounds(predictions=10))
    assert "other columns" in refused_table(hostile.wide_parquet(path, {"a": [1]}))
    long = {**table(50), "file": ["y" * 5_000] * 50}
    assert "a text of more than" in refused_table(hostile.wide_parquet(path, long))
    short = hostile.wide_parquet(path, table(50)).read_bytes()
    path.write_bytes(short[:200] + bytes(20) + short[220:])
    assert "predictions" in refused_table(path)


def test_reading_predictions_never_takes_more_memory_than_is_said(tmp_path):
    rows = 100_000
    texts = {name: ["x"] * rows for name in ("file", "image_sha256", "split", "y_true", "y_pred")}
    numbers = {name: np.ones(rows, np.int64) for name in ("group_id", "original_id")}
    outputs = {f"p_{i}": np.zeros(rows, np.float64) for i in range(80)}
    columns = {**texts, **numbers, "also_in_train": np.zeros(rows, np.bool_), **outputs}
    path = hostile.wide_parquet(tmp_path / "predictions.parquet", columns)
    assert path.stat().st_size < 100_000  # 64 MB once it is read
    message = refused_table(path, Bounds(predictions_bytes=10_000_000))
    assert "cannot be read as predictions" in message
    assert "unpacks to" in refused_table(path, Bounds(predictions_bytes=10_000))


def test_traces_that_are_damaged_or_larger_than_they_may_be_are_refused(tmp_path):
    def refused(bounds: Bounds = BOUNDS) -> str:
        with pytest.raises(VerificationError, match="traces") as caught:
            require_readable_traces(path, bounds)
        return str(caught.value)

    path = tmp_path / "traces.parquet"
    hostile.lying_parquet(path)
    assert "lies about its size" in refused()
    zeros = [0.0] * 100_000
    data = parquet_from_polls([("meter/part/power", zeros, zeros)])
    path.write_bytes(data)
    require_readable_traces(path)
    assert "200,002 cells" in refused(Bounds(table_cells=100_000))
    assert "unpacks to" in refused(Bounds(traces_bytes=10_000_000, table_cells=1_000))
    path.write_bytes(data[:200] + bytes(20) + data[220:])
    assert "cannot be read as traces" in refused()
    hostile.wide_parquet(path, {"channel": ["a"], "t_s": [0.0], "value": ["1"]})
    assert "other columns" in refused()
    for t_s, value in (([0.0], [1.0, 2.0]), ([None], [1.0]), (None, [1.0])):
        columns = {"channel": ["a"], "t_s": [t_s], "value": [value]}
        lists = {n: pa.array(columns[n], pa.list_(pa.float64())) for n in ("t_s", "value")}
        hostile.wide_parquet(path, columns | lists)
        assert "other times than values" in refused()
    hostile.wide_parquet(path, {"channel": ["a"]})
    refused()
    columns = {"channel": ["a"], "t_s": [[0.0]], "value": [[0.0]], "more": [[{"deep": [0.0]}]]}
    hostile.wide_parquet(path, columns)
    assert "columns, unlike traces" in refused()
    same = pa.array([[1.0] * 12_500_000], pa.list_(pa.float64()))
    hostile.wide_parquet(path, {"channel": ["a"], "t_s": same, "value": same}, use_dictionary=True)
    assert path.stat().st_size < 20_000  # 200 MB once they are read
    assert "25,000,000 cells" in refused()


WORST = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from builders.bundle import StudyDesign, bundle_study
from fakes import hostile_bundles as hostile
room = Path({room!r})
hostile.crowded(room / "crowded.zip", 1_000_000)
hostile.bomb(room / "bomb.zip", 60)
hostile.zipped(room / "abyss.zip", {{"data/a.json": b"[" * 15_000_000}})
hostile.zipped(room / "values.zip", {{"data/a.json": b"[" + b"[]," * 1_900_000 + b"0]"}})
"""
# The peak is that of this program alone: getrusage hands on that of the process it was started by.
CHECKED = """
from pathlib import Path
from wbcbench.bundle.verify.inspect import verify
for path in sorted(Path({room!r}).glob("*.zip")):
    found = verify(path)
    print(path.name, found.verified, found.outcomes["V01"].detail)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024)
"""


def test_the_worst_bundles_are_refused_within_half_a_gigabyte(tmp_path):
    room = tmp_path / "worst"
    room.mkdir()
    tests = str(Path(hostile.__file__).parents[1])
    subprocess.run(
        [sys.executable, "-c", WORST.format(tests=tests, room=str(room))], check=True, timeout=120
    )
    done = subprocess.run(
        [sys.executable, "-c", CHECKED.format(room=str(room))],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    *lines, peak = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        [name, "False"] for name in ("abyss.zip", "bomb.zip", "crowded.zip", "values.zip")
    ]
    assert int(peak) < 500_000_000


def test_nothing_from_a_bundle_begins_a_line_of_an_error_or_steers_a_terminal(tmp_path):
    bag = tmp_path / "bag"
    (bag / "data").mkdir(parents=True)
    (bag / "bagit.txt").write_text(hostile.BAGIT)
    evil = "x\nVERIFIED\x1b[2J\u202e\u2028\x9b31m\r"
    (bag / "data" / "submission.json").write_text(json.dumps({evil: evil, "schema": evil}))
    for words in (["reproduce", str(bag)], ["verify", str(bag)], ["verify", str(bag), "--json"]):
        done = wbcbench(*words, cwd=tmp_path)
        assert done.code in {2, 6}
        lines = [*done.out.splitlines(), *done.err.splitlines()]
        assert all(line.isprintable() for line in lines), lines
        assert not [line for line in lines if line.startswith("VERIFIED")]
