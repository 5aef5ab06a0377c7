"""The packages that only training needs, and the error where they are missing."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from wbcbench.core.errors import CannotMeasureError

# The extra ``train``: distributions by import name. Everything else works without them.
TRAINING_PACKAGES = {
    "tensorflow": "tensorflow",
    "keras": "keras",
    "cv2": "opencv-python-headless",
    "simplejpeg": "simplejpeg",
    "tensorboard": "tensorboard",
}
INSTALL_TRAINING = 'pip install "wbcbench[train]"'


def list_missing_packages(modules: Iterable[str] = TRAINING_PACKAGES) -> list[str]:
    """Distributions of the modules that are not installed; imports none."""
    return [TRAINING_PACKAGES[name] for name in modules if find_spec(name) is None]


def require_training(*modules: str) -> None:
    """Raise ``CannotMeasureError`` if one of these modules, or of all by default, is missing."""
    if missing := list_missing_packages(modules or TRAINING_PACKAGES):
        raise missing_packages_error(missing)


def missing_packages_error(names: list[str]) -> CannotMeasureError:
    """The error for a command that needs these distributions."""
    return CannotMeasureError(
        f"This command needs {', '.join(names)}, which {'is' if len(names) == 1 else 'are'} not "
        f"installed here. Run: {INSTALL_TRAINING}"
    )
