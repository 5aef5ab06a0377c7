"""Fixtures that put a scripted ``libnvidia-ml.so.1`` where the real ``pynvml`` finds it."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fakes.clocks import FileClock
from fakes.nvml_scenario import VARIABLE, Scenario

HERE = Path(__file__).parent
SONAME = "libnvidia-ml.so.1"


@pytest.fixture(scope="session")
def nvml_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the built library and a mute ``nvidia-smi``."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (cc) here, so the scripted NVML library cannot be built")
    return build_library(tmp_path_factory.mktemp("nvml"))


def build_library(folder: Path) -> Path:
    """Build the library in a folder, and put a mute ``nvidia-smi`` beside it."""
    sources = [str(path) for path in sorted(HERE.glob("nvml*.c"))]
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", f"-Wl,-soname,{SONAME}"]
    command = ["cc", *options, "-o", str(folder / SONAME), *sources, "-lm", "-lpthread"]
    subprocess.run(command, check=True)
    command_line = folder / "nvidia-smi"  # some tools take its presence for that of a GPU
    command_line.write_text("#!/bin/sh\nexit 0\n")
    command_line.chmod(0o755)
    return folder


@dataclass
class ScriptedNvml:
    """The library in this process and, by the environment, in its children.

    The loader reads ``LD_LIBRARY_PATH`` at program start only, so this process is given the
    library by opening it once: a library of the same name is then taken as already loaded.
    """

    library: ctypes.CDLL
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    tmp_path: Path

    def play(self, scenario: Scenario, name: str = "scenario.txt") -> Path:
        """Make the scenario the machine's truth from the next opening of the driver on."""
        path = scenario.write(self.tmp_path, name)
        self.monkeypatch.setenv(VARIABLE, str(path))
        for variable in ("LD_LIBRARY_PATH", "PATH"):
            if str(self.folder) not in os.environ.get(variable, "").split(os.pathsep):
                self.monkeypatch.setenv(variable, str(self.folder), prepend=os.pathsep)
        return path

    def clock(self, start_s: float = 0.0) -> FileClock:
        """A clock that stands still; hand its ``path`` to the scenario."""
        return FileClock(self.tmp_path / "clock", start_s)

    def calls(self) -> int:
        """Device calls made in this process so far."""
        count: int = self.library.fakeNvmlCalls()
        return count


@pytest.fixture
def scripted_nvml(
    nvml_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[ScriptedNvml]:
    """A machine whose GPUs do what a scenario says; without one, the driver is not loaded."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setenv("WBCBENCH_CACHE", str(tmp_path / "cache"))  # cards of boards of this name
    library = ctypes.CDLL(str(nvml_folder / SONAME), mode=ctypes.RTLD_GLOBAL)
    library.fakeNvmlCalls.restype = ctypes.c_long
    yield ScriptedNvml(library, nvml_folder, monkeypatch, tmp_path)
    left_open = 0
    while library.nvmlShutdown() == 0:  # the next test must find its own scenario
        left_open += 1
    assert left_open == 0, f"{left_open} NVML sessions were left open"
