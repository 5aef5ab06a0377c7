"""Boards that began too cold or got too hot."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence

COLD = Doubt(
    "began-cold",
    "info",
    "Energy follows temperature. Warm the board up first (--warmup-steps) and start all runs of a "
    "study in one temperature band.",
    ("warm_up_c",),
)
HOT = Doubt(
    "ran-hot",
    "info",
    "The board is near the temperature at which it slows down. Improve the cooling, or rest longer "
    "between runs.",
    ("hot_c",),
)
WARM = Doubt(
    "began-warm",
    "suspect: warmer at its start than `--cooldown` asked for",
    "Energy follows temperature, and this run did not begin where the others did. Give the board "
    "longer to cool, or ask for a temperature that it reaches.",
    ("band_c",),
)
DOUBTS = (COLD, HOT, WARM)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Look at each board's temperature at the start and in the judged window."""
    yield from _warm(evidence)
    for each in evidence.telemetry:
        if each.window != evidence.judged:
            continue
        start_c, mean_c, max_c = (
            each.temperature_start_c,
            each.temperature_mean_c,
            each.temperature_max_c,
        )
        if start_c is not None and mean_c is not None and mean_c - start_c > thresholds.WARM_UP_C:
            detail = (
                f"{each.device} began `{each.window}` at {start_c:.0f} °C; "
                f"its mean is {mean_c:.0f}."
            )
            yield COLD.caution(Severity.INFO, detail, window=each.window)
        if max_c is not None and max_c >= thresholds.HOT_C:
            detail = f"{each.device} reached {max_c:.0f} °C in `{each.window}`."
            yield HOT.caution(Severity.INFO, detail, window=each.window)


def _warm(evidence: Evidence) -> Iterator[Caution]:
    """Compare each board's first temperature with what was asked for."""
    asked_c = evidence.spec.cooldown_c if evidence.spec else None
    firsts = {each.device: each for each in reversed(evidence.telemetry)}
    for device, first in firsts.items():
        began_c = first.temperature_start_c
        if asked_c is None or began_c is None or began_c <= asked_c + thresholds.BAND_C:
            continue
        detail = f"{device} began at {began_c:.0f} °C; --cooldown asked for {asked_c:g} °C."
        yield WARM.caution(Severity.SUSPECT, detail, window=first.window)
