"""The four networks against the published layer table, and what the command prints of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from wbcbench.cli import COMMANDS, build_app
from wbcbench.core.errors import UsageError
from wbcbench.registry import VARIANTS, load_part
from wbcbench.train.variants import (
    ModelSettings,
    Variant,
    builder,
    count_network,
    flops_per_image,
    layer_table,
)

pytestmark = pytest.mark.tensorflow


@pytest.fixture(autouse=True)
def hidden_gpus(monkeypatch):
    """What the command sets for its own process, taken back for the tests that follow."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


# Layer type, output shape of one image, parameters: transcribed from the publication. "ACT" is
# the activation that tells the variants apart; "BN" rows exist only with batch normalisation,
# "Dropout" rows only without.
PUBLISHED = [
    ("Conv2D", (78, 78, 32), 896),
    ("BN", (78, 78, 32), 128),
    ("ReLU", (78, 78, 32), 0),
    ("MaxPooling2D", (39, 39, 32), 0),
    ("Conv2D", (37, 37, 32), 9248),
    ("BN", (37, 37, 32), 128),
    ("ReLU", (37, 37, 32), 0),
    ("MaxPooling2D", (18, 18, 32), 0),
    ("Conv2D", (16, 16, 64), 18496),
    ("BN", (16, 16, 64), 256),
    ("ACT", (16, 16, 64), 0),
    ("MaxPooling2D", (8, 8, 64), 0),
    ("Dropout", (8, 8, 64), 0),
    ("Flatten", (4096,), 0),
    ("Dense", (64,), 262208),
    ("BN", (64,), 256),
    ("ACT", (64,), 0),
    ("Dropout", (64,), 0),
    ("Dense", (5,), 325),
    ("Activation", (5,), 0),
]


def published_rows(activation: str, regulariser: str):
    types = {"ACT": "LeakyReLU" if activation == "leaky-relu" else "ReLU"}
    types["BN"] = "BatchNormalization"
    left_out = "BN" if regulariser == "dropout" else "Dropout"
    return [
        (types.get(kind, kind), shape, parameters)
        for kind, shape, parameters in PUBLISHED
        if kind != left_out
    ]


@pytest.fixture(params=sorted(VARIANTS))
def variant(request) -> Variant:
    return load_part("variant", request.param)


def test_every_layer_has_the_published_type_shape_and_parameters(variant):
    rows = [
        (row.kind, row.output_shape, row.parameters)
        for row in layer_table(variant.build(ModelSettings()))
    ]
    assert rows == published_rows(variant.activation, variant.regulariser)


def test_the_parameters_add_up_to_the_published_totals(variant):
    rows = layer_table(variant.build(ModelSettings()))
    total = sum(row.parameters for row in rows)
    frozen = total - sum(row.trainable for row in rows)
    expected = {"dropout": (291_173, 0), "batchnorm": (291_941, 384)}
    assert (total, frozen) == expected[variant.regulariser]


@pytest.mark.parametrize("image_size", [22, 48, 80, 101])
def test_a_network_is_counted_without_being_built(variant, image_size):
    settings = ModelSettings(image_size=image_size)
    rows = layer_table(variant.build(settings))
    built = [sum(getattr(row, n) for row in rows) for n in ("parameters", "trainable", "flops")]
    assert count_network(variant, settings) == tuple(built)
    assert count_network(replace(variant, build=lambda _: None), settings) is None


@pytest.mark.parametrize(
    ("activation", "regulariser", "message"),
    [
        ("elu", "dropout", "no activation 'elu'.* Known: leaky-relu, relu"),
        ("rellu", "dropout", "no activation 'rellu'.* Did you mean 'relu'"),
        ("relu", "dropuot", "no regulariser 'dropuot'.* Did you mean 'dropout'"),
        ("relu", "none", "no regulariser 'none'.* Known: batchnorm, dropout"),
    ],
)
def test_an_unknown_activation_or_regulariser_is_refused_before_anything_is_built(
    activation, regulariser, message
):
    with pytest.raises(UsageError, match=message):
        builder(activation, regulariser)
    with pytest.raises(UsageError, match=message):
        Variant("mine", activation, regulariser, "a variant of my own", build=lambda _: None)


def test_the_variants_are_the_four_combinations_of_two_factors():
    variants = [load_part("variant", name) for name in VARIANTS]
    factors = {(v.activation, v.regulariser) for v in variants}
    assert factors == {(a, r) for a in ("leaky-relu", "relu") for r in ("dropout", "batchnorm")}
    assert [v.name for v in variants] == list(VARIANTS)


def test_the_settings_reach_the_layers_they_name():
    settings = ModelSettings(
        image_size=40, leaky_slope=0.1, dropout_conv=0.2, dropout_dense=0.4, n_outputs=4
    )
    network = load_part("variant", "leaky-dropout").build(settings)
    slopes = [layer.negative_slope for layer in network.layers if "Leaky" in type(layer).__name__]
    rates = [layer.rate for layer in network.layers if type(layer).__name__ == "Dropout"]
    assert slopes == pytest.approx([0.1, 0.1])
    assert rates == pytest.approx([0.2, 0.4])
    assert network.input_shape == (None, 40, 40, 3)
    assert network.output_shape == (None, 4)


def test_probabilities_stay_float32_under_mixed_precision():
    import keras

    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        network = load_part("variant", "leaky-batchnorm").build(ModelSettings())
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    probabilities = network(np.zeros((2, 80, 80, 3), np.float32))
    assert probabilities.dtype == "float32"
    assert np.asarray(probabilities).sum(axis=1) == pytest.approx([1.0, 1.0], rel=1e-5)


def test_operations_of_one_image_follow_from_the_layer_shapes(variant):
    convolutions = 78 * 78 * 32 * 27 + 37 * 37 * 32 * 288 + 16 * 16 * 64 * 288
    dense = 4096 * 64 + 64 * 5
    assert flops_per_image(variant.build(ModelSettings())) == 2 * (convolutions + dense)


def test_an_unknown_variant_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="Did you mean 'leaky-dropout'") as caught:
        load_part("variant", "leeky-dropout")
    assert caught.value.exit_code == 2


def models_command(*arguments: str) -> str:
    done = CliRunner().invoke(build_app(COMMANDS), ["models", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_the_command_prints_one_json_document_for_a_variant():
    document = json.loads(models_command("relu-batchnorm", "--json"))
    assert document["schema"] == "wbcbench.models/2"
    assert document["variant"]["name"] == "relu-batchnorm"
    assert document["parameters"] == 291_941
    assert document["non_trainable"] == 384
    assert [layer["kind"] for layer in document["layers"]][:2] == ["Conv2D", "BatchNormalization"]


def test_the_command_lists_every_variant_without_importing_tensorflow():
    script = (
        "import sys; from wbcbench.commands.models import models; models(None, True);"
        "sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    names = [variant["name"] for variant in json.loads(done.stdout)["variants"]]
    assert names == list(VARIANTS)


def test_the_command_shows_layers_and_totals_to_people():
    text = models_command("leaky-dropout")
    assert "LeakyReLU" in text
    assert "262,208" in text
    assert "291,173" in text
