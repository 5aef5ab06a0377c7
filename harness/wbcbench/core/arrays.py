"""Arrays of numbers, of which what is long is worked out.

``numpy`` is loaded when something of it is first used: what only the end of a run needs is not in
memory while it is measured.
"""

from __future__ import annotations

import sys
from array import array
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["Flags", "Floats", "Later", "Places", "as_array", "np", "to_floats"]


class Later:
    """Stands for a module until something of it is used."""

    def __init__(self, name: str) -> None:
        """Remember which."""
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        """Load the module, and keep what was asked for."""
        value = getattr(_import_installed(self._name), attribute)
        setattr(self, attribute, value)
        return value


def _import_installed(name: str) -> ModuleType:
    """Import what is installed beside Python, not a file of that name beside a user's script."""
    if name not in sys.modules:
        path = sys.path[:]
        homes = (sys.prefix, sys.base_prefix)
        sys.path[:] = [entry for entry in path if entry.startswith(homes)]
        try:
            return import_module(name)
        except ModuleNotFoundError:
            pass
        finally:
            sys.path[:] = path
    return import_module(name)


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Places = NDArray[np.int64]
else:
    np = Later("numpy")
    Floats = Flags = Places = Any


def as_array(values: Any) -> Floats:
    """A sequence of numbers for ``numpy``, not-a-number for ``None``; as they lie, if they can."""
    return np.asarray(values, np.float64)


def to_floats(values: Any) -> array[float]:
    """Numbers of eight bytes each as a plain sequence, which ``as_array`` takes as they lie."""
    floats = array("d")
    floats.frombytes(np.ascontiguousarray(values, np.float64).tobytes())
    return floats
