"""What cannot be carried out is refused with the option's name and the way out."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

import pytest

from wbcbench.commands.options import HELP
from wbcbench.core.errors import UsageError
from wbcbench.core.spec import LATER, PLACE, SPEC_FIELDS, RunSpec
from wbcbench.study import limits

GOOD = RunSpec(variant="leaky-dropout")


def test_the_defaults_can_be_carried_out() -> None:
    assert limits.check_spec(GOOD) == GOOD


@pytest.mark.parametrize(
    ("field", "value", "option"),
    [
        ("epochs", 0, "--epochs"),
        ("epochs", -3, "--epochs"),
        ("batch_size", 0, "--batch-size"),
        ("learning_rate", 0.0, "--learning-rate"),
        ("schedule", "linear", "--schedule"),
        ("dropout_conv", 1.0, "--dropout-conv"),
        ("batchnorm_momentum", 1.0, "--batchnorm-momentum"),
        ("precision", "float8", "--precision"),
        ("validation", "random", "--validation"),
        ("interval_s", 0.0, "--interval"),
        ("idle_s", -1.0, "--idle"),
        ("study", "../elsewhere", "--study"),
        ("study", "", "--study"),
        ("epochs", 2**32, "--epochs"),
        ("threads", 10**30, "--threads"),
        ("split_seed", -1, "--split-seed"),
        ("power_limit_w", float("inf"), "--power-limit"),
        ("country", "Germany", "--country"),
        ("meters", (), "--meters"),
    ],
)
def test_a_value_out_of_range_names_its_option(field: str, value: Any, option: str) -> None:
    with pytest.raises(UsageError, match=option):
        limits.check_spec(replace(GOOD, **{field: value}))


@pytest.mark.parametrize(
    "name", ["", "a b", "../x", ".", "..", "/abs", "measured", "a" * 65, "a/b", "-x", "é", "a\n"]
)
def test_a_study_has_the_name_of_a_plain_folder(name: str) -> None:
    with pytest.raises(UsageError, match="--into must be a plain folder name"):
        limits.check_field("study", name, "--into")


def test_an_unknown_variant_gets_the_nearest_match_and_the_list() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'leaky-dropout'\?.*relu-batchnorm"):
        limits.check_spec(replace(GOOD, variant="leeky-dropout"))


def test_an_unknown_meter_gets_the_nearest_match() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'nvml'\?"):
        limits.check_spec(replace(GOOD, meters=("nvlm",)))


def test_every_option_of_a_run_is_a_field_of_the_spec() -> None:
    assert set(HELP) <= set(SPEC_FIELDS)
    own = {"variant", "study", "block", "order_in_block", "order_global", "repeat"}
    own |= {"block_attempt"}
    by_data = {"dataset_id", "dataset_sha256"}
    assert set(SPEC_FIELDS) - set(HELP) == own | by_data


def test_equal_specs_have_one_run_id_and_any_change_another() -> None:
    assert GOOD.run_id == RunSpec(variant="leaky-dropout").run_id
    assert replace(GOOD, epochs=9).run_id != GOOD.run_id
    assert GOOD.run_id.startswith("leaky-dropout-s1-")


def test_a_field_that_came_later_leaves_the_ids_of_earlier_runs_as_they_were() -> None:
    values = asdict(GOOD)
    for name in (*PLACE, *LATER):
        del values[name]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    assert GOOD.digest == sha256(text.encode()).hexdigest()
    assert replace(GOOD, batchnorm_momentum=0.9).digest != GOOD.digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps_per_execution": 4}, "--steps-per-execution is of the plain loop of Keras"),
        ({"deterministic": True, "xla": True, "tuned": False}, "--deterministic and --xla"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_with_the_way_out(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        limits.check_spec(replace(GOOD, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"steps_per_execution": 4, "path": "fit"},
        {"deterministic": True, "xla": True},  # the built-in networks do without that gradient
        {"deterministic": True, "tuned": False},
        {"loops": "auto", "train_window_s": 15.0},
        {"loops": 40},
    ],
)
def test_settings_that_go_together_are_carried_out(changes: dict[str, Any]) -> None:
    assert limits.check_spec(replace(GOOD, **changes))


@pytest.mark.parametrize("loops", [0, -1, 1001, "automatic", ""])
def test_a_number_of_loops_is_one_or_auto(loops: Any) -> None:
    with pytest.raises(UsageError, match=r"--loops must be auto or lie between 1 and 1000"):
        limits.check_spec(replace(GOOD, loops=loops))
