"""What a person sees of each command: its words, and lines that fit the terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import struct
import sys
import termios
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import typer.main
from rich.cells import cell_len
from typer.testing import CliRunner

from builders.bundle import StudyDesign, WallMeter, bundle_study
from builders.machine import GPU_CHANNELS, LAPTOP, SYNTHETIC_CHANNELS
from builders.run import make_record, make_spec, save
from builders.study import CLEAR, Size, Truth, draw, write_study
from cells import finished_words
from program import SHORT, Ended, command, wbcbench
from tamperings.trials import bundle
from wbcbench.cli import COMMANDS, GROUPS, build_app, help_page
from wbcbench.commands import options
from wbcbench.commands.usage import EXAMPLES
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.quality import Quality, Severity
from wbcbench.core.record import Failure
from wbcbench.core.run_folder import Local, RunDir, study_runs
from wbcbench.energy.warnings import load_warnings, make_warning

WIDTHS = (50, 80, 120)
NOISE = Truth({}, {}, noise_j=0.2, noise_share=0.03)
WHOLE = re.compile(r"\S*/\S+|[a-z-]+-s\d+-[0-9a-f]{8}")  # paths and run ids are never broken


def see(width: int, *words: object) -> str:
    """What a command prints on a terminal of so many columns; its errors are raised."""
    texts = [str(word) for word in words]
    app = build_app([texts[0]])
    ended = CliRunner().invoke(app, texts, env={"COLUMNS": str(width)})
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    assert ended.exit_code == 0, ended.output
    assert "\x1b" not in ended.stdout
    too_long = [x for x in ended.stdout.splitlines() if cell_len(WHOLE.sub("", x)) > width]
    assert not too_long or {"--json", "--quiet"} & {*texts}
    return ended.stdout


def squeeze(text: str) -> str:
    """Its words, however they are broken into lines."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies of every kind: planned, clear, of few seeds, estimated, simulated, mixed."""
    results = tmp_path_factory.mktemp("sessions") / "results"
    write_study(results, Size(blocks=8, images=40), study="published")
    let_one_fail(results)
    save(results, *draw(8, CLEAR, study="clear"))
    save(results, *draw(8, NOISE, study="nothing", seed=2))
    save(results, *draw(2, study="few"))
    save(results, *draw(3, study="laptop", channels=LAPTOP))
    save(results, *draw(3, study="simulated", channels=SYNTHETIC_CHANNELS))
    save(results, *draw(3, study="alone", variants=["leaky-dropout"]))
    save(results, *draw(1, study="mixed"), *draw(1, study="mixed", channels=LAPTOP, batch_size=32))
    return results


def let_one_fail(results: Path) -> None:
    """Let the last leaky-dropout of the study have failed in its training."""
    run = max(
        (run for run in study_runs(results, "published") if "leaky-dropout" in run.run_id),
        key=lambda run: run.read_spec().seed,
    )
    record = run.read_record()
    run.record_path.unlink()
    run.write_record(replace(record, status="failed", error=Failure("crash", "It crashed.", 1)))


def find_runs(results: Path, study: str) -> list[Path]:
    return [run.path for run in study_runs(results, study)]


# -- list -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_a_list_has_a_heading_a_line_a_run_and_what_its_energy_is(
    results: Path, width: int
) -> None:
    text = see(width, "list", "published", "--results", results)
    assert "Study published 4 variants × 8 seeds Example GPU" in squeeze(text)
    for path in find_runs(results, "published"):
        (line,) = (line for line in text.splitlines() if path.name in line)
        assert line.split()[0] == path.name
        assert line.split()[1] in {"done", "failed"}
    assert "energy: training, GPU counter, measured; 31 done, 1 failed" in squeeze(text)
    left_out = "Left out: accuracy %, time s (--wide shows all)" in squeeze(text)
    assert left_out is (width == 50)


def test_wide_shows_every_column_and_a_program_gets_80_columns(results: Path) -> None:
    text = see(200, "list", "published", "--results", results)
    assert see(200, "list", "published", "--wide", "--results", results).split() == text.split()
    wide = wbcbench("list", "published", "--wide", "--results", str(results), env={"COLUMNS": "50"})
    assert "accuracy %  energy kJ  time s" in wide.out
    piped = wbcbench("list", "published", "--results", str(results), env={"COLUMNS": ""})
    assert 50 < max(map(len, piped.out.splitlines())) <= 80


