"""What a run must know of this machine and what is no part of its identity."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Local:
    """What a run needs to know of this machine and what is no part of its identity.

    Attributes:
        data: Folder of the images; ``None`` for the embedded synthetic set.
        skip_unreadable: Skip and record unreadable images instead of refusing them.
        cache_dir: Where decoded images are kept; ``None`` for the user's cache folder.
        command: The command line, for provenance.
        share: Run although another harness uses this machine; both are marked contaminated.
        plan_sha256: Digest of the plan that the run belongs to; ``None`` for a single run.
    """

    data: str | None = None
    skip_unreadable: bool = False
    cache_dir: str | None = None
    command: tuple[str, ...] = ()
    share: bool = False
    plan_sha256: str | None = None

    @property
    def facts(self) -> dict[str, JsonValue]:
        """What of this belongs into the provenance of a run."""
        return {"plan_sha256": self.plan_sha256} if self.plan_sha256 else {}
