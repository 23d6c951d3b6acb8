"""Stores and reads prepared frames; the only place that knows how they lie on the disk.

A clip is one file, `{frames}/{clip}.npy`: its decoded frames as uint8 (T, H, W, 3), RGB, 0-based in
time, and behind them the CRC-32 of each (T little-endian uint32), checked when the frame is read. A
file is memory-mapped when it is read, so a frame costs what its bytes cost and nothing is decoded
again by any method, epoch or scale. `benchmarks/frames.py` measures this against PNG and JPEG,
`docs/data.md` states what it costs.

T: frames of a clip; H, W: height and width of its pictures.
"""

import hashlib
import io
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt32
from PIL import Image

from stclip.errors import DataError
from stclip.storage.files import whole_file

_HEADER_BYTES = 128  # of a .npy file; numpy leaves room in it for a longer first axis
# A mapping holds a file descriptor: a process (a DataLoader worker too) keeps only so many.
_OPEN_CLIPS = 32


def clip_file(frames: Path, clip: str) -> Path:
    """Where a clip's frames lie."""
    return frames / f"{clip}.npy"


@dataclass(frozen=True)
class _Stored:
    """The mapped file of a clip: the disk is read where its frames are looked at."""

    pictures: UInt8[np.ndarray, "T H W 3"]
    checksums: UInt32[np.ndarray, " T"]


def read_clip(frames: Path, clip: str) -> UInt8[np.ndarray, "T H W 3"]:
    """All frames of a clip; as `read_pixels`."""
    count = len(_open(frames, clip).pictures)
    return np.stack([read_pixels(frames, clip, frame) for frame in range(count)])


def manifest(frames: Path, clips: Iterable[str]) -> str:
    """A SHA-256 that tells the frames of these clips from any others, without reading a picture.

    It is made of their sizes and checksums. A clip that is not there counts as such.

    Raises:
        DataError: a file is damaged.
    """
    found = hashlib.sha256()
    for clip in sorted({*clips}):
        found.update(f"{len(clip)} {clip} ".encode())
        if clip_file(frames, clip).exists():
            stored = _open(frames, clip)
            found.update(f"{stored.pictures.shape} ".encode() + stored.checksums.tobytes())
    return found.hexdigest()


def _open(frames: Path, clip: str) -> _Stored:
    path = clip_file(frames, clip)
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise DataError(
            f"{path}: frames of clip {clip!r} are missing; run prepare again."
        ) from None
    # a file that was replaced is opened anew
    return _mapped(path, (stat.st_ino, stat.st_size, stat.st_mtime_ns))


def read_frame(frames: Path, clip: str, frame: int) -> Image.Image:
    """The RGB picture of a 0-based frame; as `read_pixels`."""
    return Image.fromarray(read_pixels(frames, clip, frame))


def read_pixels(frames: Path, clip: str, frame: int) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of a 0-based frame, read-only and not copied.

    Raises:
        DataError: the clip's file is missing or damaged, or the clip has no such frame.
    """
    stored = _open(frames, clip)
    if not 0 <= frame < len(stored.pictures):
        raise DataError(
            f"{clip_file(frames, clip)}: frame {frame} of clip {clip!r} is missing, there are 0 to "
            f"{len(stored.pictures) - 1}; run prepare again."
        )
    picture = stored.pictures[frame]
    if zlib.crc32(picture.data) != stored.checksums[frame]:
        raise _damaged(clip_file(frames, clip), f"frame {frame} is not what was stored")
    return picture


@lru_cache(maxsize=_OPEN_CLIPS)
def _mapped(path: Path, version: tuple[int, int, int]) -> _Stored:
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a damaged header raises almost anything
        raise _damaged(path, f"{type(error).__name__}: {error}") from None
    if mapped.dtype != np.uint8 or mapped.ndim != 4 or mapped.shape[3] != 3 or not mapped.size:
        raise _damaged(path, f"expected uint8 (T, H, W, 3), found {mapped.dtype} {mapped.shape}")
    end, checksums_bytes = mapped.offset + mapped.size, 4 * len(mapped)
    if version[1] != end + checksums_bytes or not mapped.flags.c_contiguous:
        raise _damaged(path, f"{version[1]} bytes long, expected are {end + checksums_bytes}")
    checksums = np.fromfile(path, "<u4", offset=end)
    # the mapping stays behind the view; np.memmap makes slices slow
    return _Stored(mapped.view(np.ndarray), checksums)


def _damaged(path: Path, finding: str) -> DataError:
    return DataError(f"{path}: damaged ({finding}); delete {path.parent} and run prepare again.")


def write_clip(frames: Path, clip: str, pictures: UInt8[np.ndarray, "T H W 3"]) -> None:
    """Store a clip's frames, whole or not at all."""
    path = clip_file(frames, clip)
    with whole_file(path) as temporary:
        checksums = _checksums(zlib.crc32(picture.tobytes()) for picture in pictures)
        temporary.write_bytes(_header(pictures.shape) + pictures.tobytes() + checksums)


@dataclass
class StoredClip:
    """What a `FrameWriter` has stored of a clip."""

    height: int
    width: int
    numbers: dict[int, int] = field(default_factory=dict)  # 0-based number -> CRC-32


class FrameWriter:
    """Stores frames one by one, in whatever order they come, in the memory of one frame.

    Their number is known at the end only: until `finish` writes headers and checksums, the files
    are not readable as clips.
    """

    def __init__(self, frames: Path) -> None:
        """`frames`: an existing folder."""
        self.frames = frames
        self.clips: dict[str, StoredClip] = {}

    def add(self, clip: str, frame: int, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Store one frame.

        Raises:
            DataError: the clip has this frame already, or frames of another size.
        """
        height, width = picture.shape[:2]
        known = self.clips.setdefault(clip, StoredClip(height, width))
        if (known.height, known.width) != (height, width):
            raise DataError(
                f"is {width}x{height}, the clip's first picture {known.width}x{known.height}; all "
                "pictures of a clip have one size."
            )
        if frame in known.numbers:
            raise DataError("is there twice.")
        path, pixels = clip_file(self.frames, clip), np.ascontiguousarray(picture).data
        with path.open("r+b" if known.numbers else "wb") as file:
            file.seek(_HEADER_BYTES + frame * picture.nbytes)
            file.write(pixels)
        known.numbers[frame] = zlib.crc32(pixels)

    def finish(self) -> None:
        """Make the clips readable.

        Raises:
            DataError: a clip's frames are not 0 to T - 1.
        """
        for clip, stored in self.clips.items():
            num_frames = len(stored.numbers)
            if max(stored.numbers) != num_frames - 1:
                missing = min(set(range(num_frames)) - stored.numbers.keys())
                raise DataError(f"{clip}: frame {missing} (0-based) is missing.")
            with clip_file(self.frames, clip).open("r+b") as file:
                file.write(_header((num_frames, stored.height, stored.width, 3)))
                file.seek(0, io.SEEK_END)
                file.write(_checksums(stored.numbers[frame] for frame in range(num_frames)))


def _checksums(found: Iterable[int]) -> bytes:
    return np.fromiter(found, "<u4").tobytes()


def _header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    content = buffer.getvalue()
    assert len(content) == _HEADER_BYTES, len(content)
    return content
