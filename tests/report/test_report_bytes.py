"""The same records give the same report, byte by byte, wherever and whenever it is made."""

from __future__ import annotations

import os
import subprocess
import sys

from builders.study import Size, write_study

FORMATS = ("html", "md", "tex", "csv", "svg", "pdf")
CODE = (
    "import sys; from pathlib import Path; from wbcbench.report.publish import publish; "
    f"publish(Path(sys.argv[1]), 'runs', Path('made'), {FORMATS})"
)


def build_elsewhere(results, folder, **environment):
    """Start making every format in another folder, under another environment."""
    folder.mkdir()
    words = [sys.executable, "-c", CODE, os.path.relpath(results, folder)]
    return subprocess.Popen(words, cwd=folder, env={**os.environ, **environment})


def files(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_the_same_records_give_the_same_bytes_anywhere_and_at_any_time(tmp_path):
    results = tmp_path / "results"
    write_study(results, Size(blocks=2, images=40), failed=1)
    settings = tmp_path / "matplotlibrc"
    settings.write_text("font.size: 40\nsvg.fonttype: path\naxes.facecolor: red\n")
    here, there = tmp_path / "a", tmp_path / "deeper" / "b"
    there.parent.mkdir()
    makers = (
        build_elsewhere(results, here, PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C.UTF-8"),
        build_elsewhere(
            results, there, PYTHONHASHSEED="77", TZ="Asia/Kolkata", LC_ALL="C",
            MATPLOTLIBRC=str(settings), SOURCE_DATE_EPOCH="86400",
        ),
    )  # fmt: skip
    assert [maker.wait(timeout=550) for maker in makers] == [0, 0]
    first, second = files(here / "made" / "runs"), files(there / "made" / "runs")
    endings = {name.rpartition(".")[2] for name in first}
    assert endings == {"html", "md", "tex", "csv", "svg", "pdf", "json"}
    assert [name for name in first if first[name] != second.get(name)] == []
    assert sorted(first) == sorted(second)
