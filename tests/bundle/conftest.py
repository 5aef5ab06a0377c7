"""Fixtures of the tests of bundles."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from html import escape

import pytest

from wbcbench.report import Figure


def sketch(figure: Figure) -> str:
    """A picture that says what it is of, and from which numbers."""
    numbers = sha256(repr(figure.data).encode()).hexdigest()
    about = f"<title>{escape(figure.title)}</title><desc>{escape(figure.description)}</desc>"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="1pt" height="1pt" role="img">'
        f"{about}<text>{numbers}</text></svg>"
    )


@pytest.fixture(scope="module")
def sketches() -> Iterator[None]:
    """For tests of what a bundle says: drawing takes four fifths of ``submit`` and ``verify``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wbcbench.report.formats.to_svg", sketch)
        yield
