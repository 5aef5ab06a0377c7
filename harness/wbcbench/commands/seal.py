"""``wbcbench seal BUNDLE``: close a bundle again, and sign it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.text import count_of, shell_word

Sign = Annotated[
    Path | None,
    typer.Option(metavar="KEY", help="Sign with this SSH key, e.g. ~/.ssh/id_ed25519."),
]


def seal(bundle: options.Bundle, sign: Sign = None, as_json: options.AsJson = False) -> None:
    """Close a bundle again after answers were written into its documents, and sign it.

    Only the places marked [author: …] may have been changed, one line each. A signature
    that the bundle had is void once a document has changed.
    """
    from wbcbench.bundle.seal import seal as seal_bundle

    sealed = seal_bundle(bundle, sign.expanduser() if sign else None)
    document = asdict(sealed) | {"path": str(sealed.path)}
    changed = f": {', '.join(sealed.changed)}" if sealed.changed else ""
    lines = [f"{sealed.path} sealed, {count_of(len(sealed.changed), 'document')} changed{changed}."]
    if sealed.voided:
        lines.append("Its signature was void and is removed. Sign again with --sign KEY.")
    elif sealed.is_signed:
        place = shell_word(sealed.path)
        lines.append(f"Signed. Check: wbcbench verify {place} --allowed-signers FILE")
    options.print_result(document, "\n".join(lines), "seal", as_json=as_json)