def test_decimal_points_of_a_list_stand_below_each_other(results: Path) -> None:
    lines = see(80, "list", "published", "--results", results).splitlines()[2:33]
    points = {tuple(m.start() for m in re.finditer(r"(?<=\d)\.(?=\d)", line)) for line in lines}
    assert len([places for places in points if len(places) == 3]) == 1


def test_at_50_columns_the_state_of_each_run_stays(tmp_path: Path) -> None:
    simulated = draw(2, study="both", channels=SYNTHETIC_CHANNELS, seed=3, batch_size=32)
    save(tmp_path, *simulated, *draw(2, study="both"))
    spec = make_spec("leaky-batchnorm", seed=1009, study="both")
    RunDir(tmp_path / "both" / spec.run_id).create(spec, Local())
    lines = see(50, "list", "both", "--results", tmp_path).splitlines()
    states = [line.split(maxsplit=1)[1] for line in lines if WHOLE.match(line.strip())]
    assert {state.split("  ")[0] for state in states[:17]} == {
        "done", "done synthetic", "waiting",
    }  # fmt: skip


def test_configurations_are_counted_and_told_apart_by_what_differs(tmp_path: Path) -> None:
    for batch_size in (32, 64):
        save(tmp_path, *draw(2, study="sizes", batch_size=batch_size))
    text = see(120, "list", "sizes", "--results", tmp_path)
    assert "Study sizes   8 configurations × 2 seeds" in text
    assert re.search(r"\n +run +state +batch_size +accuracy %", text)
    assert len(re.findall(r"done +32 ", text)) == len(re.findall(r"done +64 ", text)) == 8
    narrow = squeeze(see(50, "list", "sizes", "--results", tmp_path))
    assert "Left out: batch_size, accuracy %, time s (--wide shows all)" in narrow


def test_runs_that_are_read_differently_say_so_in_each_line(results: Path) -> None:
    text = see(120, "list", "mixed", "--results", results)
    assert "read by" in text
    assert "  CPU model (CodeCarbon), estimated  " in text
    assert "  GPU counter, measured  " in text
    assert "2 devices" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("list", "parts"), "leaky-dropout"),
        (("models",), "LeakyReLU with dropout"),
        (("config", "show", "--origin"), "folder of the images"),
        (("claims", "--measures"), "measure"),
    ],
)
@pytest.mark.parametrize("width", WIDTHS)
def test_other_tables_fit_as_well(words: Sequence[str], expected: str, width: int) -> None:
    assert expected in squeeze(see(width, *words))


# -- compare --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_a_comparison_begins_with_a_sentence_a_variant(results: Path, width: int) -> None:
    text = see(width, "compare", "clear", "--results", results)
    words = squeeze(text)
    assert words.startswith(
        "8 seeds, 4 variants, Example GPU; energy of training, GPU counter, measured "
        "relu-batchnorm uses 7."
    )
    assert re.search(
        r"relu-batchnorm uses [\d.]+ % less energy than relu-dropout \(95 % CI ", words
    )
    assert re.search(r"leaky-dropout uses [\d.]+ % more energy \([\d.]+ to [\d.]+ %\)", words)
    assert re.search(r"leaky-batchnorm uses .* and is [\d.]+ pp more accurate \(", words)
    assert "against relu-dropout" in text
    assert "* different after Holm over 6 tests; with 8 seeds p cannot fall below .0078" in words
    assert "; not planned before the runs" in words
    assert re.search(r"Pareto front: .*\(\d+ % of resamples\)", words)
    assert words.index("Pareto front") < words.index("More: --all (time × power")
    assert len(text.splitlines()) <= (23 if width >= 80 else 40)


@pytest.mark.parametrize("width", WIDTHS)
def test_all_of_a_comparison_fits_as_well(results: Path, width: int) -> None:
    words = squeeze(see(width, "compare", "clear", "--all", "--results", results))
    for part in (
        "Factors multiply",
        "Not tested",
        "leakage-free test subset",
        "Runs: 32 (32 done); 32 used, 0 suspect.",
        "Note: No plan",
    ):
        assert part in words


def test_where_nothing_is_shown_a_comparison_says_so(results: Path) -> None:
    words = squeeze(see(80, "compare", "nothing", "--results", results))
    assert "is shown with 8 seeds: all 6 comparisons are inconclusive." in words
    assert " uses " not in words
    assert re.search(r"Pareto front: .*% of resamples", words)
    few = squeeze(see(80, "compare", "few", "--results", results))
    assert "all 6 comparisons are inconclusive." in few
    assert "2 complete seeds: estimates only." in few
    assert "Pareto front" not in few


