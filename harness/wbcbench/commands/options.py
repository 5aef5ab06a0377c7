"""What several commands share: options, shell completion, and how a result is printed."""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    get_args,
    get_origin,
    get_type_hints,
)

import typer

from wbcbench.core.errors import InconclusiveError, ThresholdExceededError, UsageError
from wbcbench.core.spec import RunSpec
from wbcbench.study.limits import option_name

if TYPE_CHECKING:
    from rich.console import Console

    from wbcbench.core.run_folder import Local, RunDir
    from wbcbench.power.session import MeteringRequest
    from wbcbench.run.display import View
    from wbcbench.study.forecast import Cost

VERSION = 2  # of the JSON documents that commands print

TRAINING, DATA, EXECUTION, MEASURING = "Training", "Data", "Execution", "Measuring"
FILES, OUTPUT = "Files", "Output"

# The options of a run: field of RunSpec → its heading in --help, and its help. Types and defaults
# are those of the field.
HELP: dict[str, tuple[str, str]] = {
    "seed": (TRAINING, "Seed of initialisation, order and dropout."),
    "epochs": (TRAINING, "Passes over the training images."),
    "batch_size": (TRAINING, "Images in a batch."),
    "learning_rate": (TRAINING, "Adam's learning rate, the highest of a schedule."),
    "schedule": (TRAINING, "Learning rate: the same, falling, or rising and falling."),
    "leaky_slope": (TRAINING, "LeakyReLU's negative slope."),
    "dropout_conv": (TRAINING, "Dropout rate after the third pooling."),
    "dropout_dense": (TRAINING, "Dropout rate after the dense layer."),
    "batchnorm_momentum": (TRAINING, "Of batch normalisation; 0.9 suits short runs."),
    "target_metric": (TRAINING, "Score of the validation that is to be reached."),
    "target_value": (TRAINING, "Score whose energy and time are reported."),
    "image_size": (DATA, "Side of the square input in pixels."),
    "validation": (DATA, "Hold out photographs, or use TEST as published."),
    "validation_fraction": (DATA, "Fraction of TRAIN that is held out."),
    "split_seed": (DATA, "Seed of the choice of held-out photographs."),
    "precision": (EXECUTION, "Number format of the arithmetic."),
    "xla": (EXECUTION, "Compile with XLA; by default where a GPU trains."),
    "path": (EXECUTION, "Images on the device and an epoch a call, or Keras' plain fit."),
    "deterministic": (EXECUTION, "Use deterministic operations only."),
    "steps_per_execution": (EXECUTION, "Steps per call, of --path fit."),
    "threads": (EXECUTION, "Intra-op threads; all cores if left out."),
    "tuned": (EXECUTION, "Faster execution settings; --no-tuned: TensorFlow's own."),
    "gpus": (EXECUTION, "GPU index, UUID or UUID prefix; several by commas."),
    "meters": (MEASURING, "auto, or names separated by commas; see `wbcbench list parts`."),
    "interval_s": (MEASURING, "Sampling period in seconds."),
    "idle_s": (MEASURING, "Length of each idle window in seconds; 0: none."),
    "warmup_steps": (MEASURING, "Warm-up steps before training; their effect is undone."),
    "inference_s": (MEASURING, "Minimum length of an inference window in seconds; 0: none."),
    "loops": (MEASURING, "Trainings in one window: N, or auto; by default auto on a GPU, else 1."),
    "train_window_s": (MEASURING, "Least length of that window in seconds, for --loops auto."),
    "cooldown_c": (MEASURING, "Wait until the GPU is at most this warm, in °C."),
    "power_limit_w": (EXECUTION, "GPU power limit in watts, restored afterwards; needs root."),
    "country": (
        MEASURING,
        "ISO 3166 code of the grid, for grams of CO2e; if left out, a range of grids.",
    ),
}
_HINTS = get_type_hints(RunSpec)
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(RunSpec)}
_LISTS = ("gpus", "meters")
_VALUES = {"target_metric": ("val_balanced_accuracy", "val_accuracy"), "loops": ("N", "auto")}
_SETTINGS = ("country", "gpus", "meters")


