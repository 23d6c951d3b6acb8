"""Opens what somebody calls a video: a file that PyAV reads, or a folder of images.

H, W: height and width of a picture, upright.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition
from jaxtyping import UInt8

from stclip.errors import DataError
from stclip.prepare.store import decode

logger = logging.getLogger(__name__)
IMAGES = (".jpeg", ".jpg", ".png")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
TIMELESS = ("avi",)  # containers that say how fast pictures follow, not when each is shown
_GUESSED_RATE = Fraction(25)  # frames/s, where a container says nothing
_SHORT_S = 1.0  # a video that ends so much before its container says is cut off
_MICRO = 1_000_000  # units of a container's times in a second


class Picture(Protocol):
    """A picture that is not yet pixels."""

    def pixels(self) -> UInt8[np.ndarray, "H W 3"]:
        """RGB, upright."""


@dataclass(frozen=True)
class Shown:
    """A picture of a video: which one, from 0, and when it is shown, in seconds."""

    number: int
    time: Fraction
    picture: Picture


class Recording(Protocol):
    """A video that can be read from the start, as often as wanted."""

    path: Path
    problems: list[str]  # what the last reading met, in words

    @property
    def rate(self) -> Fraction | None:
        """Frames a second, mean; None where nobody knows."""

    @property
    def duration_s(self) -> float | None:
        """Seconds, as the container says; None where it does not."""

    @property
    def identity(self) -> str:
        """Tells the files from any others by name, size and time, without reading them."""

    def frames(self) -> Iterator[Shown]:
        """The pictures by rising time, in the memory of one."""


@dataclass(frozen=True)
class _Decoded:
    frame: av.VideoFrame

    def pixels(self) -> UInt8[np.ndarray, "H W 3"]:
        found = self.frame.to_ndarray(format="rgb24")
        turns = round(self.frame.rotation / 90) % 4  # counter-clockwise, as phones note it
        return np.ascontiguousarray(np.rot90(found, turns)) if turns else found


@dataclass
class MediaFile:
    """A file that PyAV opens."""

    path: Path
    problems: list[str] = field(default_factory=list)

    @cached_property
    def _about(self) -> tuple[Fraction | None, float | None]:
        with self._opened() as container:
            stream = _video_stream(container)
            assert stream is not None, "`_opened` has refused it"
            duration = container.duration
            return stream.average_rate, None if duration is None else duration / _MICRO

    @property
    def rate(self) -> Fraction | None:
        """Frames a second, mean; None where the container does not say."""
        return self._about[0]

    @property
    def duration_s(self) -> float | None:
        """Seconds, as the container says; None where it does not."""
        return self._about[1]

    @property
    def identity(self) -> str:
        """Tells the file from any other by name, size and time."""
        stat = self.path.stat()
        return repr((self.path.name, stat.st_size, stat.st_mtime_ns))

    def _opened(self) -> "av.container.InputContainer":
        try:
            container = av.open(str(self.path))
        except FFmpegError as error:
            size = self.path.stat().st_size
            found = "it is empty" if not size else f"{error.strerror}"
            raise DataError(
                f"{self.path}: not a video that PyAV reads ({found}). Give a whole file of any "
                "usual form (mp4, mkv, avi, webm, ...), or a folder of images."
            ) from None
        if _video_stream(container) is None:
            kinds = sorted({stream.type for stream in container.streams})
            container.close()
            raise DataError(
                f"{self.path}: has no moving pictures, only {kinds or 'nothing'}. Give a video."
            )
        return container

    def frames(self) -> Iterator[Shown]:
        """The pictures by rising time; what cannot be read is left out and named in `problems`.

        Raises:
            DataError: no video, or not a single picture decodes.
        """
        self.problems = []
        number = broken = mended = out_of_order = 0
        last: Fraction | None = None
        unread = ""
        with self._opened() as container:
            stream = _video_stream(container)
            assert stream is not None, "`_opened` has refused it"
            rate = stream.average_rate or _GUESSED_RATE
            start = Fraction(container.start_time or 0, _MICRO)
            timeless = container.format.name in TIMELESS
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                except FFmpegError as error:
                    unread = f" ({error.strerror})"
                    break
                if packet is None:
                    break
                try:
                    pictures = packet.decode()
                except FFmpegError:
                    broken += 1
                    continue
                for picture in pictures:
                    time = None if timeless else _time_of(picture, start)
                    if time is None:
                        time = number / rate if last is None or timeless else last + 1 / rate
                    mended += picture.is_corrupt
                    if last is None or time > last:
                        last = time
                        yield Shown(number, time, _Decoded(picture))
                    else:
                        out_of_order += 1
                    number += 1
        if last is None:
            raise DataError(
                f"{self.path}: none of its pictures decodes. Is the file whole? Get it again."
            )
        counts = {
            "packets do not decode and are left out": broken,
            "pictures are damaged and were mended by the decoder": mended,
            "pictures are out of order and are left out": out_of_order,
        }
        self.problems = [f"{count} {what}" for what, count in counts.items() if count]
        said = self.duration_s
        if unread or (said is not None and said - float(last + 1 / rate) > _SHORT_S):
            length = "" if said is None else f" of {said:.1f} s"
            self.problems.append(f"cannot be read beyond {float(last):.1f} s{length}{unread}")


def _time_of(picture: av.VideoFrame, start: Fraction) -> Fraction | None:
    if picture.pts is None or picture.time_base is None:
        return None
    return picture.pts * picture.time_base - start


def _video_stream(container: "av.container.InputContainer") -> "av.VideoStream | None":
    """The first stream of moving pictures; the cover of a song is none."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    return None


