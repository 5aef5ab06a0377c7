"""Claims as data: ``experiments/claims.toml`` → ``Claim``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from wbcbench.compare.measures import MEASURES
from wbcbench.core.errors import UsageError, unknown_name

FILE = Path("experiments") / "claims.toml"

Kind = Literal["difference", "share", "region"]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Check:
    """One thing that would have to be so.

    Attributes:
        says: In words.
        kind: ``difference`` within blocks, ``share`` of runs, or mean in a ``region``.
        measure: A name of ``measures.MEASURES``.
        at: The measure's number, where it has one.
        factor, upper, lower: Of a difference.
        where: Factor → level: which runs a share or a region speaks of.
        expect, limit: Of a difference or a share.
        low, high: Of a region.
        decides: Whether the claim depends on it.
    """

    __pydantic_config__ = _STRICT

    says: str
    kind: Kind
    measure: str
    at: float | None = None
    factor: str = ""
    upper: str = ""
    lower: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    expect: Literal["above", "below"] | None = None
    limit: float | None = None
    low: float | None = None
    high: float | None = None
    decides: bool = True


@dataclass(frozen=True)
class Requires:
    """Without this a claim is not about these runs.

    Attributes:
        real_images: Drawn cells say nothing of it.
        min_epochs: Shorter runs say nothing of it.
        gpu: A word the GPU's name must hold.
    """

    __pydantic_config__ = _STRICT

    real_images: bool = False
    min_epochs: int = 0
    gpu: str = ""


@dataclass(frozen=True)
class Claim:
    """What was claimed and what would have to be so."""

    __pydantic_config__ = _STRICT

    id: str
    text: str
    check: tuple[Check, ...]
    requires: Requires = Requires()


def find_file(named: Path | None) -> Path:
    """The file that was named, else the one here, else the one this package came with."""
    if named is not None:
        return named
    shipped = Path(__file__).parent / FILE.name  # a link in a checkout, a copy in a wheel
    return FILE if FILE.is_file() else shipped


def read_claims(path: Path) -> tuple[Claim, ...]:
    """Read and check a file of claims.

    Raises:
        UsageError: It is missing, no TOML, holds an unknown key or measure, or leaves one out.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
        claims = TypeAdapter(tuple[Claim, ...]).validate_python(plain.get("claim", ()))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}. Name a file of claims with --claims."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise UsageError(f"{path} is not a file of claims: {error}") from error
    if not claims:
        raise UsageError(f"{path} holds no [[claim]].")
    for claim in claims:
        for check in claim.check:
            _require_whole(path, claim.id, check)
    return claims


def _require_whole(path: Path, claim: str, check: Check) -> None:
    if check.measure not in MEASURES:
        raise unknown_name(f"measure (claim {claim} in {path})", check.measure, MEASURES)
    needed = {
        "difference": ("factor", "upper", "lower", "expect", "limit"),
        "share": ("expect", "limit"),
        "region": ("low", "high"),
    }[check.kind]
    if MEASURES[check.measure].needs_at:
        needed = (*needed, "at")
    missing = [name for name in needed if getattr(check, name) in ("", None)]
    if missing:
        raise UsageError(
            f"{path}: a check of claim {claim} lacks {', '.join(missing)} ('{check.says}')."
        )
