"""What a run's messages tell: windows, epochs, facts, scores and the end.

The same reading serves the watcher (messages as they come) and the finaliser (messages found on
disk), so a run whose watcher was killed is told the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

from wbcbench.core.record import DatasetFacts, Epoch, Failure, Inference, ModelFacts, Scores
from wbcbench.core.window import Window

T = TypeVar("T")


@dataclass
class Story:
    """A run as told so far; grows with ``hear``."""

    windows: list[Window] = field(default_factory=list)
    opened: dict[str, float] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)
    dataset: DatasetFacts | None = None
    model: ModelFacts | None = None
    scores: dict[str, Scores] = field(default_factory=dict)
    inference: list[Inference] = field(default_factory=list)
    failure: Failure | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    end: str | None = None

    def hear(self, message: Mapping[str, Any]) -> None:
        """Enter one message; a kind this version does not know is passed over."""
        for kind, content in message.items():
            listener = _LISTENERS.get(kind)
            if listener:
                listener(self, content, message)

    def close_open(self, end_s: float) -> tuple[str, ...]:
        """Close every open window at ``end_s``, where the trace ends; returns their names.

        Open windows mean a kill. It may fall between a mark and the poll after it: windows that
        were closed in that moment end with the trace, too.
        """
        cut = tuple(name for name, start_s in self.opened.items() if start_s < end_s)
        if cut:
            self.windows = [_until(w, end_s) for w in self.windows if w.start_s < end_s]
        for name in cut:
            self.windows.append(Window(name, self.opened[name], end_s))
        self.opened.clear()
        return cut


def _until(window: Window, end_s: float) -> Window:
    return replace(window, end_s=min(window.end_s, end_s))


def told(messages: Iterable[Mapping[str, Any]]) -> Story:
    """The story of messages in their order."""
    story = Story()
    for message in messages:
        story.hear(message)
    return story


def _mark(story: Story, edge: str, message: Mapping[str, Any]) -> None:
    name, t_s = str(message["window"]), float(message["t_s"])
    if edge == "open":
        story.opened[name] = t_s
    elif name in story.opened:
        story.windows.append(Window(name, story.opened.pop(name), t_s))


def _epoch(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.epochs.append(_as(Epoch, content))


def _dataset(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.dataset = _as(DatasetFacts, content)


def _model(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.model = _as(ModelFacts, content)


def _scores(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    fields = dict(content)
    story.scores[str(fields.pop("name"))] = _as(Scores, fields)


def _inference(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.inference.append(_as(Inference, content))


def _failure(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.failure = _as(Failure, content)


def _progress(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.progress = dict(content)


def _end(story: Story, content: Any, _: Mapping[str, Any]) -> None:
    story.end = str(content)


_LISTENERS = {
    "mark": _mark,
    "epoch": _epoch,
    "dataset": _dataset,
    "model": _model,
    "scores": _scores,
    "inference": _inference,
    "failure": _failure,
    "progress": _progress,
    "end": _end,
}


# Building an adapter costs milliseconds; there are six kinds.
_adapter: Any = cache(TypeAdapter)


def _as(kind: type[T], content: Any) -> T:
    adapter: TypeAdapter[T] = _adapter(kind)
    return adapter.validate_python(content)
