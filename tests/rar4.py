"""Writes RAR 4 (2.9) archives with stored members: marker, main header, file headers, end.

No free program writes the format; unar and rarfile read it.
"""

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

MARKER = b"Rar!\x1a\x07\x00"
MAIN, FILE, END = 0x73, 0x74, 0x7B
LONG_BLOCK, IS_FOLDER, NO_VOLUMES = 0x8000, 0xE0, 0x4000
UNIX, STORED, VERSION = 3, 0x30, 29
TIME_1980 = 1 << 21 | 1 << 16  # first of January, as DOS has it
FOLDER_MODE, FILE_MODE = 0o40755, 0o100644


def write_rar(path: Path, members: Iterable[tuple[str, bytes | None]]) -> None:
    """Write name and content of each member; None is a folder."""
    with path.open("wb") as file:
        file.write(MARKER + _block(MAIN, 0, bytes(6)))
        for name, content in members:
            file.write(_header(name, content) + (content or b""))
        file.write(_block(END, NO_VOLUMES, b""))


def _header(name: str, content: bytes | None) -> bytes:
    raw = name.replace("/", "\\").encode("ascii")
    size = len(content or b"")
    body = struct.pack(
        "<IIBIIBBHI", size, size, UNIX, zlib.crc32(content or b""), TIME_1980, VERSION, STORED,
        len(raw), FOLDER_MODE if content is None else FILE_MODE,
    )  # fmt: skip
    return _block(FILE, LONG_BLOCK | (IS_FOLDER if content is None else 0), body + raw)


def _block(kind: int, flags: int, body: bytes) -> bytes:
    head = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
    return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head
