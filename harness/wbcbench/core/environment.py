"""What of a user's own settings reaches Python and its libraries: the one list of both.

harness/MEASUREMENT.md says it library by library. A command that is measured is the user's: it is
started with everything as it was.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, MutableMapping

# Beginnings of names. They make a library do something else than the spec or the report says.
_OF_LIBRARIES = (
    "CODECARBON_", "KERAS_", "MATPLOTLIBRC", "MPLBACKEND", "OPENCV_", "PANDAS_", "SCIPY_ARRAY_API",
    "SM_FORMULA_ENGINE", "TYPST_",
    "TF_AUTO_MIXED_PRECISION_", "TF_CONFIG", "TF_CONV2D_USE_FP16_", "TF_FP16_",
    "TF_SET_ONEDNN_FPMATH_MODE", "TF_USE_LEGACY_KERAS",
    "DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE",
)  # fmt: skip

# A backend chosen in the user's Keras settings would train another program, and so would precision
# and layout; in a place that holds no file it finds none, and writes none.
OWN_KERAS = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": os.devnull}

# Of Python's own variables children get these: where it is, where packages are, how text is coded.
_OF_PYTHON = {
    "PYTHONCOERCECLOCALE", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONIOENCODING",
    "PYTHONNOUSERSITE", "PYTHONPLATLIBDIR", "PYTHONPYCACHEPREFIX", "PYTHONUSERBASE", "PYTHONUTF8",
}  # fmt: skip

# Beginnings of names, longer than ``TF_``: other programs use that, too, and for secrets.
_THAT_COMPUTE = (
    "CUBLAS_WORKSPACE_", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUDA_VISIBLE_DEVICES",
    "DNNL_", "GLIBC_TUNABLES", "KERAS_BACKEND", "KMP_", "MKL_", "NVIDIA_TF32_OVERRIDE", "OMP_",
    "ONEDNN_", "OPENBLAS_", "PYTHONHASHSEED", "TF_CPU_", "TF_CUDNN_", "TF_DATA_",
    "TF_DETERMINISTIC_", "TF_ENABLE_", "TF_FORCE_", "TF_GPU_", "TF_NUM_", "TF_USE_", "TF_XLA_",
    "XLA_FLAGS",
)  # fmt: skip

# Before the folder in which TensorFlow keeps what XLA compiled; ours, where the user sets no flags.
XLA_CACHE = "--tf_xla_persistent_cache_directory="

# Where children find the user's PYTHONPATH, which Python itself would search first.
_PATH = "WBCBENCH_PYTHONPATH"

_set_aside: dict[str, str] = {}


def changes_computing(variable: str) -> bool:
    """Whether an environment variable changes how TensorFlow computes, or with how much energy."""
    return variable.startswith(_THAT_COMPUTE)


def set_settings_aside(environment: MutableMapping[str, str], path: list[str]) -> None:
    """Keep the user's settings of libraries from this process, the command line's.

    Args:
        environment: That of the process.
        path: Where it imports from: folders of PYTHONPATH go to its end, so that a ``queue.py`` of
            the user is not taken for Python's.
    """
    for name in [name for name in environment if name.startswith(_OF_LIBRARIES)]:
        _set_aside[name] = environment.pop(name)
    words = environment.get("PYTHONPATH")
    given = {os.path.abspath(word) for word in words.split(os.pathsep)} if words else ()  # noqa: PTH100
    path[:] = [*(entry for entry in path if entry not in given), *python_path(environment)]
    if sys.warnoptions:  # what a library warns of is no error of ours
        warnings.resetwarnings()
        warnings.simplefilter("ignore")


def restore_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with what was set aside: that of a command of the user."""
    return {**environment, **_set_aside}


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a Python of ours."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith((*_OF_LIBRARIES, "PYTHON")) or name in _OF_PYTHON
    }
    return kept | {_PATH: os.pathsep.join(python_path(environment))}


def python_path(environment: Mapping[str, str]) -> list[str]:
    """The folders of PYTHONPATH; neither the current one nor one that depends on it."""
    words = environment.get(_PATH) or environment.get("PYTHONPATH", "")
    return [*filter(os.path.isabs, words.split(os.pathsep))]
