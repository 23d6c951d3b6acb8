"""The kinds of archive that `stclip.storage.archives` reads, each as a stream of its members.

Members come in the archive's own order, folders are skipped. A reader is given the archive's path,
the open file, by whose position the caller sees how far it is, and whether to verify the check sums
of members that are not read, too. `.zip` and `.rar` have a directory: without it such members cost
nothing. `.tar.gz` is one stream, always read and verified whole.
"""

import gzip
import logging
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import rarfile

from stclip.errors import DataError

logger = logging.getLogger(__name__)

Member = tuple[str, str, Callable[[], bytes]]  # name, what it is if not a plain file, its content

_CHUNK = 1 << 16
# What a damaged archive raises: EOFError (gzip cut off), RuntimeError (zip with a password),
# NotImplementedError (unknown compression), ValueError (a header that makes no sense).
DAMAGE = (
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    tarfile.TarError,
    zipfile.BadZipFile,
    rarfile.Error,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


def _tar_members(_: Path, file: BinaryIO, __: bool) -> Iterator[Member]:
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


def _zip_members(_: Path, file: BinaryIO, verify_unwanted: bool) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = info.filename.replace("\\", "/")  # some Windows programs write \
            if name.endswith("/"):
                continue
            # The upper half is the Unix mode; archives made elsewhere have none.
            plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            yield from _directory_member(archive, info, name, plain, verify_unwanted)


def _rar_members(path: Path, file: BinaryIO, verify_unwanted: bool) -> Iterator[Member]:
    seen: list[Any] = []
    with rarfile.RarFile(path, errors="strict", info_callback=seen.append) as archive:
        infos = archive.infolist()
        # Only old programs write no end; without one a file cut between two members looks whole.
        if not seen or seen[-1].type != rarfile.RAR_BLOCK_ENDARC:
            raise rarfile.BadRarFile("its end is missing")
        names = [info.filename for info in infos]
        if len({*names}) < len(names):  # rarfile would read the last of them for each
            raise rarfile.BadRarFile("a name is there twice")
        if any(info.compress_type != rarfile.RAR_M0 for info in infos):
            find_unpacker(path)
            if archive.is_solid():
                logger.warning(
                    "%s: the files are compressed as one, each is unpacked from the start again. "
                    "If there are many, unpack it elsewhere and name the folder as `extracted`",
                    path,
                )
        for info in infos:
            file.seek(info.header_offset)
            if not info.is_dir():
                plain = info.is_file() and info.file_redir is None
                name = info.filename.replace("\\", "/")
                yield from _directory_member(archive, info, name, plain, verify_unwanted)


def _directory_member(
    archive: Any, info: Any, name: str, plain: bool, verify_unwanted: bool
) -> Iterator[Member]:
    kind = "" if plain else "a link or device"
    if not verify_unwanted:
        yield name, kind, partial(archive.read, info)  # to its end, where the check sum is compared
        return
    with archive.open(info) as content:
        yield name, kind, content.read
        while content.read(_CHUNK):  # what was not wanted has a check sum, too
            pass


def find_unpacker(path: Path) -> None:
    """Have rarfile use `unar`, or `unrar` where there is no other; not what misses damage.

    Raises:
        DataError: there is neither.
    """
    for unar in (True, False):
        try:
            rarfile.tool_setup(
                unrar=not unar, unar=unar, bsdtar=False, sevenzip=False, sevenzip2=False, force=True
            )
        except rarfile.RarCannotExec:
            continue
        return
    raise DataError(
        f"{path}: its files are compressed, and there is no program to unpack them. Install the "
        "free `unar` (Debian, Ubuntu: apt install unar; macOS: brew install unar), or unpack the "
        "archive elsewhere and name the folder as `extracted` in the data set's configuration."
    )


READERS: dict[str, Callable[[Path, BinaryIO, bool], Iterator[Member]]] = {
    ".tar.gz": _tar_members,
    ".zip": _zip_members,
    ".rar": _rar_members,
}
