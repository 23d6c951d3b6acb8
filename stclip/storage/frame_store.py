"""Stores and reads prepared frames; the only place that knows how they lie on the disk.

A clip is one file of the folder of frames. There are two stores: `decoded`, memory-mapped pixels
(`stclip.storage.decoded_frames`), and `jpeg`, a tenth of the size, each frame decoded when it is
read (`stclip.storage.jpeg_frames`). Who writes says which; who reads need not know, the file that
is there tells it. Every frame has a CRC-32, checked when it is read. `benchmarks/frames.py`
measures both, `docs/data.md` states what they cost.

T: frames of a clip; H, W: height and width of its pictures.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from stclip.errors import DataError
from stclip.storage import decoded_frames, jpeg_frames
from stclip.storage.clip_files import ClipWriter, OpenClip, StoredClip
from stclip.storage.files import whole_file

StoreName = Literal["decoded", "jpeg"]


@dataclass(frozen=True)
class _Store:
    suffix: str
    reader: Callable[[Path, int], OpenClip]
    writer: Callable[[Path], ClipWriter]


_STORES: dict[StoreName, _Store] = {
    "decoded": _Store(
        decoded_frames.SUFFIX, decoded_frames.DecodedClip, decoded_frames.DecodedWriter
    ),
    "jpeg": _Store(jpeg_frames.SUFFIX, jpeg_frames.JpegClip, jpeg_frames.JpegWriter),
}
# A mapping holds a file descriptor: a process (a DataLoader worker too) keeps only so many.
_OPEN_CLIPS = 32


def clip_file(frames: Path, clip: str, store: StoreName = "decoded") -> Path:
    """Where a store has a clip's frames."""
    return frames / f"{clip}{_STORES[store].suffix}"


def read_frame(frames: Path, clip: str, frame: int) -> Image.Image:
    """The RGB picture of a 0-based frame; as `read_pixels`."""
    return Image.fromarray(read_pixels(frames, clip, frame))


def read_pixels(frames: Path, clip: str, frame: int) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of a 0-based frame, read-only; those of the store `decoded` are not copied.

    Raises:
        DataError: the clip's file is missing or damaged, or the clip has no such frame.
    """
    path, opened = _open(frames, clip)
    if frame not in opened.stored.numbers:
        raise DataError(
            f"{path}: frame {frame} of clip {clip!r} is missing, there are "
            f"{_which(opened.stored)}; run prepare again."
        )
    try:
        return opened.read(frame)
    except ValueError as error:
        raise _damaged(path, str(error)) from None


def read_clip(frames: Path, clip: str) -> UInt8[np.ndarray, "T H W 3"]:
    """All frames of a clip, by their numbers; as `read_pixels`."""
    numbers = stored_clip(frames, clip).numbers
    return np.stack([read_pixels(frames, clip, frame) for frame in sorted(numbers)])


def stored_clip(frames: Path, clip: str) -> StoredClip:
    """Size and frame numbers of a clip, without reading a picture.

    Raises:
        DataError: its file is missing or damaged.
    """
    return _open(frames, clip)[1].stored


def whole_clips(frames: Path) -> dict[str, StoredClip]:
    """The clips that a folder of frames holds whole; their pictures are not read.

    What a killed process left half-written is not among them.
    """
    found = {}
    for path in sorted(frames.iterdir()):
        if path.suffix in {store.suffix for store in _STORES.values()} and path.name[0] != ".":
            try:
                found[path.stem] = stored_clip(frames, path.stem)
            except DataError:
                continue
    return found


def manifest(frames: Path, clips: Iterable[str]) -> str:
    """A SHA-256 that tells the frames of these clips from any others, without reading a picture.

    It is made of their sizes and checksums. A clip that is not there counts as such.

    Raises:
        DataError: a file is damaged.
    """
    found = hashlib.sha256()
    for clip in sorted({*clips}):
        found.update(f"{len(clip)} {clip} ".encode())
        if any(clip_file(frames, clip, store).exists() for store in _STORES):
            found.update(_open(frames, clip)[1].identity)
    return found.hexdigest()


def _open(frames: Path, clip: str) -> tuple[Path, OpenClip]:
    there = []
    for name in _STORES:
        path = clip_file(frames, clip, name)
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        # a file that was replaced is opened anew
        there.append((name, path, (stat.st_ino, stat.st_size, stat.st_mtime_ns)))
    if not there:
        *others, last = (clip_file(frames, clip, name) for name in reversed(_STORES))
        either = "".join(f"{path} or " for path in others)
        raise DataError(f"{either}{last}: frames of clip {clip!r} are missing; run prepare again.")
    if len(there) > 1:
        raise _damaged(there[0][1], f"{there[1][1].name} beside it holds the same clip")
    return there[0][1], _mapped(*there[0])


@lru_cache(maxsize=_OPEN_CLIPS)
def _mapped(store: StoreName, path: Path, version: tuple[int, int, int]) -> OpenClip:
    try:
        return _STORES[store].reader(path, version[1])
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    except Exception as error:  # a damaged header raises almost anything
        raise _damaged(path, f"{type(error).__name__}: {error}") from None


def _which(stored: StoredClip) -> str:
    first, last = min(stored.numbers), max(stored.numbers)
    number = len(stored.numbers)
    return f"{first} to {last}" if number == last - first + 1 else f"{number} of {first} to {last}"


def _damaged(path: Path, finding: str) -> DataError:
    return DataError(f"{path}: damaged ({finding}); delete {path.parent} and run prepare again.")


@contextmanager
def clip_writer(frames: Path, clip: str, store: StoreName = "decoded") -> Iterator[ClipWriter]:
    """Yield what takes the frames of one clip, one by one; stored whole or not at all.

    Raises:
        DataError: at the end, if there is no frame, or a gap where the store has none.
    """
    path = clip_file(frames, clip, store)
    with whole_file(path) as temporary:
        writer = _STORES[store].writer(temporary)
        yield writer
        try:
            writer.finish()
        except DataError as error:
            raise DataError(f"{clip}: {error}") from None


def write_clip(
    frames: Path,
    clip: str,
    pictures: UInt8[np.ndarray, "T H W 3"],
    *,
    store: StoreName = "decoded",
) -> None:
    """Store a clip's frames, whole or not at all."""
    with clip_writer(frames, clip, store) as writer:
        for frame, picture in enumerate(pictures):
            writer.add(frame, picture)


class FrameWriter:
    """Stores frames one by one, in whatever order and of whatever clips, in the memory of one.

    Until `finish` the files are not readable as clips.
    """

    def __init__(self, frames: Path, store: StoreName = "decoded") -> None:
        """`frames`: an existing folder."""
        self.frames = frames
        self.store = store
        self._writers: dict[str, ClipWriter] = {}

    @property
    def clips(self) -> dict[str, StoredClip]:
        """What is stored by now, by clip."""
        return {clip: writer.stored for clip, writer in self._writers.items()}

    def add(
        self,
        clip: str,
        frame: int,
        picture: UInt8[np.ndarray, "H W 3"],
        *,
        encoded: bytes | None = None,
    ) -> None:
        """Store one frame; as `ClipWriter.add`."""
        writer = self._writers.get(clip)
        if writer is None:
            writer = _STORES[self.store].writer(clip_file(self.frames, clip, self.store))
        writer.add(frame, picture, encoded=encoded)
        self._writers[clip] = writer

    def finish(self) -> None:
        """Make the clips readable.

        Raises:
            DataError: a clip has a gap where the store has none.
        """
        for clip, writer in self._writers.items():
            try:
                writer.finish()
            except DataError as error:
                raise DataError(f"{clip}: {error}") from None
