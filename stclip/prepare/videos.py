"""Video files -> stored frames: decoded by PyAV, in the order in which the decoder gives them.

Times in the container are ignored: in UCF101's AVIs (one key frame, two pictures in a packet) they
do not even rise. A frame's number is its place in that order, from 0. Frames are stored upright, as
players and annotation tools show them: phones film sideways and write down how to turn the picture.

H, W: height and width of a picture.
"""

import hashlib
import io
import struct
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from jaxtyping import UInt8

from stclip.errors import DataError
from stclip.prepare.moments import scaled
from stclip.prepare.resumable import ClipJob, store_clips
from stclip.storage.files import digest
from stclip.storage.frame_store import StoreName, clip_writer

_AGAIN = "Get it again: delete the archive and download it, or unpack it anew."
_RIFF = struct.Struct("<4sI")  # how an AVI begins: a mark, the number of bytes that follow


@dataclass(frozen=True)
class StoredVideo:
    """What was found in a video file and stored."""

    num_frames: int
    height: int
    width: int
    fps: float
    num_damaged: int  # frames that the decoder had to mend
    is_cut: bool  # the file is shorter than it says


@dataclass(frozen=True)
class VideoFile:
    """A video file and the clip that it becomes; `where` is for messages.

    `content`: its bytes, where they come from an archive, or its path.
    """

    clip: str
    content: bytes | Path
    where: str

    @property
    def sha256(self) -> str:
        """Of the bytes."""
        if isinstance(self.content, Path):
            return digest(self.content)
        return hashlib.sha256(self.content).hexdigest()

    @property
    def is_cut(self) -> bool:
        """Whether an AVI is shorter than its first bytes say."""
        if isinstance(self.content, Path):
            size = self.content.stat().st_size
            with self.content.open("rb") as file:
                start = file.read(_RIFF.size)
        else:
            size, start = len(self.content), self.content[: _RIFF.size]
        mark, length = _RIFF.unpack_from(start.ljust(_RIFF.size, b"\0"))
        return bool(mark == b"RIFF" and size < _RIFF.size + length)

    @contextmanager
    def decoded(self) -> Iterator[tuple[av.VideoStream, Iterator[av.VideoFrame]]]:
        """Its first video stream and the pictures, in the decoder's order.

        Raises:
            DataError: it has no pictures. FFmpegError: it is no video, or does not decode.
        """
        source = str(self.content) if isinstance(self.content, Path) else io.BytesIO(self.content)
        with av.open(source, "r") as container:
            if not container.streams.video:
                raise DataError(f"{self.where}: has no pictures. {_AGAIN}")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # several videos are decoded at a time instead
            yield stream, container.decode(stream)


def upright(picture: av.VideoFrame) -> UInt8[np.ndarray, "H W 3"]:
    """The RGB pixels, turned as the file says."""
    pixels = picture.to_ndarray(format="rgb24")
    turns = round(picture.rotation / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def read_pictures(
    file: VideoFile, numbers: Collection[int]
) -> dict[int, UInt8[np.ndarray, "H W 3"]]:
    """Some pictures of a video by their numbers, as they would be stored; those that it has."""
    found: dict[int, UInt8[np.ndarray, "H W 3"]] = {}
    last = max(numbers, default=-1)
    with file.decoded() as (_, pictures):
        for number, picture in enumerate(pictures):
            if number in numbers:
                found[number] = upright(picture)
            if number >= last:
                break
    return found


def frames_depend_on(store: StoreName, short_side: int | None = None) -> str:
    """What decides, beside the files, how the frames of videos are stored; for `write_prepared`."""
    size = "" if short_side is None else f", short side {short_side}"
    return f"frames of videos, store {store}{size}, PyAV {av.__version__}"


def store_videos(
    files: Iterable[VideoFile],
    frames: Path,
    store: StoreName,
    *,
    total: int,
    check: Callable[[str, StoredVideo], None],
    short_side: int | None = None,
) -> dict[str, StoredVideo]:
    """Decode and store videos; those that an earlier try has stored are not decoded again.

    A video counts as stored earlier if its file is the same, byte for byte.

    Args:
        files: read one after the other.
        frames: existing folder to store in.
        store: how.
        total: number of videos, for the log.
        check: called with every video as soon as it is stored; what it raises ends the work.
        short_side: pixels that the shorter side of a stored frame has at most; None: as it is.

    Returns:
        What was stored, by clip.

    Raises:
        DataError: a file is no video, does not decode or has no frames; or as `check` raises.
    """

    def jobs() -> Iterator[ClipJob[StoredVideo]]:
        for file in files:
            work = partial(store_video, file, frames, store, short_side=short_side)
            yield ClipJob(file.clip, file.sha256, work)

    depends_on = frames_depend_on(store, short_side)
    return store_clips(
        jobs(), StoredVideo, frames, store, depends_on=depends_on, total=total, check=check
    )


def store_video(
    file: VideoFile, frames: Path, store: StoreName, *, short_side: int | None = None
) -> StoredVideo:
    """Decode and store one video, whole or not at all, in the memory of one frame.

    Raises:
        DataError: it is no video, does not decode, has no frames or frames of several sizes.
    """
    num_frames = num_damaged = 0
    try:
        with file.decoded() as (stream, pictures):
            rate = stream.average_rate or stream.guessed_rate
            with clip_writer(frames, file.clip, store) as writer:
                for picture in pictures:
                    num_damaged += picture.is_corrupt
                    pixels = upright(picture)
                    writer.add(num_frames, scaled(pixels, short_side) if short_side else pixels)
                    num_frames += 1
                if not num_frames:
                    raise DataError(f"{file.where}: none of its frames decodes. {_AGAIN}")
            stored = writer.stored
    except FFmpegError as error:
        raise DataError(
            f"{file.where}: does not decode as video after {num_frames} frames ({error.strerror}). "
            f"{_AGAIN}"
        ) from None
    except DataError as error:
        named = file.where in str(error)  # what stores a clip does not know its file
        raise (error if named else DataError(f"{file.where}: {error}")) from None
    if rate is None:
        raise DataError(f"{file.where}: does not tell its frame rate. {_AGAIN}")
    return StoredVideo(
        num_frames, stored.height, stored.width, float(rate), num_damaged, is_cut=file.is_cut
    )
