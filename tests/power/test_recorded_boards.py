"""Recorded boards, measured by the real meters and sampler: their joules stay what they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.recorded_board import BOARDS
from fakes.known_load import WINDOW_AT_S, Bench
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_replay import read_recording, replay
from wbcbench.core.window import Window

WINDOW = Window("train", WINDOW_AT_S, WINDOW_AT_S + 8.0)
# Joules of the primary energy and of each channel. Where the arithmetic has become better, change
# them, and say so in CHANGELOG.md.
PINNED_J = {
    "simulated.jsonl.gz": {
        "gpu": 3078.1,
        "nvml/gpu0/counter": 3078.1,
        "nvml/gpu0/power": 3084.3,
    },
}
RECORDINGS = sorted(BOARDS.glob("*.jsonl*"))


def test_every_recording_is_pinned_and_described() -> None:
    names = [path.name for path in RECORDINGS]
    assert names == sorted(PINNED_J)
    about = (BOARDS / "README.md").read_text()
    assert all(f"`{name}`" in about for name in names)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name)
def test_a_recording_is_small_and_outlasts_the_window(path: Path) -> None:
    assert path.stat().st_size < 100_000
    *_, last = read_recording(path)
    assert last.t_s > WINDOW.end_s


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name)
def test_the_joules_of_a_recorded_board_stay_what_they_were(
    path: Path, scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    recording = Bench(scripted_nvml, tmp_path).record(replay(path).gpus, WINDOW.duration_s)
    result = recording.measure_window(WINDOW)
    stated_j = {reading.channel.name: reading.energy.energy_j for reading in result.readings}
    stated_j["gpu"] = result.energy.energy_j
    assert stated_j == pytest.approx(PINNED_J[path.name], rel=1e-3)
    assert result.energy.status == "measured"
