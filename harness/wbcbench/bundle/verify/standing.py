"""Whether the results hold: what is made from results that do not, is not worth making again."""

from __future__ import annotations

from wbcbench.bundle.verify import Outcome, Status, energies, not_checked, rows, scores
from wbcbench.bundle.verify.bundle import Bundle

_BEFORE = {"V03": rows.check, "V06": energies.check, "V08": scores.check}


def fallen(bundle: Bundle) -> Outcome | None:
    """Why nothing is made from these results; ``None`` when they hold."""
    found = [name for name, check in _BEFORE.items() if check(bundle).status is Status.ERROR]
    if not found:
        return None
    return not_checked(f"The results do not hold ({', '.join(found)}); nothing was made from them.")
