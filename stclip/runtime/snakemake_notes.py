"""Snakemake's own notes on its files, kept beside them so that they travel with the files.

Whether a job must run, Snakemake reads off the times of files and its notes on how each was made
(.snakemake/metadata). Neither survives a transfer: copied files have the times of copying. Here
both are written to a file that is versioned with the files, and brought back after a transfer.
"""

import base64
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stclip.errors import DataError
from stclip.storage.files import read_json, write_json

logger = logging.getLogger(__name__)

NOTES = Path(".snakemake/metadata")  # of the project's folder; a file per output
FOLDER_TIME = ".snakemake_timestamp"  # the file whose time Snakemake takes for that of its folder
_PART = 254  # characters of a file name, one less than file systems allow


def save(
    out: Path, *, rules: Sequence[str], scale: str, dataset: str | None = None, notes: Path = NOTES
) -> None:
    """Write to `out` the notes on, and times of, what these rules made at a scale.

    With `dataset`, of the files of that data set alone.

    Raises:
        DataError: there is none.
    """
    kept: dict[str, Any] = {}
    wanted = {scale, dataset} - {None}
    for path, note in sorted(noted(notes)):
        content = read_json(note)
        if content["rule"] in rules and wanted <= {*Path(path).parts} and timed(path).exists():
            kept[path] = {"note": content, "time_ns": timed(path).stat().st_mtime_ns}
    if not kept:
        raise DataError(f"{notes}: nothing about files of {rules}, scale {scale}; run them first.")
    write_json(out, kept)
    logger.info("bookkeeping: notes on %d files in %s", len(kept), out)


def restore(files: Iterable[Path], *, notes: Path = NOTES) -> None:
    """Bring back notes and times from what `save` wrote, of every file that is there.

    Raises:
        DataError: a file is missing or not of `save`.
    """
    (notes.parent / "incomplete").mkdir(parents=True, exist_ok=True)  # or it takes them for old
    number = absent = 0
    for file in files:
        try:
            kept = [(p, k["note"], k["time_ns"]) for p, k in read_json(file).items()]
        except (AttributeError, KeyError, TypeError):
            raise DataError(
                f"{file}: not what `stclip bookkeeping` wrote; pull it again."
            ) from None
        for path, note, time_ns in kept:
            if not timed(path).exists():
                absent += 1
                continue
            write_json(_note_file(path, notes), note)
            os.utime(timed(path), ns=(time_ns, time_ns))
            number += 1
    logger.info("bookkeeping: notes on %d files are back; %d were not kept", number, absent)


def noted(folder: Path) -> Iterable[tuple[str, Path]]:
    """Every output that Snakemake has a note on, and the note's file."""
    for file in folder.rglob("*"):
        if file.is_file():
            parts = file.relative_to(folder).parts
            name = "".join(part.removeprefix("@") for part in parts)
            try:
                yield base64.urlsafe_b64decode(name).decode(), file
            except ValueError:  # no note: somebody else's, or half written
                continue


def _note_file(path: str, folder: Path) -> Path:
    """Where Snakemake keeps its note on an output: its path in base64, cut where it is too long."""
    name = base64.urlsafe_b64encode(path.encode()).decode()
    parts = [name[i : i + _PART] for i in range(0, len(name), _PART)]
    return folder.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])


def timed(path: str) -> Path:
    """The file whose time is that of an output, which may be a folder."""
    return Path(path, FOLDER_TIME) if Path(path).is_dir() else Path(path)
