"""TensorBoard on a study: what is in the logs, making them again, and the server itself."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request

import pytest
import typer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.util.tensor_util import make_ndarray
from typer.testing import CliRunner

from builders.folder import run_folder
from builders.run import failed_record, make_record, save
from program import command
from wbcbench import table
from wbcbench.commands.tensorboard import tensorboard
from wbcbench.core.errors import UsageError
from wbcbench.core.run_folder import RunDir
from wbcbench.table.tensorboard import METRICS, SETTINGS, start_server, write_logs, write_result


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def curve(events, tag):
    return [(e.step, float(make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]


def plugin_data(events, tag):
    return plugin_data_pb2.HParamsPluginData.FromString(
        events.summary_metadata[tag].plugin_data.content
    )


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tb")
    write_result(folder, make_record())
    return read(folder)


def test_accuracy_stands_over_steps_seconds_and_joules_of_training_steps(events):
    scores = pytest.approx([0.50, 0.70, 0.82, 0.81])
    for axis, places in {
        "over_steps": [132, 264, 396, 528],
        "over_seconds": [10, 20, 30, 40],
        "over_joules": [2800, 5600, 8400, 11200],
    }.items():
        found = curve(events, f"{axis}/val_balanced_accuracy")
        assert [step for step, _ in found] == places
        assert [score for _, score in found] == scores


def test_a_run_is_one_line_of_settings_with_energy_and_accuracy_as_metrics(events):
    cells = table.row(make_record())
    start_info = plugin_data(events, metadata.SESSION_START_INFO_TAG).session_start_info
    assert start_info.hparams["variant"].string_value == "leaky-dropout"
    assert start_info.hparams["seed"].number_value == 1
    assert start_info.hparams["xla"].WhichOneof("kind") == "bool_value"
    assert start_info.hparams["primary_status"].string_value == "measured"
    experiment = plugin_data(events, metadata.EXPERIMENT_TAG).experiment
    assert [info.name for info in experiment.hparam_infos] == list(SETTINGS)
    tags = [info.name.tag for info in experiment.metric_infos]
    assert tags == [f"result/{name}" for name in METRICS]
    for name in METRICS:
        assert curve(events, f"result/{name}") == [(0, pytest.approx(cells[name]))]
    ended = plugin_data(events, metadata.SESSION_END_INFO_TAG).session_end_info
    assert ended.end_time_secs > start_info.start_time_secs


def test_unknown_joules_are_left_out(tmp_path):
    write_result(tmp_path, make_record(channels=()))
    tags = read(tmp_path).Tags()["tensors"]
    assert not any("energy" in tag or "over_joules" in tag for tag in tags)
    assert "result/accuracy" in tags


def test_logs_can_be_made_again_from_record_and_traces(tmp_path):
    run = run_folder(tmp_path)
    write_logs(run)
    events = read(run.tensorboard_dir)
    tags = set(events.Tags()["tensors"])
    assert {"epoch/loss", "over_joules/accuracy", "result/primary_energy_train_j"} <= tags


def test_a_study_without_logs_names_the_way_out(tmp_path):
    save(tmp_path, make_record(), failed_record(seed=2))
    app = typer.Typer()
    app.command()(tensorboard)
    result = CliRunner().invoke(app, ["runs", "--results", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    assert f"wbcbench tensorboard runs --rebuild --results {tmp_path}" in str(result.exception)


def test_a_taken_port_is_refused_with_the_way_out(tmp_path):
    refused = pytest.raises(UsageError, match=r"127\.0\.0\.1.*--port")
    with socket.create_server(("127.0.0.1", 0)) as taken, refused:
        start_server(tmp_path, taken.getsockname()[1])


def test_the_command_serves_the_study_on_loopback_until_interrupted(tmp_path):
    save(tmp_path, make_record(), failed_record(seed=2))
    words = ["tensorboard", "runs", "--rebuild", "--port", "0", "--results", str(tmp_path)]
    with subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            url = process.stdout.readline().split()[0]
            assert url.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(f"{url}data/plugins_listing", timeout=60) as answer:
                assert "hparams" in json.load(answer)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
    assert (RunDir(tmp_path / "runs" / make_record().run_id).tensorboard_dir).is_dir()
