"""What stands in a trainer's environment, and that a seed decides every number of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from wbcbench.core.spec import RunSpec
from wbcbench.run.trainer_process import list_computing_variables, trainer_environment

SPEC = RunSpec(variant="leaky-dropout", seed=7)

# Per seed: two epochs of twenty images and their metrics, as the trainer feeds and compiles them.
TRAIN_A_LITTLE = """
import json, sys
import keras, numpy as np
from types import SimpleNamespace
from wbcbench.core.spec import RunSpec
from wbcbench.core.window import MonotonicClock
from wbcbench.train import inputs, paths, trainer
variant, *seeds = sys.argv[1:]
drawn = np.random.default_rng(0)
images = drawn.integers(0, 256, (20, 80, 80, 3)).astype(np.uint8)
labels = drawn.integers(0, 4, 20)

def metrics(seed):
    spec = RunSpec(variant=variant, seed=seed, batch_size=8)
    trainer.configure_tensorflow(spec)
    model = trainer.build_network(spec)
    placed = inputs.PlacedImages(SimpleNamespace(images=images, labels=labels), inputs.HOST)
    path = paths.ResidentPath(model, placed, spec.batch_size, MonotonicClock())
    orders = [inputs.shuffle_epoch(20, seed, epoch) for epoch in (1, 2)]
    means = [path.train_epoch(order, lambda step, means: None) for order in orders]
    return [[float(x).hex() for x in epoch] for epoch in means]

print(json.dumps([metrics(int(seed)) for seed in seeds]))
"""


def test_the_trainer_sees_the_measured_gpu_alone_and_counts_it_as_nvml_does():
    environment = trainer_environment(
        SPEC, {"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "GPU-1f2e"}
    )
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-1f2e"
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_no_gpu_hides_all_and_no_word_leaves_the_choice_alone():
    assert trainer_environment(SPEC, {}, {"CUDA_VISIBLE_DEVICES": ""})["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in trainer_environment(SPEC, {})
    assert trainer_environment(SPEC, {"CUDA_VISIBLE_DEVICES": "1"})["CUDA_VISIBLE_DEVICES"] == "1"


def test_the_seed_fixes_pythons_hashes_even_when_it_needs_more_than_32_bits():
    assert trainer_environment(SPEC, {"PYTHONHASHSEED": "random"})["PYTHONHASHSEED"] == "7"
    large = trainer_environment(replace(SPEC, seed=2**32 + 5), {})
    assert large["PYTHONHASHSEED"] == "5"


def test_an_untuned_run_leaves_tensorflows_own_choices():
    environment = trainer_environment(replace(SPEC, tuned=False), {})
    assert not {"TF_ENABLE_ONEDNN_OPTS", "GLIBC_TUNABLES"} & environment.keys()
    assert trainer_environment(SPEC, {})["TF_ENABLE_ONEDNN_OPTS"] == "1"


def test_what_only_concerns_speed_yields_to_the_user():
    mine = {"TF_ENABLE_ONEDNN_OPTS": "0", "GLIBC_TUNABLES": "a=1", "TF_CPP_MIN_LOG_LEVEL": "0"}
    environment = trainer_environment(SPEC, mine)
    assert {name: environment[name] for name in mine} == mine


XLA = replace(SPEC, xla=True)
COMPILE_A_LITTLE = """
import tensorflow as tf
multiply = tf.function(lambda x: tf.tanh(x @ x), jit_compile=True)
print(float(tf.reduce_sum(multiply(tf.eye(4) / 2))))
"""


def test_what_xla_compiled_is_kept_for_the_next_run_and_is_no_setting_of_the_users(tmp_path):
    own = {"WBCBENCH_CACHE": str(tmp_path / "cache")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*own.popitem())
        environment = trainer_environment(XLA, os.environ, {"CUDA_VISIBLE_DEVICES": ""})
        other = trainer_environment(XLA, os.environ, {"CUDA_VISIBLE_DEVICES": "GPU-1f2e"})
        assert list_computing_variables(XLA, os.environ) == list_computing_variables(SPEC, {})
    assert environment["TF_XLA_FLAGS"] != other["TF_XLA_FLAGS"]  # it is of one board
    printed, kept = set(), list[list[tuple[str, float]]]()
    for _ in range(2):
        command = [sys.executable, "-c", COMPILE_A_LITTLE]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        printed.add(done.stdout)
        files = sorted((tmp_path / "cache" / "xla").rglob("*.pb"))
        kept.append([(path.name, path.stat().st_mtime) for path in files])
    assert len(printed) == 1
    assert kept[0]
    assert kept[0] == kept[1]  # nothing was compiled again


def test_flags_of_the_users_stay_and_runs_without_xla_have_none(tmp_path, monkeypatch):
    one_gpu = {"CUDA_VISIBLE_DEVICES": "GPU-1f2e"}
    assert "TF_XLA_FLAGS" not in trainer_environment(SPEC, {})
    assert "TF_XLA_FLAGS" not in trainer_environment(replace(SPEC, xla=False), {}, one_gpu)
    assert "TF_XLA_FLAGS" in trainer_environment(SPEC, {}, one_gpu)  # a GPU compiles by itself
    mine = {"TF_XLA_FLAGS": "--tf_xla_clustering_debug"}
    assert trainer_environment(XLA, mine)["TF_XLA_FLAGS"] == mine["TF_XLA_FLAGS"]
    assert list_computing_variables(XLA, mine) == mine
    monkeypatch.setenv("WBCBENCH_CACHE", str(tmp_path / "a folder"))
    assert "TF_XLA_FLAGS" not in trainer_environment(XLA, {})  # a space would end the flag


def test_a_backend_from_the_users_keras_settings_does_not_reach_the_trainer():
    assert trainer_environment(SPEC, {"KERAS_BACKEND": "jax"})["KERAS_BACKEND"] == "tensorflow"


def test_threads_and_determinism_follow_the_spec():
    environment = trainer_environment(replace(SPEC, threads=3, deterministic=True), {})
    assert environment["TF_NUM_INTRAOP_THREADS"] == environment["OMP_NUM_THREADS"] == "3"
    assert environment["TF_DETERMINISTIC_OPS"] == "1"
    plain = trainer_environment(SPEC, {})
    assert not {"TF_NUM_INTRAOP_THREADS", "TF_DETERMINISTIC_OPS"} & plain.keys()


def test_the_rest_of_the_environment_is_passed_on_and_the_base_is_not_changed():
    base = {"PATH": "/bin", "HOME": "/home/someone"}
    environment = trainer_environment(SPEC, base)
    assert base.items() <= environment.items()
    assert len(base) == 2


def metrics_of_a_fresh_process(spec: RunSpec, *seeds: int) -> list[list[list[str]]]:
    """Metrics of each seed, trained one after the other; the process is one for the first."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_A_LITTLE, spec.variant, *map(str, seeds)],
        env=trainer_environment(
            replace(spec, seed=seeds[0]), os.environ, {"CUDA_VISIBLE_DEVICES": ""}
        ),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.tensorflow
def test_two_processes_with_one_seed_give_identical_epoch_metrics_and_another_seed_others():
    """That of deterministic runs is shown with whole trainers, in ``test_trainer``."""
    seven, eight = metrics_of_a_fresh_process(SPEC, 7, 8)
    assert [seven] == metrics_of_a_fresh_process(SPEC, 7)
    assert seven[0] != eight[0]