def test_a_failed_run_and_its_seed_are_named(results: Path) -> None:
    words = squeeze(see(80, "compare", "published", "--results", results))
    assert "Runs: 32 (31 done, 1 failed); 28 used" in words
    assert "Not used: block 8, seed 1008" in words
    assert "7 seeds p cannot fall below 0.016" in words


def test_what_is_not_tested_is_an_estimate_in_each_sentence(results: Path) -> None:
    words = squeeze(see(80, "compare", "published", "--family", "factors", "--results", results))
    assert "This is not what the plan tests: here are estimates and intervals" in words
    assert words.count("Estimate from 7 seeds, not tested: ") == words.count(" uses ") == 2
    assert "Holm" not in words


def test_joules_that_no_sensor_read_are_called_so(results: Path) -> None:
    refused = squeeze(see(80, "compare", "laptop", "--results", results))
    assert refused.startswith("3 seeds, 4 variants, Example CPU 2.0 GHz; no joules compared")
    words = ("compare", "laptop", "--lowest-status", "estimated", "--results", results)
    text = squeeze(see(80, *words))
    assert "energy of training, CPU model (CodeCarbon), estimated" in text
    assert "estimated energy %" in text
    assert "All joules here are estimated, not measured." in text
    words = ("compare", "simulated", "--lowest-status", "simulated", "--results", results)
    text = squeeze(see(80, *words))
    assert "simulated; synthetic images or simulated sensor" in text


def test_one_variant_is_described_and_compared_with_nothing(results: Path) -> None:
    words = squeeze(see(80, "compare", "alone", "--results", results))
    assert re.search(r"leaky-dropout: energy [\d.]+ kJ", words)
    assert "nothing to compare it with" in words


@pytest.mark.parametrize("width", WIDTHS)
def test_two_runs_stand_side_by_side_and_show_no_difference(results: Path, width: int) -> None:
    one, other = find_runs(results, "published")[0], find_runs(results, "published")[9]
    text = see(width, "compare", one, other, "--results", results)
    words = squeeze(text)
    assert f"A {one.name} done, measurement valid" in words
    assert f"B {other.name} done, measurement valid" in words
    assert "energy of training, GPU counter, measured" in words
    for row in ("energy kJ", "time s", "mean power W", "balanced accuracy %", "accuracy %"):
        assert row in text
    assert "On the same 40 test images: only A is right on 0, only B on 0; McNemar p 1" in words
    assert "One run each shows no difference between variants" in words
    document = json.loads(see(80, "compare", one, other, "--json", "--results", results))
    assert document["schema"] == "wbcbench.compare-runs/2"
    assert document["runs"] == [one.name, other.name]
    (energy,) = (r for r in document["rows"] if r["metric"] == "primary_energy_train_j")
    ratio = energy["second"] / energy["first"]
    assert energy["difference"] == pytest.approx(100 * (ratio - 1))
    assert document["same_images"]["images"] == 40


def test_two_runs_that_do_not_compare_are_refused_with_the_field(results: Path) -> None:
    one, failed = find_runs(results, "clear")[0], make_failed(results)
    laptop = find_runs(results, "laptop")[0]
    with pytest.raises(CannotMeasureError, match="not comparable: primary_status differs"):
        see(80, "compare", one, laptop, "--results", results)
    with pytest.raises(CannotMeasureError, match="is failed"):
        see(80, "compare", one, failed, "--results", results)
    with pytest.raises(UsageError, match="named twice"):
        see(80, "compare", one, one, "--results", results)
    with pytest.raises(UsageError, match="need studies of several seeds"):
        see(80, "compare", one, laptop, "--metric", "accuracy", "--results", results)
    with pytest.raises(UsageError, match="There is no study 'nobody'"):
        see(80, "compare", "nobody", "nothing", "--results", results)


