"""Options that several commands share, and how a shell completes them."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from wbcbench.core.errors import InconclusiveError, ThresholdExceededError, UsageError
from wbcbench.core.spec import RunSpec
from wbcbench.study.limits import option_name

if TYPE_CHECKING:
    from wbcbench.study.forecast import Cost

# The options of a run, made from ``RunSpec``: one line an option, its default said in the spec.


TRAINING, DATA, EXECUTION, MEASURING = "Training", "Data", "Execution", "Measuring"

# Field of RunSpec → its heading in --help and what it says there.
HELP: dict[str, tuple[str, str]] = {
    "seed": (TRAINING, "Initialisation, order and dropout together."),
    "epochs": (TRAINING, "Passes over the training images."),
    "batch_size": (TRAINING, "Images a step."),
    "learning_rate": (TRAINING, "Adam's learning rate."),
    "leaky_slope": (TRAINING, "LeakyReLU's negative slope."),
    "dropout_conv": (TRAINING, "Share dropped after the third pooling."),
    "dropout_dense": (TRAINING, "Share dropped after the dense layer."),
    "target_metric": (TRAINING, "val_balanced_accuracy or val_accuracy."),
    "target_value": (TRAINING, "The score whose joules and seconds are stated."),
    "image_size": (DATA, "Side of the square input in pixels."),
    "validation": (DATA, "by-photograph: hold out photographs; published: watch TEST."),
    "validation_fraction": (DATA, "Share of TRAIN that is held out."),
    "split_seed": (DATA, "Draw of the held-out photographs."),
    "precision": (EXECUTION, "float32, mixed_float16 or mixed_bfloat16."),
    "xla": (EXECUTION, "Compile the training step with XLA."),
    "deterministic": (EXECUTION, "Deterministic operations only."),
    "steps_per_execution": (EXECUTION, "Steps between two returns to Python."),
    "threads": (EXECUTION, "Intra-op threads; every core when left out."),
    "tuned": (EXECUTION, "Faster execution settings; --no-tuned leaves TensorFlow's own."),
    "gpus": (EXECUTION, "GPU index, UUID or its beginning; joined by commas."),
    "meters": (MEASURING, "auto, or names joined by commas; `wbcbench list parts` has them."),
    "interval_s": (MEASURING, "Sampling period in seconds."),
    "idle_s": (MEASURING, "Length of each idle window in seconds; 0 leaves them out."),
    "warmup_steps": (MEASURING, "Steps before training whose effect is undone."),
    "inference_s": (MEASURING, "Least length of an inference window; 0 leaves them out."),
    "cooldown_c": (MEASURING, "Wait until the GPU is no warmer than this many degrees Celsius."),
    "power_limit_w": (
        EXECUTION,
        "GPU power limit in watts, put back afterwards; needs permission.",
    ),
    "country": (MEASURING, "ISO 3166 code of the grid, for CodeCarbon and carbon."),
}


def with_spec_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` an option for each line of ``HELP``.

    The command's first parameter receives the fields as a dictionary ready for ``RunSpec``; its
    other parameters stay options as they are written.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    added = [_parameter(name) for name in HELP]

    @functools.wraps(command)
    def with_fields(**values: Any) -> None:
        asked = {name: _from_words(name, values.pop(name)) for name in HELP}
        command(asked, **values)

    with_fields.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    with_fields.__annotations__ = {p.name: p.annotation for p in [*own, *added]}
    del with_fields.__wrapped__  # Typer would unwrap it again
    return with_fields


_HINTS = get_type_hints(RunSpec)
_DEFAULTS = {field.name: field.default for field in fields(RunSpec)}
_LISTS = ("gpus", "meters")
_SETTINGS = ("country", "gpus", "meters")


def _parameter(name: str) -> inspect.Parameter:
    panel, text = HELP[name]
    words = [option_name(name)]
    if _HINTS[name] is bool and _DEFAULTS[name]:
        words = [f"{words[0]}/--no-{words[0][2:]}"]
    variable = f"WBCBENCH_{name.upper()}" if name in _SETTINGS else None
    option = typer.Option(*words, help=text, rich_help_panel=panel, envvar=variable)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=_to_words(name, _DEFAULTS[name]),
        annotation=Annotated[_plain(name), option],
    )


def _plain(name: str) -> Any:
    """The type on the command line: choices and lists are words, checked in ``limits``."""
    hint = _HINTS[name]
    return hint if hint in (int, float, bool, int | None, float | None) else str


def _to_words(name: str, value: Any) -> Any:
    return ",".join(value) if name in _LISTS else value


def _from_words(name: str, value: Any) -> Any:
    if name not in _LISTS:
        return value
    return tuple(word.strip() for word in value.split(",") if word.strip())


# Options that ``plan`` and ``sweep`` share, and the question before much energy is spent.


PlanFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="An experiment file such as experiments/quick.toml, or a plan.json.",
        show_default=False,
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
        help="Ask first when more is predicted, e.g. 0.5kWh; off a terminal the answer is no.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Answer that question with yes.")]


def limit_j(text: str | None) -> float | None:
    """Joules of ``--confirm-over``; raises ``UsageError`` when it is no energy."""
    from wbcbench.core.units import j_from_text

    if text is None:
        return None
    try:
        return j_from_text(text)
    except ValueError as error:
        raise UsageError(f"--confirm-over: {error}.") from error


def confirm(costs: Cost, most_j: float | None, *, yes: bool) -> None:
    """Ask when the predicted joules are above the limit.

    Raises:
        ThresholdExceededError: The answer is no.
        InconclusiveError: The joules cannot be predicted.
    """
    from wbcbench.core.text import human_energy

    if most_j is None or yes:
        return
    if costs.energy_j is None:
        raise InconclusiveError(
            "--confirm-over: the joules cannot be predicted, for there is no finished run to "
            "learn from. Make one with `wbcbench plan FILE --pilot`, or say --yes."
        )
    if costs.energy_j <= most_j:
        return
    text = f"{human_energy(costs.energy_j)} {costs.status} are predicted, above the limit of "
    text += human_energy(most_j)
    if sys.stdin.isatty() and sys.stderr.isatty() and typer.confirm(f"{text}. Go on?", err=True):
        return
    raise ThresholdExceededError(f"{text}. Nothing was started. Say --yes, or plan less.")


# What a shell offers for a word that is half typed: variants, studies, runs. Never an error.


def variants(incomplete: str) -> list[str]:
    """Names in the registry."""
    from wbcbench.registry import VARIANTS

    return [name for name in VARIANTS if name.startswith(incomplete)]


def studies(context: typer.Context, incomplete: str) -> list[str]:
    """Studies that hold a run."""
    from wbcbench.core.study_folder import studies as under

    return [name for name in under(_results(context)) if name.startswith(incomplete)]


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of runs, of every study."""
    from wbcbench.core.study_folder import all_runs

    found = all_runs(_results(context))
    return sorted({run.run_id for run in found if run.run_id.startswith(incomplete)})


