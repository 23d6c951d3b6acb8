"""A server that cuts connections."""

import random
import re
import shutil
import subprocess
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from small_project import edit, environment

from faults.project import Project, expect
from stclip.storage.files import digest

CUTS = 3  # answers of every archive that end too early
SOURCE = "data/mini/source/jhmdb"


class Server(ThreadingHTTPServer):
    """Serves a folder; while it is `dead` it sends headers and nothing else."""

    daemon_threads = True

    def __init__(self, folder: Path, rng: random.Random, *, dead: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.rng, self.dead = folder, rng, dead
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.cuts: Counter[str] = Counter()
        self.resumed = 0
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def names_itself_in(self, config: Path) -> None:
        """Have scale mini download from here."""

        def change(scale: dict[str, Any]) -> None:
            archives = scale["datasets"]["jhmdb"]["forms"]["official"]["archives"]
            for name in archives:
                sha256 = digest(self.folder / name)
                archives[name] = {"url": f"{self.url}/{name}", "sha256": sha256}

        edit(config / "scales" / "mini.yaml", change)


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        server, body = self.server, (self.server.folder / self.path.lstrip("/")).read_bytes()
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            server.resumed += 1
        self.send_header("ETag", '"v1"')
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start if server.dead else len(body)
        if server.cuts[self.path] < CUTS and not server.dead:
            server.cuts[self.path] += 1
            end = server.rng.randrange(start + 1, len(body))
        self.wfile.write(body[start:end])


def cut_download(project: Project, rng: random.Random) -> str:
    """Archives come from a server that cuts; go on until they are whole."""
    config, source = project.folder / "config", project.folder / SOURCE
    shutil.copytree(config, project.folder / "dead_config")
    shutil.copytree(config, project.folder / "config_before")
    with Server(source, rng) as server, Server(source, rng, dead=True) as dead:
        dead.names_itself_in(project.folder / "dead_config")
        gives_up = _download(project)  # half a minute of waiting, meanwhile:
        server.names_itself_in(config)
        project.forget("data/mini/jhmdb/raw", "results/*")
        project.finish()
        expect(server.resumed >= CUTS, "no download was resumed")
        _, told = gives_up.communicate()
        message = (
            rf"error: {dead.url}/splits\.zip: gave up after .*run it again to go on from there"
        )
        expect(gives_up.returncode == 1 and re.search(message, told), f"no clear error: {told}")
        dead.dead = False
        _, told = _download(project).communicate()
        whole = digest(project.folder / "splits.zip") == digest(source / "splits.zip")
        expect(whole, f"it does not go on: {told}")
    for path in (config, project.folder / "dead_config"):
        shutil.rmtree(path)
    (project.folder / "config_before").rename(config)
    (project.folder / "splits.zip").unlink()
    return (
        f"cut {server.cuts.total()} times, resumed {server.resumed} times: the same table. A "
        "server that sends nothing: an error that names its address and says to run it again, "
        "which works"
    )


def _download(project: Project) -> subprocess.Popen[str]:
    command = "stclip download --config dead_config --dataset jhmdb --scale mini"
    return subprocess.Popen(
        f"{command} --name splits.zip --out splits.zip".split(),
        cwd=project.folder, env=environment(project.folder) | {"NO_PROXY": "127.0.0.1"},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