def make_failed(results: Path) -> Path:
    return next(
        path
        for path in find_runs(results, "published")
        if '"status": "failed"' in (path / "record.json").read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("command", ["compare", "report", "submit"])
def test_without_a_name_and_without_its_study_the_studies_are_named(
    results: Path, command: str
) -> None:
    with pytest.raises(UsageError, match=r"^Name a study: alone, clear, few, laptop, mixed, …\.$"):
        see(80, command, "--results", results)


# -- show and run ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def warned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with more warnings than a screen has lines."""
    results = tmp_path_factory.mktemp("warned")
    kinds = list(load_warnings())[:12]
    detail = "what was observed, in a sentence that is longer than one line of a terminal is wide."
    warnings = [make_warning(code, f"{code}: {detail}", Severity.INFO) for code in kinds]
    worst = make_warning("wrong-gpu", "It trained on GPU 1.")
    save(results, make_record(warnings=(*warnings, worst), quality=Quality.INVALID))
    return results


def test_a_run_fits_one_screen_whatever_its_warnings(warned: Path) -> None:
    text = see(80, "show", "leaky", "--results", warned)
    assert len(text.splitlines()) < 24
    assert "measurement invalid" in text.splitlines()[0]
    assert text.index("invalid wrong-gpu: It trained on GPU 1.") < text.index("more warnings")
    assert re.search(r"\d+ more warnings: --all", text)
    everything = squeeze(see(80, "show", "leaky", "--all", "--results", warned))
    assert everything.count("advice: ") == 13


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_has_its_result_one_table_of_energy_and_what_is_not_included(
    results: Path, width: int
) -> None:
    run = find_runs(results, "published")[0]
    text = see(width, "show", run, "--results", results)
    words = squeeze(text)
    assert "leaky-batchnorm, seed 1001, on Example GPU done, measurement valid" in words
    assert "training, GPU counter, measured ±" in words
    assert re.search(r"CPU \S+ kJ and DRAM \S+ J are measured and not included", words)
    assert "energy by part" in text
    for part in ("start-up", "training", "validation", "test, inference", "idle", "whole run"):
        assert re.search(rf"\n *{part} ", text)
    assert "GPU counter, measured; CPU RAPL, measured; DRAM RAPL, measured" in words
    assert text.splitlines()[-1] == f"Run {run}"
    assert width == 50 or len(text.splitlines()) < 24
    assert "nvml/gpu0/power" in see(width, "show", run, "--all", "--results", results)


def test_the_table_of_energy_adds_up_to_what_the_record_holds(results: Path) -> None:
    run = find_runs(results, "published")[0]
    text = see(80, "show", run, "--results", results)
    (row,) = (line.split() for line in text.splitlines() if line.startswith("  validation "))
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    energies = [
        energy["energy_j"]
        for energy in record["energies"]
        if energy["window"].startswith("validate-") and energy["channel"] == "nvml/gpu0/counter"
    ]
    assert float(row[1]) == pytest.approx(sum(energies) / 1000, rel=0.01)


def test_an_attached_wall_meter_is_the_measured_energy_of_the_whole_machine(
    tmp_path: Path,
) -> None:
    design = StudyDesign(blocks=1, epochs=2, wall_meter=lambda _: WallMeter())
    study = bundle_study(tmp_path / "results", design)
    run = find_runs(study.parent, study.name)[0]
    words = squeeze(see(80, "show", run, "--results", study.parent))
    assert re.search(r"machine [\d.]+ kJ training, whole machine, wall meter, measured", words)
    assert "whole machine kJ" in words


def test_above_idle_is_shown_only_where_it_is_more_than_idle_scatters(tmp_path: Path) -> None:
    record = make_record(channels=GPU_CHANNELS)
    save(tmp_path, record)
    assert "above idle: GPU 8.80 kJ" in squeeze(see(80, "show", "leaky", "--results", tmp_path))
    hot = tuple(
        replace(e, energy_j=9e4, mean_power_w=9e4) if e.window.startswith("idle") else e
        for e in record.energies
    )
    save(
        tmp_path,
        replace(record, run_id=make_spec(seed=2).run_id, spec=make_spec(seed=2), energies=hot),
    )
    unsteady = tuple(
        replace(e, energy_j=3.5e3, mean_power_w=350.0) if e.window == "idle_post" else e
        for e in record.energies
    )
    spec = make_spec(seed=3)
    save(tmp_path, replace(record, run_id=spec.run_id, spec=spec, energies=unsteady))
    for seed in (2, 3):
        for words in ((), ("--all",)):
            text = see(80, "show", make_spec(seed=seed).run_id, *words, "--results", tmp_path)
            assert "above idle" not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_processor_of_a_long_name_is_broken_into_lines(tmp_path: Path, width: int) -> None:
    name = f"Processor of {'a vendor of ' * 12}names"
    record = make_record(channels=LAPTOP)
    record = replace(record, provenance={**record.provenance, "cpu_model": name})
    save(tmp_path, record)
    assert name in squeeze(see(width, "show", record.run_id, "--results", tmp_path))


def test_a_run_that_ended_early_has_no_joules_per_image(tmp_path: Path) -> None:
    record = make_record()
    save(tmp_path, record)
    assert "per image" in see(80, "show", record.run_id, "--results", tmp_path)
    spec = make_spec(seed=2, epochs=record.spec.epochs + 1)
    save(tmp_path, replace(record, run_id=spec.run_id, spec=spec, status="interrupted"))
    assert "per image" not in see(80, "show", spec.run_id, "--results", tmp_path)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_ends_in_ten_lines_with_the_next_command(
    finished: tuple[Path, Ended], cells: Path, width: int
) -> None:
    words = finished_words(cells, finished[0])
    text = see(width, *words)
    assert width == 50 or len(text.splitlines()) <= 10
    line = squeeze(text)
    assert re.search(r"accuracy [\d.]+ % TEST; over photographs \d+–\d+ \(95 % CI\)", line)
    assert re.search(r"energy [\d.]+ k?J training, GPU counter, simulated", line)
    assert "are estimated and not included" in line
    assert "synthetic images and simulated sensor: not a result to quote" in line
    assert f"Next: wbcbench report --results {finished[0]}" in line
    quiet = see(width, *words, "--quiet")
    assert quiet.startswith("leaky-dropout-s1-")
    assert len(squeeze(quiet).split(": ")) == 2
    detailed = see(width, *words, "-vv")
    assert "simulated/power" in detailed
    assert "energy by part" in see(width, *words, "-v")


# -- doctor, verify, errors -----------------------------------------------------------------------


@pytest.mark.parametrize("width", [50, 80])
def test_doctor_says_each_part_in_a_line_with_the_fix_below(width: int, tmp_path: Path) -> None:
    ended = wbcbench("doctor", "--meters", "simulated", cwd=tmp_path, env={"COLUMNS": str(width)})
    lines = ended.out.splitlines()
    assert max(len(WHOLE.sub("", line)) for line in lines) <= width
    for start in ("Packages     ok", "GPU energy   warn  simulated: counter", "Idle         ok"):
        assert any(line.startswith(start) for line in lines)
    words = squeeze(ended.out)
    assert "fix: wbcbench data fetch DIR" in words
    assert "why:" not in words
    assert re.search(
        r"Primary energy metric: GPU board, simulated .* \d+ warnings, 0 failures", words
    )
    assert lines[-1] == "Next: wbcbench plan"


@pytest.mark.parametrize("width", [50, 80])
def test_verify_says_each_check_in_a_word_and_the_sum_in_the_last_line(
    width: int, tmp_path: Path
) -> None:
    bag = bundle(StudyDesign(blocks=1, epochs=2), tmp_path)
    text = see(width, "verify", bag)
    lines = text.splitlines()
    assert lines[0].startswith("  ok    V01 Bag complete: ")
    assert {line.split()[0] for line in lines if re.match(r"  \w", line)} <= {"ok", "warn"}
    assert re.search(r"VERIFIED \d+ ok, \d+ warnings?, 0 errors, 0 skipped", squeeze(text))
    several = see(width, "verify", bag, bag)
    assert "2 submissions: 2 verified; 1 pair alike" in squeeze(several)
    assert "(--wide shows all)" in squeeze(several)


def in_terminal(width: int, *words: str) -> str:
    """What a program shows on a terminal of so many columns, escape sequences included."""
    pid, handle = pty.fork()
    if pid == 0:
        os.environ.pop("COLUMNS", None)
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, command(*words))
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    shown = b""
    while True:
        try:
            part = os.read(handle, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not part:
            break
        shown += part
    os.waitpid(pid, 0)
    os.close(handle)
    return shown.decode()


def test_an_error_on_a_terminal_breaks_between_words(tmp_path: Path) -> None:
    shown = in_terminal(60, "list", "--results", str(tmp_path / "nothing"))
    lines = shown.splitlines()
    assert lines[0].startswith("error: There are no runs under")
    assert len(lines) <= 4
    assert all(len(WHOLE.sub("", line)) <= 60 for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])
    piped = wbcbench("list", "--results", str(tmp_path / "nothing"))
    assert len(piped.err.splitlines()) == 1


