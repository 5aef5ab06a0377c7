"""A finished run folder with everything on disk: GPU counter and power, marks, epochs."""

from __future__ import annotations

import json
from pathlib import Path

from made_evidence import EPOCHS, TIMES, WINDOWS, counter, power
from records_factory import make_spec
from wbcbench.joules.energy import Trace, Window
from wbcbench.reckoning.accounting import account
from wbcbench.runs.local_facts import Local
from wbcbench.runs.records import Circumstances
from wbcbench.runs.rundir import RunDir
from wbcbench.runs.tracefile import trace_csv

PASSES = (Window("validate-1", 48.0, 50.0), Window("validate-2", 83.0, 85.0))
COUNTER_J = 250.0 * (70.0 - 4.0)  # training at 250 W, less the two passes


def kept_run(results: Path, *traces: Trace, study: str = "runs") -> RunDir:
    """Write the folder as watcher and trainer do, and account for it."""
    spec = make_spec(study=study, epochs=2)
    run = RunDir(results / study / spec.run_id)
    run.create(spec, Local())
    kept = traces or (counter(), power())
    run.write_channels([trace.channel for trace in kept])
    for trace in kept:
        run.trace_path(trace.channel.name).write_bytes(trace_csv(trace))
    run.marks_path.write_text("".join(json.dumps(each) + "\n" for each in _messages()))
    seen = Circumstances("2026-03-01T10:00:00Z", {"git_commit": "abc", "cpu_count": 2})
    run.write_record(account(run, seen, "done"))
    return run


def _messages() -> list[dict[str, object]]:
    edges = [(w.start_s, "open", w.name) for w in (*WINDOWS, *PASSES)]
    edges += [(w.end_s, "close", w.name) for w in (*WINDOWS, *PASSES)]
    marks = [{"mark": edge, "window": name, "t_s": t_s} for t_s, edge, name in sorted(edges)]
    epochs = [
        {
            "epoch": {
                "index": e.index,
                "start_s": e.start_s,
                "end_s": e.end_s - 2.0,
                "evaluate_end_s": e.end_s,
                "loss": 0.5,
                "accuracy": 0.8,
                "val_loss": 0.5,
                "val_accuracy": 0.8,
                "val_balanced_accuracy": 0.8,
                "images_seen": 1000,
                "learning_rate": 0.001,
            }
        }
        for e in EPOCHS
    ]
    assert TIMES[-1] > max(w.end_s for w in WINDOWS)
    return [*marks, *epochs]
