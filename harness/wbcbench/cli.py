"""The command line: every command in one table; its errors become exit codes here alone.

Only the command that was asked for is imported, and ``--help`` is the table itself: answering it
imports nothing, not even Typer.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcbench.core.errors import WbcbenchError, unknown_name
from wbcbench.core.version import __version__

if TYPE_CHECKING:
    import typer

# Name → where it is, and what it does in one line. To add a command: a file and a line here.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("run:run", "Train one variant and measure what it costs."),
    "list": ("list_runs:list_runs", "List runs, or the parts that can be chosen by name."),
    "show": ("show:show", "Show one run: joules by channel and window, doubts, advice."),
    "explain": ("explain:explain", "Trace one number of a run's row back to its readings."),
    "report": ("report:report", "Write a study's page, its Markdown and its figures."),
    "tensorboard": ("tensorboard:tensorboard", "Open TensorBoard on a study's logs, locally."),
    "plan": ("plan:plan", "Show a study's runs, what they will cost and what they can show."),
    "sweep": ("sweep:sweep", "Carry out a study, or take up one that was broken off."),
    "finalise": ("finalise:finalise", "Account for a run that nobody carries out any more."),
    "compare": ("compare:compare", "Compare variants block by block, with intervals and gates."),
    "claims": ("claims:claims", "Hold the original report's claims against a study."),
    "export": ("export:export", "Write a study's table as CSV, Parquet, JSON, LaTeX or Markdown."),
    "submit": ("submit:submit", "Write a study as a bundle that a stranger can check."),
    "reproduce": ("reproduce:reproduce", "Set a bundle's study up again in an empty folder."),
    "merge": ("merge:merge", "Join studies from several machines into one."),
    "verify": ("verify:verify", "Check a submission bundle, from itself alone."),
    "monitor": ("monitor:monitor", "Measure any command, or the machine until Ctrl-C."),
    "doctor": ("doctor:doctor", "Say what can be measured here, why not, and the fix."),
    "attach": ("attach:attach", "Add an external meter's log to a finished run."),
    "schema": ("schema:schema", "Print the JSON Schema of experiment files or records."),
    "config": ("config:app", "Show the settings that hold here, and who said so."),
    "cite": ("cite:cite", "Print the references to give with results, as BibTeX."),
    "models": ("models:models", "List the networks, or show one layer by layer."),
    "data": ("data:app", "Draw synthetic cells, check a data set, or fetch the published one."),
}
HIDDEN: Mapping[str, tuple[str, str]] = {
    "work": ("work:work", "Carry out one run; started by launchers."),
}

ABOUT = "What training a neural network costs in joules, and what accuracy those joules buy."
EXIT_CODES = (
    "Exit codes: 0 ok, 1 bug, 2 bad input, 3 cannot measure here or not comparable, 4 gate "
    "failed, 5 cannot tell, 6 verification failed, 7 runs failed, 130 interrupted."
)
_COMPLETING = "_WBCBENCH_COMPLETE"


def main() -> None:
    """Entry point of the console script."""
    words = sys.argv[1:]
    try:
        if words in ([], ["--help"], ["-h"]) and _COMPLETING not in os.environ:
            print(help_page())
        elif words == ["--version"]:
            print(f"wbcbench {__version__}")
        else:
            _apply_settings(words)
            build_app(_needed(words))()
    except WbcbenchError as error:
        if str(error):  # without words, the command has printed all there is to say
            print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away, e.g. `wbcbench list | head`: nothing is wrong.
        sys.stderr.close()
        sys.exit(0)


def help_page() -> str:
    """What ``wbcbench --help`` prints."""
    lines = ["Usage: wbcbench COMMAND [OPTIONS]", "", ABOUT, "", "Commands:"]
    lines += [f"  {name:<11} {says}" for name, (_, says) in COMMANDS.items()]
    lines += ["", "`wbcbench COMMAND --help` tells a command's options; `--version` the version."]
    return "\n".join([*lines, *textwrap.wrap(EXIT_CODES, 78)])


def build_app(names: Iterable[str]) -> typer.Typer:
    """The Typer application of these commands."""
    import typer

    app = typer.Typer(
        name="wbcbench",
        help=ABOUT,
        epilog=EXIT_CODES,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help pages: rich would cost most of their time
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_no_options)
    for name in names:
        _add(app, name)
    return app


def _needed(words: list[str]) -> list[str]:
    """The command asked for; every one where none is, for completion and messages.

    Raises:
        UsageError: There is no such command; the message has the nearest match.
    """
    every = {**COMMANDS, **HIDDEN}
    if not words or words[0].startswith("-"):
        return list(every)
    if words[0] not in every:
        raise unknown_name("command", words[0], COMMANDS)
    return words[:1]


def _apply_settings(words: list[str]) -> None:
    """Let the settings files speak; `config` looks at them itself, and says who said what."""
    from wbcbench.core import settings

    if words[:1] != ["config"]:
        settings.apply(os.environ, Path())


def _add(app: typer.Typer, name: str) -> None:
    import typer

    module, attribute = {**COMMANDS, **HIDDEN}[name][0].split(":")
    found = import_module(f"wbcbench.commands.{module}")
    part = getattr(found, attribute)
    if isinstance(part, typer.Typer):
        app.add_typer(part, name=name)
    else:
        context: dict[str, Any] | None = getattr(found, "CONTEXT", None)
        app.command(name, hidden=name in HIDDEN, context_settings=context)(part)


def _no_options() -> None:
    """Keep Typer from taking a single command for the whole program."""
