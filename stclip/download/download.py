"""Fetches one file, resumes where it broke off, and believes nothing but its checksum.

While it comes in, the file is called `{out}.part`; `{out}.part.json` remembers which version of
which address it belongs to. Only a file with the right checksum gets its final name.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import requests
import urllib3

from stclip.config import Download
from stclip.errors import DataError
from stclip.progress import Progress
from stclip.storage.files import raise_disk_full, read_json, write_json
from stclip.storage.listings import parse_listing

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CHUNK = 1 << 16  # what a dropped connection loses at most
_LONGEST_WAIT_S = 300.0  # a Retry-After beyond this is not waited for any longer
_BUSY = {408, 425, 429}  # with 5xx the answers worth another try


@dataclass(frozen=True)
class _Checksum:
    algorithm: str
    hexdigest: str  # or how it begins, where the publisher says no more

    def fits(self, found: str) -> bool:
        """Whether a file of this hex digest is the one meant."""
        return found.startswith(self.hexdigest)


class _TryAgainError(Exception):
    """A failure that may pass; `progressed` says that it brought new bytes before."""

    def __init__(self, reason: str, *, wait_s: float = 0.0, progressed: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.progressed = progressed


def download(
    source: Download,
    out: Path,
    *,
    retries: int = 5,
    backoff_s: float = 1.0,
    timeout_s: float = 30.0,
) -> None:
    """Bring `source` to `out`, checksum verified.

    An `out` with the right checksum is kept, without any network unless the checksum itself is
    published at an http address. A broken transfer goes on from `{out}.part`, within this call and
    in the next one; where the server cannot resume, or has a new version, it starts anew.

    Args:
        source: Address (http, https, `file:PATH`, relative to the working folder, or `manual:PAGE`
            for what a person has to put there) and checksum.
        out: File to write.
        retries: Tries in a row without a new byte, after the first, before giving up.
        backoff_s: Seconds before the first retry; doubled each time. A server's Retry-After wins.
        timeout_s: Longest silence of the server, in seconds.

    Raises:
        DataError: the file does not exist, the server gives up, the checksum differs, the disk is
            full.
    """
    scheme = source.url.partition(":")[0]
    if scheme == "manual" and not out.exists():
        raise DataError(
            f"{out}: no such file, and no script can fetch it. Get it by hand from "
            f"{source.url.removeprefix('manual:')}, put it there and run this again."
        )
    if scheme == "manual" and source == Download(url=source.url):
        logger.warning("%s: taken as it is, its publisher gives no checksum", out)
        return
    with requests.Session() as session:
        fetcher = _Fetcher(session, retries=retries, backoff_s=backoff_s, timeout_s=timeout_s)
        expected = _expected(source, fetcher)
        if out.exists():
            if expected.fits(_hash_file(out, expected.algorithm).hexdigest()):
                logger.info("%s: kept, its %s is right", out, expected.algorithm)
                return
            if scheme == "manual":
                raise DataError(
                    f"{out}: its {expected.algorithm} is not {expected.hexdigest}; get it again "
                    f"from {source.url.removeprefix('manual:')}."
                )
            logger.warning("%s: its %s is wrong; fetching it again", out, expected.algorithm)
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_name(out.name + ".part")
        start = time.monotonic()
        with raise_disk_full(part, kept="what came so far is kept"):
            if scheme == "file":
                found = _copy(_local_path(source.url), part, expected.algorithm)
            else:
                found = fetcher.fetch(source.url, part, expected.algorithm)
    size = part.stat().st_size
    _memo(part).unlink(missing_ok=True)
    if not expected.fits(found):
        part.unlink()
        raise DataError(
            f"{source.url}: {expected.algorithm} of {out.name} is {found}, expected "
            f"{expected.hexdigest}; {size} bytes were read and {part} was removed. Run it again; "
            "if the result stays the same, the file at that address has changed: find out why "
            "before changing the checksum in the configuration."
        )
    part.replace(out)
    logger.info(
        "%s: %d bytes from %s in %.1f s, %s is right",
        *(out, size, source.url, time.monotonic() - start, expected.algorithm),
    )


def _expected(source: Download, fetcher: "_Fetcher") -> _Checksum:
    """The checksum given in the source, or looked up in the listing it names."""
    if source.checksums is None:
        algorithm = "md5" if source.md5 else "sha256"
        hexdigest = (source.sha256 or source.sha256_prefix or source.md5 or "").lower()
        return _Checksum(algorithm, hexdigest)
    name = unquote(PurePosixPath(urlsplit(source.url).path).name)
    if source.checksums.startswith("file:"):
        path = _local_path(source.checksums)
        if not path.is_file():
            raise DataError(f"{path}: no such file; it should list the checksum of {name}.")
        listing = path.read_text("utf-8")
    else:
        listing = fetcher.text(source.checksums)
    listed = parse_listing(listing)
    if name not in listed:
        raise DataError(f"{source.checksums}: no checksum of {name}; it lists {sorted(listed)}.")
    return _Checksum("sha256" if len(listed[name]) == 64 else "md5", listed[name])


class _Fetcher:
    """Http with retries."""

    def __init__(
        self, session: requests.Session, *, retries: int, backoff_s: float, timeout_s: float
    ) -> None:
        self.session = session
        self.retries = retries
        self.backoff_s = backoff_s
        self.timeout_s = timeout_s

    def text(self, url: str) -> str:
        """A small text file."""

        def attempt() -> str:
            with self._get(url, {}) as response, _drops_are_passing():
                return response.content.decode("utf-8", "replace")

        return self._retrying(url, attempt, "Check the network and run it again.")

    def fetch(self, url: str, part: Path, algorithm: str) -> str:
        """Bring `url` to `part`, going on where it ends; its hex digest."""
        kept = f"What came so far is kept in {part}: run it again to go on from there."
        return self._retrying(url, lambda: self._attempt(url, part, algorithm), kept)

    def _retrying(self, url: str, attempt: Callable[[], T], advice: str) -> T:
        failures = 0
        while True:
            try:
                return attempt()
            except _TryAgainError as error:
                failures = 1 if error.progressed else failures + 1
                if failures > self.retries:
                    raise DataError(
                        f"{url}: gave up after {failures} tries without progress; the last: "
                        f"{error}. {advice}"
                    ) from None
                wait_s = max(self.backoff_s * 2 ** (failures - 1), error.wait_s)
                logger.warning("%s: %s; trying again in %.1f s", url, error, wait_s)
                time.sleep(wait_s)

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        """The answer, of status 200, 206 or 416; bytes not yet read."""
        try:
            # identity: a checksum and a byte range are about the file, not about its compression
            response = self.session.get(
                url,
                headers={"Accept-Encoding": "identity"} | headers,
                stream=True,
                timeout=self.timeout_s,
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _TryAgainError(f"{type(error).__name__} ({error})") from None
        except requests.RequestException as error:
            raise DataError(f"{url}: {error}. Check the address in the configuration.") from None
        answer = f"the server answered {response.status_code} {response.reason}"
        if response.status_code in _BUSY or response.status_code >= 500:
            response.close()
            raise _TryAgainError(answer, wait_s=_retry_after_s(response.headers))
        if response.status_code not in (200, 206, 416):
            response.close()
            raise DataError(
                f"{url}: {answer}. Check the address in the configuration; if the file has moved, "
                "fetch it by hand and put it where this would: a right checksum is accepted."
            )
        return response

    def _attempt(self, url: str, part: Path, algorithm: str) -> str:
        offset, headers = _resume_headers(url, part)
        with self._get(url, headers) as response:
            content_range = response.headers.get("Content-Range", "")
            if response.status_code == 416 and content_range == f"bytes */{offset}":
                return _hash_file(part, algorithm).hexdigest()  # it was whole, only not renamed
            # bytes nobody asked for: another version of the file, or a confused server
            if response.status_code == 416 or (
                response.status_code == 206 and not content_range.startswith(f"bytes {offset}-")
            ):
                part.unlink(missing_ok=True)
                raise _TryAgainError(f"{part.name} does not fit the server's file; starting anew")
            if response.status_code == 200 and offset:
                logger.info("%s: the server sends it from the start again", url)
                offset = 0
            length = response.headers.get("Content-Length")
            total = offset + int(length) if length else None
            _remember(url, part, response.headers)
            digest = _hash_file(part, algorithm) if offset else _hasher(algorithm)
            before = part.stat().st_size if part.exists() else 0
            name = part.name.removesuffix(".part")
            progress = Progress(name, total=total, done=offset, unit="bytes")
            try:
                with _drops_are_passing(), part.open("ab" if offset else "wb") as file:
                    # raw: a server may call a .tar.gz "encoded"; its bytes are wanted all the same
                    for chunk in response.raw.stream(_CHUNK, decode_content=False):
                        file.write(chunk)
                        digest.update(chunk)
                        progress.advance(len(chunk))
            except _TryAgainError as error:
                error.progressed = progress.done > before
                raise
        if total is not None and progress.done != total:
            raise _TryAgainError(
                f"got {progress.done} of {total} bytes", progressed=progress.done > before
            )
        return digest.hexdigest()


def _memo(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _remember(url: str, part: Path, headers: Any) -> None:
    """Keep what identifies the server's version, for If-Range; weak ETags are no use there."""
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    write_json(_memo(part), {"url": url, "validator": validator})


