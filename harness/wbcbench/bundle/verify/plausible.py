"""Whether what was left of each run can be of one run: its files compared with each other.

V03 and V06 hold numbers against the files that they are made from. Here the files themselves are
held against each other, for who edits one and has the rest made again meets those that knew it.
"""

from __future__ import annotations

from wbcbench.bundle.open import read_predictions
from wbcbench.bundle.verify import Outcome, report_outcome
from wbcbench.bundle.verify.bundle import Bundle, cache_by_files
from wbcbench.bundle.verify.sensors import find_in_readings
from wbcbench.bundle.verify.training import find_in_training
from wbcbench.core.run_folder import RunDir
from wbcbench.core.text import count_of


@cache_by_files
def find_contradictions(run: RunDir) -> tuple[str, ...]:
    """What in a run's files no run can have left."""
    record, path = run.read_own_record(), run.predictions_path
    predictions = read_predictions(path) if path.is_file() else None
    problems = [
        *find_in_training(record, predictions),
        *find_in_readings(record, run.read_traces(), run.read_cpu_time()),
    ]
    return tuple(f"{run.run_id}: {problem}." for problem in problems)


def check_runs(bundle: Bundle) -> Outcome:
    """Runs consistent: network, counts, epochs, windows and readings of each fit each other."""
    runs = bundle.finished_and_pilots
    errors = [problem for run in runs for problem in find_contradictions(bundle, run)]
    return report_outcome(f"{count_of(len(runs), 'run')} without a contradiction.", errors)
