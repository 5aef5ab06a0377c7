"""Options that several commands share, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import completion

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
        autocompletion=completion.runs,
    ),
]
Variant = Annotated[
    str,
    typer.Option("--variant", help="Which network to train.", autocompletion=completion.variants),
]
Study = Annotated[
    str,
    typer.Option(
        "--study",
        envvar="WBCBENCH_STUDY",
        help="Folder under results.",
        autocompletion=completion.studies,
    ),
]
StudyArgument = Annotated[
    str,
    typer.Argument(
        envvar="WBCBENCH_STUDY",
        help="Folder under results.",
        autocompletion=completion.studies,
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
