"""A study whose every free word is an attack on some format that a report is written in."""

from __future__ import annotations

from dataclasses import replace

from builders.machine import GPU_CHANNELS, METERS, PROVENANCE, TELEMETRY
from builders.run import failed_record, make_model, make_record, make_spec, save
from builders.study import Size, planned
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.record import AbsentMeter, Failure
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.study_folder import PLAN
from wbcbench.study.plan import to_json
from wbcbench.study.statement import SubmissionDetails

HTML = "<script>alert(1)</script> <img src=x onerror=alert(1)> </style> ]]> --> &amp; \"quote'"
TEMPLATES = "{{ 7*7 }} {% raw %} ${HOME}"
MARKDOWN = "| ` * _under_ [link](javascript:alert) ![x](y) ~~gone~~ # no heading"
LATEX = r"\input{/etc/passwd} 50% #1 a_b x^2 $x^2$ ~ { \end{tabular}"
TYPST = '#import "x" #panic() @reference <label> // gone /* gone'
CONTROL = "\x00\x07\x1b[31m\u202eright-to-left\u2066\u200f end"
HOSTILE = " ".join((HTML, TEMPLATES, MARKDOWN, LATEX, TYPST, CONTROL))
FORMULA = f"=HYPERLINK(A1)+cmd|' /C calc'!A0 {HOSTILE}"
LONG = HOSTILE + "y" * 10_000


def hostile_study(results):
    """Write it as study ``runs``; returns the results folder."""
    doubt = QualityWarning("x", Severity.SUSPECT, HOSTILE, FORMULA, window=FORMULA)
    spec = make_spec("leaky-dropout", study="runs", dataset_id=FORMULA)
    record = make_record(
        spec=spec,
        warnings=(doubt,),
        provenance={**PROVENANCE, "cpu_model": FORMULA, "os": LONG, "host_id": HOSTILE},
        absent=(AbsentMeter("rapl", FORMULA),),
        channels=tuple(replace(each, reading=FORMULA) for each in GPU_CHANNELS),
        meters={**METERS, "nvml/gpu0": {**METERS["nvml/gpu0"], "name": FORMULA, "driver": HOSTILE}},
        telemetry=(replace(TELEMETRY, throttled_s={HOSTILE: 3.0}),),
        model=replace(make_model(), versions={"python": HOSTILE, "tensorflow": FORMULA}),
    )
    save(results, record)
    failed = failed_record(spec=replace(spec, seed=3))
    save(results, replace(failed, error=Failure(FORMULA, LONG, 1, HOSTILE)))
    _save_renamed(results, replace(spec, variant=FORMULA, seed=2))
    made = replace(
        planned(Size(blocks=1), about=HOSTILE),
        submission=SubmissionDetails(FORMULA, HOSTILE, HOSTILE),
    )
    (results / "runs" / PLAN).write_bytes(to_json(made))
    return results


def _save_renamed(results, spec):
    """A run whose variant could be no folder's name."""
    run = RunDir(results / "runs" / "hostile-s2-00000000")
    run.create(spec, Local())
    run.write_record(replace(make_record(spec=spec), run_id=run.run_id))
