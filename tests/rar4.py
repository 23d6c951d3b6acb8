"""Writes .rar archives (format 4) of files that are stored, not compressed.

No free program writes .rar. The format: a mark, a head, a block a file with its bytes behind it, an
end. A block is: CRC-32 of what follows in it (its lower half), kind, flags, length, its own fields.
"""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

MARK = b"Rar!\x1a\x07\x00"
MAIN, FILE, END = 0x73, 0x74, 0x7B  # kinds of block
HAS_DATA, IS_FOLDER, SOLID = 0x8000, 0xE0, 0x8  # flags
UNIX, DATE, VERSION = 3, 1 << 21 | 1 << 16, 29  # 1980-01-01
STORED, NORMAL = 0x30, 0x33  # ways of compression
PLAIN, FOLDER, LINK = 0o100644, 0o40755, 0o120777  # modes


def write_rar(
    path: Path,
    files: Mapping[str, bytes | None],
    *,
    mode: int = PLAIN,
    method: int = STORED,
    solid: bool = False,
) -> Path:
    """Write an archive: name -> content, None for a folder; returns `path`.

    `mode`, `method` and `solid` are what it says of the files; they are stored all the same.
    """
    blocks = [_block(MAIN, SOLID if solid else 0, bytes(6))]
    for name, content in files.items():
        if content is None:
            blocks.append(_member(name, b"", mode=FOLDER, flags=IS_FOLDER))
        else:
            blocks.append(_member(name, content, mode=mode, method=method))
    path.write_bytes(MARK + b"".join(blocks) + END_BLOCK)
    return path


def _member(name: str, content: bytes, *, mode: int, flags: int = 0, method: int = STORED) -> bytes:
    raw = name.replace("/", "\\").encode("ascii")
    sizes = (len(content), len(content))  # packed, unpacked
    fields = (UNIX, zlib.crc32(content), DATE, VERSION, method, len(raw), mode)
    head = struct.pack("<IIBIIBBHI", *sizes, *fields) + raw
    return _block(FILE, HAS_DATA | flags, head) + content


def _block(kind: int, flags: int, fields: bytes) -> bytes:
    head = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head


END_BLOCK = _block(END, 0x4000, b"")
