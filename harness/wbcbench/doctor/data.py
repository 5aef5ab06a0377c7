"""The images that would be trained on."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.errors import UsageError
from wbcbench.doctor import Facts, Line, State


def check(facts: Facts) -> Iterator[Line]:
    """Every image of ``--data``; without it, a word on the embedded ones."""
    if facts.data is None:
        yield Line(
            State.INFO,
            "data",
            "no --data: the embedded synthetic cells would be used",
            why="accuracy on drawn cells says nothing about blood",
            fix="wbcbench data fetch DIR, then --data DIR/dataset2-master",
        )
        return
    from wbcbench.data.check import check as check_folder

    try:
        report = check_folder(facts.data)
    except UsageError as error:
        yield Line(State.FAIL, "data", f"{facts.data} holds no data set", why=str(error))
        return
    images = sum(sum(classes.values()) for classes in report.counts.values())
    classes = {name for found in report.counts.values() for name in found}
    text = f"{report.dataset_id}  {images} images, {len(classes)} classes"
    yield Line(State.OK if not report.problems else State.WARN, "data", text)
    for finding in report.problems:
        yield Line(
            State.FAIL, finding.code, finding.detail, fix=f"wbcbench data check {facts.data}"
        )
    for finding in report.notes:
        yield Line(State.INFO, finding.code, finding.detail)
