"""Reads .tar.gz and .zip archives, or a folder unpacked from one, file by file in order.

What comes from outside is not trusted: a member must be a plain file below the folder it is
unpacked into. The whole archive is read, so its own check sums (gzip's CRC-32, one per zip member)
are verified even where a member is not used. Never more than one file is in memory.
"""

import gzip
import logging
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from stclip.errors import DataError
from stclip.progress import Progress

logger = logging.getLogger(__name__)

Member = tuple[str, str, Callable[[], bytes]]  # name, what it is if not a plain file, its content

_CHUNK = 1 << 16
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


def locate(folder: Path, archive: str) -> Path:
    """An archive in a folder or, where there is none, the folder unpacked from it.

    `splits.zip` becomes `{folder}/splits` only if `{folder}/splits.zip` does not exist.
    """
    packed = folder / archive
    unpacked = folder / _stem(archive)
    return unpacked if unpacked.is_dir() and not packed.exists() else packed


def matching_members(
    source: Path, pattern: str
) -> Iterator[tuple[PurePosixPath, re.Match[str], bytes]]:
    """Yield (name, match, content) of the files whose whole name matches; log how many do not.

    The others are passed over without being held in memory.
    """
    expression, total = re.compile(pattern), 0

    def wanted(name: str) -> bool:
        nonlocal total
        total += 1
        return expression.fullmatch(name) is not None

    count = 0
    for name, content in iterate_members(source, wanted):
        match = expression.fullmatch(name)
        assert match
        count += 1
        yield PurePosixPath(name), match, content
    if total > count:
        logger.info("%s: %d files of other kinds ignored", source, total - count)


def iterate_members(
    source: Path, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the wanted files of a .tar.gz, a .zip or a folder.

    Archives come in their own order, folders sorted by name; a folder's names begin with its own,
    as in an archive that holds it. Folders are skipped. Logs how far it is.

    Raises:
        DataError: the archive is missing, of another kind, cut off or damaged, or a member is
            absolute, leaves the folder by `..` or as a link, or is a link (in an archive) or
            device.
    """
    if source.is_dir():
        seen = _Seen(Progress(source.name, total=None, unit="files"))
        yield from _checked_members(source, _folder_members(source), wanted, seen)
        return
    suffix = next((s for s in _READERS if source.name.endswith(s)), None)
    if suffix is None:
        raise DataError(f"{source}: cannot read this kind of archive; known are {list(_READERS)}.")
    if not source.is_file():
        raise DataError(
            f"{source}: no such file; run the download stage first, or name an extracted copy in "
            "the configuration."
        )
    size = source.stat().st_size
    with source.open("rb") as file:
        seen = _Seen(Progress(source.name, total=size, unit="bytes"), file)
        try:
            yield from _checked_members(source, _READERS[suffix](file), wanted, seen)
        except DataError:  # ours; a ValueError like some of the damage below
            raise
        except _DAMAGE as error:
            where = "at its start"
            if seen.count:
                where = f"after {seen.count} files (the last is {seen.last!r})"
            raise DataError(
                f"{source}: damaged or cut off {where}, at byte {file.tell()} of {size} "
                f"({type(error).__name__}: {error}). Delete it and download it again."
            ) from None


@dataclass
class _Seen:
    """How far the reading is: in bytes of the archive, in files of a folder."""

    progress: Progress
    archive: BinaryIO | None = None
    count: int = 0  # files passed
    last: str = ""

    def add(self, name: str) -> None:
        self.count, self.last = self.count + 1, name
        if self.archive is None:
            self.progress.advance()
        else:
            self.progress.reach(self.archive.tell(), files=self.count)


def _checked_members(
    source: Path, members: Iterator[Member], wanted: Callable[[str], bool], seen: _Seen
) -> Iterator[tuple[str, bytes]]:
    for name, kind, read in members:
        _check_member(source, name, kind)
        content = read() if wanted(name) else None
        seen.add(name)
        if content is not None:
            yield name, content


def _check_member(archive: Path, name: str, kind: str) -> None:
    path = PureWindowsPath(name)  # splits at / and \, knows drive letters: the strictest reading
    if kind or path.anchor or ".." in path.parts:
        why = f"is {kind}" if kind else "points outside the folder it is unpacked into"
        raise DataError(
            f"{archive}: member {name!r} {why}; nothing of it is trusted. "
            "Check where it comes from and get it again."
        )


def _tar_members(file: BinaryIO) -> Iterator[Member]:
    with (
        gzip.GzipFile(fileobj=file) as unzipped,
        tarfile.open(fileobj=unzipped, mode="r|", bufsize=_CHUNK) as tar,
    ):
        for member in tar:
            if member.isdir():
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                yield member.name, "a link or device", bytes
            else:
                yield member.name, "", content.read
        while unzipped.read(_CHUNK):  # tar stops before gzip's own check sum; read on to it
            pass


def _zip_members(file: BinaryIO) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = info.filename.replace("\\", "/")  # some Windows programs write \
            if name.endswith("/"):
                continue
            # The upper half is the Unix mode; archives made elsewhere have none.
            plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            with archive.open(info) as content:
                yield name, "" if plain else "a link or device", content.read
                while content.read(_CHUNK):  # what was not wanted has a check sum, too
                    pass


def _folder_members(folder: Path) -> Iterator[Member]:
    """Sorted by name. A link to a file of this folder is that file; all others are refused."""
    root = folder.resolve()

    def walk(inside: Path) -> Iterator[Member]:
        for path in sorted(inside.iterdir()):
            if path.is_dir() and not path.is_symlink():
                yield from walk(path)
                continue
            target = path.resolve()
            kind = "" if target.is_file() else "a link to a folder, a broken link or a device"
            if not target.is_relative_to(root):
                kind = "a link out of the folder"
            yield f"{root.name}/{path.relative_to(root).as_posix()}", kind, path.read_bytes

    yield from walk(root)


_READERS: dict[str, Callable[[BinaryIO], Iterator[Member]]] = {
    ".tar.gz": _tar_members,
    ".zip": _zip_members,
}


def _stem(archive: str) -> str:
    return next((archive.removesuffix(s) for s in _READERS if archive.endswith(s)), archive)
