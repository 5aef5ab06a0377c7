"""The same records give the same report, byte by byte, wherever and whenever it is made."""

from __future__ import annotations

import os
import subprocess
import sys

from reading_reports import two_variants


def build_elsewhere(results, out, **environment):
    code = (
        "import sys; from pathlib import Path; from wbcbench.report import build; "
        "from wbcbench.report.page.drawing import to_pdf; "
        "from wbcbench.report.page.publish import publish, read; "
        "results = Path(sys.argv[1]); publish(results, 'runs', Path(sys.argv[2])); "
        "figures = [f for b in build(read(results, 'runs')).blocks for f in b.figures]; "
        "[Path(sys.argv[2], 'runs', f.name + '.pdf').write_bytes(to_pdf(f)) for f in figures]"
    )
    out.mkdir()
    env = {**os.environ, **environment}
    words = [sys.executable, "-c", code, str(results), "made"]
    subprocess.run(words, check=True, cwd=out, env=env)
    folder = out / "made" / "runs"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_records_give_the_same_bytes_anywhere_and_at_any_time(tmp_path):
    results = two_variants(tmp_path / "results")
    settings = tmp_path / "other" / "matplotlibrc"
    first = build_elsewhere(results, tmp_path / "a", PYTHONHASHSEED="1", TZ="UTC")
    settings.parent.mkdir()
    settings.write_text("font.size: 40\nsvg.fonttype: path\naxes.facecolor: red\n")
    second = build_elsewhere(
        results,
        tmp_path / "b",
        PYTHONHASHSEED="77",
        TZ="Asia/Kolkata",
        LC_ALL="C",
        MATPLOTLIBRC=str(settings),
    )
    names = {"energy-accuracy", "energy-parts", "energy-to-target", "learning-curves"}
    drawn = {f"figures/{name}.svg" for name in names} | {f"{name}.pdf" for name in names}
    assert {"report.html", "report.md", "files.json"} | drawn <= set(first)
    assert first == second
