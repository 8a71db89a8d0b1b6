"""A web server on this machine that stands in for the hub and for other hosts of weights."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISION = "5" * 40


@dataclass
class Web:
    """Files by path, as served, and the requests that were made."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request."""

    def add_to_hub(self, repository: str, name: str, content: bytes) -> None:
        """Add a file to a repository, under its main branch and under the commit of that branch."""
        for revision in ("main", REVISION):
            self.files[f"/{repository}/resolve/{revision}/{name}"] = content


@contextmanager
def serve() -> Iterator[Web]:
    """Serve until the context is left."""
    web = Web("")

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.wfile.write(self.answer())

        def answer(self) -> bytes:
            web.asked.append((self.command, self.path))
            content = web.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("X-Repo-Commit", REVISION)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            content = content or b""
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return content

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))  # seconds until it notices its end
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
