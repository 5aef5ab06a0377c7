"""``wbcbench run``: train one variant, measure it, print what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from wbcbench.commands import options, show
from wbcbench.core.extras import require_training
from wbcbench.core.spec import DEFAULT_STUDY, RunSpec

if TYPE_CHECKING:
    from wbcbench.core.run_folder import RunDir

DEFAULT_RESULTS = "results"


@options.with_spec_options
def run(
    spec_fields: dict[str, Any],
    variant: options.Variant,
    data: options.Data = None,
    skip_unreadable: options.SkipUnreadable = False,
    study: options.Study = DEFAULT_STUDY,
    results: options.Results = Path(DEFAULT_RESULTS),
    again: options.Again = False,
    share: options.Share = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    live: options.Live = True,
    color: options.Color = "auto",
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
        words = options.list_work_options(silent=silent, live=live, color=color)
        folder = running.carry_out(results, spec, local, words)
    else:
        say(f"{folder.run_id} is already done; --again repeats it.")
    if as_json:
        show.print_document(folder, "run")
    elif verbose and not quiet:
        show.print_run(folder, everything=verbose > 1)
    else:
        _print_result(folder, quiet=quiet)
    running.raise_if_bad(folder)


def _print_result(run: RunDir, *, quiet: bool) -> None:
    """The result in at most ten lines, the last of which says what to do next."""
    from wbcbench.core.terminal import terminal_width
    from wbcbench.core.text import shell_word
    from wbcbench.table import run_text
    from wbcbench.table.view import Run

    own = Run(run.read_record(), run)
    if quiet:
        typer.echo(run_text.format_result_line(own))
        return
    typer.echo(
        "\n".join([*run_text.format_result(own), *run_text.format_warning_codes(own.record)])
    )
    typer.echo(f"Saved {run.path}")
    study, results = run.path.parent.name, run.path.parent.parent
    words = ["wbcbench report"] + [study] * (study != DEFAULT_STUDY)
    if results != Path(DEFAULT_RESULTS):
        words += ["--results", shell_word(results)]
    following = f"Next: {' '.join(words)}"
    hint = "      (one run is no comparison: wbcbench plan)"
    fits = len(following + hint) <= terminal_width()
    typer.echo(f"{following}{hint * fits}")
