"""A stand-in for Kaggle on this machine: it speaks what kagglehub needs to download a data set.

kagglehub offers no option to name another server. It does honour the proxy settings of the
environment, so the stand-in is an HTTP proxy that answers for "localhost", which is where kagglehub
looks when ``KAGGLE_API_ENVIRONMENT`` is ``LOCALHOST``. A download is a POST that is redirected to a
storage address, and the storage answers GET with or without a range.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STORAGE = "http://localhost/storage/archive.zip"


@dataclass
class KaggleServer:
    """What to serve, and what was asked for.

    Attributes:
        archive: The bytes of the archive.
        break_after: Stop in the middle of the next transfers after so many bytes each.
        requests: One line for each request, e.g. ``"GET bytes=100-"``.
    """

    archive: bytes
    break_after: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    port: int = 0
    status: int = 200

    @property
    def environment(self) -> dict[str, str]:
        proxy = f"http://127.0.0.1:{self.port}"
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": proxy,
            "http_proxy": proxy,
            "NO_PROXY": "",
            "no_proxy": "",
        }


@contextmanager
def serving(kaggle: KaggleServer) -> Iterator[KaggleServer]:
    """Serve until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(kaggle))
    server.daemon_threads = True
    kaggle.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield kaggle
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(kaggle: KaggleServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            kaggle.requests.append(f"POST {self.path} {asked}")
            self.send_response(302 if kaggle.status == 200 else kaggle.status)
            self.send_header("Location", STORAGE)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            kaggle.requests.append(f"GET {wanted}".strip())
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            content = kaggle.archive[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", "application/zip")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            resuming_next = start == 0 and _has_partial(kaggle)
            if kaggle.break_after and not resuming_next:
                content = content[: kaggle.break_after.pop(0)]
            with suppress(ConnectionError):  # kagglehub hangs up when it has seen the size
                self.wfile.write(content)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    return Handler


def _has_partial(kaggle: KaggleServer) -> bool:
    """Return whether this plain GET only asks for the size: kagglehub then asks for the rest."""
    return sum(line.startswith("GET") for line in kaggle.requests) > 1
