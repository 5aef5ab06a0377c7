"""wbcbench: what training a neural network costs in joules, and what accuracy those joules buy.

The Python API is what ``__all__`` names; harness/API.md documents it. Importing this package alone
loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wbcbench.core.version import __version__

if TYPE_CHECKING:
    from wbcbench.core.errors import CannotMeasureError, UsageError
    from wbcbench.measure.keras import EpochEnergy
    from wbcbench.measure.meter import Meter
    from wbcbench.table import load_runs

__all__ = ["CannotMeasureError", "EpochEnergy", "Meter", "UsageError", "__version__", "load_runs"]

_MODULES = {
    "CannotMeasureError": "core.errors",
    "EpochEnergy": "measure.keras",
    "Meter": "measure.meter",
    "UsageError": "core.errors",
    "load_runs": "table",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: the command line must start at once."""
    if name not in _MODULES:
        raise AttributeError(f"module 'wbcbench' has no attribute {name!r}")
    return getattr(import_module(f"wbcbench.{_MODULES[name]}"), name)
