"""``wbcbench seal``: an author's answers close again; a signature holds until something changes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from builders.bundle import StudyDesign
from program import wbcbench
from tamperings.bag import Bag
from tamperings.trials import TWO, bundle
from wbcbench.bundle import layout
from wbcbench.bundle.crate import write_zip
from wbcbench.bundle.verify.inspect import Result, as_text, verify
from wbcbench.core.errors import UsageError

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
    bag.write(path, path.read_text(encoding="utf-8").replace("[author]", words, 1))


def test_answers_close_again_and_the_bundle_verifies(opened):
    answer(opened)
    assert verify(opened.root).result is Result.NOT_VERIFIED
    done = wbcbench("seal", str(opened.root))
    assert done.code == 0, done.err
    assert f"1 document changed: {layout.CHECKLIST}." in done.out
    found = verify(opened.root)
    assert found.verified, as_text(found)
    assert "1 answer of the author's own" in found.outcomes["V11"].detail
    assert not list(opened.root.parent.glob(".wbcbench-seal-*"))


def test_a_zip_is_sealed_as_its_folder_is(opened, tmp_path):
    answer(opened)
    target = tmp_path / "bundle.zip"
    write_zip(opened.root, target, "bundle")
    done = wbcbench("seal", str(target), "--json")
    assert done.code == 0, done.err
    assert done.json["changed"] == [layout.CHECKLIST]
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
    done = wbcbench("seal", str(opened.root))
    assert done.code == 2
    assert path.name in done.err
    assert {p: p.read_bytes() for p in opened.root.rglob("*") if p.is_file()} == before
    assert not list(opened.root.parent.glob(".wbcbench-seal-*"))


@needs_ssh
def test_a_signature_holds_for_whom_it_is_allowed_until_a_document_changes(opened, keys):
    allowed = str(keys / "allowed")
    unsigned = wbcbench("verify", str(opened.root), "--allowed-signers", allowed)
    assert unsigned.code == 6
    assert "not signed" in unsigned.out
    done = wbcbench("seal", str(opened.root), "--sign", str(keys / "author"))
    assert done.code == 0, done.err
    good = wbcbench("verify", str(opened.root), "--allowed-signers", allowed)
    assert good.code == 0, good.out
    assert "Signed by alice@example.org." in good.out
    anybody = wbcbench("verify", str(opened.root))
    assert anybody.code == 0
    assert "Signed by SHA256:" in anybody.out
    answer(opened)
    voided = wbcbench("seal", str(opened.root))
    assert "void" in voided.out
    assert not (opened.root / layout.SIGNATURE).exists()
    assert verify(opened.root).verified


@needs_ssh
def test_a_signature_of_somebody_else_or_of_another_bundle_is_refused(opened, keys):
    allowed = keys / "allowed"
    assert wbcbench("seal", str(opened.root), "--sign", str(keys / "mallory")).code == 0
    found = verify(opened.root, allowed_signers=allowed)
    assert found.result is Result.NOT_VERIFIED
    assert "no valid signature" in found.outcomes["V23"].detail
    signature = (opened.root / layout.SIGNATURE).read_bytes()
    answer(opened)
    assert wbcbench("seal", str(opened.root)).code == 0
    opened.write(opened.root / layout.SIGNATURE, signature)
    assert verify(opened.root).result is Result.NOT_VERIFIED


def test_a_signature_that_is_none_is_not_sealed_over(opened):
    opened.write(opened.root / layout.SIGNATURE, "no signature\n")
    done = wbcbench("seal", str(opened.root))
    assert done.code == 2 or shutil.which("ssh-keygen") is None


def test_a_key_that_is_not_there_is_named(opened):
    done = wbcbench("seal", str(opened.root), "--sign", "no-such-key")
    assert done.code == 2
    assert "no-such-key" in done.err or "ssh-keygen" in done.err


def test_the_digest_of_a_posted_plan_is_compared(opened):
    digest = opened.json(opened.results / layout.PLAN)["sha256"]
    assert wbcbench("verify", str(opened.root), "--plan-digest", f"sha256:{digest}").code == 0
    assert wbcbench("verify", str(opened.root), "--plan-digest", digest[:12]).code == 2
    other = verify(opened.root, plan_digest="0" * 64)
    assert other.outcomes["V04"].detail.endswith("not 000000000000 as posted.")
    assert other.result is Result.NOT_VERIFIED
    assert wbcbench("verify", str(opened.root), "--plan-digest", "none").code == 2
    with pytest.raises(UsageError):
        verify(Path("none"), plan_digest=digest)
