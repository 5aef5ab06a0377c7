"""A study whose every free word is an attack on some format that a report is written in."""

from __future__ import annotations

from dataclasses import replace

from records_factory import failed_record, make_record, make_spec, save
from wbcbench.runs.local_facts import Local
from wbcbench.runs.records import Failure
from wbcbench.runs.rundir import RunDir
from wbcbench.verdict import Caution, Severity

HOSTILE = "<script>alert(1)</script> {{ 7*7 }} {% raw %} ]]> --> \"quote' | ` * $x^2$ \u202e end"


def hostile_study(results):
    """Write it as study ``runs``; returns the results folder."""
    doubt = Caution("x", Severity.SUSPECT, HOSTILE, HOSTILE)
    spec = make_spec("leaky-dropout", study="runs")
    record = make_record(
        spec=spec,
        cautions=(doubt,),
        provenance={"cpu_model": HOSTILE, "os": HOSTILE + "y" * 10_000, "host_id": HOSTILE},
        absent=(),
    )
    save(results, record)
    renamed = replace(spec, variant=HOSTILE, seed=2)
    failed = failed_record(spec=replace(spec, seed=3))
    save(results, replace(failed, error=Failure(HOSTILE, HOSTILE, 1, HOSTILE)))
    run = RunDir(results / "runs" / "hostile-s2-00000000")
    run.create(renamed, Local())
    run.write_record(replace(make_record(spec=renamed), run_id="hostile-s2-00000000"))
    return results
