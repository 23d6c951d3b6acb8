"""Which moments of a long film are stored, under which numbers, and how.

H, W: height and width of a picture.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from jaxtyping import UInt8

from stclip.storage.frame_store import StoreName, clip_writer

P = TypeVar("P")  # a picture
AROUND = 4  # frames before and behind each key frame that a `rate` stores


@dataclass(frozen=True)
class Moments:
    """Moments of a film in seconds from its start, numbered from 0 without gap.

    One a second; with a `rate` nine a second: the whole second, and four before and four behind it
    that are 1 / rate apart. So nine frames in a row around a key frame are nine seconds, or nine
    neighbours at that rate.
    """

    first: int  # second of frame 0
    last: int
    rate: int | None = None  # frames/s

    @property
    def per_second(self) -> int:
        """Frames stored a second."""
        return 1 if self.rate is None else 2 * AROUND + 1

    @property
    def num_frames(self) -> int:
        """Of a film that has them all."""
        return self.frame_of(self.last) + self.per_second // 2 + 1

    def frame_of(self, second: int) -> int:
        """The number of a second's key frame."""
        return (second - self.first) * self.per_second

    def time_of(self, frame: int) -> Fraction:
        """Seconds from the film's start.

        >>> [float(Moments(900, 910, rate=25).time_of(frame)) for frame in (4, 5, 9)]
        [900.16, 900.84, 901.0]
        """
        before = self.per_second // 2
        second, place = divmod(frame + before, self.per_second)
        return self.first + second + Fraction(place - before, self.rate or 1)


@dataclass(frozen=True)
class StoredFilm:
    """What was found of a film and stored; or why nothing was."""

    height: int = 0
    width: int = 0
    num_frames: int = 0  # up to the last one that it has
    missing: list[int] = field(default_factory=list)  # frames that it has not
    length_s: float = 0.0  # as the container says
    rate: float = 0.0  # frames/s, mean
    num_far: int = 0  # frames more than half a second from their moment
    num_damaged: int = 0  # frames that the decoder had to mend
    problem: str = ""


@dataclass(frozen=True)
class FilmSource:
    """What a film is read from."""

    where: str
    files: tuple[Path, ...]
    # (clip, folder of frames, store, moments, short_side=...) -> what was stored
    store: Callable[..., StoredFilm]

    @property
    def identity(self) -> str:
        """Tells the files from any others by name, size and time, without reading them."""
        stats = [(file.name, file.stat()) for file in self.files]
        return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def nearest_of(
    pictures: Iterable[tuple[Fraction, P]], times: Iterable[Fraction], *, near_s: Fraction
) -> Iterator[tuple[int, tuple[Fraction, P]]]:
    """The nearest picture to each time, with the time's place in `times`; of two the earlier.

    Args:
        pictures: with their times, which rise.
        times: rising; there may be no end of them.
        near_s: a time that far before the first picture or behind the last one has none.
    """
    wanted = enumerate(times)
    place, time = next(wanted, (-1, Fraction(0)))
    before: tuple[Fraction, P] | None = None
    for now in pictures:
        while place >= 0 and time <= now[0]:
            earlier = before is not None and time - before[0] <= now[0] - time
            chosen = before if earlier else now
            assert chosen is not None
            if before is not None or now[0] - time <= near_s:
                yield place, chosen
            place, time = next(wanted, (-1, Fraction(0)))
        if place < 0:
            return
        before = now
    while before is not None and place >= 0 and time - before[0] <= near_s:
        yield place, before
        place, time = next(wanted, (-1, Fraction(0)))


def moments_depend_on(moments: Moments, short_side: int, store: StoreName) -> str:
    """What decides, beside the films, how their frames are stored; for `write_prepared`."""
    return f"{moments}, short side {short_side}, store {store}, PyAV {av.__version__}"


def store_moments(
    found: Iterable[tuple[int, UInt8[np.ndarray, "H W 3"], bytes | None]],
    clip: str,
    frames: Path,
    store: StoreName,
    moments: Moments,
    *,
    short_side: int,
) -> StoredFilm:
    """Store a film's frames, whole or not at all; those before its first one repeat that one.

    Args:
        found: number, pixels and, where they come from a file of one picture, its content, in
            rising order; without gap.
        clip: what the film becomes.
        frames: existing folder to store in.
        store: how.
        moments: that are looked for.
        short_side: pixels that the shorter side has at most; pictures are not enlarged.

    Raises:
        DataError: there is no frame, or frames are of several sizes.
    """
    numbers: list[int] = []
    with clip_writer(frames, clip, store) as writer:
        for number, picture, content in found:
            pixels = scaled(picture, short_side)
            encoded = content if pixels is picture else None
            for repeated in range(0 if numbers else number):
                writer.add(repeated, pixels, encoded=encoded)
            writer.add(number, pixels, encoded=encoded)
            numbers.append(number)
    return StoredFilm(
        height=writer.stored.height,
        width=writer.stored.width,
        num_frames=numbers[-1] + 1,
        missing=sorted(set(range(moments.num_frames)) - set(numbers)),
    )


def scaled(picture: UInt8[np.ndarray, "H W 3"], short_side: int) -> UInt8[np.ndarray, "h w 3"]:
    """The picture, made smaller if its shorter side is longer than that."""
    height, width = picture.shape[:2]
    if min(height, width) <= short_side:
        return picture
    import cv2  # tables and metrics do without it

    ratio = short_side / min(height, width)
    size = (round(width * ratio), round(height * ratio))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
