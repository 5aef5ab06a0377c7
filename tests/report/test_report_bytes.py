"""The same records give the same report, byte by byte, wherever and whenever it is made."""

from __future__ import annotations

import os
import subprocess

from builders.study import Size, write_study
from fakes.user_settings import spoil_settings
from program import command

FORMATS = "html,md,tex,csv,svg,pdf"


def build_elsewhere(results, folder, **environment):
    """Start making every format in another folder, under another environment."""
    words = ("report", "runs", "--results", os.path.relpath(results, folder), "--format", FORMATS)
    env = {**os.environ, **environment}
    return subprocess.Popen(command(*words, "--out", "made"), cwd=folder, env=env)


def files(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_the_same_records_give_the_same_bytes_anywhere_at_any_time_and_for_any_user(tmp_path):
    results = tmp_path / "results"
    write_study(results, Size(blocks=2, images=40), failed=1)
    plain = tmp_path / "plain"
    plain.mkdir()
    variables = spoil_settings(tmp_path / "user") | {"LC_ALL": "C"}
    spoilt = tmp_path / "user" / "here"
    makers = (
        build_elsewhere(results, plain, PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C.UTF-8"),
        build_elsewhere(results, spoilt, **variables),
    )
    assert [maker.wait(timeout=550) for maker in makers] == [0, 0]
    first, second = files(plain / "made" / "runs"), files(spoilt / "made" / "runs")
    endings = {name.rpartition(".")[2] for name in first}
    assert endings == {"html", "md", "tex", "csv", "svg", "pdf", "json"}
    assert [name for name in first if first[name] != second.get(name)] == []
    assert sorted(first) == sorted(second)