def _results(context: typer.Context) -> Path:
    """The folder that the line names so far, else the one that holds here."""
    named = context.params.get("results") or os.environ.get("WBCBENCH_RESULTS") or "results"
    return Path(named)


# Options that several commands share, each said once.


Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="WBCBENCH_DATA",
        help="Folder of the images; without it, the embedded synthetic cells.",
    ),
]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="Skip and record unreadable images.")
]
Run = Annotated[
    str,
    typer.Argument(
        help="Run id, the unique beginning of one, or a run's folder.",
        autocompletion=runs,
    ),
]
Variant = Annotated[
    str,
    typer.Option("--variant", help="Which network to train.", autocompletion=variants),
]
Study = Annotated[
    str,
    typer.Option(
        "--study",
        envvar="WBCBENCH_STUDY",
        help="Folder under results.",
        autocompletion=studies,
    ),
]
StudyArgument = Annotated[
    str,
    typer.Argument(
        envvar="WBCBENCH_STUDY",
        help="Folder under results.",
        autocompletion=studies,
    ),
]
Results = Annotated[
    Path,
    typer.Option("--results", envvar="WBCBENCH_RESULTS", help="Where runs are kept."),
]
Again = Annotated[bool, typer.Option("--again", help="Repeat a run that is already done.")]
Share = Annotated[
    bool,
    typer.Option("--share", help="Run beside another harness; both are marked contaminated."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output, nothing else.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="The result and errors alone.")]
Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Decisions, too.", show_default=False)
]
Live = Annotated[
    bool, typer.Option("--live/--no-live", help="A live panel on a terminal, or lines.")
]

Meters = Annotated[
    str, typer.Option("--meters", envvar="WBCBENCH_METERS", help="auto, or names joined by commas.")
]
Interval = Annotated[float, typer.Option("--interval", help="Sampling period in seconds.")]
Gpus = Annotated[
    str,
    typer.Option(
        "--gpus",
        "--gpu",
        envvar="WBCBENCH_GPUS",
        help="GPU index, UUID or its beginning, joined by commas; every visible one if left out.",
        show_default=False,
    ),
]


def words(text: str) -> tuple[str, ...]:
    """The words of an option that joins them by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())
