"""Reads .tar.gz, .zip and .rar archives, or a folder unpacked from one, file by file in order.

What comes from outside is not trusted: a member must be a plain file below the folder it is
unpacked into. The whole archive is read, so its own check sums (gzip's CRC-32, one per member of a
zip or rar) are verified even where a member is not used, unless the caller does without: the
download has verified the whole. Never more than one file is in memory.
"""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from stclip.errors import DataError
from stclip.progress import Progress
from stclip.storage.archive_readers import DAMAGE, READERS, Member
from stclip.storage.outside_files import content_of

logger = logging.getLogger(__name__)


def locate(folder: Path, archive: str) -> Path:
    """An archive in a folder or, where there is none, the folder unpacked from it.

    `splits.zip` becomes `{folder}/splits` only if `{folder}/splits.zip` does not exist.
    """
    packed = folder / archive
    unpacked = folder / _stem(archive)
    return unpacked if unpacked.is_dir() and not packed.exists() else packed


def file_with(folder: Path, name: str) -> Path | None:
    """The file of a folder that is, or holds, what settings call `name`; None where there is none.

    `a.zip/b.csv` is b.csv in the archive a.zip; where there is no such archive it is b.csv as
    somebody has unpacked it: in the folder, or in one up to two folders below.
    """
    direct, archive = folder / name, folder / PurePosixPath(name).parts[0]
    if direct.is_file() or archive.is_file():
        return direct if direct.is_file() else archive
    bare = PurePosixPath(name).name
    return next((f for deep in ("", "*/", "*/*/") for f in sorted(folder.glob(deep + bare))), None)


def content_in(folder: Path, name: str) -> tuple[bytes, str]:
    """The content of a file that settings call `name`, unzipped, and its place for messages.

    Raises:
        DataError: there is none (`file_with`), it is damaged, or not in the archive just once.
    """
    path, bare = file_with(folder, name), PurePosixPath(name).name
    if path is None:
        raise DataError(
            f"{folder}: neither {name} nor {bare} is there; run the download stage first, or put "
            "it into the folder of an unpacked copy."
        )
    if path.name == bare:
        return content_of(path), str(path)
    found = list(matching_members(path, rf"(?:.*/)?{re.escape(bare)}", verify_unwanted=False))
    if len(found) != 1:
        raise DataError(f"{path}: has {len(found)} files called {bare}, not one; get it again.")
    return found[0][2], f"{path}: {found[0][0]}"


def matching_members(
    source: Path, pattern: str, *, verify_unwanted: bool = True
) -> Iterator[tuple[PurePosixPath, re.Match[str], bytes]]:
    """Yield (name, match, content) of the files whose whole name matches; log how many do not.

    The others are passed over as `iterate_members` does.
    """
    expression, total = re.compile(pattern), 0

    def wanted(name: str) -> bool:
        nonlocal total
        total += 1
        return expression.fullmatch(name) is not None

    count = 0
    for name, content in iterate_members(source, wanted, verify_unwanted=verify_unwanted):
        match = expression.fullmatch(name)
        assert match
        count += 1
        yield PurePosixPath(name), match, content
    if total > count:
        logger.info("%s: %d files of other kinds ignored", source, total - count)


def iterate_members(
    source: Path,
    wanted: Callable[[str], bool] = lambda _: True,
    *,
    verify_unwanted: bool = True,
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the wanted files of an archive (see `READERS`) or a folder.

    Archives come in their own order, folders sorted by name; a folder's names begin with its own,
    as in an archive that holds it. Folders are skipped. Logs how far it is.

    Args:
        source: the archive or folder.
        wanted: whether a file of this name is; the others are never held in memory.
        verify_unwanted: read the others of a .zip or .rar too, for their check sums. Without it
            they are passed over unread, which of large archives saves much; names are looked at
            all the same. A .tar.gz is always read whole.

    Raises:
        DataError: the archive is missing, of another kind, cut off or damaged, or a member is
            absolute, leaves the folder by `..` or as a link, or is a link (in an archive) or
            device; or a .rar is compressed and there is no `unar` to unpack it.
    """
    if source.is_dir():
        seen = _Seen(Progress(source.name, total=None, unit="files"))
        yield from _checked_members(source, _folder_members(source), wanted, seen)
        return
    suffix = next((s for s in READERS if source.name.endswith(s)), None)
    if suffix is None:
        raise DataError(f"{source}: cannot read this kind of archive; known are {list(READERS)}.")
    if not source.is_file():
        raise DataError(
            f"{source}: no such file; run the download stage first, or name an extracted copy in "
            "the configuration."
        )
    size = source.stat().st_size
    with source.open("rb") as file:
        seen = _Seen(Progress(source.name, total=size, unit="bytes"), file)
        try:
            members = READERS[suffix](source, file, verify_unwanted)
            yield from _checked_members(source, members, wanted, seen)
        except DataError:  # ours; a ValueError like some of the damage below
            raise
        except DAMAGE as error:
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


def _stem(archive: str) -> str:
    return next((archive.removesuffix(s) for s in READERS if archive.endswith(s)), archive)
