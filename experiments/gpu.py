"""Everything to be done once on a machine with an NVIDIA GPU, in one command.

    make gpu ARGS='--data FOLDER [--quick] [--no-setup] …'

It sets up the environment, judges the board's sensors, records the board through one training,
carries out ``gpu.toml``, compares, reports, bundles and verifies. It stops at the first step that
fails and keeps what was made; called again, it goes on there. Clocks, power limits and modes of the
GPU stay as they are. It needs Python alone, since it makes the environment of all else.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = str(ROOT / ".venv" / "bin" / "wbcbench")
LICENCE, AUTHOR = "CC-BY-4.0", "The wbcbench contributors"
USAGE, CANNOT_MEASURE, THRESHOLD, INTERRUPTED = 2, 3, 4, 130

# A training of some seconds: half a minute in which the board idles, works and idles.
RECORDED = ["--variant", "leaky-dropout", "--epochs", "25", "--loops", "auto"]
RECORDED += ["--train-window", "8", "--idle", "2", "--inference", "0", "--meters", "nvml"]
# Two seeds can test nothing. It is a study of its own: the whole one may follow in the same folder.
QUICK = ("--exploratory", "--set", "study=gpu-quick", "--set", "blocks=2")
QUICK += ("--set", "train_window_s=15", "--set", "idle_s=1")


@dataclass(frozen=True)
class Step:
    """A command or a function, and what it is for.

    The next one begins if it ends well, or finds fault with the board in a file, ``judgement``.
    """

    name: str
    purpose: str
    work: Sequence[str] | Callable[[], int]
    judgement: Path | None = None

    def __str__(self) -> str:
        return self.name if callable(self.work) else shlex.join(self.work)

    def carry_out(self) -> int:
        """Do it; 0 where the next step may begin, else the exit code."""
        if self.judgement:
            self.judgement.unlink(missing_ok=True)
        code = self.work() if callable(self.work) else run_command(self.work)
        has_judged = (
            code in {CANNOT_MEASURE, THRESHOLD} and self.judgement and self.judgement.exists()
        )
        return 0 if has_judged else code


def main() -> int:
    """Carry out what the arguments say; the exit code is that of the step that failed."""
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds, windows of 15 s: 8 min")
    arguments = parser.parse_args()
    study = sweep(arguments.experiments, "gpu", arguments, QUICK if arguments.quick else ())
    name = "gpu-quick" if arguments.quick else "gpu"
    return carry_out([*prepare(arguments), study, *conclude(name, arguments)], arguments)


def make_parser(about: str | None) -> argparse.ArgumentParser:
    """The options that all such scripts have."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])

    def resolve(text: str) -> Path:
        return Path(text).resolve()

    add = parser.add_argument
    add("--data", type=resolve, help="folder of the images; WBCBENCH_DATA if left out")
    add("--into", type=resolve, default=ROOT / "gpu", help="where everything goes")
    add("--experiments", type=resolve, default=ROOT / "experiments", help="where the files are")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the files")
    add("--no-setup", action="store_true", help="use the environment as it is")
    add("--skip", action="append", default=[], metavar="STEP", help="leave a step out")
    add("--author", default=os.environ.get("WBCBENCH_AUTHOR") or AUTHOR, help="of the bundle")
    add("--dry-run", action="store_true", help="print the commands alone")
    return parser


def make_environment(arguments: argparse.Namespace) -> list[Step]:
    """The step that installs everything, by the lock with CUDA; none where it is there."""
    make = ("make", "setup", "LOCK=requirements-cuda.lock")
    return [] if arguments.no_setup else [Step("setup", "Make the environment.", make)]


def prepare(arguments: argparse.Namespace) -> list[Step]:
    """The environment, the card of the board and its recording."""
    into = arguments.into
    accept = [PROGRAM, "doctor", "--acceptance", "--meters", "nvml"]
    monitor = [PROGRAM, "monitor", "--meters", "nvml", "--no-save", "--record"]
    run = [PROGRAM, "run", *RECORDED, "--again", "--results", str(into / "results")]
    return [
        *make_environment(arguments),
        Step(
            "accept",
            "Load the board at known times and judge its sensors.",
            [*accept, "--out", str(into / "acceptance")],
            into / "acceptance" / "card.json",
        ),
        Step(
            "record",
            "Keep what the driver answers while one network is trained.",
            [*monitor, str(into / "board.jsonl.gz"), "--", *run],
        ),
    ]


