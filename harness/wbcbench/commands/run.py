"""``wbcbench run``: train one variant, measure it, print what it cost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcbench.commands import options
from wbcbench.commands.options import with_spec_options
from wbcbench.core.spec import RunSpec

if TYPE_CHECKING:
    from wbcbench.core.run_folder import RunDir

SCHEMA = "wbcbench.run/1"


@with_spec_options
def run(
    asked: dict[str, Any],
    variant: options.Variant,
    data: options.Data = None,
    skip_unreadable: options.SkipUnreadable = False,
    study: options.Study = "runs",
    results: options.Results = Path("results"),
    again: options.Again = False,
    share: options.Share = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    live: options.Live = True,
) -> None:
    """Train one variant and measure what it costs; a row of results/STUDY/runs.csv says it."""
    from wbcbench.core.run_folder import Local
    from wbcbench.run import finalise, live_state
    from wbcbench.study import limits, running

    spec = limits.check_spec(RunSpec(variant=variant, study=study, **asked))
    local = Local(
        data=str(data) if data else None,
        skip_unreadable=skip_unreadable,
        command=("wbcbench", *sys.argv[1:]),
        share=share,
    )
    say = live_state.silent if quiet or as_json else live_state.print_progress
    spec = running.with_data(spec, local, say)
    done = running.finished_run_of(results, spec)
    for sentence in finalise.unaccounted(results, study):
        say(sentence)
    if done is None or again:
        done = running.carry_out(results, spec, local, _work_options(quiet or as_json, live=live))
    else:
        say(f"{done.run_id} is already done; --again repeats it.")
    _print_result(done, as_json=as_json, verbose=bool(verbose))
    running.raise_if_bad(done)


def _work_options(silent: bool, *, live: bool) -> list[str]:
    words = ["--quiet"] if silent else []
    return words if live else [*words, "--no-live"]


def _print_result(run: RunDir, *, as_json: bool, verbose: bool) -> None:
    from wbcbench.commands import show

    if as_json:
        show.print_run_json(run, SCHEMA)
    else:
        show.print_summary(run, verbose=verbose)
