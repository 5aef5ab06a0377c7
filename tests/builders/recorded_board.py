"""Record the simulated board of ``tests/data/boards`` anew: ``python -m builders.recorded_board``.

A part-time sensor and a counter like those of an H100, half a minute with a load of 16 s in it.
"""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from fakes.faulty_machine import environment
from fakes.known_load import Loaded
from fakes.nvml_plugin import build_library
from fakes.nvml_scenario import Counter, FakeGpu, Scenario, Sensor
from fakes.power_shapes import Square
from program import command

BOARDS = Path(__file__).parents[1] / "data" / "boards"
SIMULATED = BOARDS / "simulated.jsonl.gz"
RECORDED_S = "24"  # and the edges before and after it

BOARD = FakeGpu(
    power=Loaded(Square(240.0, 610.0, 2.3, duty=0.6), 16.0),
    name="NVIDIA H100 80GB HBM3",
    architecture=9,
    instant=Sensor(update_s=0.1, window_s=0.025, noise_w=1.5, phase_s=0.031, resolution_w=0.01),
    average=Sensor(update_s=0.1, window_s=1.0, noise_w=0.5, resolution_w=0.01),
    usage=Sensor(update_s=0.1, window_s=1.0, noise_w=0.5, resolution_w=0.01),
    counter=Counter(step_s=0.1, phase_s=0.029, jitter=0.02),
    temperatures=((0.0, 34.0), (8.0, 35.0), (30.0, 58.0)),
    clock_sm_mhz=1980,
    clock_memory_mhz=2619,
    memory_total=80 << 30,
    limit_default_w=700.0,
    limit_min_w=200.0,
    limit_max_w=700.0,
)


def main() -> None:
    """Write the file; it differs a little each time, and so do the joules that are pinned."""
    with TemporaryDirectory() as folder:
        room = Path(folder)
        env = environment(build_library(room), Scenario((BOARD,)).write(room))
        words = ("--meters", "nvml", "--no-save", "--record", str(SIMULATED))
        subprocess.run(command("monitor", *words, "--", "sleep", RECORDED_S), env=env, check=True)


if __name__ == "__main__":
    main()
