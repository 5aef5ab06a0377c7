"""A real browser for tests: the system's Chromium, offline, driven from outside the page.

It is never downloaded by a test. ``.ci/run`` installs it where it can and says in
``WBCBENCH_NO_CHROMIUM`` why it could not; see harness/decisions/0021.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL = "apt-get install chromium"
ARGUMENTS = (
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
)


def chromium() -> str:
    """Path of the browser; the test is skipped, or on CI fails, where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is not None:
        return found
    excuse = os.environ.get("WBCBENCH_NO_CHROMIUM")
    if os.environ.get("CI") == "true" and not excuse:
        pytest.fail(f"no Chromium on CI, and nobody said why: {INSTALL}")
    pytest.skip(f"no Chromium: {INSTALL}" + (f" ({excuse})" if excuse else ""))


@contextmanager
def started() -> Iterator[Browser]:
    """A browser without a window; as root it must do without its own sandbox."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=[*ARGUMENTS, *sandbox])
        yield browser
        browser.close()


@dataclass
class Opened:
    """One page, opened once, and whatever it asked for or complained of since."""

    page: Page
    url: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def seen(self, width: int, height: int, scheme: str = "light", media: str = "screen") -> None:
        """Look at it at this size, in this colour scheme, on this medium."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(color_scheme=scheme, media=media)  # type: ignore[arg-type]

    def ask(self, question: str, about: object = None) -> Any:
        """What a function of JavaScript answers; it is run from outside, the page allows none."""
        return self.page.evaluate(question, about)

    def unfold(self) -> None:
        """Open everything that is folded away."""
        self.ask("() => document.querySelectorAll('details').forEach(d => { d.open = true })")


@contextmanager
def opened(browser: Browser, path: Path) -> Iterator[Opened]:
    """Open a page from disk, without a network."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 1024})
    made = Opened(context.new_page(), path.as_uri())
    made.page.on("console", lambda message: made.messages.append(message.text))
    made.page.on("pageerror", lambda error: made.messages.append(str(error)))
    made.page.on("request", lambda request: made.requests.append(request.url))
    made.page.goto(made.url)
    yield made
    context.close()


def contrast(a: Sequence[float], b: Sequence[float]) -> float:
    """Ratio of two sRGB colours in [0, 255] by WCAG 2.2, from 1 to 21."""
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Sequence[float]) -> float:
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (value / 255 for value in colour[:3])
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
