"""A local server that misbehaves on purpose, and what it serves."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stclip.config import Download
from stclip.download.download import download

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at every path; `script` says how the n-th request goes wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.script: list[dict[str, Any]] = []  # status, drop_after, headers of a request
        self.ranges = True
        self.validators = {"ETag": '"v1"'}
        self.content = CONTENT
        self.requests: list[dict[str, str]] = []  # headers of every request
        self.num_sent = 0  # bytes of content


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        step = (
            server.script[len(server.requests)] if len(server.requests) < len(server.script) else {}
        )
        server.requests.append(dict(self.headers))
        status, headers, body = 200, dict(server.validators), server.content
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if wanted and server.ranges and condition in (None, *server.validators.values()):
            start, total = int(wanted.removeprefix("bytes=").removesuffix("-")), len(body)
            status, body = 206, body[start:]
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
            if start >= total:
                status, headers["Content-Range"] = 416, f"bytes */{total}"
        if "status" in step:
            status, body = step["status"], b""
        self.send_response(status)
        for key, value in (headers | step.get("headers", {})).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[: step.get("drop_after", len(body))]
        server.num_sent += len(sent)  # before the client has it, and may look
        self.wfile.write(sent)
        if len(sent) < len(body):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)  # what was sent still arrives


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(server: Server, out: Path, *, sha256: str = SHA256, retries: int = 3) -> None:
    source = Download(url=f"{server.url}/archive.bin", sha256=sha256)
    download(source, out, retries=retries, backoff_s=0.01, timeout_s=5)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())
