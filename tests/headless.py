"""Opens pages in a browser that can reach this machine alone."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SIZE = (1280, 6000)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


def browse(address: Path | str, scratch: Path, *options: str) -> str:
    """Open a page, a file or its address; the browser's standard output."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("chromium opens the page in this test; `make debian` installs it.")
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--hide-scrollbars",
        f"--user-data-dir={scratch / 'profile'}", f"--window-size={SIZE[0]},{SIZE[1]}",
    ]  # fmt: skip
    url = address.as_uri() if isinstance(address, Path) else address
    done = subprocess.run([*command, *options, url], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def requests(page: Path, scratch: Path) -> list[str]:
    """What a page asks for; the browser's own requests are of no origin."""
    scratch.mkdir()
    log = scratch / "net.json"
    browse(page, scratch, f"--log-net-log={log}", f"--screenshot={scratch / 'shot.png'}")
    events = [event.get("params", {}) for event in json.loads(log.read_text("utf-8"))["events"]]
    return [e["url"] for e in events if e.get("initiator", "not an origin") != "not an origin"]
