"""Run a folder of cases that once broke the program, and judge what each prints now.

    python tests/fuzz/cases.py FOLDER [NAME ...]

A case is a folder with a ``README`` and a ``cmd.sh``, which works in a copy of its folder on the
studies of ``$REPO/results``. Cases use the words and the studies of the first edition: the script
makes studies of these names and says the commands in today's words. What is right is said here, in
``RIGHT``. A case that is not known here is only seen to leave no traceback. Exits with 1 when one
does not behave.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from builders.bundle import StudyDesign, bundle_study  # noqa: E402

LIMIT_S = 240
LOG_BEFORE_S = 60  # a log begins so long before the run
STUDIES = ("quick", "published-short")
OLD_RUN, OLD_COPIED = "leaky-dropout-s1-efe025da", "leaky-batchnorm-s1001-ac45c0ac"
TODAY = (
    ("--meters synthetic", "--meters simulated"),
    ('Meter("synthetic"', 'Meter("simulated"'),
    ("m.headline.energy_j", "m.energy.energy_j"),
    ("m.headline, m.verdict, [c.code for c in m.cautions]", "m.energy, m.quality, m.warnings"),
    (" --channel modelled", ""),
    ("grep -A1 unreadable", "grep -i -A1 'damaged\\|unreadable\\|not.*image'"),
    ("results/runs/*/log.txt", "results/runs/*/log.txt 2>/dev/null"),
)


@dataclass(frozen=True)
class Right:
    """What a case must print, and must not, as patterns over its output and errors."""

    wanted: tuple[str, ...]
    unwanted: tuple[str, ...] = ()


ENDS_WELL = Right((r"rc=0",), (r"rc=[1-9]",))
RIGHT = {
    "att-epoch-decimal-comma": Right((r"^train [\d.]+",)),
    "att-pipe-digest": Right((r"sha256.*SHA",), (r"e3b0c442",)),
    "att-relative-seconds": Right((r"error: ",), (r"e\+09", r"^train \d")),
    "att-thousands-tab": Right((r"error: .*--decimal",), (r"^train \d",)),
    "closed-stderr-run": Right((r"rc=0", r"^runs$")),
    "closed-stdout-list": ENDS_WELL,
    "copied-run-report": Right((r"\(copy\)",), (r"^leaky-batchnorm-s\d+-[0-9a-f]{8}$",)),
    "cwd-queue-py": ENDS_WELL,
    "cwd-random-run": ENDS_WELL,
    "deep-documents": Right((r"rc=2",)),
    "export-column-twice": Right((r"twice|x\.parquet",)),
    "export-over-symlink": Right((r"link\.csv -> ", r"^seed$"), (r"^old$",)),
    "jpeg-cut-and-closed": Right((r"1 problem found",)),
    "jpeg-zeroed-middle": Right((r"1 problem found",)),
    "keras-json-floatx": Right((r"SAME LOSS",)),
    "licence-not-spdx": Right((r"license: \"?MIT|SPDX",), (r"license: \"?mit",)),
    "locale-koi8": ENDS_WELL,
    "locale-latin1": ENDS_WELL,
    "lock-two-tmpdirs": Right((r"Another wbcbench run|rA.*:[1-9](.|\n)*rB.*:[1-9]",)),
    "merge-into-any-name": Right((r"error: (.|\n)*error: (.|\n)*error: ",), (r"^outside$",)),
    "meter-fork-exit": Right((r"energy_j=\d+",), (r"energy_j=None", r"invalid")),
    "meter-gpus-int": Right((r"GPU 0 was asked for",), (r"pydantic", r"Nothing can be measured")),
    "monitor-tmp-full": Right((r"rc=0|mount: .*(permission|denied|must be superuser)",)),
    "mplbackend-report": ENDS_WELL,
    "name-control-characters": Right((r"red",), (r"\^\[\[31m", r"^WRONG nothing")),
    "name-not-utf8-run": Right((r"z\\+(x|udc)e9",), (r"surrogates not allowed",)),
    "nohup-monitor": ENDS_WELL,
    "pyproject-tool-no-table": Right((r"rc=[02]",)),
    "runs-csv-cp1252": Right((), (r"Unicode", r"_csv")),
    "set-on-array-of-tables": Right((r"rc=2", r"run")),
    "stdout-full": Right((r"rc=2", r"error: ")),
    "stdout-noise-meter": ENDS_WELL,
    "stdout-noise-monitor": ENDS_WELL,
    "verify-inner-folder": Right((r"VERIFIED|error: ",), (r"FAIL",)),
    "zip-of-finder": Right((r"\[x\] V0[1-3]|error: ",), (r"FAIL", r"/tmp/")),
}


def make_repository(room: Path) -> Path:
    """A folder with studies of the names that cases use: measured GPUs, none of them trained."""
    results = room / "repository" / "results"
    for number, name in enumerate(STUDIES, start=1):
        bundle_study(results, StudyDesign(study=name, blocks=3, epochs=2, seed=number))
    shutil.copytree(ROOT / "results" / "example", results / "example")
    return results.parent


def prepare(case: Path, room: Path, repository: Path) -> Path:
    """A copy of a case in today's words, its log moved to the example's time."""
    own = room / case.name
    shutil.copytree(case, own, copy_function=shutil.copyfile)
    own.chmod(0o755)
    (example,) = (repository / "results" / "example").glob("leaky-*")
    copied = sorted((repository / "results" / "quick").glob("leaky-batchnorm-*"))[0]
    for path in [p for p in own.rglob("*") if p.suffix in {".sh", ".py"}]:
        text = path.read_text().replace(OLD_RUN, example.name).replace(OLD_COPIED, copied.name)
        for old, new in TODAY:
            text = text.replace(old, new)
        path.write_text(text)
    if (own / "log.csv").exists():
        pair = json.loads((example / "record.json").read_text())["provenance"]["clock_pair"]
        move_log(own / "log.csv", pair["utc_s"] - LOG_BEFORE_S)
    return own


def move_log(log: Path, start_s: float) -> None:
    """Let a log of readings a second apart begin at another time."""
    header, *lines = log.read_text().splitlines()
    for number, line in enumerate(lines):
        t_s = int(start_s) + number
        moment = datetime.fromtimestamp(t_s, UTC)
        moved = re.sub(r"^\d{10}", str(t_s), line)
        lines[number] = re.sub(r"^\d{4}-[^Z]*Z", f"{moment:%Y-%m-%dT%H:%M:%SZ}", moved)
    log.write_text("\n".join([header, *lines, ""]))


def run_case(own: Path, repository: Path) -> str:
    """What a case prints, with errors among it."""
    space = own.parent / f"{own.name}-home"
    (space / "tmp").mkdir(parents=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": path,
        "REPO": str(repository),
        "TMPDIR": str(space / "tmp"),
        "WBCBENCH_LOCK_DIR": str(space),
    }
    environment.pop("WBCBENCH_RESULTS", None)
    try:
        done = subprocess.run(
            ["bash", str(own / "cmd.sh")],
            cwd=own,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"HANGS for {LIMIT_S} s"
    return done.stdout.decode(errors="backslashreplace")


def judge(name: str, output: str) -> list[str]:
    """What is wrong with an output; empty where it is right."""
    right = RIGHT.get(name, Right(()))
    if name == "keras-json-floatx":
        losses = re.findall(r"done ([\d.]+)", output)
        output += "SAME LOSS" if len(losses) == 2 and len(set(losses)) == 1 else ""
    if name == "att-pipe-digest" and (digest := re.search(r"^([0-9a-f]{64})  ", output, re.M)):
        output = output.replace(digest[1], "SHA", 1)
    problems = [f"lacks {p}" for p in right.wanted if not re.search(p, output, re.M)]
    problems += [f"has {p}" for p in right.unwanted if re.search(p, output, re.M)]
    problems += ["traceback"] * ("Traceback" in output)
    return problems + ["hangs"] * output.startswith("HANGS")


def main() -> int:
    """Run the cases; returns how many do not behave."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--verbose", action="store_true", help="print what each case prints")
    given = parser.parse_args()
    cases = sorted(p.parent for p in given.folder.glob("*/cmd.sh"))
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        repository = make_repository(room)
        for case in cases:
            if given.names and case.name not in given.names:
                continue
            output = run_case(prepare(case, room, repository), repository)
            problems = judge(case.name, output)
            wrong += bool(problems)
            known = "" if case.name in RIGHT else "  (not known here: no traceback seen)"
            print(f"{'WRONG' if problems else 'ok   '}  {case.name}{known}", flush=True)
            if problems or given.verbose:
                print("\n".join(f"         {line[:150]}" for line in output.splitlines()[-12:]))
                print("\n".join(f"       → {problem}" for problem in problems), flush=True)
    print(f"{wrong} of {len(cases)} do not behave")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
