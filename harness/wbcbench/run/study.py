"""A run's view inside a study: every moment also says the place and what is left of the study."""

from __future__ import annotations

from dataclasses import replace

from wbcbench.core.record import Epoch
from wbcbench.run.live import Now, View


class StudyView:
    """Any other view, told where the run stands."""

    def __init__(
        self, view: View, place: str, after_s: float | None, after_j: float | None
    ) -> None:
        """Wrap ``view``; ``after_s`` and ``after_j`` are left of the study once this run ended."""
        self._view, self._place = view, place
        self._after_s, self._after_j = after_s, after_j

    def show(self, now: Now) -> None:
        """Draw this moment."""
        self._view.show(self._placed(now))

    def epoch(self, epoch: Epoch, now: Now) -> None:
        """An epoch ended."""
        self._view.epoch(epoch, self._placed(now))

    def note(self, text: str) -> None:
        """Say one sentence."""
        self._view.note(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._view.close()

    def _placed(self, now: Now) -> Now:
        return replace(
            now,
            place=self._place,
            study_left_s=_added(now.left_s, self._after_s),
            study_left_j=_added(now.left_j, self._after_j),
        )


def _added(run: float | None, after: float | None) -> float | None:
    """What is left of the study: at least what comes after this run."""
    return None if after is None else (run or 0.0) + after
