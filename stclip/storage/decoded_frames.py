"""The store `decoded`: a clip is one numpy file of its pixels, memory-mapped when it is read.

`{clip}.npy`: the frames as uint8 (T, H, W, 3), RGB, 0-based in time and without gap; behind them
the CRC-32 of each (T little-endian uint32). A frame costs what its bytes cost: nothing is decoded
again by any method, epoch or scale.

T: frames of a clip; H, W: height and width of its pictures.
"""

import io
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from stclip.errors import DataError
from stclip.storage.clip_files import ClipWriter, StoredClip

SUFFIX = ".npy"
_HEADER_BYTES = 128  # of a .npy file; numpy leaves room in it for a longer first axis


class DecodedClip:
    """The mapped file of a clip."""

    def __init__(self, path: Path, size: int) -> None:
        """`size`: of the file, in bytes.

        Raises:
            ValueError: it is not such a file, or not a whole one.
        """
        mapped = np.lib.format.open_memmap(path, mode="r")
        if mapped.dtype != np.uint8 or mapped.ndim != 4 or mapped.shape[3] != 3 or not mapped.size:
            raise ValueError(f"expected uint8 (T, H, W, 3), found {mapped.dtype} {mapped.shape}")
        end, checksums_bytes = mapped.offset + mapped.size, 4 * len(mapped)
        if size != end + checksums_bytes or not mapped.flags.c_contiguous:
            raise ValueError(f"{size} bytes long, expected are {end + checksums_bytes}")
        checksums = np.fromfile(path, "<u4", offset=end)
        # the mapping stays behind the view; np.memmap makes slices slow
        self._pictures = mapped.view(np.ndarray)
        _, height, width, _ = mapped.shape
        self.stored = StoredClip(height, width, dict(enumerate(checksums.tolist())))
        self.identity = f"{mapped.shape} ".encode() + checksums.tobytes()

    def read(self, frame: int) -> UInt8[np.ndarray, "H W 3"]:
        """The pixels of a frame that is there, read-only and not copied.

        Raises:
            ValueError: they are not what was stored.
        """
        picture = self._pictures[frame]
        if zlib.crc32(picture.data) != self.stored.numbers[frame]:
            raise ValueError(f"frame {frame} is not what was stored")
        return picture


class DecodedWriter(ClipWriter):
    """Writes such a file: the pixels at once, the header and the checksums at the end."""

    def _put(self, frame: int, picture: np.ndarray, encoded: bytes | None, *, first: bool) -> int:
        pixels = np.ascontiguousarray(picture).data
        with self.path.open("wb" if first else "r+b") as file:
            file.seek(_HEADER_BYTES + frame * picture.nbytes)
            file.write(pixels)
        return zlib.crc32(pixels)

    def _finish(self, stored: StoredClip) -> None:
        num_frames = len(stored.numbers)
        if max(stored.numbers) != num_frames - 1:
            missing = min(set(range(num_frames)) - stored.numbers.keys())
            raise DataError(f"frame {missing} (0-based) is missing.")
        checksums = np.array([stored.numbers[frame] for frame in range(num_frames)], "<u4")
        with self.path.open("r+b") as file:
            file.write(_header((num_frames, stored.height, stored.width, 3)))
            file.seek(0, io.SEEK_END)
            file.write(checksums.tobytes())


def _header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    content = buffer.getvalue()
    assert len(content) == _HEADER_BYTES, len(content)
    return content
