"""A user whose folders and environment would spoil everything gets the results of anybody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cells import finished_words
from fakes.user_settings import NOISE, spoil_settings
from program import Ended, only_run, wbcbench
from wbcbench.core.record import COMPUTING_VARIABLES

[BUNDLE] = (Path(__file__).parents[1] / "formats").glob("bundle-*.zip")


@pytest.fixture
def user(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The folder where such a user is, and the variables."""
    variables = spoil_settings(tmp_path)
    return tmp_path / "here", variables


def test_a_training_heeds_no_setting_of_the_user_but_those_that_it_names(
    user: tuple[Path, dict[str, str]], finished: tuple[Path, Ended], cells: Path, tmp_path: Path
) -> None:
    here, variables = user
    # One that changes how TensorFlow computes, but nothing on this machine.
    variables["TF_GPU_THREAD_MODE"] = "gpu_private"
    words = finished_words(cells, tmp_path / "results")
    ended = wbcbench(*words, "--no-live", env=variables, cwd=here)
    assert ended.code == 0, ended.err
    ours = only_run(finished[0]).read_record()
    theirs = only_run(tmp_path / "results").read_record()
    assert [e.loss for e in theirs.epochs] == [e.loss for e in ours.epochs]
    assert theirs.test == ours.test
    assert theirs.dataset == ours.dataset
    assert theirs.meters["codecarbon"]["parts"] == ours.meters["codecarbon"]["parts"]
    assert theirs.provenance["git_commit"] == ours.provenance["git_commit"]
    known = {"TF_GPU_THREAD_MODE": "gpu_private"}
    assert theirs.provenance[COMPUTING_VARIABLES] == known
    assert ours.provenance[COMPUTING_VARIABLES] == {}
    assert theirs.model is not None
    assert ours.model is not None
    assert dict(theirs.model.environment) == {**ours.model.environment, **known}
    assert "computing-variables" in {warning.code for warning in theirs.warnings}
    assert "computing-variables" not in {warning.code for warning in ours.warnings}
    assert list((Path(variables["HOME"]) / ".keras").iterdir()) != []
    assert not {"emissions.csv", "results"} & set(os.listdir(here))  # noqa: PTH208


def test_monitor_measures_beside_files_of_the_user_and_gives_the_command_everything_as_it_was(
    user: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    here, variables = user
    program = "import json, os; json.dump(dict(os.environ), open(os.environ['OUT'], 'w'))"
    words = ("monitor", "--meters", "simulated,codecarbon", "--json", "--no-save", "--")
    command = ("env", "-u", "PYTHONPATH", sys.executable, "-P", "-W", "ignore", "-c", program)
    given = {**variables, "OUT": str(tmp_path / "out")}
    ended = wbcbench(*words, *command, env=given, cwd=here)
    assert ended.code == 0, ended.err
    noise, told = ended.out.split("\n", 1)
    assert noise == NOISE
    channels = {c["name"]: c for c in json.loads(told)["channels"]}
    assert {"simulated/counter", "codecarbon/cpu", "codecarbon/ram"} <= set(channels)
    seen = json.loads((tmp_path / "out").read_text())
    assert {name: seen.get(name) for name in given if name != "PYTHONPATH"} == {
        name: value for name, value in given.items() if name != "PYTHONPATH"
    }
    assert {name for name in seen if name.startswith("WBCBENCH_")} == {
        name for name in os.environ if name.startswith("WBCBENCH_")
    }


@pytest.mark.parametrize(
    "words",
    [
        ("doctor", "--meters", "simulated", "--json"),
        ("list", "--json"),
        ("verify", str(BUNDLE), "--json"),
    ],
    ids=lambda words: words[0],
)
def test_a_command_answers_such_a_user(
    words: tuple[str, ...],
    user: tuple[Path, dict[str, str]],
    finished: tuple[Path, Ended],
) -> None:
    here, variables = user
    env = {**variables, "WBCBENCH_RESULTS": str(finished[0])}
    ended = wbcbench(*words, env=env, cwd=here)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    document = json.loads(ended.out.removeprefix(f"{NOISE}\n"))
    assert document["schema"].startswith(f"wbcbench.{words[0]}/")


def test_a_meter_in_a_script_beside_such_files_measures(
    user: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    here, variables = user
    for name in ("random.py", "platform.py", "calendar.py", "json", "statistics.py"):
        (here / name).rename(tmp_path / name)  # they end the script itself
    script = here / "train.py"
    script.write_text(
        "from wbcbench import Meter\n"
        "with Meter(['simulated', 'codecarbon'], options={'simulated.load_w': 50}) as m: pass\n"
        "print(m.energy.status, *sorted({t.channel.name for t in m.traces}))\n"
    )
    del variables["PYTHONWARNINGS"]
    variables["PYTHONPATH"] = str(tmp_path / "noise")
    (tmp_path / "noise").mkdir()
    (tmp_path / "path" / "sitecustomize.py").rename(tmp_path / "noise" / "sitecustomize.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **variables}, cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{NOISE}\nsimulated codecarbon/cpu codecarbon/ram simulated/")