def sweep(
    folder: Path, name: str, arguments: argparse.Namespace, changes: Iterable[str] = ()
) -> Step:
    """The step that carries out an experiment file."""
    own = (word for change in arguments.set for word in ("--set", change))
    words = [PROGRAM, "sweep", str(folder / f"{name}.toml"), *changes, *own]
    return Step(
        name,
        "Carry out the study; interrupted, it goes on where it was.",
        [*words, "--results", str(arguments.into / "results")],
    )


def conclude(study: str, arguments: argparse.Namespace) -> list[Step]:
    """Compare, report and bundle a study, and check the bundle."""
    into = arguments.into
    results, bundle = ["--results", str(into / "results")], str(into / f"{study}.zip")
    submit = [PROGRAM, "submit", study, *results, "--author", arguments.author, "--licence"]
    submit += [LICENCE, "--out", bundle, "--force", "--no-verify", "--allow-synthetic"]
    report = [PROGRAM, "report", study, *results, "--out", str(into / "reports")]
    return [
        Step("compare", "Compare what was trained.", [PROGRAM, "compare", study, *results]),
        Step("report", "Write the report.", report),
        Step("bundle", "Bundle the study.", submit),
        Step("verify", "Work everything in the bundle out again.", [PROGRAM, "verify", bundle]),
    ]


def carry_out(steps: Sequence[Step], arguments: argparse.Namespace) -> int:
    """Carry out in their order the steps that are not done, or follow one; returns an exit code."""
    names = [step.name for step in steps]
    if unknown := [name for name in arguments.skip if name not in names]:
        steps_there = ", ".join(names)
        print(f"There is no step {unknown[0]} to skip. Steps: {steps_there}.", file=sys.stderr)
        return USAGE
    if arguments.dry_run:
        for step in steps:
            print(f"{step.name}: {step.purpose}\n   {step}")
        return 0
    code, problem = find_problem(arguments)
    if problem:
        print(f"{problem} Nothing was done.", file=sys.stderr)
        return code
    if arguments.data:
        os.environ["WBCBENCH_DATA"] = str(arguments.data)
    into, start_s = arguments.into, time.monotonic()
    into.mkdir(parents=True, exist_ok=True)
    kept = into / "steps.json"
    done = read_steps(kept) if Path(PROGRAM).exists() else {}
    is_new = False
    for step in steps:
        is_done = not is_new and done.get(step.name) == str(step)
        state = "left out" if step.name in arguments.skip else "done before" if is_done else ""
        passed_s = time.monotonic() - start_s
        print(f"\n== {passed_s:.0f} s, {step.name}: {state or step.purpose}", flush=True)
        if state:
            continue
        print(f"   {step}", flush=True)
        if code := step.carry_out():
            print(
                f"Stopped at {step.name}, which ended with exit code {code} (see above). What was\n"
                f"made is in {into}. The same command goes on there, and without\n"
                f"this step with --skip {step.name}.",
                file=sys.stderr,
            )
            return code
        done[step.name], is_new = str(step), True
        kept.write_text(json.dumps(done, indent=1) + "\n")
    return 0


def read_steps(kept: Path) -> dict[str, str]:
    """The steps that are done, with their commands; none where the file is torn or not there."""
    try:
        done: dict[str, str] = json.loads(kept.read_text())
    except (OSError, ValueError):
        return {}
    return done if isinstance(done, dict) else {}


def find_problem(arguments: argparse.Namespace) -> tuple[int, str]:
    """The exit code and why nothing can be done here; no text where it can."""
    if not has_gpu():
        return CANNOT_MEASURE, (
            "This needs an NVIDIA GPU, and libnvidia-ml.so.1 shows none here (see nvidia-smi -L)."
        )
    if not arguments.data and not os.environ.get("WBCBENCH_DATA"):
        return USAGE, (
            "Name the folder of the images: --data FOLDER (`wbcbench data fetch FOLDER` gets them)."
        )
    if arguments.no_setup and not Path(PROGRAM).exists():
        return USAGE, f"{PROGRAM} is not there. Leave --no-setup out, which makes it."
    return 0, ""


def has_gpu() -> bool:
    """Whether NVIDIA's driver shows a GPU, asked without the environment that is still to come."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    count = ctypes.c_uint(0)
    is_open = library.nvmlInit_v2() == 0
    return is_open and library.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0 and count.value > 0


def run_command(words: Sequence[str]) -> int:
    """Run a command to its end; a Ctrl-C is the command's, which then ends in order."""
    signal.signal(signal.SIGINT, lambda *_: None)  # not ignored: that a command would inherit
    code = subprocess.Popen(words, cwd=ROOT).wait()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return code if code >= 0 else INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
