"""Films -> their frames at given moments, decoded by PyAV in one pass.

A moment counts from the container's start. Its frame is the one whose time is nearest, of two
equally near ones the earlier. Readers that jump to a frame by its number miss it where the rate
varies or the pictures begin late.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from stclip.errors import DataError
from stclip.prepare.moments import FilmSource, Moments, StoredFilm, nearest_of, store_moments
from stclip.storage.frame_store import StoreName

SUFFIXES = (".mkv", ".mp4", ".webm")  # of files that are films
_LEAD_S = 10  # decoding begins that long before the first moment
_NEAR_S = Fraction(1, 2)  # no frame is there earlier before the first one, or later past the last
_MICRO = 1_000_000  # units of a container's times in a second
Picture = tuple[Fraction, av.VideoFrame]  # and its time from the container's start, in seconds


def find_films(folder: Path, names: Collection[str]) -> dict[str, FilmSource]:
    """The films of these names in a folder, or in folders in it; some may not be there.

    Raises:
        DataError: a film is there twice.
    """
    found: dict[str, Path] = {}
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if path.suffix not in SUFFIXES or path.stem not in names or not path.is_file():
            continue
        if path.stem in found:
            raise DataError(f"{path}: the same film as {found[path.stem]}; delete one of them.")
        found[path.stem] = path
    return {
        name: FilmSource(str(path), (path,), partial(store_film, path))
        for name, path in found.items()
    }


def store_film(
    path: Path, clip: str, frames: Path, store: StoreName, moments: Moments, *, short_side: int
) -> StoredFilm:
    """Store a film's frames at the moments, in the memory of two frames; as `store_moments`.

    What is wrong with the film is told as its `problem`.
    """
    times = [moments.time_of(frame) for frame in range(moments.num_frames)]
    num_far = num_damaged = 0

    def found() -> Iterator[tuple[int, np.ndarray, None]]:
        nonlocal num_far, num_damaged
        for frame, (time, picture) in nearest(path, times):
            num_far += abs(time - times[frame]) > _NEAR_S
            num_damaged += picture.is_corrupt
            yield frame, picture.to_ndarray(format="rgb24"), None

    try:
        length_s, rate = _about(path)
        stored = store_moments(found(), clip, frames, store, moments, short_side=short_side)
    except FFmpegError as error:
        return StoredFilm(problem=f"does not decode as video ({error.strerror})")
    except DataError as error:
        return StoredFilm(problem=str(error).removeprefix(f"{clip}: "))
    return replace(stored, length_s=length_s, rate=rate, num_far=num_far, num_damaged=num_damaged)


def nearest(path: Path, times: Sequence[Fraction]) -> Iterator[tuple[int, Picture]]:
    """The nearest picture to each time that the film has, with the time's place in `times`.

    Args:
        path: the film.
        times: rising, in seconds from the container's start.

    Raises:
        DataError: it has no pictures, or they have no times.
        FFmpegError: it does not decode.
    """
    yield from nearest_of(_rising(path, times[0] - _LEAD_S), times, near_s=_NEAR_S)


def _about(path: Path) -> tuple[float, float]:
    """Length in seconds and mean frame rate, as the container says; 0 where it does not.

    Raises:
        DataError: it has no pictures.
    """
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise DataError("has no pictures")
        rate = container.streams.video[0].average_rate
        return (container.duration or 0) / _MICRO, float(rate or 0)


def _rising(path: Path, begin: Fraction) -> Iterator[Picture]:
    """A film's pictures from a time on, or from the start; those out of order are passed over.

    Raises:
        DataError: a picture has no time.
    """
    last: Fraction | None = None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # several films are decoded at a time instead
        start = Fraction(container.start_time or 0, _MICRO)
        if begin > 0:
            container.seek(int((start + begin) * _MICRO))
        for picture in container.decode(stream):
            if picture.pts is None or picture.time_base is None:
                raise DataError("has pictures without a time")
            time = picture.pts * picture.time_base - start
            if begin > 0 and last is None and time > begin + _LEAD_S:
                break  # its index leads past the place
            if last is None or time > last:
                last = time
                yield time, picture
    if begin > 0 and last is None:
        yield from _rising(path, Fraction(0))
