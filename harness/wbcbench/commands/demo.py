"""``wbcbench demo``: one short training on synthetic images, and its report, within a minute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcbench.commands import options, report
from wbcbench.core.extras import require_training
from wbcbench.core.spec import RunSpec

if TYPE_CHECKING:
    from wbcbench.report.publish import Published
    from wbcbench.table.view import Run

STUDY = "demo"
# Small images, few epochs and short windows: shorter than a measurement should be, which the run's
# warnings say.
_SHORT: dict[str, Any] = {
    "image_size": 32,
    "learning_rate": 0.002,
    "epochs": 10,
    "idle_s": 2.0,
    "inference_s": 1.0,
}
_FORMATS = ("html",)


def demo(
    results: options.Results = Path("results"),
    out: report.Out = Path("reports"),
    meters: options.Meters = "auto",
    again: options.Again = False,
    share: options.Share = False,
    opened: report.Open = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    live: options.Live = True,
) -> None:
    """Train a small network on synthetic images for some seconds, and write its report.

    Nothing is needed but the extra `train`. The numbers show what there is to see; they are no
    result about blood cells.
    """
    from wbcbench.report.publish import refresh
    from wbcbench.run import live_state
    from wbcbench.study import limits, running
    from wbcbench.table.view import Run

    silent = quiet or as_json
    say = live_state.silent if silent else live_state.print_progress
    require_training()
    options.require_folder(out)  # before the training, not after it
    chosen = {**_SHORT, "meters": options.split_words(meters)}
    spec = limits.check_spec(RunSpec(variant="leaky-dropout", study=STUDY, **chosen))
    local = options.describe_local(None, share=share)
    spec = running.with_data(spec, local, say)
    folder = running.find_finished_run(results, spec)
    if folder is None or again:
        words = options.list_work_options(silent=silent, live=live)
        folder = running.carry_out(results, spec, local, words)
    else:
        say(f"{folder.run_id} is already done; --again repeats it.")
    running.raise_if_bad(folder)
    published = refresh(results, STUDY, out, _FORMATS)
    run = Run(folder.read_record(), folder)
    options.print_result(
        _build_document(run, published), _describe(run, published), "demo", as_json=as_json
    )
    if opened:
        report.open_page(published.files[0].resolve().as_uri())


def _describe(run: Run, published: Published) -> str:
    """Accuracy, energy, time, where the report is, and what comes next."""
    from wbcbench.core.text import human_duration, human_energy, shell_word
    from wbcbench.core.window import TRAIN
    from wbcbench.energy.source import find_window_energy

    energy = find_window_energy(run.record, run.primary, TRAIN)
    part = run.primary.domain.value.upper() if run.primary else "no meter"
    quality = run.record.quality.value
    because = f": {run.warning_codes.replace(';', ', ')}" if run.warning_codes else ""
    return "\n".join(
        (
            f"{run.spec.variant}, {run.spec.epochs} epochs: {run.status}, {quality}{because}",
            f"  accuracy  {_describe_accuracy(run)}",
            f"  energy    {human_energy(energy.energy_j)}, training; {part}, {energy.status}",
            f"  time      {human_duration(run.duration_s(TRAIN))}, training",
            "Synthetic images: a demonstration, no result about blood cells.",
            f"Report: {shell_word(published.files[0])}",
            "Next: wbcbench plan     (one run is no comparison; a plan says what one takes)",
        )
    )


def _describe_accuracy(run: Run) -> str:
    from wbcbench.core.units import pct_from_share

    test = run.record.test
    if test is None:
        return "unknown"
    text = f"{pct_from_share(test.accuracy):.1f} % of {test.images} test images"
    if test.interval:
        low, high = (f"{pct_from_share(edge):.0f}" for edge in test.interval)
        text += f"; over photographs {low}–{high} (95 % CI)"
    return text


def _build_document(run: Run, published: Published) -> dict[str, Any]:
    return {
        "run_dir": str(run.folder.path) if run.folder else None,
        "row": dict(run.row),
        "report": str(published.files[0]),
    }
