"""Other people's work on the machine, which a board's counter charges to this run."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.board_state import Telemetry
from wbcbench.core.quality import Caution, Severity
from wbcbench.core.window import IDLE_COLD
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence, listed

_ALONE = "Joules of a board are those of everybody on it. Stop the others and repeat the run."

FOREIGN = Doubt("foreign-process", "suspect", _ALONE)
BUSY = Doubt("busy-before", "suspect", _ALONE, ("busy_share",))
HIDDEN = Doubt(
    "pids-hidden",
    "info",
    "The driver does not show this run's own process, as in most containers, so a stranger's could "
    "not be told either. See on the host that nobody else uses the board.",
)
SHARED = Doubt(
    "shared-machine",
    "suspect",
    "Another harness was measuring here at the same time (--share): both runs contain each other's "
    "joules. Run them one after the other.",
)
DOUBTS = (FOREIGN, BUSY, HIDDEN, SHARED)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Look at the processes of each board, and at its load before the run began."""
    if evidence.shared:
        yield SHARED.caution(Severity.SUSPECT, "Another harness held this machine as well.")
    for device in dict.fromkeys(each.device for each in evidence.telemetry):
        seen = [each for each in evidence.telemetry if each.device == device]
        yield from _processes(evidence, device, seen)
        yield from _busy(evidence, device, seen)


def _processes(evidence: Evidence, device: str, seen: list[Telemetry]) -> Iterator[Caution]:
    uses_board = "GPU" in evidence.device.upper()
    sees_own = any(each.sees_own for each in seen)
    certain = sees_own or not uses_board
    strangers = [
        each for each in seen if each.foreign_pids and (certain or _is_strange(evidence, each))
    ]
    if strangers:
        pids = sorted({pid for each in strangers for pid in each.foreign_pids})
        detail = (
            f"Processes that are not this run's were on {device}: {listed(map(str, pids))}. "
            f"Windows: {listed(each.window for each in strangers)}."
        )
        yield FOREIGN.caution(Severity.SUSPECT, detail, window=strangers[0].window)
    if uses_board and not sees_own:
        yield HIDDEN.caution(Severity.INFO, f"The trainer's process was never listed on {device}.")


def _is_strange(evidence: Evidence, state: Telemetry) -> bool:
    """Where own processes look foreign, one of them is taken for the trainer."""
    return _is_before(evidence, state) or (state.processes_most or 0) > 1


def _is_before(evidence: Evidence, state: Telemetry) -> bool:
    """Whether nothing of this run was on the board yet; a span of that name is no such time."""
    return state.window == IDLE_COLD != evidence.judged


def _busy(evidence: Evidence, device: str, seen: list[Telemetry]) -> Iterator[Caution]:
    for each in seen:
        load = each.utilization or 0.0
        if _is_before(evidence, each) and load > thresholds.BUSY_SHARE:
            detail = f"{device} was busy for {100 * load:.0f} % of the time before the run began."
            yield BUSY.caution(Severity.SUSPECT, detail, window=IDLE_COLD)
