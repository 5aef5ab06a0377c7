"""``wbcbench models [VARIANT]``: which networks there are, or one of them layer by layer."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.core.units import millions
from wbcbench.registry import VARIANTS, load_part
from wbcbench.train.variants import ModelSettings, Variant

if TYPE_CHECKING:
    from rich.table import Table

    from wbcbench.train.variants import LayerRow

SCHEMA = "wbcbench.models/1"


def models(
    variant: Annotated[
        str | None,
        typer.Argument(
            help="Show this variant layer by layer.",
            show_default=False,
            autocompletion=options.variants,
        ),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of a table.")
    ] = False,
) -> None:
    """List the network variants, or show the layers, shapes and parameters of one."""
    if variant is None:
        _print_variants(json_output)
    else:
        _print_layers(load_part("variant", variant), json_output)


def _print_variants(json_output: bool) -> None:
    variants: list[Variant] = [load_part("variant", name) for name in VARIANTS]
    if json_output:
        _print_json({"variants": [_factors(variant) for variant in variants]})
        return
    table = _table("variant", "activation", "regulariser", "description")
    for variant in variants:
        table.add_row(*_factors(variant).values())
    _print_table(table)


def _print_layers(variant: Variant, json_output: bool) -> None:
    settings = ModelSettings()
    rows = _layers(variant, settings)
    totals = _totals(rows)
    if json_output:
        _print_json(
            {
                "variant": _factors(variant),
                "settings": asdict(settings),
                "layers": [asdict(row) for row in rows],
                **totals,
            }
        )
        return
    _print_table(_layer_table(rows))
    typer.echo(
        f"{variant.name}: {variant.description}.\n"
        f"Parameters: {totals['parameters']:,} ({totals['trainable']:,} trainable, "
        f"{totals['non_trainable']:,} not).\n"
        f"Forward pass of one image: {millions(totals['flops_per_image']):.1f} million operations "
        "(a multiply-add counts as two)."
    )


def _layers(variant: Variant, settings: ModelSettings) -> tuple[LayerRow, ...]:
    # TensorFlow greets on stderr with remarks about the processor; nobody asked for them here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    from wbcbench.train.variants import layer_table

    return layer_table(variant.build(settings))


def _layer_table(rows: tuple[LayerRow, ...]) -> Table:
    table = _table("layer", "type", "output shape", "parameters")
    table.columns[3].justify = "right"
    for row in rows:
        shape = " × ".join(str(n) for n in row.output_shape)
        table.add_row(row.name, row.kind, shape, f"{row.parameters:,}")
    return table


def _factors(variant: Variant) -> dict[str, str]:
    return {
        "name": variant.name,
        "activation": variant.activation,
        "regulariser": variant.regulariser,
        "description": variant.description,
    }


def _totals(rows: tuple[LayerRow, ...]) -> dict[str, int]:
    parameters = sum(row.parameters for row in rows)
    trainable = sum(row.trainable for row in rows)
    return {
        "parameters": parameters,
        "trainable": trainable,
        "non_trainable": parameters - trainable,
        "flops_per_image": sum(row.flops for row in rows),
    }


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps({"schema": SCHEMA, **document}, indent=2))


def _table(*headings: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    return Table(*headings, box=SIMPLE)


def _print_table(table: Table) -> None:
    from rich.console import Console

    Console().print(table)
