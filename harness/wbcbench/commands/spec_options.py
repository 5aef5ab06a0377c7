"""The options of a run, made from ``RunSpec``: one line an option, its default said in the spec."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

import typer

from wbcbench.core.spec import RunSpec
from wbcbench.study.limits import option_name

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
