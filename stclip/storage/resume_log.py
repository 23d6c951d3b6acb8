"""An append-only file of finished parts, so that a killed job goes on where it stopped."""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from stclip.errors import DataError
from stclip.storage.files import raise_disk_full
from stclip.storage.seal import BLANK, check_seal, sealed

logger = logging.getLogger(__name__)


class Journal:
    """What is finished, by name; a line each, written as soon as it is known.

    A line is a JSON list of the name, what was found, and the seal of the line.
    """

    def __init__(self, file: IO[bytes], done: dict[str, Any]) -> None:
        """Use `open_journal`."""
        self._file = file
        self.done = done

    def add(self, name: str, content: Any) -> None:
        """Note a part as finished; it outlives the death of this process at once."""
        self._file.write(_line(name, content) + b"\n")
        self._file.flush()
        self.done[name] = content


@contextmanager
def open_journal(path: Path, *, key: str) -> Iterator[Journal]:
    """Open or begin the journal at `path`; it is deleted if the block succeeds.

    A journal of another `key` (settings, weights, ...) or a damaged one is begun anew; a last line
    that was cut by a kill is dropped. One process at a time: a second one waits.

    Raises:
        DataError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with raise_disk_full(path), _locked(path) as file:
        lines = file.read().split(b"\n")[:-1]  # what follows the last line end was cut
        done = _parse(path, lines, key)
        if done is None:
            if lines:
                logger.info("%s is of other settings or damaged; starting anew", path)
            done, lines = {}, [_line("key", key)]
            file.seek(0)
            file.truncate()
            file.write(lines[0] + b"\n")
            file.flush()
        else:
            whole = sum(len(line) + 1 for line in lines)
            file.seek(whole)
            file.truncate()
        yield Journal(file, done)
        path.unlink(missing_ok=True)


def _line(name: str, content: Any) -> bytes:
    return sealed(json.dumps([name, content, BLANK], ensure_ascii=False, allow_nan=False).encode())


def _parse(path: Path, lines: list[bytes], key: str) -> dict[str, Any] | None:
    """The finished parts; None if the journal is not of this key."""
    try:
        for line in lines:
            check_seal(line, path)
    except DataError:  # damaged, or torn apart by a crash of the machine: not worth saving
        return None
    parts = [json.loads(line)[:2] for line in lines]
    return dict(parts[1:]) if parts and parts[0] == ["key", key] else None


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    while True:
        with path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)  # the system frees it when the process dies
            except OSError as error:  # some network file systems have no locks
                logger.warning("%s: cannot be locked (%s); run nothing else here", path, error)
            try:
                same = os.fstat(file.fileno()).st_ino == path.stat().st_ino
            except FileNotFoundError:  # whoever had it finished and deleted it
                same = False
            if same:
                file.seek(0)
                yield file
                return
