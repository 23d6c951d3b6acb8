"""Whether files still have the times at which their rules made them, as Snakemake noted them.

A copy without times (`cp -r`, `tar x -m`) gives every file the time of copying, in any order, and
Snakemake would make anew whatever is older than what it was made of. A file that a person replaced
by an older one it does not notice at all. Both show in its notes, which hold the time of each
output when its job ended.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from stclip.errors import DataError
from stclip.runtime.snakemake_notes import NOTES, noted, timed
from stclip.storage.files import read_json

SAME_S = 1.0  # archives keep whole seconds
FEW = 5  # files


@dataclass(frozen=True)
class FileTime:
    """A file that a rule made: its time now and when the rule ended, seconds since 1970."""

    path: str
    now_s: float
    made_s: float

    @property
    def newer(self) -> bool:
        """Changed, or copied, after its rule made it."""
        return self.now_s > self.made_s + SAME_S

    @property
    def older(self) -> bool:
        """Replaced by an older file, which Snakemake does not notice."""
        return self.now_s < self.made_s - SAME_S


def file_times(*, at_most: int | None = None, notes: Path = NOTES) -> list[FileTime]:
    """Those of the noted files that are there; `at_most` so many of them, to have an idea."""
    return list(islice(_times(notes), at_most))


def _times(notes: Path) -> Iterator[FileTime]:
    for path, note in noted(notes):
        try:
            made_s, file = read_json(note).get("endtime"), timed(path)
        except DataError:  # a kill cut it, Snakemake will say so
            continue
        if made_s is not None and file.exists():
            yield FileTime(path, file.stat().st_mtime, made_s)


def copied_without_times(times: Sequence[FileTime]) -> bool:
    """Whether most files are newer than noted, as after such a copy; of a few, nobody knows."""
    return len(times) >= FEW and 2 * sum(time.newer for time in times) > len(times)


def restore_times(times: Sequence[FileTime]) -> None:
    """Give newer files the times at which they were made; what is in them is believed."""
    for time in times:
        if time.newer:
            os.utime(timed(time.path), (time.made_s, time.made_s))
