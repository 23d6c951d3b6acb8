"""Reads .tar.gz and .zip archives member by member, in order, and trusts none of their names.

An archive comes from outside: a member must be a plain file below the folder it is unpacked into.
The whole archive is read, so its own check sums (gzip's CRC-32, one per zip member) are verified
even where a member is not used.
"""

import gzip
import logging
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from stclip.errors import DataError

logger = logging.getLogger(__name__)

_CHUNK = 1 << 16
_PROGRESS_S = 10.0
# What a damaged archive raises: EOFError (gzip cut off), RuntimeError (zip with a password),
# NotImplementedError (unknown compression), ValueError (a header that makes no sense).
_DAMAGE = (
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


def iterate_members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every file in a .tar.gz or .zip, in archive order.

    Folders are skipped. Logs how far it is about every 10 s.

    Raises:
        DataError: the archive is missing, of another kind, cut off or damaged, or a member is
            absolute, leaves the folder by `..`, or is a link or device.
    """
    reader = next((r for suffix, r in _READERS.items() if archive.name.endswith(suffix)), None)
    if reader is None:
        raise DataError(f"{archive}: cannot read this kind of archive; known are {list(_READERS)}.")
    if not archive.is_file():
        raise DataError(f"{archive}: no such file; run the download stage first.")
    size = archive.stat().st_size
    count, last, reported = 0, "", time.monotonic()
    with archive.open("rb") as file:
        try:
            for name, kind, content in reader(file):
                _check_member(archive, name, kind)
                count, last = count + 1, name
                yield name, content
                if time.monotonic() - reported > _PROGRESS_S:
                    reported = time.monotonic()
                    percent = 100 * file.tell() / size
                    logger.info("%s: %.0f%% read, %d files", archive.name, percent, count)
        except DataError:  # ours; a ValueError like some of the damage below
            raise
        except _DAMAGE as error:
            where = f"after {count} files (the last is {last!r})" if count else "at its start"
            raise DataError(
                f"{archive}: damaged or cut off {where}, at byte {file.tell()} of {size} "
                f"({type(error).__name__}: {error}). Delete it and download it again."
            ) from None


def _check_member(archive: Path, name: str, kind: str) -> None:
    path = PureWindowsPath(name)  # splits at / and \, knows drive letters: the strictest reading
    if kind or path.anchor or ".." in path.parts:
        why = f"is {kind}" if kind else "points outside the folder it is unpacked into"
        raise DataError(
            f"{archive}: member {name!r} {why}; nothing of it is trusted. "
            "Check where the archive comes from and download it again."
        )


def _tar_members(file: BinaryIO) -> Iterator[tuple[str, str, bytes]]:
    """Yield (name, what it is if not a plain file, content)."""
    with (
        gzip.GzipFile(fileobj=file) as unzipped,
        tarfile.open(fileobj=unzipped, mode="r|", bufsize=_CHUNK) as tar,
    ):
        for member in tar:
            if member.isdir():
                continue
            content = tar.extractfile(member) if member.isreg() else None
            yield (
                member.name,
                "" if content else "a link or device",
                content.read() if content else b"",
            )
        while unzipped.read(_CHUNK):  # tar stops before gzip's own check sum; read on to it
            pass


def _zip_members(file: BinaryIO) -> Iterator[tuple[str, str, bytes]]:
    """Yield (name, what it is if not a plain file, content)."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            # The upper half is the Unix mode; archives made elsewhere have none.
            plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            yield (
                info.filename,
                "" if plain else "a link or device",
                archive.read(info) if plain else b"",
            )


_READERS: dict[str, Callable[[BinaryIO], Iterator[tuple[str, str, bytes]]]] = {
    ".tar.gz": _tar_members,
    ".zip": _zip_members,
}
