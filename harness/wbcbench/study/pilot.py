"""A pilot: one epoch of the plan's first run, to know beforehand what the plan will cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from wbcbench.core.provenance import host_id
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import pilot_study, studies
from wbcbench.run.launchers import Launcher
from wbcbench.study import running
from wbcbench.study.forecast import Past
from wbcbench.study.plan import Plan
from wbcbench.study.standing import Standing

_MOST_OTHERS = 200  # records of other studies that are read for a forecast


def pilot_spec(made: Plan) -> RunSpec:
    """One epoch of the plan's first run."""
    first = made.runs[0]
    return replace(first.identity, study=pilot_study(made.study), epochs=1, block=0)


def carry_out_pilot(
    made: Plan,
    results: Path,
    local: Local,
    say: Callable[[str], None],
    launch: Launcher | None = None,
) -> RunDir:
    """Carry out the pilot, unless it is there already.

    Raises:
        WbcbenchError: It cannot be carried out, or ended badly.
    """
    spec = running.with_data(pilot_spec(made), local, say)
    done = running.finished(results, spec)
    if done is None:
        say(f"pilot: one epoch of {spec.variant}")
        done = running.carry_out(results, spec, local, ["--no-live"], launch)
    running.raise_if_bad(done)
    return done


def pasts(made: Plan, results: Path) -> list[Past]:
    """Finished runs that a forecast may learn from: the study's own and its pilots'.

    Without these, runs of other studies on the images that the plan names, on this machine.
    """
    own = [
        each
        for study in (made.study, pilot_study(made.study))
        for each in Standing(results, study).pasts
    ]
    if own or not made.runs[0].dataset_id:
        return own
    return _others(made, results)


def _others(made: Plan, results: Path) -> list[Past]:
    found: list[Past] = []
    here = host_id()
    for study in studies(results):
        for each in Standing(results, study):
            learnt = each.past
            if learnt is not None and each.run.read_record().provenance.get("host_id") == here:
                found.append(learnt)
            if len(found) >= _MOST_OTHERS:
                return found
    return found
