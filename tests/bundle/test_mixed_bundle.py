"""Bundles of studies in which not every reading is plain: a wall meter beside, counters that broke.

What the program states of them it must accept, and a number that is forged in one it must not.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from builders.bundle import StudyDesign, bundle_study
from program import wbcbench
from tamperings.bag import Bag
from tamperings.trials import FORMATS, TWO, errors
from wbcbench.bundle.document import Author
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.bundle.verify.energies import check_traces
from wbcbench.bundle.verify.inspect import verify
from wbcbench.bundle.write import Order, submit
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Trace
from wbcbench.energy.attach import attach_wall_meter
from wbcbench.table import write_table
from wbcbench.table.explain import RecountState, explain
from wbcbench.table.export import select_columns
from wbcbench.table.recount import recount

pytestmark = pytest.mark.usefixtures("sketches")


def write_wall_log(run: RunDir, path: Path, step_s: float = 0.5) -> Path:
    """A log of a machine that draws 500 W throughout and 200 W more in training."""
    record = run.read_own_record()
    pair, train = record.provenance["clock_pair"], record.window("train")
    offset_s = pair["utc_s"] - pair["monotonic_s"]
    start_s = min(w.start_s for w in record.windows) - 5.0
    end_s = max(w.end_s for w in record.windows) + 5.0
    lines = ["time,power_w"]
    for i in range(round((end_s - start_s) / step_s)):
        t_s = start_s + i * step_s
        power_w = 700.0 if train.start_s <= t_s < train.end_s else 500.0
        lines.append(f"{t_s + offset_s!r},{power_w}")
    path.write_text("\n".join([*lines, ""]))
    return path


def break_counter(values: list[float], fault: str) -> list[float]:
    """What a counter shows that goes wrong in the middle."""
    half = len(values) // 2
    before, after = values[:half], values[half:]
    match fault:
        case "reset":
            return [*before, *(v - before[-1] for v in after)]
        case "jump":
            return [*before, *(v + 9_000.0 for v in after)]
        case _:  # frozen: what was drawn in 1.5 s is never counted
            lost_j = after[15] - before[-1]
            return [*before, *[before[-1]] * 15, *(v - lost_j for v in after[15:])]


FAULTS = {(1, TWO[0]): "reset", (1, TWO[1]): "jump", (2, TWO[0]): "frozen", (2, TWO[1]): "spike"}
"""Block and network of each run, and what is wrong with its board."""


def bend(spec: RunSpec, trace: Trace) -> Trace:
    """The trace with the fault of its run."""
    fault, values = FAULTS[spec.block, spec.variant], list(trace.value)
    if trace.channel == DESIGN.channels[0] and fault != "spike":
        values = break_counter(values, fault)
    if trace.channel == DESIGN.channels[1] and fault == "spike":
        values[len(values) // 2] = 30_000.0
    return replace(trace, value=values)


DESIGN = StudyDesign(blocks=2, variants=TWO, epochs=3, bend=bend)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A run with each fault, all with a wall meter."""
    room = tmp_path_factory.mktemp("mixed")
    folder = bundle_study(room / "results", DESIGN)
    for run in study_runs(folder.parent, folder.name):
        attach_wall_meter(run, write_wall_log(run, room / "wall.csv"))
    write_table(folder)
    return folder


@pytest.fixture(scope="module")
def bag(study, tmp_path_factory) -> Bag:
    room = tmp_path_factory.mktemp("bundle")
    authors = (Author("Alice Doe"),)
    order = Order(study.parent, study.name, authors, "MIT", out=room / "bag", formats=FORMATS)
    return Bag(submit(order).path, room / "spare")


@pytest.fixture
def opened(bag):
    """The bundle, put back afterwards."""
    yield bag
    bag.restore()


def test_each_fault_is_there(study):
    found = {
        (run.read_spec().block, run.read_spec().variant): {
            w.code for w in run.read_own_record().warnings
        }
        for run in study_runs(study.parent, study.name)
    }
    for place, fault in FAULTS.items():
        assert ("power-spike" if fault == "spike" else f"counter-{fault}") in found[place]


def test_a_bundle_with_wall_meters_and_faulty_boards_is_verified(bag):
    assert errors(bag.root) == {}
    found = verify(bag.root).outcomes["V06"]
    assert "At 4 sensor faults, plain arithmetic follows wbcbench." in found.detail


@pytest.mark.parametrize("window", ["train", "epoch-2"])
@pytest.mark.parametrize("fault", FAULTS.values())
def test_plain_arithmetic_finds_joules_that_are_forged_where_a_sensor_was_wrong(
    opened, fault, window
):
    [place] = [place for place, each in FAULTS.items() if each == fault]
    [run] = [
        run for run in opened.runs() if (run.read_spec().block, run.read_spec().variant) == place
    ]

    def forge(record):
        for energy in record["energies"]:
            if energy["window"] == window and energy["channel"].startswith("nvml"):
                energy["energy_j"] *= 1.15

    opened.edit_record(run, forge)
    found = check_traces(load_bundle(opened.root), run).differences
    assert {text.split(" on ")[1].split()[0] for text in found} == {
        "nvml/gpu0/counter",
        "nvml/gpu0/power",
    }


def test_a_forged_number_of_a_wall_meter_is_found(opened):
    run = opened.runs()[0]
    for part, key in (
        ("energies", "energy_j"),
        ("energies", "uncertainty_j"),
        ("budgets", "edges_j"),
    ):
        opened.edit_json(
            run.attachment_path, lambda d, part=part, key=key: d[part][0].update({key: 1.0})
        )
        opened.rehash()
        assert "attached" in errors(opened.root)["V06"]
        opened.restore()


@pytest.mark.parametrize("column", ["energy_wall_train_j", "energy_gpu_train_j"])
def test_explain_gives_the_stated_joules_and_the_edges_they_are_the_difference_of(study, column):
    (chosen,) = select_columns([column])
    for run in study_runs(study.parent, study.name):
        found = explain(recount(run), chosen)
        assert found.state is RecountState.EQUAL
        for reading in found.readings:
            passes_j = sum(energy.energy_j for energy in reading.passes)
            assert reading.again == reading.recorded
            assert reading.end.energy_j - reading.start.energy_j - passes_j == pytest.approx(
                reading.again.energy_j
            )


@pytest.mark.tensorflow
def test_a_real_run_with_a_wall_meter_is_attached_submitted_verified_and_explained(
    finished, tmp_path
):
    """Synthetic images, as the bundle says."""
    results = tmp_path / "results"
    shutil.copytree(finished[0], results)
    (run,) = study_runs(results, "runs")
    log, bag = write_wall_log(run, tmp_path / "wall.csv"), tmp_path / "bag"
    where = ("--results", str(results))
    wall = ("--wall-meter", str(log))
    sent = ("--author", "Ada", "--licence", "MIT", "--allow-synthetic", "--out", str(bag))
    for words in (("attach", run.run_id, *wall, *where), ("submit", "runs", *where, *sent)):
        ended = wbcbench(*words, "--json")
        assert ended.code == 0, ended.err
    assert ended.json["verify"]["result"] == "verified", ended.out
    told = wbcbench("explain", run.run_id, "energy_wall_train_j", *where)
    assert ", equal to the record" in told.out
    assert "DIFFERS" not in told.out
