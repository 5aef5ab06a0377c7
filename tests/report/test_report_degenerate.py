"""Studies with little to show: a useful page each, which says first what cannot be said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from xml.etree import ElementTree as ET

import html5lib
import pytest

from builders.machine import LAPTOP, PROVENANCE, SYNTHETIC_CHANNELS
from builders.run import failed_record, make_record, make_scores, make_spec, save
from builders.study import draw
from builders.timeline import make_epochs
from reading_reports import page, text_of
from wbcbench.core.record import Failure, RunRecord
from wbcbench.report.publish import publish


@dataclass(frozen=True)
class Case:
    """Records, and what a reader of their report is told."""

    records: Sequence[RunRecord]
    told: Sequence[str]


ALONE = "One variant: there is nothing to compare it with."
ELSEWHERE = {**PROVENANCE, "host_id": "other"}
DEGENERATE = {
    "one run": Case([make_record()], [ALONE, "leaky-dropout used 11.2 kJ"]),
    "one run without a meter": Case(
        [make_record(channels=())], ["No energy.", "leaky-dropout trained for 40.0 s"]
    ),
    "one variant": Case(
        [make_record(seed=seed, accuracy=0.8 + 0.01 * seed) for seed in (1, 2, 3)],
        [ALONE, "in 3 runs."],
    ),
    "two seeds": Case(
        draw(2, study="runs"),
        ["there are 2 complete seeds, and an interval needs 3", "The 4 variants used"],
    ),
    "all failed": Case(
        [failed_record(), failed_record(seed=2)],
        ["Nothing finished.", "none of 2 runs ended well", "signal 9"],
    ),
    "interrupted": Case(
        [make_record(status="interrupted", error=Failure("interrupted", "Stopped by the user."))],
        ["Nothing finished.", "Stopped by the user."],
    ),
    "synthetic": Case([make_record(channels=SYNTHETIC_CHANNELS)], ["Synthetic.", ALONE]),
    "mixed machines": Case(
        [
            make_record(),
            make_record("relu-dropout"),
            make_record(seed=2, channels=LAPTOP, provenance=ELSEWHERE),
        ],
        ["Estimated, mixed.", "1 of 3 finished runs differ in", "Not comparable"],
    ),
    "metrics unknown": Case(
        [make_record(epochs=make_epochs([None, None]), test=None)], ["leaky-dropout used 5.60 kJ"]
    ),
    "metrics not finite": Case(
        [
            make_record(
                epochs=tuple(
                    replace(e, loss=float("nan"), val_loss=float("inf")) for e in make_epochs()
                ),
                test=replace(make_scores(), loss=float("nan"), ece=float("inf")),
            )
        ],
        [ALONE, "leaky-dropout used 11.2 kJ"],
    ),
    "no photographs": Case(
        [make_record(test=replace(make_scores(), interval=None, photographs=None))], [ALONE]
    ),
    "nothing known": Case(
        [
            make_record(
                channels=(),
                epochs=(),
                windows=(),
                dataset=None,
                model=None,
                test=None,
                provenance={},
            )
        ],
        ["No energy.", ALONE],
    ),
    "an unknown variant": Case([make_record("gelu-dropout"), make_record()], ["gelu-dropout"]),
    "curves of no number": Case([make_record(epochs=make_epochs((float("nan"),)))], [ALONE]),
    "long names": Case([make_record(spec=make_spec("v" * 200 + str(i), i)) for i in range(3)], []),
    "many variants": Case(
        draw(1, study="runs", variants=[f"variant-{i}" for i in range(26)]), ["variant-25"]
    ),
}


@pytest.mark.parametrize("case", DEGENERATE.values(), ids=DEGENERATE)
def test_a_degenerate_study_still_makes_a_useful_report(tmp_path, case):
    save(tmp_path, *case.records)
    paths = publish(tmp_path, "runs", tmp_path / "reports", ("html", "md", "tex", "csv"))
    made = {path.name: path.read_text(encoding="utf-8") for path in paths}
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(made["report.html"])
    for section in (*tree.iter("section"), *tree.findall(".//details[@class='behind']")):
        content = [part for part in section if part.tag not in {"h2", "summary"}]
        assert content, f"only a heading: {''.join(section.itertext())}"
    words = text_of(made["report.html"])
    for told in (*case.told, *(record.run_id for record in case.records)):
        assert told in words
    for name, text in made.items():
        read = words if name == "report.html" else text
        assert not re.search(r"\b(nan|NaN|None|inf|NaT|null)\b", read), name
        if name.endswith(".svg"):
            ET.fromstring(text)


def test_many_runs_make_a_page_of_bounded_size(tmp_path):
    save(
        tmp_path, *(make_record(v, s) for v in ("leaky-dropout", "relu-dropout") for s in range(16))
    )
    assert len(page(tmp_path).encode()) < 400_000