# -- the live panel -------------------------------------------------------------------------------


def test_the_panel_of_a_run_has_each_phase_one_energy_and_sums_that_add_up(
    cells: Path, tmp_path: Path
) -> None:
    words = ["run", "--variant", "relu-dropout", "--data", str(cells), "--meters", "simulated"]
    shown = in_terminal(
        80, *words, *SHORT, "--epochs", "12", "--results", str(tmp_path / "results")
    )
    frames = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame) for frame in shown.split("╭")[1:]]
    assert len(frames) > 10
    phases = [
        match[1] for frame in frames if (match := re.search(r"phase +(.*?)(?:,| {2})", frame))
    ]
    order = list(dict.fromkeys(phases))
    wanted = ["idle before", "starting", "loading images", "training", "idle after"]
    assert [phase for phase in order if phase in wanted] == [p for p in wanted if p in order]
    assert {"starting", "training"} <= set(order)
    assert all("simulated" in frame for frame in frames if " energy" in frame)
    sums = re.findall(r"([\d.]+) so far \+ ([\d.]+) left = ([\d.]+) ", " ".join(frames))
    assert sums
    assert all(float(a) + float(b) == pytest.approx(float(c)) for a, b, c in sums)
    assert "port.cc" not in shown and "cudart" not in shown
    assert all(len(line.rstrip("\r")) <= 80 for frame in frames for line in frame.split("\n")[1:6])


