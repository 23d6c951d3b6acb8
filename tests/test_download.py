"""Downloads against a local server that misbehaves on purpose."""

import errno
import hashlib
import io
import logging
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stclip import progress
from stclip.config import Download, checked
from stclip.download import download as download_module
from stclip.download.download import download
from stclip.errors import ConfigError, DataError

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


def test_a_plain_download_leaves_only_the_file(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path / "raw" / "out.bin")
    assert (tmp_path / "raw" / "out.bin").read_bytes() == CONTENT
    assert names(tmp_path / "raw") == ["out.bin"]


def test_a_dropped_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.script = [{"drop_after": 200_000}]
    fetch(server, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == CONTENT
    assert len(server.requests) == 2
    # The first request may lose what was still in the socket, never more than it was sent.
    start = int(server.requests[1]["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 200_000
    assert server.requests[1]["If-Range"] == '"v1"'
    assert server.num_sent == 200_000 + len(CONTENT) - start < 2 * len(CONTENT)


def test_the_next_call_resumes_what_the_last_one_left(server: Server, tmp_path: Path) -> None:
    server.script = [{"drop_after": 100_000}, {"drop_after": 100_000}]
    with pytest.raises(DataError, match=r"gave up after 1 tries.*kept in .*out\.bin\.part"):
        fetch(server, tmp_path / "out.bin", retries=0)
    assert (tmp_path / "out.bin.part").stat().st_size > 0
    assert not (tmp_path / "out.bin").exists()
    fetch(server, tmp_path / "out.bin")  # dropped once more, but it moved: goes on
    assert (tmp_path / "out.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["out.bin"]
    assert "Range" in server.requests[1]


def test_a_part_of_an_older_version_is_not_continued(server: Server, tmp_path: Path) -> None:
    server.content, server.validators = bytes(300_000), {"ETag": '"v0"'}
    server.script = [{"drop_after": 100_000}]
    with pytest.raises(DataError):
        fetch(server, tmp_path / "out.bin", retries=0)
    server.content, server.validators = CONTENT, {"ETag": '"v1"'}
    fetch(server, tmp_path / "out.bin")
    # asked with the old version's tag, so the server answered 200 and it started anew
    assert server.requests[1]["If-Range"] == '"v0"'
    assert (tmp_path / "out.bin").read_bytes() == CONTENT


def test_a_weak_etag_is_not_used(server: Server, tmp_path: Path) -> None:
    server.validators = {"ETag": 'W/"v1"', "Last-Modified": "Thu, 01 Jan 2015 00:00:00 GMT"}
    server.script = [{"drop_after": 100_000}]
    fetch(server, tmp_path / "out.bin")
    assert server.requests[1]["If-Range"] == "Thu, 01 Jan 2015 00:00:00 GMT"


def test_a_part_of_another_address_is_not_continued(server: Server, tmp_path: Path) -> None:
    server.script = [{"drop_after": 100_000}]
    with pytest.raises(DataError):
        fetch(server, tmp_path / "out.bin", retries=0)
    source = Download(url=f"{server.url}/moved.bin", sha256=SHA256)
    download(source, tmp_path / "out.bin", backoff_s=0.01)
    assert "Range" not in server.requests[1]


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.script = [{"drop_after": 200_000}]
    fetch(server, tmp_path / "out.bin")
    assert "Range" in server.requests[1]
    assert (tmp_path / "out.bin").read_bytes() == CONTENT


def test_a_whole_part_only_needs_its_name(server: Server, tmp_path: Path) -> None:
    (tmp_path / "out.bin.part").write_bytes(CONTENT)
    fetch(server, tmp_path / "out.bin")  # the server answers 416 with the right size
    assert (tmp_path / "out.bin").read_bytes() == CONTENT
    assert server.num_sent == 0


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "out.bin.part").write_bytes(CONTENT + b"more")
    fetch(server, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again_after_the_time_it_names(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(download_module.time, "sleep", waits.append)
    server.script = [
        {"status": 503},
        {"status": 429, "headers": {"Retry-After": "7"}},
        {"status": 503, "headers": {"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}},
    ]
    fetch(server, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == CONTENT
    # 0.01 s doubled each time; 7 s where the server says so; a date gone by adds nothing
    assert waits == [0.01, 7.0, 0.04]


def test_a_server_that_stays_busy_is_given_up(server: Server, tmp_path: Path) -> None:
    server.script = [{"status": 503}] * 9
    with pytest.raises(DataError, match=r"gave up after 3 tries.*503 Service Unavailable"):
        fetch(server, tmp_path / "out.bin", retries=2)
    assert len(server.requests) == 3


def test_no_server_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/archive.bin"
        with pytest.raises(DataError, match=r"gave up after 2 tries.*ConnectionError"):
            download(Download(url=url, md5=MD5), tmp_path / "out.bin", retries=1, backoff_s=0.01)


def test_a_silent_server_times_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/archive.bin"
        with pytest.raises(DataError, match=r"gave up after 1 tries.*Timeout"):
            download(Download(url=url, md5=MD5), tmp_path / "out.bin", retries=0, timeout_s=0.2)


def test_a_missing_file_is_not_retried(server: Server, tmp_path: Path) -> None:
    server.script = [{"status": 404}]
    with pytest.raises(
        DataError, match=r"archive\.bin: the server answered 404 Not Found.*by hand"
    ):
        fetch(server, tmp_path / "out.bin")
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_a_wrong_checksum_keeps_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path / "out.bin", sha256="0" * 64)
    message = str(caught.value)
    assert all(part in message for part in ("out.bin", SHA256, "0" * 64, "300000 bytes", "removed"))
    assert names(tmp_path) == []


def test_a_right_file_is_kept_without_network(tmp_path: Path) -> None:
    (tmp_path / "out.bin").write_bytes(CONTENT)
    download(Download(url="http://127.0.0.1:1/archive.bin", md5=MD5.upper()), tmp_path / "out.bin")
    assert names(tmp_path) == ["out.bin"]


def test_the_beginning_of_a_checksum_may_be_all_there_is(server: Server, tmp_path: Path) -> None:
    url = f"{server.url}/archive.bin"
    with pytest.raises(DataError, match="expected 00000000; 300000 bytes"):
        download(Download(url=url, sha256_prefix="0" * 8), tmp_path / "out.bin")
    for _ in range(2):  # fetched, then kept
        download(Download(url=url, sha256_prefix=SHA256[:8]), tmp_path / "out.bin")
    assert len(server.requests) == 2


def test_a_damaged_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "out.bin").write_bytes(CONTENT[:-1])
    fetch(server, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == CONTENT


def test_a_full_disk_keeps_the_part(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = Path.open

    class FullDisk(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def open_full(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        full = self.name.endswith(".part") and mode == "ab"
        return FullDisk() if full else real_open(self, mode, *args, **kwargs)

    (tmp_path / "out.bin.part").write_bytes(CONTENT[:1000])
    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(DataError, match=r"No space left.*MB free.*what came so far is kept"):
        fetch(server, tmp_path / "out.bin")
    monkeypatch.undo()
    assert (tmp_path / "out.bin.part").stat().st_size == 1000
    fetch(server, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == CONTENT


def test_progress_is_logged(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    with caplog.at_level(logging.INFO):
        fetch(server, tmp_path / "out.bin")
    assert re.search(r"out\.bin [\d.]+/[\d.]+ MB \(100%\), [\d.]+ MB/s, 0 s left", caplog.text)
    assert "sha256 is right" in caplog.text


def test_a_local_file_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "archive.bin").write_bytes(CONTENT)
    for i, url in enumerate(
        [
            "file:made/archive.bin",
            f"file:{tmp_path}/made/archive.bin",
            f"file://{tmp_path}/made/archive.bin",
        ]
    ):
        download(Download(url=url, sha256=SHA256), tmp_path / "raw" / f"{i}.bin")
        assert (tmp_path / "raw" / f"{i}.bin").read_bytes() == CONTENT
    assert names(tmp_path / "raw") == ["0.bin", "1.bin", "2.bin"]


def test_a_missing_local_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.zip: no such file; run the stage that makes it"):
        download(Download(url=f"file:{tmp_path}/absent.zip", md5=MD5), tmp_path / "out.zip")


@pytest.mark.parametrize("line", [f"{SHA256}  archive.bin", f"{MD5} *./archive.bin"])
def test_the_checksum_may_stand_in_a_listing(line: str, tmp_path: Path) -> None:
    (tmp_path / "archive.bin").write_bytes(CONTENT)
    (tmp_path / "SUMS").write_text(f"# made today\n{'0' * 64}  other.bin\n{line}\n")
    source = Download(url=f"file:{tmp_path}/archive.bin", checksums=f"file:{tmp_path}/SUMS")
    download(source, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == CONTENT


def test_a_listing_may_come_over_http(server: Server, tmp_path: Path) -> None:
    (tmp_path / "archive.bin").write_bytes(CONTENT)
    server.content = f"{SHA256}  archive.bin\n".encode()
    server.script = [{"status": 503}, {"drop_after": 10}]
    source = Download(url=f"file:{tmp_path}/archive.bin", checksums=f"{server.url}/SUMS")
    download(source, tmp_path / "out.bin", backoff_s=0.01)
    assert len(server.requests) == 3


def test_a_listing_without_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "SUMS").write_text(f"{SHA256}  other.bin\n")
    source = Download(url=f"file:{tmp_path}/archive.bin", checksums=f"file:{tmp_path}/SUMS")
    with pytest.raises(DataError, match=r"no checksum of archive\.bin; it lists \['other\.bin'\]"):
        download(source, tmp_path / "out.bin")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"url": "ftp://example.org/a.zip", "md5": MD5}, "url: .*https.*found 'ftp:"),
        ({"url": "file:a.zip", "sha256": MD5}, "sha256: .*pattern.*found"),
        ({"url": "file:a.zip", "sha256_prefix": SHA256[:7]}, "sha256_prefix: .*pattern.*found"),
        ({"url": "file:a.zip", "md5": "z" * 32}, "md5: .*pattern.*found 'zzz"),
    ],
)
def test_a_wrong_setting_is_a_config_error(source: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=f"archives: {problem}"):
        checked(Download, source, "archives")


@pytest.mark.parametrize(
    ("urls", "problem"),
    [
        ([], "begins with https.*found ''"),
        (["https://a.org/a", "a.org/a"], "begins with https.*found 'a.org/a'"),
        (["https://a.org/a", "https://a.org/a"], "addresses.*https://a.org/a.*twice"),
    ],
)
def test_a_list_of_addresses_is_checked(urls: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=f"archives: url: .*{problem}"):
        checked(Download, {"url": urls, "md5": MD5}, "archives")


# --- several addresses --------------------------------------------------------------------------


def from_any(urls: list[str], out: Path, **how: Any) -> None:
    download(Download(url=urls, sha256=SHA256), out, backoff_s=0.01, **how)


def test_the_next_address_is_asked_where_one_has_not_the_file(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/a.bin"
        server.script = [{"status": 404}]
        urls = [dead, f"{server.url}/gone.bin", f"{server.url}/archive.bin"]
        from_any(urls, tmp_path / "out.bin", retries=0)
    assert (tmp_path / "out.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["out.bin"]
    assert re.search(r"a\.bin: gave up after 1 tries.*Trying the next of 3 addresses", caplog.text)
    assert re.search(r"gone\.bin: .*404.*Trying the next of 3 addresses", caplog.text)


def test_the_next_address_is_asked_where_one_has_another_file(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "other.bin").write_bytes(b"an error page")
    from_any(
        [f"file:{tmp_path}/other.bin", f"{server.url}/archive.bin"], tmp_path / "new" / "out.bin"
    )
    assert (tmp_path / "new" / "out.bin").read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["out.bin"]


def test_all_addresses_are_named_where_none_has_the_file(server: Server, tmp_path: Path) -> None:
    server.script = [{"status": 404}]
    (tmp_path / "other.bin").write_bytes(b"an error page")
    urls = [f"{server.url}/gone.bin", f"file:{tmp_path}/other.bin", "manual:https://a.org/page"]
    with pytest.raises(DataError) as caught:
        from_any(urls, tmp_path / "out.bin")
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("out.bin: none of 3 addresses has it:")
    for line, told in zip(
        lines[1:],
        (r"1\. .*gone\.bin: .*404", r"2\. .*other\.bin: sha256 of", r"3\. .* hand from https://a"),
        strict=True,
    ):
        assert re.match(f"  {told}", line)


def test_bytes_of_two_addresses_are_not_put_together(server: Server, tmp_path: Path) -> None:
    urls = [f"{server.url}/first.bin", f"{server.url}/second.bin"]
    server.script = [{"drop_after": 100_000}, {"status": 404}]
    with pytest.raises(DataError, match="none of 2 addresses"):
        from_any(urls, tmp_path / "out.bin", retries=0)
    part = tmp_path / "out.bin.part"
    assert 0 < part.stat().st_size <= 100_000  # the second had nothing: the first's are kept
    from_any(urls[::-1], tmp_path / "out.bin")
    assert "Range" not in server.requests[2]  # the second has it now, and begins anew
    assert (tmp_path / "out.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["out.bin"]


def test_what_an_address_began_goes_on_behind_one_that_is_dead(
    server: Server, tmp_path: Path
) -> None:
    urls = [f"{server.url}/dead.bin", f"{server.url}/archive.bin"]
    server.script = [{"status": 404}, {"drop_after": 100_000}, {"status": 404}]
    with pytest.raises(DataError, match="none of 2 addresses"):
        from_any(urls, tmp_path / "out.bin", retries=0)
    from_any(urls, tmp_path / "out.bin")
    assert "Range" in server.requests[3]
    assert (tmp_path / "out.bin").read_bytes() == CONTENT


def test_a_file_may_be_fetched_by_hand_where_its_addresses_are_dead(tmp_path: Path) -> None:
    (tmp_path / "out.bin").write_bytes(CONTENT)
    from_any(["http://127.0.0.1:1/a.bin", "manual:https://a.org/page"], tmp_path / "out.bin")
    assert names(tmp_path) == ["out.bin"]


def test_a_listing_may_name_the_file_as_any_address_does(tmp_path: Path) -> None:
    (tmp_path / "archive.bin").write_bytes(CONTENT)
    (tmp_path / "SUMS").write_text(f"{SHA256}  archive.bin\n")
    urls = [f"file:{tmp_path}/copy.bin", f"file:{tmp_path}/archive.bin"]
    download(Download(url=urls, checksums=f"file:{tmp_path}/SUMS"), tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == CONTENT


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes a certificate with openssl")
def test_a_certificate_nobody_vouches_for_is_refused_at_once(
    server: Server, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-subj", "/CN=localhost"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", key, "-out", certificate),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.url = server.url.replace("http:", "https:")
    with pytest.raises(DataError, match=r"certificate is not valid.*self.signed"):
        fetch(server, tmp_path / "new" / "out.bin")
    assert server.requests == []
    assert names(tmp_path / "new") == []


def test_a_file_that_only_a_person_can_fetch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, out = Download(url="manual:https://example.org/page"), tmp_path / "raw" / "a.tar.gz"
    with pytest.raises(
        DataError,
        match=r"a\.tar\.gz: no such file.*by hand from https://example\.org/page, put",
    ):
        download(source, out)
    out.parent.mkdir()
    out.write_bytes(b"content")
    download(source, out)
    assert "taken as it is" in caplog.text
    assert out.read_bytes() == b"content"


def test_a_hand_fetched_file_with_a_checksum_is_verified_and_never_removed(tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    out.write_bytes(b"content")
    right = hashlib.sha256(b"content").hexdigest()
    download(Download(url="manual:https://example.org", sha256=right), out)
    with pytest.raises(DataError, match=r"a\.json: its sha256 is not 0+; get it again from https"):
        download(Download(url="manual:https://example.org", sha256="0" * 64), out)
    assert out.read_bytes() == b"content"
