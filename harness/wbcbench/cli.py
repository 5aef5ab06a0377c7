"""The command line: every command in one table; its errors become exit codes here alone.

Only the requested command is imported, and ``--help`` is the table itself: answering it imports
nothing, not even Typer.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import textwrap
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.core.environment import set_settings_aside
from wbcbench.core.errors import UsageError, WbcbenchError, unknown_name
from wbcbench.core.extras import TRAINING_PACKAGES, missing_packages_error
from wbcbench.core.streams import guard_streams, output_problem
from wbcbench.core.version import __version__

if TYPE_CHECKING:
    import typer

# Heading of `--help` → name → where the command is, and what it does in one line.
# To add a command: a file and a line here.
GROUPS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Run and measure": {
        "demo": ("demo:demo", "Train on synthetic images for a minute; write a report."),
        "run": ("run:run", "Train one variant and measure what it costs."),
        "monitor": ("monitor:monitor", "Measure any command, or the machine until Ctrl-C."),
        "doctor": ("doctor:doctor", "Show what can be measured here, why not, and the fix."),
        "attach": ("attach:attach", "Add an external meter's log to a finished run."),
        "finalise": ("finalise:finalise", "Write the record of a run that stopped without one."),
    },
    "Compare and report": {
        "list": ("list_runs:list_runs", "List runs, or the parts that can be chosen by name."),
        "show": ("show:show", "Show one run on one screen: scores, energy, warnings."),
        "compare": ("compare:compare", "Compare variants with intervals, or two single runs."),
        "claims": ("claims:claims", "Test the original report's claims against a study."),
        "explain": ("explain:explain", "Trace one number of a run to its readings."),
        "report": ("report:report", "Write a study's page, paper, tables and figures."),
        "export": ("export:export", "Write a study's table: CSV, Parquet, JSON, LaTeX, MD."),
        "tensorboard": ("tensorboard:tensorboard", "Open TensorBoard on a study's logs."),
    },
    "Plan and sweep": {
        "init": ("init:init", "Write an experiment file that explains every key."),
        "plan": ("plan:plan", "Show a study's runs, their cost and what they can show."),
        "sweep": ("sweep:sweep", "Carry out a study, or resume an interrupted one."),
        "merge": ("merge:merge", "Join studies from several machines into one."),
    },
    "Submit and verify": {
        "submit": ("submit:submit", "Write a study as a bundle that others can check."),
        "verify": ("verify:verify", "Check bundles from themselves alone, and each other."),
        "seal": ("seal:seal", "Close a bundle again after you wrote into it; sign it."),
        "reproduce": (
            "reproduce:reproduce",
            "Set a bundle's study up again, carry it out, compare.",
        ),
    },
    "Look after": {
        "delete": ("delete:delete", "Delete runs, after listing what goes."),
        "gc": ("gc:gc", "Delete failed runs, leftovers of kills, and caches."),
        "config": ("config:app", "Show the settings in force here."),
        "schema": ("schema:schema", "Print the JSON Schema of a file format."),
        "cite": ("cite:cite", "Print the references to cite, as BibTeX."),
        "models": ("models:models", "List the networks, or show one layer by layer."),
        "data": ("data:app", "Draw synthetic images; check or fetch a data set."),
    },
}
COMMANDS = {name: line for group in GROUPS.values() for name, line in group.items()}
HIDDEN: Mapping[str, tuple[str, str]] = {
    "work": ("work:work", "Carry out one run; started by launchers."),
}

ABOUT = "What training a neural network costs in joules, and what accuracy those joules buy."
EXIT_CODES = (
    "Exit codes: 0 ok, 1 bug, 2 bad input, 3 cannot measure here or not comparable, 4 threshold "
    "exceeded, 5 inconclusive, 6 verification failed, 7 runs failed, 8 verified in part, 130 "
    "interrupted."
)
# A bundle says the same whoever makes it and whoever checks it: their own baseline is none of it.
_ABOUT_BUNDLES = ("submit", "verify", "seal", "reproduce")
_COMPLETING = "_WBCBENCH_COMPLETE"


# A record is thousands of objects in no cycle: with Python's 700, a third of the time that it takes
# to read many is spent looking for cycles.
_OBJECTS_UNTIL_COLLECTED = 50_000


def main() -> None:
    """Entry point of the console script."""
    guard_streams()
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTED)
    _end_in_order()
    set_settings_aside(os.environ, sys.path)
    code = _carry_out(sys.argv[1:])
    if problem := output_problem():
        text = f"Standard output is incomplete: {problem}. Send it to another file or disk."
        lost_code = _print_error(UsageError(text))
        code = code or lost_code
    if code:
        sys.exit(code)


def _end_in_order() -> None:
    """Let who is asked to end take back what is half done, as after Ctrl-C; runs have their own."""

    def leave(number: int, _: object) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, leave)


def _carry_out(words: list[str]) -> int | str | None:
    """Carry out a command; returns its exit code."""
    try:
        _run(words)
    except SystemExit as end:  # Typer's, of every command
        return end.code
    except WbcbenchError as error:
        return _print_error(error)
    except OSError as error:  # which the command did not foresee, e.g. of a name that is too long
        if error.filename is None:
            raise
        way_out = "Name another file or folder, or repair it."
        return _print_error(UsageError(f"{error.filename}: {error.strerror}. {way_out}"))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in TRAINING_PACKAGES:
            raise
        return _print_error(missing_packages_error([TRAINING_PACKAGES[package]]))
    return 0


def _run(words: list[str]) -> None:
    from wbcbench.core import settings

    if words in ([], ["--help"], ["-h"]) and _COMPLETING not in os.environ:
        print(help_page())
        return
    if words == ["--version"]:
        print(f"wbcbench {__version__}")
        return
    if words[:1] != ["config"]:  # which shows where each setting comes from
        settings.apply(os.environ, Path())
    if words[:1] and words[0] in _ABOUT_BUNDLES:
        os.environ.pop(settings.BASELINE, None)
    names = [*COMMANDS, *HIDDEN]
    if words and not words[0].startswith("-"):
        if words[0] not in names:
            raise unknown_name("command", words[0], COMMANDS)
        names = words[:1]
    build_app(names)()


def _print_error(error: WbcbenchError) -> int:
    if str(error):  # without words, the command has already printed everything
        # A name from outside may hold line breaks: nothing but our own word begins a line.
        lines = "\n  ".join(map(str.strip, str(error).splitlines()))
        print(_fit(f"error: {lines}"), file=sys.stderr)
    return error.exit_code


def _fit(text: str) -> str:
    """On a terminal, lines that end between words; elsewhere the text as it is, to be searched."""
    if not sys.stderr.isatty():
        return text
    from wbcbench.core.terminal import fill

    return "\n".join(
        fill(line.strip(), " " * 2 * bool(place), "  ")
        for place, line in enumerate(text.splitlines())
    )


def help_page() -> str:
    """What ``wbcbench --help`` prints."""
    lines = ["Usage: wbcbench COMMAND [OPTIONS]", "", *textwrap.wrap(ABOUT, 79)]
    for heading, group in GROUPS.items():
        lines += ["", f"{heading}:", *(f"  {n:<11} {about}" for n, (_, about) in group.items())]
    lines += ["", "`wbcbench COMMAND --help` shows a command's options; `--version` the version."]
    return "\n".join([*lines, *textwrap.wrap(EXIT_CODES, 79)])


def build_app(names: Iterable[str]) -> typer.Typer:
    """The Typer application of these commands."""
    import typer

    from wbcbench.commands.usage import CommandUsage, GroupUsage

    app = typer.Typer(
        name="wbcbench",
        help=ABOUT,
        epilog=EXIT_CODES,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help pages: rich would cost most of their time
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_keep_commands)
    for name in names:
        module_name, attribute = {**COMMANDS, **HIDDEN}[name][0].split(":")
        module = import_module(f"wbcbench.commands.{module_name}")
        command = getattr(module, attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, cls=GroupUsage)
        else:
            context = getattr(module, "CONTEXT", None)
            add = app.command(
                name, cls=CommandUsage, hidden=name in HIDDEN, context_settings=context
            )
            add(command)
    return app


def _keep_commands() -> None:
    """Keep Typer from taking a single command for the whole program."""
