"""Fetches a file over http, with retries; goes on where it broke off.

While it comes in, `{out}.part.json` remembers which version of which address `{out}.part` belongs
to. Bytes of two addresses, or of two versions, are never put together.
"""

import hashlib
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import requests
import urllib3

from stclip.errors import DataError
from stclip.progress import Progress
from stclip.storage.files import read_json, write_json

logger = logging.getLogger(__name__)

T = TypeVar("T")

CHUNK = 1 << 16  # what a dropped connection loses at most
_LONGEST_WAIT_S = 300.0  # a Retry-After beyond this is not waited for any longer
_BUSY = {408, 425, 429}  # with 5xx the answers worth another try


class _TryAgainError(Exception):
    """A failure that may pass; `progressed` says that it brought new bytes before."""

    def __init__(self, reason: str, *, wait_s: float = 0.0, progressed: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.progressed = progressed


class Fetcher:
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
        except requests.exceptions.SSLError as error:
            if not _refuses_certificate(error):
                raise _TryAgainError(f"{type(error).__name__} ({error})") from None
            raise DataError(
                f"{url}: the server's certificate is not valid, so it may be another server "
                f"({innermost(error)}). Certificates are always checked. If the machine's date is "
                "right and no proxy stands between, fetch the file by other means and put it where "
                "this would: a right checksum is accepted."
            ) from None
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
                return hash_file(part, algorithm).hexdigest()  # it was whole, only not renamed
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
            before = _size_of(url, part)
            if not offset:  # before the memo: its bytes may be another address's
                part.unlink(missing_ok=True)
            _remember(url, part, response.headers)
            digest = hash_file(part, algorithm) if offset else hasher(algorithm)
            name = part.name.removesuffix(".part")
            progress = Progress(name, total=total, done=offset, unit="bytes")
            try:
                with _drops_are_passing(), part.open("ab" if offset else "wb") as file:
                    # raw: a server may call a .tar.gz "encoded"; its bytes are wanted all the same
                    for chunk in response.raw.stream(CHUNK, decode_content=False):
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


def memo_of(part: Path) -> Path:
    """Where it is remembered what a part belongs to."""
    return part.with_name(part.name + ".json")


def _remember(url: str, part: Path, headers: Any) -> None:
    """Keep what identifies the server's version, for If-Range; weak ETags are no use there."""
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    write_json(memo_of(part), {"url": url, "validator": validator})


def _size_of(url: str, part: Path) -> int:
    """How many bytes of this address there are; a part that nobody remembers may be of any."""
    if not part.exists():
        return 0
    memo = read_json(memo_of(part)) if memo_of(part).exists() else {"url": url}
    return part.stat().st_size if memo["url"] == url else 0


def _resume_headers(url: str, part: Path) -> tuple[int, dict[str, str]]:
    """Size of the part to go on from, and the headers that ask for the rest."""
    offset = _size_of(url, part)
    if not offset:
        return 0, {}
    memo = read_json(memo_of(part)) if memo_of(part).exists() else {"validator": None}
    condition = {"If-Range": memo["validator"]} if memo["validator"] else {}
    return offset, {"Range": f"bytes={offset}-"} | condition


def innermost(error: BaseException) -> BaseException:
    """What an error was first: requests wraps urllib3's, which wraps that of ssl."""
    inner = error.__context__ or next((a for a in error.args if isinstance(a, Exception)), None)
    inner = getattr(error, "reason", None) or inner
    return innermost(inner) if isinstance(inner, BaseException) else error


def _refuses_certificate(error: requests.exceptions.SSLError) -> bool:
    return isinstance(innermost(error), ssl.SSLCertVerificationError)


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


def hasher(algorithm: str) -> Any:
    """A new hash of hashlib's."""
    return hashlib.new(algorithm, usedforsecurity=False)


def hash_file(path: Path, algorithm: str) -> Any:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hasher(algorithm))
