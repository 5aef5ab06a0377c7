"""How a command's ``--help`` is laid out: options in panels, values of choices, two examples.

Plain text in 80 columns: rich's own panels would take most of the time of a help page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand, TyperGroup

_OPTIONS, _ARGUMENTS = "Options", "Arguments"
_LAST = "Output"

# Two of each command, as typed; a test parses them.
EXAMPLES: Mapping[str, tuple[str, str]] = {
    "demo": ("wbcbench demo", "wbcbench demo --open"),
    "init": ("wbcbench init", "wbcbench init mine.toml"),
    "delete": (
        "wbcbench delete leaky-dropout-s1-883e6068 --dry-run",
        "wbcbench delete leaky-dropout-s1-883e6068 --yes",
    ),
    "gc": ("wbcbench gc --dry-run", "wbcbench gc --yes"),
    "run": (
        "wbcbench run --variant leaky-dropout --data DIR --seed 1001",
        "wbcbench run --variant relu-batchnorm --epochs 2 --meters simulated",
    ),
    "list": ("wbcbench list", "wbcbench list parts"),
    "show": ("wbcbench show leaky-dropout-s1001", "wbcbench show leaky-dropout-s1001 --all"),
    "explain": (
        "wbcbench explain leaky-dropout-s1001 primary_energy_train_j",
        "wbcbench explain leaky-dropout-s1001 accuracy --json",
    ),
    "report": ("wbcbench report", "wbcbench report published --format html,pdf"),
    "tensorboard": ("wbcbench tensorboard", "wbcbench tensorboard published --port 6007"),
    "plan": (
        "wbcbench plan experiments/quick.toml",
        "wbcbench plan experiments/quick.toml --pilot --out plan.json",
    ),
    "sweep": (
        "wbcbench sweep experiments/quick.toml",
        "wbcbench sweep plan.json --confirm-over 0.5kWh",
    ),
    "finalise": (
        "wbcbench finalise leaky-dropout-s1001",
        "wbcbench finalise leaky-dropout-s1001 --force",
    ),
    "compare": (
        "wbcbench compare published --baseline relu-dropout",
        "wbcbench compare published --fail-if 'energy_gpu_train_j > +5%'",
    ),
    "claims": ("wbcbench claims published", "wbcbench claims --measures"),
    "export": (
        "wbcbench export published --format parquet --out runs.parquet",
        "wbcbench export published --format csv",
    ),
    "submit": (
        "wbcbench submit published --author 'Ada Lovelace' --licence MIT",
        "wbcbench submit published --statement statement.toml --out bag.zip",
    ),
    "reproduce": ("wbcbench reproduce bag.zip", "wbcbench reproduce bag.zip --run"),
    "merge": (
        "wbcbench merge mine theirs --into both",
        "wbcbench merge ../elsewhere/results/runs --into both",
    ),
    "verify": ("wbcbench verify bag.zip", "wbcbench verify submissions/ --format markdown"),
    "seal": ("wbcbench seal bag", "wbcbench seal bag --sign ~/.ssh/id_ed25519"),
    "monitor": ("wbcbench monitor -- python train.py", "wbcbench monitor --csv power.csv"),
    "doctor": ("wbcbench doctor --require gpu=measured", "wbcbench doctor --acceptance"),
    "attach": (
        "wbcbench attach leaky-dropout-s1001 --wall-meter log.csv --dry-run",
        "wbcbench attach leaky-dropout-s1001 --wall-meter log.csv",
    ),
    "schema": ("wbcbench schema record", "wbcbench schema experiment"),
    "config": ("wbcbench config show", "wbcbench config show --origin"),
    "cite": ("wbcbench cite", "wbcbench cite > references.bib"),
    "models": ("wbcbench models", "wbcbench models leaky-dropout"),
    "data": ("wbcbench data fetch DIR", "wbcbench data check DIR"),
}


class CommandUsage(TyperCommand):
    """A command whose help has panels and examples."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then each panel, those of output last."""
        panels: dict[str, list[tuple[str, str]]] = {_ARGUMENTS: [], _OPTIONS: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            is_argument = parameter.param_type_name == "argument"
            panel = getattr(parameter, "rich_help_panel", None) or _OPTIONS
            is_help = record[0].endswith("--help")
            name = _ARGUMENTS if is_argument else _LAST if is_help else str(panel)
            panels.setdefault(name, []).append(record)
        panels[_LAST] = panels.pop(_LAST, [])
        for name, records in panels.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        write_examples(str(self.name), formatter)


class GroupUsage(TyperGroup):
    """Commands under one name, whose help has examples."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        write_examples(str(self.name), formatter)


def write_examples(command: str, formatter: Any) -> None:
    """The examples of a command, a line each; nothing for a command without any."""
    if command in EXAMPLES:
        formatter.write_paragraph()
        formatter.write("Examples:\n")
        for example in EXAMPLES[command]:
            formatter.write(f"  {example}\n")
