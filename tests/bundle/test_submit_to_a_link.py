"""A bundle goes where a link leads, and the link stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builders.bundle import StudyDesign, bundle_study
from wbcbench.bundle import layout
from wbcbench.bundle.document import Author
from wbcbench.bundle.write import Order, submit
from wbcbench.core.errors import UsageError

pytestmark = pytest.mark.usefixtures("sketches")


@pytest.mark.parametrize("name", ["bag", "bag.zip"])
def test_a_link_to_a_bundle_is_written_through(name: str, tmp_path: Path) -> None:
    study = bundle_study(tmp_path / "results", StudyDesign(blocks=1, epochs=1, gpu=False))
    (tmp_path / "shared").mkdir()
    link, target = tmp_path / name, tmp_path / "shared" / name
    link.symlink_to(target)
    order = Order(study.parent, study.name, (Author("Ada"),), "MIT", out=link, formats=("md",))
    order = replace(order, as_zip=name.endswith(layout.ZIP_SUFFIX))
    first = submit(order)
    with pytest.raises(UsageError, match="already exists"):
        submit(order)
    before = (first.path.stat().st_ino, first.path)
    again = submit(replace(order, force=True))
    assert again.path == target
    assert (again.path.stat().st_ino, again.path) != before
    assert link.readlink() == target
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == [name]


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    study = bundle_study(tmp_path / "results", StudyDesign(blocks=1, epochs=1, gpu=False))
    (tmp_path / "bag").symlink_to(tmp_path / "bag")
    order = Order(study.parent, study.name, (Author("Ada"),), "MIT", out=tmp_path / "bag")
    with pytest.raises(UsageError):
        submit(replace(order, force=True))
    assert (tmp_path / "bag").is_symlink()
