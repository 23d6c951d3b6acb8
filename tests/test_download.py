"""Downloads over http against a local server that misbehaves on purpose."""

import errno
import io
import logging
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from download_server import CONTENT, MD5, SHA256, Server, fetch, names

from stclip import progress
from stclip.config import Download
from stclip.download import download as download_module
from stclip.download.download import download
from stclip.errors import DataError


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
