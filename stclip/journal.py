"""An append-only file of finished parts, so that a killed job goes on where it stopped."""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

logger = logging.getLogger(__name__)


class Journal:
    """What is finished, by name; a line of JSON each, written as soon as it is known."""

    def __init__(self, file: IO[bytes], done: dict[str, Any]) -> None:
        """Use `open_journal`."""
        self._file = file
        self.done = done

    def add(self, name: str, content: Any) -> None:
        """Note a part as finished; it outlives the death of this process at once."""
        line = json.dumps([name, content], ensure_ascii=False, allow_nan=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        self.done[name] = content


@contextmanager
def open_journal(path: Path, *, key: str) -> Iterator[Journal]:
    """Open or begin the journal at `path`; it is deleted if the block succeeds.

    A journal of another `key` (settings, weights, ...) is begun anew; a last line that was cut by a
    kill is dropped. One process at a time: a second one waits.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path) as file:
        lines = file.read().split(b"\n")[:-1]  # what follows the last line end was cut
        done = _parse(lines, key)
        if done is None:
            if lines:
                logger.info("%s is of other settings; starting anew", path)
            done, lines = {}, [json.dumps(["key", key]).encode()]
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


def _parse(lines: list[bytes], key: str) -> dict[str, Any] | None:
    """The finished parts; None if the journal is not of this key."""
    try:
        pairs = [json.loads(line) for line in lines]
        if not pairs or pairs[0] != ["key", key]:
            return None
        return dict(pairs[1:])
    except (ValueError, TypeError):  # torn apart by a crash of the machine: not worth saving
        return None


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
