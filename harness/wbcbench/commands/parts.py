"""Every part of the catalogue with one line about it, taken from the part itself."""

from __future__ import annotations

from dataclasses import dataclass

from wbcbench.registry import KINDS, load_part
from wbcbench.train.variants import Variant


@dataclass(frozen=True, slots=True)
class Part:
    """One entry of the catalogue.

    Attributes:
        kind: ``variant``, ``meter``, …
        name: What the user types.
        about: One line; for a part whose libraries are missing, which.
    """

    kind: str
    name: str
    about: str


def parts() -> list[Part]:
    """Every part, in the catalogue's order."""
    return [Part(kind, name, about(kind, name)) for kind, names in KINDS.items() for name in names]


def about(kind: str, name: str) -> str:
    """A variant's description, or the first line of the part's own docstring."""
    try:
        part = load_part(kind, name)
    except ImportError as error:
        return f"cannot be loaded: {error}"
    if isinstance(part, Variant):
        return part.description
    return (part.__doc__ or "").strip().partition("\n")[0]
