"""Signatures of bundles by OpenSSH: ``ssh-keygen -Y``, which every system with SSH has.

What is signed is the bag's last manifest, from which the digest of every file follows.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from wbcbench.bundle import layout
from wbcbench.core.errors import UsageError

NAMESPACE = "wbcbench"
_PROGRAM = "ssh-keygen"


def has_program() -> bool:
    """Whether signatures can be made and checked here."""
    return shutil.which(_PROGRAM) is not None


def sign(bag: Path, key: Path) -> None:
    """Sign a bag with a private key, or with the public key of one that an agent holds.

    Raises:
        UsageError: There is no OpenSSH or no such key, or it cannot sign.
    """
    if not has_program():
        raise UsageError(
            f"Signing needs {_PROGRAM} of OpenSSH, which was not found. Install OpenSSH, or seal "
            "without --sign."
        )
    if not key.is_file():
        raise UsageError(f"There is no key {key}. Make one: ssh-keygen -t ed25519 -f {key}")
    manifest = bag / layout.TAG_MANIFEST
    (bag / layout.SIGNATURE).unlink(missing_ok=True)  # one that is there is asked about
    done = _run(["sign", "-n", NAMESPACE, "-f", str(key), str(manifest)], may_ask=True)
    if done.returncode != 0 or not (bag / layout.SIGNATURE).is_file():
        raise UsageError(f"{key} cannot sign: {done.stderr.strip() or 'the key was not unlocked'}")


def find_signer(bag: Path, allowed_signers: Path | None) -> str | None:
    """Who signed a bag; ``None`` where the signature is bad or of nobody who is allowed.

    Args:
        bag: The bag's folder, with a signature.
        allowed_signers: File of ``ssh-keygen(1)``, *ALLOWED SIGNERS*. Without one the name of the
            key is returned, of which nobody says whose it is.
    """
    signature = ["-n", NAMESPACE, "-s", str(bag / layout.SIGNATURE)]
    message = (bag / layout.TAG_MANIFEST).read_bytes()
    if allowed_signers is None:
        done = _run(["check-novalidate", *signature], message)
        return done.stdout.strip().rpartition(" ")[2] if done.returncode == 0 else None
    allowed = ["-f", str(allowed_signers)]
    found = _run(["find-principals", *signature, *allowed])
    for principal in found.stdout.splitlines() if found.returncode == 0 else ():
        done = _run(["verify", *signature, *allowed, "-I", principal], message)
        if done.returncode == 0:
            return principal
    return None


def _run(
    words: Sequence[str], message: bytes = b"", *, may_ask: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run it; the passphrase of a key is asked for at the terminal, by the program itself."""
    done = subprocess.run(
        [_PROGRAM, "-Y", *words],
        input=None if may_ask else message,
        capture_output=True,
        check=False,
    )
    texts = (out.decode("utf-8", "replace") for out in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, *texts)
