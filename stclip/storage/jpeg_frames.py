"""The store `jpeg`: a clip is one file of JPEG pictures, an index and an end.

`{clip}.jpegs`, little-endian:

    pictures    JPEG files one behind the other, in whatever order they came
    index       a row of 20 bytes a frame, by frame number: the number (uint32; 0-based, gaps are
                allowed), CRC-32 of the JPEG file (uint32), its length (uint32), its offset (uint64)
    end         28 bytes: number of frames, height, width, CRC-32 of index and the numbers before
                (4 uint32), offset of the index (uint64), `JPGS`

Pictures are encoded at quality 95 with colours at half the size (4:2:0), unless they come as JPEG
already. Encoder and decoder are OpenCV's.

H, W: height and width of a clip's pictures.
"""

import mmap
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from stclip.storage.clip_files import ClipWriter, StoredClip

SUFFIX = ".jpegs"
_ROW = np.dtype([("frame", "<u4"), ("crc", "<u4"), ("length", "<u4"), ("offset", "<u8")])
_NUMBERS = struct.Struct("<3I")  # of frames, height, width
_END = struct.Struct("<4IQ4s")
_MAGIC = b"JPGS"


class JpegClip:
    """The mapped file of a clip."""

    def __init__(self, path: Path, size: int) -> None:
        """`size`: of the file, in bytes.

        Raises:
            ValueError: it is not such a file, or not a whole one.
        """
        if size < _END.size + _ROW.itemsize:
            raise ValueError(f"{size} bytes are no clip")
        with path.open("rb") as file:
            self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        num_frames, height, width, crc, start, magic = _END.unpack(self._content[-_END.size :])
        if magic != _MAGIC or start + num_frames * _ROW.itemsize + _END.size != size:
            raise ValueError("its end is not that of a whole clip")
        index = self._content[start : size - _END.size]
        if zlib.crc32(_NUMBERS.pack(num_frames, height, width), zlib.crc32(index)) != crc:
            raise ValueError("its index is not what was stored")
        rows = np.frombuffer(index, _ROW)
        self.stored = StoredClip(
            height, width, dict(zip(rows["frame"].tolist(), rows["crc"].tolist(), strict=True))
        )
        self._places = dict(
            zip(self.stored.numbers, rows[["offset", "length"]].tolist(), strict=True)
        )
        contents = np.stack([rows[column] for column in ("frame", "crc", "length")])
        self.identity = f"jpeg {height} {width} ".encode() + contents.tobytes()

    def read(self, frame: int) -> UInt8[np.ndarray, "H W 3"]:
        """The pixels of a frame that is there, read-only.

        Raises:
            ValueError: they are not what was stored.
        """
        offset, length = self._places[frame]
        content = self._content[offset : offset + length]
        if zlib.crc32(content) != self.stored.numbers[frame]:
            raise ValueError(f"frame {frame} is not what was stored")
        picture = _decoded(content)
        if picture is None or picture.shape != (self.stored.height, self.stored.width, 3):
            raise ValueError(f"frame {frame} does not decode")
        picture.flags.writeable = False
        return picture


class JpegWriter(ClipWriter):
    """Writes such a file: the pictures at once, the index and the end last."""

    def __init__(self, path: Path) -> None:
        """`path`: the file to write, in an existing folder."""
        super().__init__(path)
        self._rows: list[tuple[int, int, int, int]] = []
        self._size = 0

    def _put(self, frame: int, picture: np.ndarray, encoded: bytes | None, *, first: bool) -> int:
        as_it_came = None if encoded is None else _decoded(encoded)
        if encoded is not None and as_it_came is not None and np.array_equal(as_it_came, picture):
            content = encoded
        else:
            content = _encoded(picture)
        with self.path.open("wb" if first else "ab") as file:
            file.write(content)
        crc = zlib.crc32(content)
        self._rows.append((frame, crc, len(content), self._size))
        self._size += len(content)
        return crc

    def _finish(self, stored: StoredClip) -> None:
        index = np.array(sorted(self._rows), _ROW).tobytes()
        numbers = (len(self._rows), stored.height, stored.width)
        crc = zlib.crc32(_NUMBERS.pack(*numbers), zlib.crc32(index))
        with self.path.open("ab") as file:
            file.write(index + _END.pack(*numbers, crc, self._size, _MAGIC))


def _encoded(picture: UInt8[np.ndarray, "H W 3"]) -> bytes:
    import cv2  # tables and metrics do without it

    how = (
        *(cv2.IMWRITE_JPEG_QUALITY, 95),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    )
    written, content = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), how)
    assert written
    return content.tobytes()


def _decoded(content: bytes) -> UInt8[np.ndarray, "H W 3"] | None:
    """None where it is no JPEG or does not decode."""
    if content[:2] != b"\xff\xd8":
        return None
    import cv2

    # As it lies in the file, as Pillow takes it: a rotation in its EXIF is not applied.
    how = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(content, np.uint8), how)
