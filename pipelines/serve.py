"""The page on this machine: a server for its own browser, and for nobody else."""

from __future__ import annotations

import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from dataset_tools.errors import UsageError
from pipelines.site import Site

HOST = "127.0.0.1"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".txt": "text/plain",
         ".json": "application/json", ".svg": "image/svg+xml", ".wasm": "application/wasm"}  # fmt: skip
# Nothing from elsewhere, nothing to elsewhere; and what WebAssembly wants before it may use several threads.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; media-src 'self' blob:; worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Server(ThreadingHTTPServer):
    """Serves `site` on the loopback address alone. Port 0: any that is free; `port` says which.

    Raises:
        UsageError: the port is taken, or not for everybody.
    """

    daemon_threads = True

    def __init__(self, site: Site, port: int = 0):
        self.site = site
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"--port {port} cannot be had ({reason}): take another, or leave it away for any that is free"
            ) from error
        self.port: int = self.server_address[1]
        self.url = f"http://{HOST}:{self.port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of a file is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "photomend", ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        # Another site's name may have been made to lead here: its page must not be able to read this one's.
        if self.headers.get("Host") not in (f"{HOST}:{self.server.port}", f"localhost:{self.server.port}"):
            self._send(HTTPStatus.FORBIDDEN, b"this page is for this machine alone\n", ".txt", with_body)
            return
        name = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        try:
            body = self.server.site.read(name)
        except OSError:  # a file that has gone since the page was opened
            body = None
        if body is None:
            self._send(HTTPStatus.NOT_FOUND, b"there is no such file\n", ".txt", with_body)
            return
        self._send(HTTPStatus.OK, body, PurePosixPath(name).suffix, with_body)

    def _send(self, status: HTTPStatus, body: bytes, suffix: str, with_body: bool) -> None:
        self.send_response(status)
        kind = TYPES.get(suffix, "application/octet-stream")
        kind += "; charset=utf-8" if kind.startswith("text/") else ""
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: what a person looks at is nobody's business."""
