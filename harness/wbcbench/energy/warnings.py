"""Every kind of warning, in one table: ``warnings.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from wbcbench.core.quality import QualityWarning, Severity


@dataclass(frozen=True, slots=True)
class WarningKind:
    """One kind of warning.

    Attributes:
        code: Stable identifier.
        severities: What it can be; the first where a check names none.
        meaning: What is wrong, in one line.
        advice: What to do about it.
        when: Which of several severities it is.
        limits: Names in ``thresholds.TABLE`` that decide.
    """

    code: str
    severities: tuple[Severity, ...]
    meaning: str
    advice: str
    when: str = ""
    limits: tuple[str, ...] = ()


@cache
def load_warnings() -> dict[str, WarningKind]:
    """Every kind of warning by its code, in the order of the table."""
    text = resources.files("wbcbench.energy").joinpath("warnings.toml").read_text("utf-8")
    return {
        code: WarningKind(code, tuple(map(Severity, row.pop("severity"))), **row)
        for code, row in tomllib.loads(text).items()
    }


def make_warning(
    code: str, detail: str, severity: Severity | None = None, *, window: str = "", channel: str = ""
) -> QualityWarning:
    """One warning; ``detail`` says what was observed, in whole sentences with numbers."""
    kind = load_warnings()[code]
    return QualityWarning(
        code, severity or kind.severities[0], detail, kind.advice, window, channel
    )
