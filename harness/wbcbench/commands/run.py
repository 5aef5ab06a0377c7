"""``wbcbench run``: train one variant, measure it, print what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wbcbench.commands import options, show
from wbcbench.core.extras import require_training
from wbcbench.core.spec import RunSpec


@options.with_spec_options
def run(
    spec_fields: dict[str, Any],
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
    """Train one variant and measure what it costs; adds a row to results/STUDY/runs.csv."""
    from wbcbench.run import finalise, live_state
    from wbcbench.study import limits, running

    silent = quiet or as_json
    say = live_state.silent if silent else live_state.print_progress
    spec = limits.check_spec(RunSpec(variant=variant, study=study, **spec_fields))
    require_training()
    local = options.describe_local(data, skip_unreadable=skip_unreadable, share=share)
    options.finalise_programs(results)
    spec = running.with_data(spec, local, say)
    folder = running.find_finished_run(results, spec)
    for sentence in finalise.unaccounted(results, study):
        say(sentence)
    if folder is None or again:
        words = options.list_work_options(silent=silent, live=live)
        folder = running.carry_out(results, spec, local, words)
    else:
        say(f"{folder.run_id} is already done; --again repeats it.")
    show.print_run(folder, "run", as_json=as_json, verbose=bool(verbose))
    running.raise_if_bad(folder)
