"""A report on the loopback interface while its study is still being carried out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wbcbench.core.errors import UsageError, WbcbenchError
from wbcbench.core.run_folder import study_runs
from wbcbench.core.study_folder import PLANS
from wbcbench.report import PAGE
from wbcbench.report.publish import read_manifest, refresh

LOOPBACK = "127.0.0.1"
_NAMES = (LOOPBACK, "localhost")
_HTML = "text/html; charset=utf-8"
_TYPES: Mapping[str, str] = {
    ".html": _HTML,
    ".md": "text/markdown; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
}

# The pages bring a policy of their own; what may embed them can only be said here.
_NOT_EMBEDDED = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_POLICIES: Mapping[str, str] = {
    ".html": _NOT_EMBEDDED,
    ".pdf": _NOT_EMBEDDED,  # a browser's own viewer is stopped by a stricter one
}
_STRICT = f"default-src 'none'; style-src 'unsafe-inline'; sandbox; {_NOT_EMBEDDED}"
_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_CHARSET = b'<meta charset="utf-8">'
_WAITING = (
    '<!doctype html><html lang="en"><head>%s<title>Waiting</title></head><body><p>No run of this '
    "study has a record yet. This page looks again by itself.</p></body></html>"
)


Sign = tuple[tuple[str, int, int], ...]


class Server(ThreadingHTTPServer):
    """The listening socket; closes at once, whoever is still reading."""

    daemon_threads = True
    block_on_close = False

    @property
    def url(self) -> str:
        """Where the report is."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"


def listen(folder: Path, port: int, again_s: float) -> Server:
    """Begin to listen on loopback; ``serve_forever`` answers.

    Args:
        folder: The report's; it may still be missing.
        port: 0 is any free one.
        again_s: After how many seconds a shown page asks again.

    Raises:
        UsageError: The port is taken or not ours to take.
    """
    try:
        return Server((LOOPBACK, port), partial(_Handler, folder, again_s))
    except OSError as error:
        raise UsageError(
            f"Nothing can listen on {LOOPBACK}:{port}: {error.strerror}. Choose another port with "
            "--port; 0 is any free one."
        ) from error


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    timeout = 20  # seconds that a silent connection is kept
    protocol_version = "HTTP/1.0"

    def __init__(self, folder: Path, again_s: float, *connection: object) -> None:
        self._folder, self._again_s = folder, again_s
        super().__init__(*connection)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """A file of the report, whole."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """What GET would say of it."""
        self._answer(with_body=False)

    def _refuse(self) -> None:
        self._say(HTTPStatus.METHOD_NOT_ALLOWED, b"Read only.\n", {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse  # noqa: N815

    def version_string(self) -> str:
        """Nothing about the machine."""
        return "wbcbench"

    def log_message(self, *_: object) -> None:
        """Nothing: whoever looks is the one who started it."""

    def _answer(self, *, with_body: bool) -> None:
        if not self._is_asked_here():
            self._say(HTTPStatus.FORBIDDEN, b"Ask for it by its own address.\n", {}, with_body)
            return
        path = _named_file(self._folder, self.path)
        if path is not None:
            self._send(path, with_body)
        elif self.path == "/":
            self._page(_WAITING.replace("%s", _CHARSET.decode()).encode(), with_body)
        else:
            self._say(HTTPStatus.NOT_FOUND, b"The report has no such file.\n", {}, with_body)

    def _is_asked_here(self) -> bool:
        """Whether the browser was sent to this machine by name: else a foreign page reads along."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        return host in _NAMES

    def _send(self, path: Path, with_body: bool) -> None:
        data = path.read_bytes()
        kind = _TYPES.get(path.suffix, "application/octet-stream")
        if kind == _HTML:
            self._page(data, with_body)
        else:
            policy = _POLICIES.get(path.suffix, _STRICT)
            headers = {"Content-Type": kind, "Content-Security-Policy": policy}
            self._say(HTTPStatus.OK, data, headers, with_body)

    def _page(self, data: bytes, with_body: bool) -> None:
        """A page that asks again by itself; the file on disk does not."""
        again = f'<meta http-equiv="refresh" content="{self._again_s:g}">'.encode()
        data = data.replace(_CHARSET, _CHARSET + b"\n" + again, 1)
        headers = {"Content-Type": _HTML, "Content-Security-Policy": _NOT_EMBEDDED}
        self._say(HTTPStatus.OK, data, headers, with_body)

    def _say(
        self, status: HTTPStatus, data: bytes, headers: Mapping[str, str], with_body: bool = True
    ) -> None:
        self.send_response(status)
        plain = {"Content-Type": "text/plain; charset=utf-8", "Content-Security-Policy": _STRICT}
        for name, value in {**_HEADERS, **plain, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if with_body:
            self.wfile.write(data)


def _named_file(folder: Path, target: str) -> Path | None:
    """The file that the target of a request names; ``None`` if the report has none of that name.

    Only names in the report's own list are served, and only if no part of the way is a link, so
    that no spelling leads out of the folder and nothing else in it is shown.

    Args:
        folder: The report's.
        target: As in the request line: path and query, percent-encoded.
    """
    name = unquote(urlsplit(target).path).removeprefix("/") or PAGE
    written = read_manifest(folder)
    if written is None or name not in written.files:
        return None
    try:
        found = (folder / name).resolve(strict=True)
    except OSError:
        return None
    is_plain = found == folder.resolve() / name and found.is_file()
    return found if is_plain else None


@dataclass(frozen=True, slots=True)
class Kept:
    """A report that is kept up to date.

    Attributes:
        results, study, out, formats: As for ``publish``.
        period_s: Between two looks at the study.
    """

    results: Path
    study: str
    out: Path
    formats: Sequence[str]
    period_s: float

    def sign(self) -> Sign:
        """Changes when a run begins or ends, or the plan is written anew; cheap to make."""
        runs = study_runs(self.results, self.study)
        plans = sorted((self.results / self.study).glob(PLANS))
        paths = [*plans, *(run.record_path if run.is_finished else run.path for run in runs)]
        return tuple(_look(path) for path in paths)

    def refresh(self, tell: Callable[[str], None]) -> None:
        """Make it if something changed; what is in the way is told and tried again later."""
        try:
            made = refresh(self.results, self.study, self.out, self.formats)
        except WbcbenchError as error:
            tell(str(error))
        else:
            if made.built:
                tell(f"{made.files[0]} made anew")


def keep_up_to_date(
    kept: Kept, server: Server, tell: Callable[[str], None], stop: threading.Event
) -> None:
    """Serve and refresh until ``stop`` is set or Ctrl-C; the socket is closed on the way out."""
    answering = threading.Thread(target=server.serve_forever, name="report", daemon=True)
    answering.start()
    last: Sign | None = None
    try:
        while not stop.is_set():
            now = kept.sign()
            if now != last:
                kept.refresh(tell)
                last = now
            stop.wait(kept.period_s)
    finally:
        server.shutdown()
        server.server_close()


def _look(path: Path) -> tuple[str, int, int]:
    """Name, time and size; a folder's time changes with every trace file, so it counts by name."""
    try:
        seen = path.stat()
    except OSError:
        return str(path), 0, 0
    return (str(path), 0, 0) if path.is_dir() else (str(path), seen.st_mtime_ns, seen.st_size)
