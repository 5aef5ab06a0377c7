"""A report on the loopback interface while its study is still being carried out."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from wbcbench.core.errors import UsageError, WbcbenchError
from wbcbench.core.run_folder import list_folders
from wbcbench.core.study_folder import PLANS
from wbcbench.report import PAGE
from wbcbench.report.publish import read_manifest, refresh

LOOPBACK = "127.0.0.1"

_POLICY = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_STRICT_POLICY = f"default-src 'none'; style-src 'unsafe-inline'; sandbox; {_POLICY}"
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TEXT_TYPES = {"html": "html", "md": "markdown", "csv": "csv", "tex": "plain"}


class Server(ThreadingHTTPServer):
    """The listening socket; it closes at once, even while somebody still reads.

    Attributes:
        reload_s: After how many seconds a shown page reloads.
    """

    block_on_close = False
    reload_s = 5.0

    @property
    def url(self) -> str:
        """Where the report is."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"


def listen(folder: Path, port: int, reload_s: float) -> Server:
    """Begin to listen on loopback; ``serve_forever`` answers.

    Args:
        folder: The report's; it may still be missing.
        port: 0 is any free one.
        reload_s: After how many seconds a shown page reloads.

    Raises:
        UsageError: The port is taken or not ours to take.
    """
    try:
        server = Server((LOOPBACK, port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        raise UsageError(
            f"Nothing can listen on {LOOPBACK}:{port}: {error.strerror}. Choose another port with "
            "--port; 0 is any free one."
        ) from error
    server.reload_s = reload_s
    return server


class _Handler(SimpleHTTPRequestHandler):
    """Serves the files in the report's own list, to browsers that were sent to this machine."""

    error_message_format = "%(message)s.\n"
    error_content_type = "text/plain; charset=utf-8"
    timeout = 20  # seconds that a silent connection stays open
    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        **{f".{end}": f"text/{name}; charset=utf-8" for end, name in _TEXT_TYPES.items()},
    }
    path = "/"
    server: Server

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """The file that is requested, or an error; never a listing."""
        host = self.headers.get("Host", "")
        # Under another name a page from elsewhere could read the report.
        if (host.rpartition(":")[0] or host) not in {LOOPBACK, "localhost"}:
            self.send_error(HTTPStatus.FORBIDDEN, "Open it by its own address")
            return None
        name = unquote(urlsplit(self.path).path).removeprefix("/") or PAGE
        if not _is_listed(Path(self.directory), name):
            if name == PAGE:
                reason = "No run of this study has a record yet; this page reloads by itself"
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, reason)
            else:
                self.send_error(HTTPStatus.NOT_FOUND, "The report has no such file")
            return None
        self.path = f"/{quote(name)}"
        return super().send_head()

    def end_headers(self) -> None:
        """Add the headers of every answer; a page reloads by itself, the file on disk does not."""
        is_page = self.path == "/" or self.path.endswith(".html")
        # A browser's own viewer of PDF does not work under the strict policy.
        policy = _POLICY if is_page or self.path.endswith(".pdf") else _STRICT_POLICY
        for name, value in {**_HEADERS, "Content-Security-Policy": policy}.items():
            self.send_header(name, value)
        if is_page:
            self.send_header("Refresh", f"{self.server.reload_s:g}")
        super().end_headers()

    def version_string(self) -> str:
        """The program, and nothing about the machine."""
        return "wbcbench"

    def log_message(self, *_: object) -> None:
        """Nothing: the reader is the one who started it."""


def _is_listed(folder: Path, name: str) -> bool:
    """Whether the report's own list has this file, and no part of its path is a link."""
    manifest = read_manifest(folder)
    if manifest is None or name not in manifest.files:
        return False
    path = folder / name
    return path.is_file() and path.resolve() == folder.resolve() / name


@dataclass(frozen=True, slots=True)
class LiveReport:
    """A report that follows its study.

    Attributes:
        results, study, out, formats: As for ``publish``.
        period_s: Between two checks of the study.
    """

    results: Path
    study: str
    out: Path
    formats: Sequence[str]
    period_s: float

    def take_snapshot(self) -> list[tuple[str, int, int]]:
        """Differs when a run began or ended, or the plan changed; cheap to take."""
        runs = list_folders(self.results, self.study)
        plans = sorted((self.results / self.study).glob(PLANS))
        paths = [*plans, *(run.record_path if run.is_finished else run.path for run in runs)]
        return [_read_state(path) for path in paths]

    def refresh(self, notify: Callable[[str], None]) -> None:
        """Make it again if something changed; report a problem, which is tried again later."""
        try:
            published = refresh(self.results, self.study, self.out, self.formats)
        except WbcbenchError as error:
            notify(str(error))
        else:
            if published.built:
                notify(f"{published.files[0]} updated")


def keep_up_to_date(
    report: LiveReport, server: Server, notify: Callable[[str], None], stop: threading.Event
) -> None:
    """Serve and refresh until ``stop`` is set or Ctrl-C; then close the socket."""
    threading.Thread(target=server.serve_forever, name="report", daemon=True).start()
    last: list[tuple[str, int, int]] | None = None
    try:
        while not stop.is_set():
            snapshot = report.take_snapshot()
            if snapshot != last:
                report.refresh(notify)
                last = snapshot
            stop.wait(report.period_s)
    finally:
        server.shutdown()
        server.server_close()


def _read_state(path: Path) -> tuple[str, int, int]:
    """Name, time and size; a folder's time changes with every trace file, so it counts by name."""
    try:
        stat = path.stat()
    except OSError:
        return str(path), 0, 0
    return (str(path), 0, 0) if path.is_dir() else (str(path), stat.st_mtime_ns, stat.st_size)
