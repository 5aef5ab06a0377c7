"""A short part of ``make fuzz``: spoiled files end in an answer or a message; nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fuzz.kinds import KINDS
from fuzz.trials import plan_trials

FUZZ = Path(__file__).with_name("fuzz.py")
ONCE_WRONG = (
    "run that was killed:91024",  # two polls of one time
    "run that was killed:100491",  # a counter beside a power that is sparse
    "record:12",  # scores of unlike size
    "record:100978",  # nested too deeply for the redaction
    "other file of a run:30412",  # a further column in the processor's log
    "attachment:63",  # a cut table
)
EDITS = 36  # a turn through all kinds, by their weight


def test_each_kind_of_file_is_edited():
    assert {name for name, _ in plan_trials(EDITS, 0, list(KINDS))} == set(KINDS)


def test_spoiled_files_end_in_an_answer_or_a_message():
    words = ["--edits", str(EDITS), "--seed", "7", "--processes", "1", "--again", *ONCE_WRONG]
    done = subprocess.run(
        [sys.executable, str(FUZZ), *words],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
