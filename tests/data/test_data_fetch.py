from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import zipfile

import pytest
from typer.testing import CliRunner

from data_folders import REAL_SET, needs_real_set, write_folder
from fakes.kaggle_server import KaggleServer, serving
from wbcbench.commands.data import app
from wbcbench.core.errors import UsageError
from wbcbench.data.fetch import PUBLISHED_HANDLE, fetch
from wbcbench.data.load import load
from wbcbench.data.read import PUBLISHED_SHA256

MIB = 1 << 20

pytest.importorskip("kagglehub", reason="the extra 'kaggle' is not installed")


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    """Return a small archive laid out as Kaggle's: the folder doubled, another set beside it.

    It is a few MiB long because kagglehub keeps only whole MiB of a transfer that breaks off.
    """
    folder = tmp_path_factory.mktemp("kaggle")
    write_folder(folder / "dataset2-master/dataset2-master/images", per_class=1)
    (folder / "dataset-master").mkdir()
    (folder / "dataset-master" / "other.bin").write_bytes(random.Random(0).randbytes(4 * MIB))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as bundle:
        for path in sorted(folder.rglob("*")):
            bundle.write(path, path.relative_to(folder))
    return packed.getvalue()


@pytest.fixture(scope="module")
def digest(archive, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("unpacked")
    zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)
    return load(folder, cache_dir=tmp_path_factory.mktemp("cache")).sha256


@pytest.fixture
def kaggle(archive, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # no account of whoever runs the tests
    with serving(KaggleServer(archive)) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def test_the_set_arrives_whole_and_stdout_stays_clean(kaggle, digest, tmp_path, capfd):
    folder = fetch(tmp_path / "data", expected_sha256=digest)
    assert folder == tmp_path / "data" / "dataset2-master"
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["dataset2-master"]
    assert load(folder, cache_dir=tmp_path / "cache").sha256 == digest
    assert capfd.readouterr().out == ""


def test_the_version_is_pinned_in_what_is_asked_for(kaggle, digest, tmp_path):
    fetch(tmp_path, expected_sha256=digest)
    (asked,) = [line for line in kaggle.requests if line.startswith("POST")]
    assert "DownloadDataset" in asked
    owner, name, _, version = PUBLISHED_HANDLE.split("/")
    assert all(word in asked for word in (owner, name, version))


def test_a_set_that_is_there_is_not_downloaded_again(kaggle, digest, tmp_path):
    first = fetch(tmp_path, expected_sha256=digest)
    kaggle.requests.clear()
    assert fetch(tmp_path, expected_sha256=digest) == first
    assert kaggle.requests == []


def test_a_transfer_that_breaks_off_is_resumed_where_it_stopped(kaggle, digest, tmp_path):
    kaggle.break_after = [MIB + 5000, MIB + 7000]
    fetch(tmp_path, expected_sha256=digest)
    ranges = [line for line in kaggle.requests if "bytes=" in line]
    assert ranges == [f"GET bytes={MIB}-", f"GET bytes={2 * MIB}-"]


def test_a_later_call_takes_up_what_an_earlier_one_left(kaggle, digest, tmp_path):
    kaggle.break_after = [2 * MIB + 6000, 0]  # the second try brings nothing, so the call gives up
    with pytest.raises(UsageError, match="Repeat the command to resume"):
        fetch(tmp_path, expected_sha256=digest)
    kaggle.requests.clear()
    fetch(tmp_path, expected_sha256=digest)
    assert f"GET bytes={2 * MIB}-" in kaggle.requests


def test_another_set_than_expected_is_refused_and_thrown_away(kaggle, tmp_path):
    with pytest.raises(UsageError, match="not the published one"):
        fetch(tmp_path / "data", expected_sha256=PUBLISHED_SHA256)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_folder_that_holds_another_set_is_refused_and_kept(kaggle, tmp_path):
    images = write_folder(tmp_path / "dataset2-master" / "images", per_class=1)
    with pytest.raises(UsageError, match="not the published one"):
        fetch(tmp_path)
    assert images.is_dir() and kaggle.requests == []


def test_an_archive_that_is_none_is_refused(kaggle, tmp_path):
    kaggle.archive = b"<html>Sign in</html>"
    with pytest.raises(UsageError, match="cannot be unpacked"):
        fetch(tmp_path)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_that_refuses_is_reported(kaggle, tmp_path, status):
    kaggle.status = status
    with pytest.raises(UsageError, match=str(status)) as refusal:
        fetch(tmp_path)
    assert "--data" in str(refusal.value)


def test_a_destination_that_cannot_be_made_is_reported(kaggle, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="could not be downloaded into"):
        fetch(tmp_path / "file" / "data")


def test_without_kagglehub_the_way_to_install_it_is_named(tmp_path):
    program = (
        "import sys; sys.modules['kagglehub'] = None\n"
        "from pathlib import Path\n"
        "from wbcbench.data.fetch import fetch\n"
        f"fetch(Path({str(tmp_path)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "pip install 'wbcbench[kaggle]'" in done.stderr


def test_the_command_refuses_another_set_with_nothing_on_stdout(kaggle, tmp_path):
    program = (
        "import sys\n"
        "from wbcbench.commands.data import app\n"
        "from wbcbench.core.errors import UsageError\n"
        "try:\n    app()\n"
        "except UsageError as error:\n    sys.exit(f'{error.exit_code}: {error}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "fetch", str(tmp_path / "d"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    assert "2: The data set in" in done.stderr and "not the published one" in done.stderr
    assert "Extracting files" in done.stderr  # kagglehub's own words


@needs_real_set
@pytest.mark.real_data
def test_the_command_prints_one_json_document_for_the_published_set(tmp_path):
    (tmp_path / "dataset2-master").symlink_to(REAL_SET / "dataset2-master")
    done = CliRunner().invoke(app, ["fetch", str(tmp_path), "--json"])
    document = json.loads(done.stdout)
    assert document["schema"] == "wbcbench.data-fetch/2"
    assert document["sha256"] == PUBLISHED_SHA256 and document["dataset_id"] == "bccd-kaggle"
