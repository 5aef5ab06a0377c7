"""``wbcbench doctor --launcher NAME``: the engine, its limits, and a node that a short job gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import typer

from wbcbench.commands import options
from wbcbench.commands.doctor_lines import list_groups, print_end, print_lines
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.text import shell_word
from wbcbench.core.version import __version__
from wbcbench.doctor import State, count_lines
from wbcbench.doctor.cluster import ClusterCheck
from wbcbench.power.session import MeteringRequest
from wbcbench.registry import load_part
from wbcbench.run.launchers.cluster import ClusterSettings
from wbcbench.run.live_state import print_progress, silent
from wbcbench.study.boards import forecast_boards
from wbcbench.study.plan import read_plan
from wbcbench.study.running import pasts


def read_cluster(
    launcher: str,
    file: Path | None,
    changes: Sequence[str],
    results: Path,
    request: MeteringRequest,
) -> ClusterCheck:
    """What the jobs of a study, or of none, ask for, and what past runs tell of them.

    Raises:
        UsageError: The launcher has no queue, or there is no such key of ``[cluster]``.
    """
    launch = load_part("launcher", launcher)
    if not launch.is_queue:
        raise UsageError(
            f"The launcher {launcher} has no queue: it starts runs on this machine. "
            "Look at that with `wbcbench doctor`, without --launcher."
        )
    check = partial(ClusterCheck, launch, results=results, request=request)
    if file is None:
        return check(ClusterSettings().change(changes))
    plan = read_plan(file, [])
    forecast = forecast_boards(plan, list(pasts(plan, results)), boards=1, is_spread=False)
    return check(plan.cluster.change(changes), file=file, forecast=forecast)


def examine_cluster(asked: ClusterCheck, launcher: str, *, as_json: bool, verbose: bool) -> None:
    """Print every check, of the engine and of the node.

    Raises:
        CannotMeasureError: A run would not work there, or a requirement is not met.
    """
    groups, report = asked.examine(silent if as_json else print_progress)
    required = report.requirements if report else ()
    if as_json:
        document = {
            "wbcbench_version": __version__,
            "launcher": launcher,
            "node": report.node if report else None,
            "primary_energy": (report.primary_energy or None) if report else None,
            "requirements": [{**asdict(item), "is_met": item.is_met} for item in required],
            "sensor_cards": [],
            "overhead": None,
            **list_groups(groups),
        }
        options.print_json(document, "doctor")
        is_good = not count_lines(groups, State.FAIL) and all(item.is_met for item in required)
    else:
        print_lines(groups, verbose=verbose)
        unknown = "Primary energy metric: unknown (no job looked at a node)."
        text = report.primary_energy.get("text") if report else None
        is_good = print_end(text or unknown, groups, required)
        if is_good and report:
            file = shell_word(asked.file or "FILE")
            typer.echo(f"Next: wbcbench sweep {file} --launcher {launcher}")
    if not is_good or len(required) < len(asked.require):
        raise CannotMeasureError
