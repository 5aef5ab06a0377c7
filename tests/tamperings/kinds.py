"""The kinds of tampering, by what they do.

Of two sorts: a bundle is edited and its manifests made to fit (``edited``), or the evidence of the
study is edited and everything else made again from it by the program itself (``forged``).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tamperings.bag import Bag
from tamperings.made_again import Forgery

Tampering = Callable[[Any, random.Random], None]


@dataclass(frozen=True)
class Kind:
    """One kind of tampering; ``is_forged``: everything else is made again, not the manifests alone.

    ``tamper`` raises ``UnfitError`` where a study or a bundle has nothing of the kind.
    """

    words: str
    tamper: Tampering
    is_forged: bool


KINDS: dict[str, Kind] = {}


def edited(words: str) -> Callable[[Callable[[Bag, random.Random], None]], Tampering]:
    """Enter what is done to a bundle whose manifests are made to fit afterwards."""
    return lambda tamper: _enter(Kind(words, tamper, is_forged=False))


def forged(words: str) -> Callable[[Callable[[Forgery, random.Random], None]], Tampering]:
    """Enter what is done to a study from which everything is made again afterwards."""
    return lambda tamper: _enter(Kind(words, tamper, is_forged=True))


def _enter(kind: Kind) -> Tampering:
    assert kind.words not in KINDS, f"{kind.words} twice"
    KINDS[kind.words] = kind
    return kind.tamper
