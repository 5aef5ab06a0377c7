"""A small server for one report: loopback alone, GET and HEAD, no listing, nothing outside."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.report.folder import named_file

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
        path = named_file(self._folder, self.path)
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
