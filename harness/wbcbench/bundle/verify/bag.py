"""Bag whole: every file is there, none is added, and each has the digest of the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from wbcbench.bundle import layout
from wbcbench.bundle.names import shown
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.errors import VerificationError

_FETCH = "fetch.txt"
_OXUM = "Payload-Oxum"


def check(bundle: Bundle) -> Outcome:
    """Hold both manifests against the files, and the bag's own word on its size."""
    payload = {name: d for name, d in bundle.digests.items() if name.startswith(layout.PAYLOAD)}
    tags = {name: d for name, d in bundle.digests.items() if name not in payload}
    tags.pop(layout.TAG_MANIFEST, None)
    errors = [
        *_declared(bundle),
        *_differing(_manifest(bundle, layout.MANIFEST), payload),
        *_differing(_manifest(bundle, layout.TAG_MANIFEST), tags),
        *_size(bundle, payload),
    ]
    size = sum((bundle.root / name).stat().st_size for name in payload)
    return outcome(f"{len(payload)} files of {size / 1e6:.1f} MB as in the manifest.", errors)


def _declared(bundle: Bundle) -> Iterator[str]:
    if bundle.digests.get(layout.BAGIT) is None:
        yield f"There is no {layout.BAGIT}, so this is no bag."
    elif (bundle.root / layout.BAGIT).read_text(encoding="utf-8") != layout.BAGIT_TEXT:
        yield f"{layout.BAGIT} is not that of a BagIt 1.0 bag in UTF-8."
    if _FETCH in bundle.digests:
        yield f"{_FETCH} names files that are elsewhere; nothing is fetched to be checked."


def _manifest(bundle: Bundle, name: str) -> Mapping[str, str]:
    found = dict[str, str]()
    for line in (bundle.root / name).read_text(encoding="utf-8").splitlines():
        digest, _, path = line.partition("  ")
        if len(digest) != 64 or not path or unquote(path) in found:
            raise VerificationError(f"{name} holds a line that is none: {shown(line)}.")
        found[unquote(path)] = digest.lower()
    return found


def _differing(listed: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(listed.keys() | found.keys()):
        if name not in found:
            yield f"{shown(name)} is missing."
        elif name not in listed:
            yield f"{shown(name)} is not in the manifest: it was added later."
        elif listed[name] != found[name]:
            yield f"{shown(name)} was changed: its digest is not that of the manifest."


def _size(bundle: Bundle, payload: Mapping[str, str]) -> Iterator[str]:
    lines = (bundle.root / layout.BAG_INFO).read_text(encoding="utf-8").splitlines()
    said = next((line.split(":", 1)[1].strip() for line in lines if line.startswith(_OXUM)), None)
    size = sum((bundle.root / name).stat().st_size for name in payload)
    if said is not None and said != f"{size}.{len(payload)}":
        yield f"{layout.BAG_INFO} speaks of {said} (bytes.files); there are {size}.{len(payload)}."
