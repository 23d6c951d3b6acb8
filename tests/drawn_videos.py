"""Small videos of one's own for tests; every picture shows its number in blocks."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS, BLOCK = 5, 16
HEIGHT, WIDTH, FRAMES, FPS = 48, BITS * BLOCK, 12, 25
# of a display matrix in an MP4's track header: 16.16 fixed point, the last column 2.30
_UPRIGHT = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_QUARTER = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, HEIGHT << 16, 0, 1 << 30)


def picture(number: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    pixels = np.full((*size, 3), 90, np.uint8)
    for bit in range(BITS):
        pixels[: size[0] // 2, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return pixels


def number_of(pixels: np.ndarray) -> int:
    blocks = [pixels[: HEIGHT // 2, bit * BLOCK : (bit + 1) * BLOCK].mean() for bit in range(BITS)]
    return sum(int(mean > 127) << bit for bit, mean in enumerate(blocks))


def write_video(
    path: Path,
    *,
    frames: int = FRAMES,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    at: list[int] | None = None,
    turned: bool = False,
) -> Path:
    """`at`: places of the pictures on a grid of 1 / FPS; `turned`: by a quarter, clockwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts, frame.time_base = (at or range(frames))[number], Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if turned:
        content = path.read_bytes()
        start = content.index(b"tkhd")
        place = content.index(_UPRIGHT, start)
        path.write_bytes(content[:place] + _QUARTER + content[place + len(_QUARTER) :])
    return path
