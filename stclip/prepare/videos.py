"""Video files -> stored frames: decoded by PyAV, in the order in which the decoder gives them.

Times in the container are ignored: in UCF101's AVIs (one key frame, two pictures in a packet) they
do not even rise. A frame's number is its place in that order, from 0.
"""

import hashlib
import io
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
from av.error import FFmpegError

from stclip.errors import DataError
from stclip.prepare.resumable import ClipJob, store_clips
from stclip.storage.frame_store import StoreName, clip_writer

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
    """A video file and the clip that it becomes; `where` is for messages."""

    clip: str
    content: bytes
    where: str


def frames_depend_on(store: StoreName) -> str:
    """What decides, beside the files, how the frames of videos are stored; for `write_prepared`."""
    return f"frames of videos, store {store}, PyAV {av.__version__}"


def store_videos(
    files: Iterable[VideoFile],
    frames: Path,
    store: StoreName,
    *,
    total: int,
    check: Callable[[str, StoredVideo], None],
) -> dict[str, StoredVideo]:
    """Decode and store videos; those that an earlier try has stored are not decoded again.

    A video counts as stored earlier if its file is the same, byte for byte.

    Args:
        files: read one after the other.
        frames: existing folder to store in.
        store: how.
        total: number of videos, for the log.
        check: called with every video as soon as it is stored; what it raises ends the work.

    Returns:
        What was stored, by clip.

    Raises:
        DataError: a file is no video, does not decode or has no frames; or as `check` raises.
    """

    def jobs() -> Iterator[ClipJob[StoredVideo]]:
        for file in files:
            sha256 = hashlib.sha256(file.content).hexdigest()
            yield ClipJob(file.clip, sha256, partial(store_video, file, frames, store))

    depends_on = frames_depend_on(store)
    return store_clips(
        jobs(), StoredVideo, frames, store, depends_on=depends_on, total=total, check=check
    )


def store_video(file: VideoFile, frames: Path, store: StoreName) -> StoredVideo:
    """Decode and store one video, whole or not at all, in the memory of one frame.

    Raises:
        DataError: it is no video, does not decode, has no frames or frames of several sizes.
    """
    again = "Get it again: delete the archive and download it, or unpack it anew."
    num_frames = num_damaged = 0
    try:
        with av.open(io.BytesIO(file.content), "r") as container:
            if not container.streams.video:
                raise DataError(f"{file.where}: has no pictures. {again}")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # several videos are decoded at a time instead
            rate = stream.average_rate
            with clip_writer(frames, file.clip, store) as writer:
                for picture in container.decode(stream):
                    num_damaged += picture.is_corrupt
                    writer.add(num_frames, picture.to_ndarray(format="rgb24"))
                    num_frames += 1
                if not num_frames:
                    raise DataError(f"{file.where}: none of its frames decodes. {again}")
            stored = writer.stored
    except FFmpegError as error:
        raise DataError(
            f"{file.where}: does not decode as video after {num_frames} frames ({error.strerror}). "
            f"{again}"
        ) from None
    except DataError as error:
        named = file.where in str(error)  # what stores a clip does not know its file
        raise (error if named else DataError(f"{file.where}: {error}")) from None
    if rate is None:
        raise DataError(f"{file.where}: does not tell its frame rate. {again}")
    return StoredVideo(
        num_frames, stored.height, stored.width, float(rate), num_damaged,
        is_cut=_is_cut(file.content),
    )  # fmt: skip


def _is_cut(content: bytes) -> bool:
    """Whether an AVI is shorter than its first bytes say."""
    mark, length = _RIFF.unpack_from(content.ljust(_RIFF.size, b"\0"))
    return bool(mark == b"RIFF" and len(content) < _RIFF.size + length)