def _resume_headers(url: str, part: Path) -> tuple[int, dict[str, str]]:
    """Size of the part to go on from, and the headers that ask for the rest."""
    if not part.exists() or not part.stat().st_size:
        return 0, {}
    memo = read_json(_memo(part)) if _memo(part).exists() else {"url": url, "validator": None}
    if memo["url"] != url:
        part.unlink()
        return 0, {}
    offset = part.stat().st_size
    condition = {"If-Range": memo["validator"]} if memo["validator"] else {}
    return offset, {"Range": f"bytes={offset}-"} | condition


def _retry_after_s(headers: Any) -> float:
    """Seconds the server asks to wait (a number or a date), 0 if it does not, 300 at most."""
    value = headers.get("Retry-After", "")
    try:
        wait_s = float(value)
    except ValueError:
        try:
            wait_s = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(max(wait_s, 0.0), _LONGEST_WAIT_S)


@contextmanager
def _drops_are_passing() -> Iterator[None]:
    """A connection that breaks while bytes come in is worth another try."""
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _TryAgainError(f"the connection broke ({type(error).__name__}: {error})") from None


def _local_path(url: str) -> Path:
    return Path(url.removeprefix("file:").removeprefix("//"))


def _copy(path: Path, part: Path, algorithm: str) -> str:
    if not path.is_file():
        raise DataError(f"{path}: no such file; run the stage that makes it.")
    digest = _hasher(algorithm)
    progress = Progress(path.name, total=path.stat().st_size, unit="bytes")
    with path.open("rb") as file, part.open("wb") as copy:
        while chunk := file.read(_CHUNK):
            copy.write(chunk)
            digest.update(chunk)
            progress.advance(len(chunk))
    return digest.hexdigest()


def _hasher(algorithm: str) -> Any:
    return hashlib.new(algorithm, usedforsecurity=False)


def _hash_file(path: Path, algorithm: str) -> Any:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: _hasher(algorithm))
