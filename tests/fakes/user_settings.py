"""What users have in their folders and environments, made to spoil whatever reads it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

NOISE = "Loading site module v1.2"

# Names of Python's modules and of libraries, as people call their own files.
SHADOWS = (
    "queue",
    "random",
    "platform",
    "calendar",
    "numpy",
    "pandas",
    "statistics",
    "json",
    "keras",
)


def write_shadows(folder: Path) -> Path:
    """Files and packages of those names, which end whoever imports them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHADOWS[:-2]:
        (folder / f"{name}.py").write_text("raise SystemExit('a file of the user was imported')\n")
    for name in SHADOWS[-2:]:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("x = 1\n")
    return folder


def spoil_settings(folder: Path) -> dict[str, str]:
    """Settings of every library that reads any, none of which may reach a result.

    Args:
        folder: Is filled with a home, a folder ``here`` to start in, and one for PYTHONPATH.

    Returns:
        The variables of such a user.
    """
    home, here, path = (folder / name for name in ("home", "here", "path"))
    write_shadows(here)
    write_shadows(path)
    (path / "sitecustomize.py").write_text(f"print({NOISE!r}, flush=True)\n")
    (home / ".keras").mkdir(parents=True)
    keras = {"floatx": "float64", "epsilon": 0.1, "image_data_format": "channels_first"}
    (home / ".keras" / "keras.json").write_text(json.dumps(keras))
    (home / ".config" / "matplotlib").mkdir(parents=True)
    for rc in (home / ".config" / "matplotlib" / "matplotlibrc", here / "matplotlibrc"):
        rc.write_bytes(b"font.size: 40\nsvg.fonttype: path\naxes.facecolor: \xff\n")
    for where in (home, here):
        (where / ".codecarbon.config").write_text("this is no configuration\n")
    (home / ".gitconfig").write_text("[status]\nshowUntrackedFiles = no\n[core]\nbare = true\n")
    return {"HOME": str(home), "PYTHONPATH": f":{path}", **VARIABLES}


VARIABLES: Mapping[str, str] = {
    "KERAS_BACKEND": "jax",
    "KERAS_MAX_EPOCHS": "1",
    "KERAS_MAX_STEPS_PER_EPOCH": "1",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}',
    "TF_SET_ONEDNN_FPMATH_MODE": "BF16",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "OPENCV_IO_MAX_IMAGE_PIXELS": "1",
    "OPENCV_IO_MAX_IMAGE_WIDTH": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "MPLCONFIGDIR": "/proc/none",
    "CODECARBON_FORCE_RAM_POWER": "54321",
    "CODECARBON_FORCE_CPU_POWER": "54321",
    "CODECARBON_LOG_LEVEL": "no such level",
    "PANDAS_COPY_ON_WRITE": "warn",
    "PANDAS_FUTURE_INFER_STRING": "0",
    "SCIPY_ARRAY_API": "1",
    "SM_FORMULA_ENGINE": "none",
    "TYPST_FONT_PATHS": "/usr/share/fonts",
    "SOURCE_DATE_EPOCH": "86400",
    "GIT_DIR": "/nonexistent",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONHASHSEED": "77",
    "TZ": "Asia/Kolkata",
    "COLUMNS": "40",
    "FORCE_COLOR": "1",
}


def noisy_python(folder: Path, module: str = "none", answer: str = "") -> str:
    """A Python that prints as it starts, as sitecustomize of some clusters does.

    Args:
        folder: Where it is written.
        module: One that does not begin.
        answer: What it says in place of that module, on the pipe that is its last argument.
    """
    script = folder / "python"
    script.write_text(
        f"#!/bin/sh\necho '{NOISE}'; echo '{{\"ready\": 1'; echo '[]'; echo '{NOISE}' >&2\n"
        f'case " $* " in *" {module} "*)\n'
        f"  for pipe; do :; done; printf '%s' '{answer}' >/dev/fd/$pipe; exit 3;; esac\n"
        f'exec {sys.executable} "$@"\n'
    )
    script.chmod(0o755)
    return str(script)