@dataclass(frozen=True)
class _ImageFile:
    path: Path

    def pixels(self) -> UInt8[np.ndarray, "H W 3"]:
        return decode(self.path.read_bytes(), str(self.path))


@dataclass
class ImageFolder:
    """Images, one a frame, in the order of the numbers in their names."""

    path: Path
    image_rate: float  # frames/s
    problems: list[str] = field(default_factory=list)

    @cached_property
    def _files(self) -> list[Path]:
        return sorted(_of_kind(self.path, IMAGES), key=_natural)

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return Fraction(self.image_rate).limit_denominator(100_000)

    @property
    def duration_s(self) -> float:
        """Seconds."""
        return float(len(self._files) / self.rate)

    @property
    def identity(self) -> str:
        """Tells the files from any others by name, size and time."""
        stats = [(file.name, file.stat()) for file in self._files]
        return repr([self.image_rate, *((n, s.st_size, s.st_mtime_ns) for n, s in stats)])

    def frames(self) -> Iterator[Shown]:
        """The images; one that does not decode is a DataError, and so is a picture of its own."""
        for number, file in enumerate(self._files):
            yield Shown(number, number / self.rate, _ImageFile(file))


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts `9.png` before `10.png`."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def _of_kind(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return [f for f in folder.iterdir() if f.suffix.lower() in suffixes and f.is_file()]


def video_name(path: Path) -> str:
    """What a video is called in what is written: its file without suffix, or its folder."""
    return path.resolve().name if path.is_dir() else path.stem


def open_video(path: Path, *, image_rate: float) -> Recording:
    """A file, or a folder of images as one video.

    Raises:
        DataError: nothing is there, or it is no video.
    """
    if path.is_dir():
        if not _of_kind(path, IMAGES):
            raise DataError(f"{path}: a folder without images {list(IMAGES)}; give a video.")
        return ImageFolder(path, image_rate)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder.")
    recording = MediaFile(path)
    _ = recording.rate  # opens it once: what is no video is told at once
    return recording


def find_videos(named: Sequence[str]) -> list[Path]:
    """The videos that names stand for: files, folders of images or of videos, patterns.

    A folder of images is one video; of a folder of videos each is one.

    Raises:
        DataError: a name stands for nothing, or for images and videos together.
    """
    found: dict[Path, None] = {}
    for name in named:
        path = Path(name).expanduser()
        matches = [path] if path.exists() else _matching(path)
        if not matches:
            raise DataError(f"{name}: no such file or folder, and no file matches it as a pattern.")
        for match in matches:
            found |= dict.fromkeys(_videos_of(match) if match.is_dir() else [match])
    return list(found)


def _matching(pattern: Path) -> list[Path]:
    root = Path(pattern.anchor or ".")
    return sorted(root.glob(str(pattern.relative_to(pattern.anchor))))


def _videos_of(folder: Path) -> list[Path]:
    images, videos = _of_kind(folder, IMAGES), _of_kind(folder, VIDEOS)
    if images and videos:
        raise DataError(
            f"{folder}: holds {len(images)} images and {len(videos)} videos, e.g. "
            f"{images[0].name} and {videos[0].name}; keep one kind in a folder, or name the files."
        )
    if not images and not videos:
        raise DataError(f"{folder}: holds neither images {list(IMAGES)} nor videos {list(VIDEOS)}.")
    return [folder] if images else sorted(videos)
