"""wbcbench: what training a neural network costs in joules, and what accuracy those joules buy.

``from wbcbench import Meter`` measures any Python code; see harness/API.md. Importing this package
alone loads nothing else.
"""

from typing import TYPE_CHECKING, Any

from wbcbench.core.version import __version__

if TYPE_CHECKING:
    from wbcbench.measure.meter import Meter

__all__ = ["Meter", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the public class when it is asked for: the command line must start at once."""
    if name == "Meter":
        from wbcbench.measure.meter import Meter

        return Meter
    raise AttributeError(f"module 'wbcbench' has no attribute {name!r}")
