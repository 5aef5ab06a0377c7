"""The command line: every command in one table; errors become exit codes here and nowhere else.

Importing this module must stay cheap: commands import what is heavy inside their functions.
"""

from __future__ import annotations

import sys

import typer

from wbcbench import __version__
from wbcbench.commands import (
    attach,
    claims,
    compare,
    data,
    export,
    list_runs,
    merge,
    models,
    monitor,
    report,
    run,
    show,
    work,
)
from wbcbench.errors import WbcbenchError

app = typer.Typer(
    name="wbcbench",
    help="What training a neural network costs in joules, and what accuracy those joules buy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would cost three times the whole start
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 bug, 2 bad input, 3 cannot measure here, 4 gate failed, "
    "5 cannot tell, 6 verification failed, 7 runs failed, 130 interrupted.",
)

app.command("run")(run.run)
app.command("list")(list_runs.list_runs)
app.command("show")(show.show)
app.command("attach")(attach.attach)
app.command("monitor", context_settings=monitor.CONTEXT)(monitor.monitor)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("claims")(claims.claims)
app.command("export")(export.export)
app.command("merge")(merge.merge)
app.command("models")(models.models)
app.add_typer(data.app, name="data")
app.command("work", hidden=True)(work.work)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"wbcbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    del version


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except WbcbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away, e.g. `wbcbench list | head`: nothing is wrong.
        sys.stderr.close()
        sys.exit(0)
