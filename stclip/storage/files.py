"""Writing files so that a half-written one is never taken for a whole one."""

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stclip.errors import DataError
from stclip.storage.seal import BLANK, check_seal, sealed

logger = logging.getLogger(__name__)

_RESUME = ".resume"  # in a temporary folder: what its content depends on


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` only if the block succeeds.

    A crash, a full disk or kill -9 leaves `path` as it was before.

    Raises:
        DataError: the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with raise_disk_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def raise_disk_full(path: Path, *, kept: str = "what was whole before is kept") -> Iterator[None]:
    """Name the file that a full disk has no room for; the system's own error does not.

    Raises:
        DataError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        free_mb = shutil.disk_usage(nearest_folder(path.parent)).free / 1e6
        raise DataError(
            f"{path}: {os.strerror(error.errno)} ({free_mb:.0f} MB free in {path.parent}). Make "
            f"room and run the same again: {kept}."
        ) from None


def nearest_folder(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(f for f in (folder, *folder.absolute().parents) if f.exists())


@contextmanager
def whole_folder(path: Path, *, resume: str | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place if the block succeeds.

    One process at a time: a second one waits, for example for a job whose killed workflow left it
    running. The temporary name is fixed, so that the next try finds what a killed one left.

    Args:
        path: the folder to write.
        resume: what the content depends on, as text. With it the whole files of a try that failed
            or was killed are kept, and are there again if the next try depends on the same; half
            files of `whole_file` are not. Without it the folder is empty.

    Raises:
        DataError: the disk is full.
    """
    with raise_disk_full(path):
        yield from _whole_folder(path, resume)


def _clear(folder: Path, resume: str | None) -> None:
    """Remove what an earlier try left in a folder, but for the whole files of one like this."""
    memo = folder / _RESUME
    if resume is None or not memo.exists() or memo.read_text("utf-8") != resume:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if resume is not None:
            memo.write_text(resume, "utf-8")
    for half in folder.glob(".*.tmp"):
        half.unlink()


def _whole_folder(path: Path, resume: str | None) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(parent, fcntl.LOCK_EX)  # the system frees it when the process dies
        except OSError as error:  # some network file systems have no locks
            logger.warning("%s: cannot be locked (%s); run nothing else here", path.parent, error)
        _clear(temporary, resume)
        try:
            yield temporary
            (temporary / _RESUME).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)
            temporary.rename(path)
        finally:
            if resume is None:
                shutil.rmtree(temporary, ignore_errors=True)
    finally:
        os.close(parent)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON with a final newline, whole or not at all.

    With `stclip.storage.seal.SEAL` in it the file carries its digest.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    data = text.encode()
    with whole_file(path) as temporary:
        temporary.write_bytes(sealed(data) if BLANK in text else data)


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """`object_pairs_hook` of `json.loads`, which would take the last of a key given twice.

    Raises:
        ValueError: a key is given twice.
    """
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"keys {twice} are given twice; keep one of each")
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file; its seal, if it has one, is checked and left out.

    Raises:
        DataError: the file is missing, damaged, not JSON, or has a key twice.
    """
    try:
        data = path.read_bytes()
        check_seal(data, path, foreign=True)
        content = json.loads(data, object_pairs_hook=unique_keys)
        if isinstance(content, dict):
            content.pop("seal", None)
        return content
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except DataError:
        raise
    except ValueError as error:  # of json, of the decoding, or of `unique_keys`
        raise DataError(
            f"{path}: not valid JSON ({error}); correct it or, if a stage wrote it, delete it and "
            "run that stage."
        ) from None


def read_json_lines(path: Path) -> list[Any]:
    """Read a file with a JSON value in every line.

    Raises:
        DataError: the file is missing or not that.
    """
    try:
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: not a JSON value a line ({error}); run the stage that writes it again."
        ) from None


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
