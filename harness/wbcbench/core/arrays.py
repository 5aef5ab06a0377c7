"""Arrays of numbers, of which what is long is worked out.

``numpy`` is loaded when something of it is first used: what only the end of a run needs is not in
memory while it is measured.
"""

from __future__ import annotations

from array import array
from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["Flags", "Floats", "Later", "Places", "as_array", "np", "to_floats"]


class Later:
    """Stands for a module until something of it is used."""

    def __init__(self, name: str) -> None:
        """Remember which."""
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        """Load the module, and keep what was asked for."""
        value = getattr(import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value


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
