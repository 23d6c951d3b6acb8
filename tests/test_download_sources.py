"""Where a file comes from and how it is known: local files, listings, several addresses, people."""

import hashlib
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from download_server import CONTENT, MD5, SHA256, Server, fetch, names

from stclip.config import Download, checked
from stclip.download.download import download
from stclip.errors import ConfigError, DataError


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