def with_spec_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` an option for each line of ``HELP``.

    The command's first parameter receives the fields as a dictionary ready for ``RunSpec``; its
    other parameters stay options as they are written.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    parameters = [*own, *map(_create_parameter, HELP)]

    @functools.wraps(command)
    def run_with_fields(**values: Any) -> None:
        spec_fields = {name: values.pop(name) for name in HELP}
        spec_fields |= {name: split_words(spec_fields[name]) for name in _LISTS}
        spec_fields["loops"] = _parse_loops(spec_fields["loops"])
        command(spec_fields, **values)

    run_with_fields.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run_with_fields.__annotations__ = {p.name: p.annotation for p in parameters}
    del run_with_fields.__wrapped__  # Typer would unwrap it again
    return run_with_fields


def _create_parameter(name: str) -> inspect.Parameter:
    panel, text = HELP[name]
    hint, default = _HINTS[name], _DEFAULTS[name]
    option = option_name(name)
    if hint == bool | None or (hint is bool and default):
        option = f"{option}/--no-{option[2:]}"
    variable = f"WBCBENCH_{name.upper()}" if name in _SETTINGS else None
    # On the command line, choices and lists are words; ``limits`` checks them.
    is_plain = hint in (int, float, bool, int | None, float | None, bool | None)
    values = _VALUES.get(name) or (get_args(hint) if get_origin(hint) is Literal else ())
    metavar = f"<{'|'.join(values)}>" if values else None
    info = typer.Option(option, help=text, rich_help_panel=panel, envvar=variable, metavar=metavar)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=",".join(default) if name in _LISTS else default,
        annotation=Annotated[hint if is_plain else str | None if default is None else str, info],
    )


def _parse_loops(text: str | None) -> int | str | None:
    """The number of loops where it is one; ``limits`` refuses other words than ``auto``."""
    return int(text) if text is not None and text.isdecimal() else text


def split_words(text: str) -> tuple[str, ...]:
    """The words of an option that joins them by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


# What a shell offers for a word that is half typed; never an error.


def complete_variant(incomplete: str) -> list[str]:
    """Names in the registry."""
    from wbcbench.registry import VARIANTS

    return [name for name in VARIANTS if name.startswith(incomplete)]


def complete_study(context: typer.Context, incomplete: str) -> list[str]:
    """Studies that hold a run."""
    from wbcbench.core.study_folder import studies

    return [name for name in studies(_results_folder(context)) if name.startswith(incomplete)]


def complete_run(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of runs, of every study."""
    from wbcbench.core.study_folder import all_runs

    runs = all_runs(_results_folder(context))
    return sorted({run.run_id for run in runs if run.run_id.startswith(incomplete)})


def open_finished_run(results: Path, run: str) -> RunDir:
    """The folder of a run that has its record; raises like ``find_run`` and ``finished_run``."""
    from wbcbench.core.study_folder import find_run, finished_run

    finalise_programs(results)
    return finished_run(find_run(results, run))


def pick(source: object, *names: str) -> dict[str, Any]:
    """Some attributes by their names, for a document."""
    return {name: getattr(source, name) for name in names}


def finalise_programs(results: Path) -> None:
    """Account for measured programs that were killed, and say so; any command may."""
    from wbcbench.run.finalise import describe_interrupted, finalise_programs

    for run in finalise_programs(results):
        typer.echo(describe_interrupted(run), err=True)


def _results_folder(context: typer.Context) -> Path:
    """The folder that the line names so far, else the one of the settings."""
    named = context.params.get("results") or os.environ.get("WBCBENCH_RESULTS") or "results"
    return Path(named)


Results = Annotated[
    Path,
    typer.Option(
        envvar="WBCBENCH_RESULTS", help="Folder that holds the runs.", rich_help_panel=FILES
    ),
]
Study = Annotated[
    str,
    typer.Option(
        envvar="WBCBENCH_STUDY",
        help="Folder under results.",
        autocompletion=complete_study,
        rich_help_panel=FILES,
    ),
]
StudyArgument = Annotated[
    str,
    typer.Argument(
        envvar="WBCBENCH_STUDY", help="Folder under results.", autocompletion=complete_study
    ),
]
StudyArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="STUDY",
        envvar="WBCBENCH_STUDY",
        help="Folders under results; 'runs' if left out.",
        autocompletion=complete_study,
        show_default=False,
    ),
]
Run = Annotated[
    str,
    typer.Argument(
        help="Run id, the unique beginning of one, or a run's folder.", autocompletion=complete_run
    ),
]
Variant = Annotated[
    str,
    typer.Option(
        help="Network to train.", autocompletion=complete_variant, rich_help_panel=TRAINING
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        envvar="WBCBENCH_DATA",
        help="Folder of the images; the embedded synthetic images if left out.",
        rich_help_panel=FILES,
    ),
]
SkipUnreadable = Annotated[
    bool,
    typer.Option(
        "--skip-unreadable", help="Skip and record unreadable images.", rich_help_panel=FILES
    ),
]
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder or zip of a bundle.")]
Again = Annotated[bool, typer.Option("--again", help="Repeat a run that is already done.")]
Share = Annotated[
    bool, typer.Option("--share", help="Run beside another wbcbench; both are marked contaminated.")
]
Wide = Annotated[
    bool,
    typer.Option(
        "--wide", help="Show every column, however long the lines become.", rich_help_panel=OUTPUT
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON document and nothing else.", rich_help_panel=OUTPUT
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print only the result and errors.", rich_help_panel=OUTPUT),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        help="Print details; twice: all of them.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Live = Annotated[
    bool,
    typer.Option(
        "--live/--no-live",
        help="On a terminal: a live panel, or plain lines.",
        rich_help_panel=OUTPUT,
    ),
]
ColorChoice = Literal["auto", "always", "never"]
Color = Annotated[
    ColorChoice,
    typer.Option(help="Colour in the live panel; auto heeds NO_COLOR.", rich_help_panel=OUTPUT),
]
Meters = Annotated[
    str,
    typer.Option(
        envvar="WBCBENCH_METERS",
        help="auto, or names separated by commas.",
        rich_help_panel=MEASURING,
    ),
]
Interval = Annotated[
    float, typer.Option(help="Sampling period in seconds.", rich_help_panel=MEASURING)
]
Gpus = Annotated[
    str,
    typer.Option(
        "--gpus",
        "--gpu",
        envvar="WBCBENCH_GPUS",
        help="GPU index, UUID or UUID prefix, separated by commas; all visible if left out.",
        show_default=False,
        rich_help_panel=MEASURING,
    ),
]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to serve on; 0: any free port.")
]
Exploratory = Annotated[
    bool,
    typer.Option(
        "--exploratory", help="Test nothing: estimates and intervals, of any number of blocks."
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the file: --set epochs=3."),
]
ConfirmOver = Annotated[
    str | None,
    typer.Option(
        metavar="ENERGY",
        help="Ask first if more is predicted, e.g. 0.5kWh; without a terminal: stop.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Confirm without asking.")]


def metering_request(meters: str, gpus: str, interval_s: float) -> MeteringRequest:
    """What --meters, --gpus and --interval ask for; raises ``UsageError`` like its class."""
    from wbcbench.power.session import MeteringRequest

    return MeteringRequest(split_words(meters), split_words(gpus), interval_s)


def describe_local(data: Path | None, **more: Any) -> Local:
    """This machine's side of a run: images, command line and ``more`` fields of ``Local``.

    Raises:
        UsageError: The name of the images' folder is not UTF-8, so that no document can hold it.
    """
    from wbcbench.core.run_folder import Local
    from wbcbench.core.text import encodable

    if data is not None and encodable(str(data)) != str(data):
        raise UsageError(f"--data {data} is not UTF-8. Rename the folder, or name a link to it.")
    return Local(data=str(data) if data else None, command=("wbcbench", *sys.argv[1:]), **more)


def list_work_options(*, silent: bool, live: bool, color: ColorChoice = "auto") -> tuple[str, ...]:
    """Options for the process of a run: quiet, without a panel, its colour."""
    flags = ("--quiet",) * silent + ("--no-live",) * (not live)
    return flags + ("--color", color) * (color != "auto")


def make_console(color: ColorChoice) -> Console:
    """Where a panel is drawn: standard error, with colour or without."""
    from rich.console import Console

    return Console(file=sys.__stderr__, no_color=None if color == "auto" else color == "never")


def choose_view(
    *, silent: bool, live: bool, of_run: bool = True, color: ColorChoice = "auto"
) -> View:
    """What shows a run, or the power of a machine: drawn on a terminal, plain lines elsewhere."""
    from wbcbench.run.display import LinesView, View, WattsLog

    if silent:
        return View(sys.stderr)
    if not live or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return LinesView(sys.stderr) if of_run else WattsLog(sys.stderr)
    from wbcbench.run.panel import PanelView, WattsLine

    console = make_console(color)
    return PanelView(console) if of_run else WattsLine(console)


def parse_limit_j(text: str | None) -> float | None:
    """Joules of ``--confirm-over``; raises ``UsageError`` if it is no energy."""
    from wbcbench.core.units import j_from_text

    try:
        return None if text is None else j_from_text(text)
    except ValueError as error:
        raise UsageError(f"--confirm-over: {error}.") from error


def confirm(costs: Cost, limit_j: float | None, *, yes: bool) -> None:
    """Ask when the predicted energy is above the limit.

    Raises:
        ThresholdExceededError: The answer is no.
        InconclusiveError: The energy cannot be predicted.
    """
    from wbcbench.core.text import human_energy

    if limit_j is None or yes:
        return
    if costs.energy_j is None:
        raise InconclusiveError(
            "--confirm-over: the energy cannot be predicted without a finished run. "
            "Make one with `wbcbench plan FILE --pilot`, or add --yes."
        )
    if costs.energy_j <= limit_j:
        return
    text = (
        f"{human_energy(costs.energy_j)} {costs.status} are predicted, above the limit of "
        f"{human_energy(limit_j)}"
    )
    if sys.stdin.isatty() and sys.stderr.isatty() and typer.confirm(f"{text}. Go on?", err=True):
        return
    raise ThresholdExceededError(f"{text}. Nothing was started. Add --yes, or plan less.")


def write_output(
    out: Path,
    data: bytes,
    *,
    replace: bool = True,
    way_out: str = "Name another file with --out.",
) -> None:
    """Write the file of ``--out``.

    Args:
        out: The file.
        data: What it shall hold.
        replace: Whether a file that is there may be replaced.
        way_out: What to do where it cannot be written.

    Raises:
        UsageError: It cannot be written, or is there.
    """
    from wbcbench.core.files import write_atomically, write_new

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        (write_atomically if replace else write_new)(out, data)
    except FileExistsError as error:
        raise UsageError(
            f"{out} is there already and is not replaced. Name another file, or add --force."
        ) from error
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}. {way_out}") from error


def require_folder(out: Path) -> None:
    """Make the folder of ``--out``; raise ``UsageError`` where nothing can be written into it."""
    from tempfile import TemporaryFile

    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(
            f"{out} cannot be written: {error.strerror}. Name another folder with --out."
        ) from error


def print_json(document: Mapping[str, Any], command: str = "") -> None:
    """Print one JSON document; with ``command`` it begins with the name of that schema."""
    schema = {"schema": f"wbcbench.{command}/{VERSION}"} if command else {}
    text = json.dumps({**schema, **document}, indent=1, allow_nan=False)
    typer.echo(text)


def print_result(
    document: Mapping[str, Any], text: str, command: str = "", *, as_json: bool
) -> None:
    """Print a result in words, or with ``as_json`` as a document; see ``print_json``."""
    if as_json:
        print_json(document, command)
    else:
        typer.echo(text)


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Sequence[str] = (),
    *,
    leaves: Sequence[str] = (),
    folds: str = "",
    wide: bool | None = None,
) -> None:
    """Print a table of texts that fits the terminal.

    Args:
        headings: Of its columns.
        rows: Their cells.
        right: Columns of numbers.
        leaves: Columns that leave a narrow terminal, the first first.
        folds: The column whose text may go on in further lines; else the widest that is no number.
        wide: See ``format_table``.
    """
    from wbcbench.core.terminal import TableColumn, format_table, text_column

    cells = zip(*rows, strict=True)
    columns = [text_column(heading, own) for heading, own in zip(headings, cells, strict=True)]
    texts = [column for column in columns if column.heading not in right]
    if not folds and not leaves and texts:
        folds = max(texts, key=lambda column: column.width).heading
    rank = {heading: len(leaves) - place for place, heading in enumerate(leaves)}
    laid_out = [
        TableColumn(
            column.heading,
            column.cells,
            "point" if column.heading in right else "left",
            rank.get(column.heading, 0),
            folds=column.heading == folds,
        )
        for column in columns
    ]
    typer.echo("\n".join(format_table(laid_out, wide=wide)))
