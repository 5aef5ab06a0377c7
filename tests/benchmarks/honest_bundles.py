"""Are honest bundles verified, and at what cost? Studies of up to 1,000 runs.

    python tests/benchmarks/honest_bundles.py [--runs 30 100 300 1000]

Prints a line a study: its runs, CPU seconds of ``submit`` and of ``verify``, and the peak of
memory of each, as processes of their own. Exits with 1 when one is not verified.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.bundle import StudyDesign, WallMeter, bundle_study  # noqa: E402
from builders.study import VARIANTS  # noqa: E402
from program import command  # noqa: E402
from wbcbench.core.spec import RunSpec  # noqa: E402


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
    """Exit code, CPU seconds and peak memory in MB of a command."""
    with subprocess.Popen(command(*words), stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure_study(runs: int, room: Path) -> bool:
    """Submit and verify one study, and print what it cost; whether it was verified."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    study = bundle_study(room / "results", make_design(runs))
    built_s = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    bag = str(room / "bag")
    words = ("--results", str(study.parent), "--author", "Alice Doe", "--licence", "MIT")
    submitted, submit_s, submit_mb = run("submit", study.name, *words, "--out", bag)
    verified, verify_s, verify_mb = run("verify", bag)
    print(
        f"{runs:5} runs (built in {built_s:.0f} s): submit {submit_s:.0f} s CPU, {submit_mb:.0f} "
        f"MB; verify {verify_s:.0f} s CPU, {verify_mb:.0f} MB: "
        f"{'verified' if submitted == verified == 0 else f'exit {submitted}, {verified}'}",
        flush=True,
    )
    return submitted == verified == 0


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, nargs="+", default=[30, 100, 300, 1000])
    good = True
    for runs in options.parse_args().runs:
        with tempfile.TemporaryDirectory() as room:
            good &= measure_study(runs, Path(room))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
