"""The bill of a run: its parts, the whole, what is unexplained, and what was not asked for."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from builders.bundle import Board, Machine, StudyDesign, WallMeter, bundle_study
from builders.machine import GPU_MACHINE, LAPTOP, power_w
from builders.run import failed_record, make_energies, make_record, make_spec
from builders.timeline import add_bill_windows, make_epochs, make_windows
from wbcbench.core.record import PROCESS_START_S, from_json
from wbcbench.core.run_folder import study_runs
from wbcbench.core.spec import MEASURED as MEASURED_STUDY
from wbcbench.core.trace import Domain
from wbcbench.core.window import Window
from wbcbench.energy.bill import MEASURED, PARTS, make_bill, name_part

FORMATS = Path(__file__).parents[1] / "formats"
EPOCHS = make_epochs()
PARTS_OF_A_RUN = (
    "import", "context", "data", "build", "warm-up", "train", "validate", "test", "inference",
    "idle", "write",
)  # fmt: skip


def billed(windows=None, channels=GPU_MACHINE, **changes):
    """A run whose windows are all that the program marks."""
    windows = add_bill_windows(make_windows(EPOCHS)) if windows is None else windows
    energies = make_energies(channels, windows)
    return make_record(channels=channels, windows=windows, energies=energies, **changes)


def test_a_run_has_every_part_once_in_their_order():
    bill = make_bill(billed())
    assert tuple(item.name for item in bill.parts) == PARTS_OF_A_RUN
    assert [*PARTS_OF_A_RUN] == [part for part in PARTS if part in PARTS_OF_A_RUN]


def test_parts_and_the_unexplained_are_the_whole_in_seconds_and_joules():
    bill = make_bill(billed())
    items = [*bill.parts, bill.unexplained]
    assert math.fsum(item.time_s for item in items) == pytest.approx(bill.whole.time_s)
    for domain in (Domain.GPU, Domain.CPU):
        total_j = math.fsum(item.energy_j[domain] for item in items)
        assert total_j == pytest.approx(bill.whole.energy_j[domain])
    assert bill.unexplained.time_s == pytest.approx(0.0)


def test_what_lies_between_windows_is_unexplained_and_no_parts():
    windows = [
        replace(each, start_s=each.start_s + 0.5) if each.name == "evaluate" else each
        for each in add_bill_windows(make_windows(EPOCHS))
    ]
    bill = make_bill(billed(windows))
    assert bill.unexplained.time_s == pytest.approx(0.5)
    assert bill.share(bill.unexplained) == pytest.approx(0.5 / bill.whole.time_s)


def test_overhead_is_the_whole_without_what_is_measured_on_purpose():
    bill = make_bill(billed())
    rest = [item for item in bill.parts if item.name not in MEASURED]
    assert {item.name for item in rest} == {
        "import", "context", "data", "build", "warm-up", "write",
    }  # fmt: skip
    assert bill.overhead.time_s == pytest.approx(12.0 + 2.0 + 1.0)
    known_j = math.fsum(item.energy_j[Domain.GPU] for item in [*rest, bill.unexplained])
    assert bill.overhead.energy_j[Domain.GPU] == pytest.approx(known_j)


def test_each_part_has_the_joules_of_its_windows_and_their_width_in_squares():
    windows = add_bill_windows(make_windows(EPOCHS))
    [data] = [item for item in make_bill(billed(windows)).parts if item.name == "data"]
    channel = next(c for c in GPU_MACHINE if c.domain is Domain.GPU)
    own = [each for each in windows if each.name in {"data", "batch"}]
    each_j = [power_w(channel, each) * each.duration_s for each in own]
    assert data.energy_j[Domain.GPU] == pytest.approx(sum(each_j))
    assert data.uncertainty_j[Domain.GPU] == pytest.approx(0.05 * math.hypot(*each_j))


def test_a_model_has_no_width_and_an_unknown_part_leaves_the_rest_unknown():
    record = billed(channels=LAPTOP)
    assert set(make_bill(record).whole.uncertainty_j.values()) == {None}
    energies = tuple(
        replace(each, energy_j=None, reason="lost") if each.window == "data" else each
        for each in record.energies
    )
    bill = make_bill(replace(record, energies=energies))
    assert bill.unexplained.energy_j[Domain.CPU] is None
    assert bill.whole.energy_j[Domain.CPU] is not None
    assert bill.overhead.energy_j[Domain.CPU] is not None


def test_an_older_record_has_its_start_up_in_one_and_the_sum_of_its_parts_as_the_whole():
    bill = make_bill(make_record())
    assert bill.parts[0].name == "start-up"
    assert not bill.is_whole_read
    assert bill.prepared_s is None
    assert bill.whole.energy_j[Domain.GPU] == pytest.approx(
        math.fsum(item.energy_j[Domain.GPU] for item in bill.parts)
    )


def test_a_run_that_was_killed_in_its_start_has_a_bill_to_where_its_trace_ends():
    windows = (
        Window("idle_cold", 80.0, 83.0),
        Window("import", 83.0, 86.0),
        Window("startup", 83.0, 88.0),
        Window("context", 86.0, 88.0),
        Window("whole_run", 80.0, 88.0),
    )
    record = replace(failed_record(), windows=windows, energies=make_energies(LAPTOP, windows))
    bill = make_bill(record)
    assert [item.name for item in bill.parts] == ["import", "context", "idle"]
    assert bill.whole.time_s == 8.0
    assert bill.unexplained.time_s == pytest.approx(0.0)


def test_the_seconds_before_the_first_poll_stand_beside_the_whole():
    record = billed()
    start_s = record.window("whole_run").start_s
    facts = {**record.provenance, PROCESS_START_S: start_s - 2.5}
    assert make_bill(replace(record, provenance=facts)).prepared_s == pytest.approx(2.5)


def test_a_program_may_call_its_windows_as_it_likes():
    windows = (Window("whole_run", 0.0, 5.0), Window("data", 1.0, 2.0))
    energies = make_energies(GPU_MACHINE, windows)
    record = make_record(spec=make_spec(study=MEASURED_STUDY), windows=windows, energies=energies)
    bill = make_bill(record)
    assert [item.name for item in bill.parts] == ["other"]
    assert bill.whole.time_s == 5.0


@pytest.mark.parametrize("path", sorted(FORMATS.glob("record-*.json")), ids=lambda p: p.stem)
def test_records_of_before_have_a_bill(path):
    bill = make_bill(from_json(path.read_bytes(), str(path)))
    assert not bill.is_whole_read
    assert bill.parts[0].name == "start-up"
    assert bill.whole.time_s == pytest.approx(math.fsum(item.time_s for item in bill.parts))


def test_a_mixture_of_boards_models_and_a_wall_meter_has_a_bill_for_each_part(tmp_path):
    machine = Machine(
        boards=(Board(), Board(name="Second GPU", uuid="GPU-second")), codecarbon=("cpu", "ram")
    )
    design = StudyDesign(
        blocks=1, epochs=2, machine=lambda _: machine, wall_meter=lambda _: WallMeter(step_s=0.5)
    )
    folder = bundle_study(tmp_path, design)
    record = study_runs(folder.parent, folder.name)[0].read_record()
    bill = make_bill(record)
    for domain in Domain:
        lines = [item.energy_j[domain] for item in bill.lines]
        assert math.fsum(lines) == pytest.approx(bill.whole.energy_j[domain])
        assert all(energy_j is not None for energy_j in lines)
    gpu, rest = bill.whole, bill.unexplained
    within_j = rest.uncertainty_j[Domain.GPU]
    assert abs(rest.energy_j[Domain.GPU]) < max(within_j, 0.02 * gpu.energy_j[Domain.GPU])
    assert bill.whole.uncertainty_j[Domain.CPU] is None
    # The boards are in the machine's joules, part by part.
    train = next(item for item in bill.parts if item.name == "train")
    assert train.energy_j[Domain.SYSTEM] > train.energy_j[Domain.GPU]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("idle_post", "idle"), ("validate-3", "validate"), ("infer-b1", "inference"),
        ("evaluate", "test"), ("compile-inference", "compile"), ("exit", "write"),
        ("batch", "data"), ("something else", "other"),
    ],
)  # fmt: skip
def test_windows_belong_to_parts(name, part):
    assert name_part(name) == part
