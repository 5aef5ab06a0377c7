"""``wbcbench models [VARIANT]``: the networks, or one of them layer by layer."""

from __future__ import annotations

import os
import textwrap
from dataclasses import asdict
from typing import Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.environment import OWN_KERAS
from wbcbench.core.streams import startup_noise_removed
from wbcbench.core.units import millions
from wbcbench.registry import VARIANTS, load_part
from wbcbench.train.variants import ModelSettings, Variant

FACTORS = ("name", "activation", "regulariser", "description")
VariantName = Annotated[
    str | None,
    typer.Argument(
        help="Show this variant layer by layer.",
        show_default=False,
        autocompletion=options.complete_variant,
    ),
]


def models(variant: VariantName = None, as_json: options.AsJson = False) -> None:
    """List the network variants, or show the layers, shapes and parameters of one."""
    if variant is not None:
        _print_layers(load_part("variant", variant), as_json=as_json)
        return
    variants = [_list_factors(load_part("variant", name)) for name in VARIANTS]
    if as_json:
        options.print_json({"variants": variants}, "models")
    else:
        options.print_table(("variant", *FACTORS[1:]), [tuple(v.values()) for v in variants])


def _list_factors(variant: Variant) -> dict[str, str]:
    return {name: getattr(variant, name) for name in FACTORS}


def _print_layers(variant: Variant, *, as_json: bool) -> None:
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    os.environ.update(OWN_KERAS)
    from wbcbench.report.style import import_matplotlib
    from wbcbench.train.variants import layer_table

    import_matplotlib()  # Keras would, with a user's settings
    settings = ModelSettings()
    with startup_noise_removed():
        layers = layer_table(variant.build(settings))
    parameters = sum(layer.parameters for layer in layers)
    trainable = sum(layer.trainable for layer in layers)
    flops = sum(layer.flops for layer in layers)
    if as_json:
        document = {
            "variant": _list_factors(variant),
            "settings": asdict(settings),
            "layers": [asdict(layer) for layer in layers],
            "parameters": parameters,
            "trainable": trainable,
            "non_trainable": parameters - trainable,
            "flops_per_image": flops,
        }
        options.print_json(document, "models")
        return
    rows = [
        (layer.name, layer.kind, " × ".join(map(str, layer.output_shape)), f"{layer.parameters:,}")
        for layer in layers
    ]
    options.print_table(("layer", "type", "output shape", "parameters"), rows, ("parameters",))
    values = ", ".join(f"{name} {value}" for name, value in asdict(settings).items())
    typer.echo(
        f"{variant.name}: {variant.description}.\n"
        f"Parameters: {parameters:,} ({trainable:,} trainable, {parameters - trainable:,} not).\n"
        f"Forward pass of one image: {millions(flops):.1f} million operations "
        "(a multiply-add counts as two)."
    )
    typer.echo(textwrap.fill(f"Settings: {values}.", 79))
