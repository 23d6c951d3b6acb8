"""Brings one file from the first address that has it, and believes nothing but its checksum.

While it comes in, the file is called `{out}.part`. Only one with the right checksum gets its final
name.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import requests

from stclip.config import Download
from stclip.download.fetcher import CHUNK, Fetcher, hash_file, hasher, memo_of
from stclip.errors import DataError
from stclip.progress import Progress
from stclip.storage.files import raise_disk_full
from stclip.storage.listings import parse_listing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Checksum:
    algorithm: str
    hexdigest: str  # or how it begins, where the publisher says no more; "" where he says nothing

    def fits(self, found: str) -> bool:
        """Whether a file of this hex digest is the one meant."""
        return found.startswith(self.hexdigest)


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
    in the next one; where the server cannot resume, or has a new version, it starts anew. Of
    several addresses the next is asked where one has not the file, or not the right one.

    Args:
        source: Addresses (http, https, `file:PATH`, relative to the working folder, or
            `manual:PAGE` for what a person has to put there) and checksum.
        out: File to write.
        retries: Tries in a row without a new byte, after the first, before giving up an address.
        backoff_s: Seconds before the first retry; doubled each time. A server's Retry-After wins.
        timeout_s: Longest silence of the server, in seconds.

    Raises:
        DataError: the file does not exist, the server gives up, its certificate is not valid, the
            checksum differs, the disk is full. Of several addresses all are named.
    """
    by_hand = all(_scheme(url) == "manual" for url in source.urls)
    if by_hand and not out.exists():
        raise DataError(_ask_for(out, *source.urls))
    if by_hand and not source.checksum_given:
        logger.warning("%s: taken as it is, its publisher gives no checksum", out)
        return
    with requests.Session() as session:
        fetcher = Fetcher(session, retries=retries, backoff_s=backoff_s, timeout_s=timeout_s)
        expected = _expected(source, fetcher)
        if out.exists() and not source.checksum_given:
            logger.info("%s: kept, its publisher gives no checksum", out)
            return
        if out.exists():
            if expected.fits(hash_file(out, expected.algorithm).hexdigest()):
                logger.info("%s: kept, its %s is right", out, expected.algorithm)
                return
            if by_hand:
                raise DataError(
                    f"{out}: its {expected.algorithm} is not {expected.hexdigest}; get it again "
                    f"from {_pages(*source.urls)}."
                )
            logger.warning("%s: its %s is wrong; fetching it again", out, expected.algorithm)
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_name(out.name + ".part")
        with raise_disk_full(part, kept="what came so far is kept"):
            _from_any(source.urls, out, part, expected, fetcher)


def _from_any(
    urls: Sequence[str], out: Path, part: Path, expected: _Checksum, fetcher: Fetcher
) -> None:
    """The first address that has the right file.

    Raises:
        DataError: none has.
    """
    problems = []
    for number, url in enumerate(urls, start=1):
        try:
            _from_one(url, out, part, expected, fetcher)
        except DataError as error:
            if len(urls) == 1:
                raise
            problems.append(str(error))
            if number < len(urls):
                logger.warning("%s Trying the next of %d addresses.", error, len(urls))
        else:
            return
    listed = "".join(f"\n  {number}. {text}" for number, text in enumerate(problems, start=1))
    raise DataError(f"{out}: none of {len(urls)} addresses has it:{listed}")


def _from_one(url: str, out: Path, part: Path, expected: _Checksum, fetcher: Fetcher) -> None:
    start = time.monotonic()
    if _scheme(url) == "manual":
        raise DataError(_ask_for(out, url))
    if _scheme(url) == "file":
        found = _copy(local_path(url), part, expected.algorithm)
    else:
        found = fetcher.fetch(url, part, expected.algorithm)
    size = part.stat().st_size
    memo_of(part).unlink(missing_ok=True)
    if not expected.fits(found):
        part.unlink()
        raise DataError(
            f"{url}: {expected.algorithm} of {out.name} is {found}, expected "
            f"{expected.hexdigest}; {size} bytes were read and {part} was removed. Run it again; "
            "if the result stays the same, the file at that address has changed: find out why "
            "before changing the checksum in the configuration."
        )
    part.replace(out)
    logger.info(
        "%s: %d bytes from %s in %.1f s, %s",
        *(out, size, url, time.monotonic() - start),
        f"{expected.algorithm} is right" if expected.hexdigest else "no checksum is published",
    )


def _ask_for(out: Path, *urls: str) -> str:
    return (
        f"{out}: no such file, and no script can fetch it. Get it by hand from {_pages(*urls)}, "
        "put it there and run this again."
    )


def _pages(*urls: str) -> str:
    return " or ".join(url.removeprefix("manual:") for url in urls)


def _scheme(url: str) -> str:
    return url.partition(":")[0]


def _expected(source: Download, fetcher: Fetcher) -> _Checksum:
    """The checksum given in the source, or looked up in the listing it names."""
    listing = source.listing
    if listing is None:
        algorithm = "md5" if source.md5 else "sha256"
        hexdigest = (source.sha256 or source.sha256_prefix or source.md5 or "").lower()
        return _Checksum(algorithm, hexdigest)
    names = [unquote(PurePosixPath(urlsplit(url).path).name) for url in source.urls]
    if listing.startswith("file:"):
        path = local_path(listing)
        if not path.is_file():
            raise DataError(f"{path}: no such file; it should list the checksum of {names[0]}.")
        listed = parse_listing(path.read_text("utf-8"))
    else:
        listed = parse_listing(fetcher.text(listing))
    name = next((name for name in names if name in listed), None)
    if name is None:
        raise DataError(
            f"{listing}: no checksum of {' or '.join(dict.fromkeys(names))}; it lists "
            f"{sorted(listed)}."
        )
    return _Checksum("sha256" if len(listed[name]) == 64 else "md5", listed[name])


def local_path(url: str) -> Path:
    """The file that a `file:` address names."""
    return Path(url.removeprefix("file:").removeprefix("//"))


def _copy(path: Path, part: Path, algorithm: str) -> str:
    if not path.is_file():
        raise DataError(f"{path}: no such file; run the stage that makes it.")
    digest = hasher(algorithm)
    progress = Progress(path.name, total=path.stat().st_size, unit="bytes")
    with path.open("rb") as file, part.open("wb") as copy:
        while chunk := file.read(CHUNK):
            copy.write(chunk)
            digest.update(chunk)
            progress.advance(len(chunk))
    return digest.hexdigest()
