"""Fixtures that put a scripted ``libamd_smi.so`` where the real ``amdsmi`` finds it."""

import ctypes
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from fakes.clocks import FileClock
from fakes.nvml_scenario import FakeGpu, Scenario

HERE = Path(__file__).parent
VARIABLE = "WBCBENCH_FAKE_AMDSMI"

AMD_GPU = FakeGpu(
    uuid="a1ff74a1-0000-1000-80a1-d2f0c3b4e5f6", name="AMD Test GPU", bus="0000:43:00.0"
)
SECOND_AMD_GPU = FakeGpu(
    uuid="b2ff74a1-0000-1000-80b2-d2f0c3b4e5f6", name="AMD Test GPU", bus="0000:23:00.0"
)


@pytest.fixture(scope="session")
def rocm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``ROCM_PATH`` names: a folder with the built library in ``lib``.

    The package binds every function of AMD's library when it is imported; those that are not
    scripted answer "not supported".
    """
    compiler, package = shutil.which("cc"), find_spec("amdsmi")
    if compiler is None or package is None or package.origin is None:
        pytest.skip("no C compiler (cc) or no package amdsmi here, for the scripted AMD library")
    folder = tmp_path_factory.mktemp("rocm")
    (folder / "lib").mkdir()
    bindings = Path(package.origin).with_name("amdsmi_wrapper.py").read_text()
    names = sorted(set(re.findall(r"_libraries\['libamd_smi.so'\]\.(\w+)", bindings)))
    stubs = folder / "stubs.c"
    stubs.write_text(
        "".join(f"__attribute__((weak)) int {n}(void) {{ return 2; }}\n" for n in names)
    )
    sources = [*map(str, sorted([*HERE.glob("nvml*.c"), HERE / "amdsmi.c"])), str(stubs)]
    # Its own symbols go first: the scripted NVML library in this process has the same names.
    options = ["-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-Wl,-Bsymbolic"]
    defined = f'-DSCENARIO_VARIABLE="{VARIABLE}"'
    library = str(folder / "lib" / "libamd_smi.so")
    subprocess.run(
        [compiler, *options, defined, f"-I{HERE}", "-o", library, *sources, "-lm", "-lpthread"],
        check=True,
    )
    return folder


@dataclass
class ScriptedAmd:
    """The library in this process and, by the environment, in its children."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    tmp_path: Path

    def play(self, scenario: Scenario, name: str = "amd_scenario.txt") -> Path:
        """Make the scenario the machine's truth from the next opening of the library on."""
        path = scenario.write(self.tmp_path, name)
        self.monkeypatch.setenv(VARIABLE, str(path))
        return path

    def clock(self, start_s: float = 0.0) -> FileClock:
        """A clock that stands still; hand its ``path`` to the scenario."""
        return FileClock(self.tmp_path / "clock", start_s)


@pytest.fixture
def scripted_amd(
    rocm_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[ScriptedAmd]:
    """A machine whose AMD GPUs do what a scenario says; without one, the driver is not loaded."""
    for name in ("ROCM_HOME", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROCM_PATH", str(rocm_folder))
    monkeypatch.setenv("WBCBENCH_CACHE", str(tmp_path / "cache"))  # cards of boards of this name
    library = ctypes.CDLL(str(rocm_folder / "lib" / "libamd_smi.so"))
    yield ScriptedAmd(rocm_folder, monkeypatch, tmp_path)
    was_open = library.fakeAmdsmiIsOpen()
    library.amdsmi_shut_down()  # the next test must find its own scenario
    assert not was_open, "a session of the AMD library was left open"
