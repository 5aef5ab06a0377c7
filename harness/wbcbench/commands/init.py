"""``wbcbench init [FILE]``: write an experiment file that explains every key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError
from wbcbench.core.text import shell_word

File = Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]


def init(file: File = Path("experiment.toml"), force: Force = False) -> None:
    """Write an experiment file with every key explained, to be changed and then planned.

    As it is written, it asks for the four variants of the published report.
    """
    from wbcbench.commands.schema import describe_experiment
    from wbcbench.run.live_state import print_progress
    from wbcbench.study.experiment import parse_design, published_design
    from wbcbench.study.limits import check_field
    from wbcbench.study.template import format_experiment

    if file.suffix == ".json":
        raise UsageError(f"{file}: experiment files are TOML. Name it {file.stem}.toml.")
    check_field("study", file.stem, "The name of the file, which names the study,")
    design = published_design()
    parse_design(design, file, file.stem)
    content = format_experiment(describe_experiment(), design).encode()
    options.write_output(file, content, replace=force, way_out="Name another FILE.")
    print_progress(f"{file} written. Next: wbcbench plan {shell_word(file)}")
