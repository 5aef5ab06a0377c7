"""From a spec to a finished run, as far as no network is trained for it."""

from __future__ import annotations

import csv
from pathlib import Path

from builders.run import make_record, make_spec, save
from wbcbench.study import running


def test_a_run_that_ended_after_its_command_was_killed_comes_into_the_table(tmp_path: Path) -> None:
    for seed in (1, 2):
        save(tmp_path, make_record(spec=make_spec(seed=seed)))
    spec = make_spec(seed=1)
    assert running.find_finished_run(tmp_path, spec) is not None
    with (tmp_path / spec.study / "runs.csv").open() as stream:
        assert [row["seed"] for row in csv.DictReader(stream)] == ["1", "2"]
