"""Pictures that somebody cut from a film -> its frames at given moments."""

import os
import string
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field, field_validator

from stclip.config.strict import Strict
from stclip.errors import DataError
from stclip.prepare.moments import FilmSource, Moments, StoredFilm, store_moments
from stclip.prepare.store import decode
from stclip.storage.frame_store import StoreName

_PLACES = {"film", "number"}


class CutPictures(Strict):
    """How films were cut into pictures, one file each."""

    files: str
    """path below the folder of the data, with places for film and number, which counts from 1:
    `rawframes/{film}/img_{number:05d}.jpg`"""
    fps: int = Field(ge=1)
    """pictures a second"""
    begin: int = Field(ge=0)
    """second of the film that the first one shows"""

    @field_validator("files")
    @classmethod
    def _has_places(cls, files: str) -> str:
        if {name for _, name, _, _ in string.Formatter().parse(files) if name} != _PLACES:
            raise ValueError("must have a place for {film} and one for {number}")
        return files


def find_pictures(
    folder: Path, names: Collection[str], cut: CutPictures, moments: Moments
) -> dict[str, FilmSource]:
    """The pictures of films in a folder; some films may not be there."""
    found = {}
    for name in names:
        own = folder / cut.files.format(film=name, number=1)
        there = {entry.name for entry in os.scandir(own.parent)} if own.parent.is_dir() else {}
        files = {}
        for frame in range(moments.num_frames):
            index = round((moments.time_of(frame) - cut.begin) * cut.fps)
            file = folder / cut.files.format(film=name, number=index + 1)
            if index >= 0 and file.name in there:
                files[frame] = file
        if files:
            store = partial(store_pictures, files, fps=cut.fps)
            found[name] = FilmSource(str(own.parent), tuple(files.values()), store)
    return found


def store_pictures(
    files: Mapping[int, Path],
    clip: str,
    frames: Path,
    store: StoreName,
    moments: Moments,
    *,
    short_side: int,
    fps: int,
) -> StoredFilm:
    """Store the pictures of a film, `files` by frame number; as `stclip.prepare.films.store_film`.

    `fps`: of all the pictures that there are.

    JPEG files that need no scaling are kept as they are.
    """

    def found() -> Iterator[tuple[int, np.ndarray, bytes]]:
        for frame, file in sorted(files.items()):
            content = file.read_bytes()
            yield frame, decode(content, str(file)), content

    holes = sorted(set(range(min(files), max(files))) - files.keys())
    if holes:
        at = float(moments.time_of(holes[0]))
        return StoredFilm(problem=f"lacks {len(holes)} pictures in between, the first at {at:g} s")
    try:
        stored = store_moments(found(), clip, frames, store, moments, short_side=short_side)
    except DataError as error:
        return StoredFilm(problem=str(error))
    return replace(stored, rate=fps)
