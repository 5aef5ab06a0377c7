"""Close a bundle again after its author wrote into its documents, and sign it.

Only answers in the places of the documents that are the author's may have changed. The crate, the
manifests and a signature are made again; everything else must verify as it stands.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from wbcbench.bundle import layout, signature
from wbcbench.bundle.crate import list_bag_info, make_crate, write_bag, write_zip
from wbcbench.bundle.documents import DOCUMENTS
from wbcbench.bundle.open import opened
from wbcbench.bundle.verify import Status
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.bundle.verify.files import list_changed_files
from wbcbench.bundle.verify.inspect import inspect
from wbcbench.bundle.write import explain_write_error, replace_bundle
from wbcbench.core.errors import UsageError
from wbcbench.core.files import write_atomically

_SIGNATURE = "V23"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A bundle that was closed again.

    Attributes:
        path: The bundle.
        changed: Documents that their author changed.
        is_signed: Whether it is signed now.
        voided: Whether a signature that it had holds no more, and was removed.
    """

    path: Path
    changed: tuple[str, ...]
    is_signed: bool
    voided: bool


def seal(path: Path, key: Path | None = None) -> Sealed:
    """Close a bundle, a folder or a zip, in its place: completely or not at all.

    Args:
        path: Of the bundle.
        key: To sign it with.

    Raises:
        UsageError: There is no such bundle, something else than answers in its documents was
            changed, it does not verify, the key cannot sign, or it cannot be written.
        VerificationError: It holds what a bundle never does.
    """
    parent = path.resolve().parent
    try:
        with (
            opened(path) as root,
            tempfile.TemporaryDirectory(dir=parent, prefix=".wbcbench-seal-") as room,
        ):
            bag = Path(room) / "bag"
            shutil.copytree(root, bag)
            had_signature = (bag / layout.SIGNATURE).exists()
            changed = _close(bag, is_signed_anew=key is not None)
            if key is not None:
                signature.sign(bag, key)
            is_signed = (bag / layout.SIGNATURE).exists()
            if path.is_dir():
                replace_bundle(root, bag, Path(room))
            else:
                packed = Path(room) / "bag.zip"
                write_zip(bag, packed, root.name)
                replace_bundle(path, packed, Path(room))
    except OSError as error:
        raise explain_write_error(parent, error) from error
    return Sealed(path, changed, is_signed, voided=had_signature and not is_signed)


def _close(bag: Path, *, is_signed_anew: bool) -> tuple[str, ...]:
    """Make crate and manifests fit the documents; returns those that were changed."""
    bundle = load_bundle(bag)
    changed = list_changed_files(bundle)
    if others := [name for name in changed if name not in DOCUMENTS]:
        raise UsageError(
            f"{others[0]} was changed after the bundle was made. Only answers in the place of "
            "[author] in its documents may be; make the bundle again with `wbcbench submit`."
        )
    if name := next((name for name in changed if b"\r\n" in bundle.read(name)), None):
        raise UsageError(
            f"The line ends of {name} were changed to those of Windows. Save it again with those "
            "of Unix (LF), which an editor offers as a setting, and seal the bundle again."
        )
    if changed:
        (bag / layout.SIGNATURE).unlink(missing_ok=True)
        crate = make_crate(bundle.study, bundle.document)
        write_atomically(bundle.data / layout.CRATE, crate)
        write_bag(bag, list_bag_info(bundle.document))
    for name, outcome in inspect(load_bundle(bag)).items():
        if outcome.status is Status.ERROR and not (name == _SIGNATURE and is_signed_anew):
            raise UsageError(
                f"The bundle does not verify, so it is not sealed. {name}: {outcome.detail}"
            )
    return tuple(changed)
