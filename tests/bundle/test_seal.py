"""``wbcbench seal``: an author's answers close again; a signature holds until something changes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from builders.bundle import StudyDesign
from tamperings.bag import Bag
from tamperings.trials import TWO, bundle
from wbcbench.bundle import layout
from wbcbench.bundle.crate import write_zip
from wbcbench.bundle.verify.inspect import Result, as_text, verify
from wbcbench.commands.seal import seal
from wbcbench.commands.verify import verify as verify_command
from wbcbench.core.errors import UsageError, VerificationError

pytestmark = pytest.mark.usefixtures("sketches")

needs_ssh = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="needs ssh-keygen of OpenSSH"
)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Bag:
    room = tmp_path_factory.mktemp("seal")
    return Bag(bundle(StudyDesign(blocks=1, variants=TWO, epochs=2), room), room / "spare")


@pytest.fixture
def opened(bag: Bag):
    yield bag
    bag.restore()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key of an author, that of somebody else, and the file of who is allowed."""
    room = tmp_path_factory.mktemp("keys")
    for name in ("author", "mallory"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(room / name)],
            check=True,
        )
    public = (room / "author.pub").read_text().split()
    (room / "allowed").write_text(
        f'alice@example.org namespaces="wbcbench" {public[0]} {public[1]}\n'
    )
    return room


def answer(bag: Bag, words: str = "None beyond those of the report.") -> None:
    path = bag.data / layout.CHECKLIST
    bag.write(path, path.read_text(encoding="utf-8").replace("[author: assumptions]", words))


def test_answers_close_again_and_the_bundle_verifies(opened, capsys):
    answer(opened)
    assert verify(opened.root).result is Result.NOT_VERIFIED
    seal(opened.root)
    assert f"1 document changed: {layout.CHECKLIST}." in capsys.readouterr().out
    found = verify(opened.root)
    assert found.verified, as_text(found)
    assert "1 answer of the author's own" in found.outcomes["V11"].detail
    assert not list(opened.root.parent.glob(".wbcbench-seal-*"))


def test_a_zip_is_sealed_as_its_folder_is(opened, tmp_path, capsys):
    answer(opened)
    target = tmp_path / "bundle.zip"
    write_zip(opened.root, target, "bundle")
    seal(target, as_json=True)
    assert json.loads(capsys.readouterr().out)["changed"] == [layout.CHECKLIST]
    assert verify(target).verified
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "name", [layout.CHECKLIST, layout.SUBMISSION, "results/study/runs.csv", "data/ERRATUM.md"]
)
def test_nothing_but_answers_is_sealed_and_the_bundle_stays_as_it_is(opened, name):
    path = opened.data / name
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    opened.write(path, old.replace("**Yes**", "**No**", 1) if "**Yes**" in old else f"{old} \n")
    before = {p: p.read_bytes() for p in opened.root.rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match=re.escape(path.name)):
        seal(opened.root)
    assert {p: p.read_bytes() for p in opened.root.rglob("*") if p.is_file()} == before
    assert not list(opened.root.parent.glob(".wbcbench-seal-*"))


def test_line_ends_of_windows_are_named_with_the_way_out(opened):
    path = opened.data / layout.CHECKLIST
    text = path.read_text(encoding="utf-8").replace("[author: assumptions]", "None.")
    opened.write(path, text.replace("\n", "\r\n"))
    with pytest.raises(UsageError, match=r"CHECKLIST.md were changed .* Unix \(LF\)"):
        seal(opened.root)


def test_what_a_file_manager_added_is_named_with_the_way_out(opened):
    for folder in (opened.root, opened.data):
        opened.write(folder / ".DS_Store", "x")
    with pytest.raises(VerificationError, match=r"'.DS_Store' and 1 more into .* Remove what"):
        seal(opened.root)


@needs_ssh
def test_a_signature_holds_for_whom_it_is_allowed_until_a_document_changes(opened, keys, capsys):
    allowed = keys / "allowed"
    unsigned = verify(opened.root, allowed_signers=allowed)
    assert unsigned.result is Result.NOT_VERIFIED
    assert "not signed" in unsigned.outcomes["V23"].detail
    seal(opened.root, keys / "author")
    good = verify(opened.root, allowed_signers=allowed)
    assert good.verified, as_text(good)
    assert good.outcomes["V23"].detail == "Signed by alice@example.org."
    anybody = verify(opened.root)
    assert anybody.verified
    assert "Signed by SHA256:" in anybody.outcomes["V23"].detail
    answer(opened)
    seal(opened.root)
    assert "void" in capsys.readouterr().out
    assert not (opened.root / layout.SIGNATURE).exists()
    assert verify(opened.root).verified


@needs_ssh
def test_a_signature_of_somebody_else_or_of_another_bundle_is_refused(opened, keys):
    seal(opened.root, keys / "mallory")
    found = verify(opened.root, allowed_signers=keys / "allowed")
    assert found.result is Result.NOT_VERIFIED
    assert "no valid signature" in found.outcomes["V23"].detail
    signature = (opened.root / layout.SIGNATURE).read_bytes()
    answer(opened)
    seal(opened.root)
    opened.write(opened.root / layout.SIGNATURE, signature)
    assert verify(opened.root).result is Result.NOT_VERIFIED


@needs_ssh
def test_a_signature_that_is_none_is_not_sealed_over(opened):
    opened.write(opened.root / layout.SIGNATURE, "no signature\n")
    with pytest.raises(UsageError, match="does not verify"):
        seal(opened.root)


def test_a_key_that_is_not_there_is_named(opened):
    with pytest.raises(UsageError, match=r"no-such-key|ssh-keygen"):
        seal(opened.root, Path("no-such-key"))


def test_the_digest_of_a_posted_plan_is_compared(opened):
    digest = opened.json(opened.results / layout.PLAN)["sha256"]
    assert verify(opened.root, plan_digest=digest).verified
    other = verify(opened.root, plan_digest="0" * 64)
    assert other.outcomes["V04"].detail.endswith("not 000000000000 as posted.")
    assert other.result is Result.NOT_VERIFIED
    with pytest.raises(UsageError):
        verify(Path("none"), plan_digest=digest)


@pytest.mark.parametrize("words", ["none", "0" * 12, "sha256:" + "0" * 63 + "g"])
def test_a_part_of_a_digest_is_none(opened, words):
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        verify_command([opened.root], plan_digest=words)