def test_elsewhere_a_run_prints_lines_without_control_codes(
    finished: tuple[Path, Ended], cells: Path, tmp_path: Path
) -> None:
    words = ["run", "--variant", "relu-dropout", "--data", str(cells), "--meters", "simulated"]
    ended = wbcbench(*words, *SHORT, "--results", str(tmp_path / "results"))
    assert ended.code == 0, ended.err
    assert "\x1b" not in ended.err + ended.out
    assert "oneDNN" not in ended.err
    assert "training" in ended.err
    assert re.search(r"epoch 1/1 loss=\S+ acc=\S+ val_acc=\S+ power=", ended.err)
    assert len(ended.out.splitlines()) <= 10


@pytest.mark.parametrize(
    ("color", "variable", "is_plain"),
    [
        ("auto", "", False),
        ("auto", "1", True),
        ("always", "1", False),
        ("never", "", True),
    ],
)
def test_a_panel_has_colour_as_asked(
    color: options.ColorChoice, variable: str, is_plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", variable)
    assert options.make_console(color).no_color is is_plain


def test_importing_the_callback_prints_nothing() -> None:
    done = in_process("from wbcbench import EpochEnergy")
    assert done == ""
    models = wbcbench("models", "leaky-dropout")
    assert models.err == ""


def in_process(program: str) -> str:
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stderr


# -- help -----------------------------------------------------------------------------------------


def test_commands_are_listed_in_groups_each_once() -> None:
    page = help_page()
    assert [line[:-1] for line in page.splitlines() if line[:-1] in GROUPS] == list(GROUPS)
    for name in COMMANDS:
        assert len(re.findall(rf"^  {name} ", page, re.MULTILINE)) == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_two_examples_of_each_command_are_shown_and_can_be_parsed(name: str) -> None:
    page = CliRunner().invoke(build_app([name]), [name, "--help"]).output
    group = typer.main.get_command(build_app([name]))
    for example in EXAMPLES[name]:
        assert f"\n  {example}\n" in page
        words = shlex.split(re.sub(r" > \S+\.bib$", "", example))
        assert words[:2] == ["wbcbench", name]
        inner = group.commands[name]  # type: ignore[attr-defined]
        rest = words[2:]
        if hasattr(inner, "commands"):
            inner, rest = inner.commands[rest[0]], rest[1:]
        inner.make_context(name, rest).close()


def test_options_stand_in_panels_and_choices_name_their_values() -> None:
    page = CliRunner().invoke(build_app(["run"]), ["run", "--help"]).output
    panels = ["Options", "Training", "Files", "Data", "Execution", "Measuring", "Output"]
    found = [line[:-1] for line in page.splitlines() if line[:-1] in panels]
    assert found == panels
    assert "--precision <float32|mixed_float16|mixed_bfloat16>" in page
    assert "--validation <by-photograph|published>" in page
    compare = CliRunner().invoke(build_app(["compare"]), ["compare", "--help"]).output
    assert "--format <text|json|csv|latex|github>" in compare
