"""A stand-in for W&B's server on this machine, as much of it as runs, `sync` and views ask for."""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Server:
    url: str
    requests: list[tuple[str, str]] = field(default_factory=list)  # path or query, body
    history: dict[str, dict[int, dict[str, Any]]] = field(
        default_factory=dict
    )  # run -> line -> row
    uploads: dict[str, bytes] = field(default_factory=dict)  # run/file
    views: list[dict[str, Any]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)  # what it takes no more: history, files
    refuses: bool = False  # knows no such key

    def count(self, query: str) -> int:
        return sum(name == query for name, _ in self.requests)

    def rows(self, run: str) -> list[dict[str, Any]]:
        """A run's history as lines of log.jsonl."""
        lines = sorted(self.history[run].items())
        return [{k: v for k, v in row.items() if not k.startswith("_")} for _, row in lines]

    def answer(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        if name == "UpsertBucket":
            project = {"id": "UA==", "name": given["project"], "entity": {"name": "team"}}
            bucket = {"id": "Qg==", "name": given["name"], "project": project}
            bucket |= {"displayName": given["displayName"], "historyLineCount": 0}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if name == "RunResumeStatus":
            lines = self.history.get(given["name"])
            if not lines:
                return {"model": {"bucket": None}}
            last = lines[max(lines)]
            bucket = {
                "id": "Qg==", "name": given["name"], "historyLineCount": len(lines),
                "eventsLineCount": 0, "logLineCount": 0, "summaryMetrics": "{}", "config": "{}",
                "historyTail": json.dumps([json.dumps(last)]), "eventsTail": "[]",
                "tags": [], "wandbConfig": '{"t": {}}',  # a run that began
            }  # fmt: skip
            return {"model": {"bucket": bucket}}
        if name == "CreateRunFiles":
            at = f"{self.url}/up/{given['run']}"
            files = [{"name": f, "uploadUrl": f"{at}/{f}"} for f in given["files"]]
            return {"createRunFiles": {"runID": "Qg==", "uploadHeaders": [], "files": files}}
        if name == "CreateArtifact":
            sequence = {"id": "Uw==", "latestArtifact": None}
            artifact = {"id": "QQ==", "state": "COMMITTED", "artifactSequence": sequence}
            return {"createArtifact": {"artifact": artifact}}
        if name == "Viewer":
            user = {"id": "VQ==", "entity": "team", "username": "someone", "flags": "{}"}
            return {"viewer": user | {"teams": {"edges": []}}}
        if name == "UpsertView2":
            self.views.append(given)
            return {"upsertView": {"view": {"id": "Vg==", "name": given["name"]}, "inserted": True}}
        return {}

    def take(self, run: str, files: dict[str, Any]) -> None:
        """Lines of a run, written over what stands at their place."""
        part = files.get("wandb-history.jsonl", {"offset": 0, "content": []})
        lines = self.history.setdefault(run, {})
        for number, line in enumerate(part["content"], part["offset"]):
            lines[number] = json.loads(line)


@contextmanager
def serve() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status, answer = 200, {}
            if self.path == "/graphql":
                asked = json.loads(body)
                found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
                name = found[1] if found else ""
                server.requests.append((name, json.dumps(asked.get("variables"))))
                answer = {"data": server.answer(name, asked.get("variables") or {})}
                status = 401 if server.refuses else 200
            else:
                server.requests.append((self.path, body.decode(errors="replace")))
                if self.path.endswith("/file_stream"):
                    if "history" in server.broken:
                        status = 500
                    else:
                        files = json.loads(body).get("files") or {}
                        server.take(self.path.split("/")[-2], files)
                elif self.path.startswith("/up/"):
                    status = 500 if "files" in server.broken else 200
                    server.uploads[self.path.removeprefix("/up/")] = body
            reply = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply)

        do_GET = do_HEAD = do_POST = do_PUT = handle_any

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        http.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hung up
        server = Server(f"http://127.0.0.1:{http.server_address[1]}")
        threading.Thread(target=http.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            http.shutdown()
