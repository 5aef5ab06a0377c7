"""Studies with little to show: a useful page each."""

from __future__ import annotations

from dataclasses import replace

import html5lib
import pytest

from reading_reports import page, published, text_of
from records_factory import failed_record, make_epochs, make_record, make_scores, save

DEGENERATE = {
    "one run": [make_record()],
    "one run without a meter": [make_record(channels=())],
    "all failed": [failed_record(), failed_record(seed=2)],
    "metrics unknown": [make_record(epochs=make_epochs([None, None]), test=None)],
    "loss not finite": [
        make_record(
            epochs=tuple(replace(e, loss=float("nan")) for e in make_epochs()),
            test=replace(make_scores(), loss=float("nan"), ece=float("nan")),
        )
    ],
    "no photographs": [make_record(test=replace(make_scores(), interval=None, photographs=None))],
    "nothing known": [
        make_record(
            channels=(), epochs=(), windows=(), dataset=None, model=None, test=None, provenance={}
        )
    ],
    "an unknown variant": [make_record("gelu-dropout"), make_record()],
}


@pytest.mark.parametrize("records", DEGENERATE.values(), ids=DEGENERATE)
def test_a_degenerate_study_still_makes_a_useful_page(tmp_path, records):
    save(tmp_path, *records)
    made = published(tmp_path)
    html5lib.HTMLParser(strict=True).parse(made["report.html"])
    words = text_of(made["report.html"])
    assert all(record.run_id in words for record in records)
    for bad in ("nan", "None", "inf "):
        assert bad not in words
        assert bad not in made["report.md"]


def test_without_joules_the_learning_curve_runs_over_seconds_and_says_so(tmp_path):
    save(tmp_path, make_record(channels=()))
    made = published(tmp_path)
    assert "Validation accuracy over seconds" in made["learning-curves.svg"]
    assert "no energy was read" in made["report.html"]
    assert "energy-accuracy.svg" not in made


def test_many_runs_make_a_page_of_bounded_size(tmp_path):
    save(
        tmp_path, *(make_record(v, s) for v in ("leaky-dropout", "relu-dropout") for s in range(16))
    )
    assert len(page(tmp_path).encode()) < 400_000
