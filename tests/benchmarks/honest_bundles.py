"""Are honest bundles verified, and at what cost? Studies of up to 1,000 runs.

    python tests/benchmarks/honest_bundles.py [--runs 30 100 300 1000] [--write]

A line a study: CPU seconds and peak of memory of ``submit`` and of ``verify``, as processes of
their own, the report made again included, and what ``verify`` allows itself. ``--write`` puts the
table into ``harness/VERIFICATION.md``. Exits with 1 when a study is not verified.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.bundle import StudyDesign, WallMeter, bundle_study  # noqa: E402
from builders.study import VARIANTS  # noqa: E402
from program import command  # noqa: E402
from wbcbench.bundle.open import opened  # noqa: E402
from wbcbench.bundle.verify.budget import (  # noqa: E402
    ALLOWANCE,
    compute_limits,
    measure_load,
)
from wbcbench.core.spec import RunSpec  # noqa: E402

PAGE = ROOT / "harness" / "VERIFICATION.md"
BEGIN, END = "<!-- honest-bundles: begin -->", "<!-- honest-bundles: end -->"
HEAD = "| runs | zip | `submit` | `verify` | `verify` may use | |\n|--:|--:|--:|--:|--:|---|"


def make_design(runs: int) -> StudyDesign:
    """A study of about so many runs in blocks of four; every tenth did not end well."""

    def wall_meter(spec: RunSpec) -> WallMeter | None:
        return WallMeter() if spec.order_global % 25 == 0 else None

    return StudyDesign(
        study=f"of-{runs}",
        blocks=max(runs // len(VARIANTS), 1),
        epochs=1,
        ends=lambda spec: "failed" if spec.order_global % 10 == 0 else "done",
        wall_meter=wall_meter,
    )


def run(*words: str) -> tuple[int, float, float]:
    """Exit code, CPU seconds and peak memory in MB of a command and its children."""
    with subprocess.Popen(command(*words), stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime, 1.024e-3 * usage.ru_maxrss


def measure_study(runs: int, room: Path) -> tuple[str, bool]:
    """Submit and verify one study: the table's line, and whether it was verified within limits."""
    study = bundle_study(room / "results", make_design(runs))
    bag = room / "bag.zip"
    words = (
        "--results",
        str(study.parent),
        "--author",
        "Alice Doe",
        "--licence",
        "MIT",
        "--no-verify",
    )
    submitted, submit_s, submit_mb = run("submit", study.name, *words, "--out", str(bag))
    verified, verify_s, verify_mb = run("verify", str(bag))
    with opened(bag) as folder:
        limits = compute_limits(ALLOWANCE, measure_load(folder, bag, ALLOWANCE))
    is_good = submitted == verified == 0
    line = (
        f"| {runs:,} | {bag.stat().st_size / 1e6:.1f} MB | {submit_s:.0f} s, {submit_mb:.0f} MB "
        f"| {verify_s:.0f} s, {verify_mb:.0f} MB "
        f"| {limits.cpu_s} s, {limits.memory_bytes / 1e6:.0f} MB "
        f"| {'verified' if is_good else f'exit {submitted}, {verified}'} |"
    )
    return line, is_good


def write(table: str) -> None:
    """Put the table into the page."""
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, nargs="+", default=[30, 100, 300, 1000])
    options.add_argument("--write", action="store_true")
    asked = options.parse_args()
    lines = [HEAD]
    print(HEAD, flush=True)
    is_good = True
    for runs in asked.runs:
        with tempfile.TemporaryDirectory() as room:
            line, is_verified = measure_study(runs, Path(room))
        print(line, flush=True)
        lines.append(line)
        is_good &= is_verified
    if asked.write and is_good:
        write("\n".join(lines))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
