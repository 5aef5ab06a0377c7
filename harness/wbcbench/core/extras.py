"""The packages that only training needs, and the error where they are missing."""

from __future__ import annotations

from importlib.util import find_spec

from wbcbench.core.errors import CannotMeasureError

# Import names of the extra ``train``; everything else works without them.
TRAINING_PACKAGES = ("tensorflow", "keras", "cv2", "tensorboard")
INSTALL_TRAINING = 'pip install "wbcbench[train]"'


def list_missing_packages() -> list[str]:
    """Training packages that are not installed; imports none."""
    return [name for name in TRAINING_PACKAGES if find_spec(name) is None]


def require_training() -> None:
    """Raise ``CannotMeasureError`` with the way out if a training package is missing."""
    missing = list_missing_packages()
    if missing:
        raise missing_packages_error(missing)


def missing_packages_error(names: list[str]) -> CannotMeasureError:
    """The error for a command that needs these packages."""
    return CannotMeasureError(
        f"This command needs {', '.join(names)}, which {'is' if len(names) == 1 else 'are'} not "
        f"installed here. Run: {INSTALL_TRAINING}"
    )
