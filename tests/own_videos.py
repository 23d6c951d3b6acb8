"""Videos that tests draw and encode, and a detector that finds what is drawn in them."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from stclip.config import Params
from stclip.detect.backends.backend import NOTHING, Found

WIDTH, HEIGHT, RATE = 160, 96, 10


class Bright:
    """Finds patches brighter than half, the brightest first; a patch's brightness is its score."""

    needs_frames = True
    frames: list[int] = []  # noqa: RUF012
    Config = Params

    def __init__(self, config, *, settings, files, clips) -> None:  # type: ignore[no-untyped-def]
        pass

    def find(self, keys, pictures):  # type: ignore[no-untyped-def]
        Bright.frames += [frame for _, frame in keys]
        return [_patches(picture) for picture in pictures]


class Steady(Bright):
    """Two boxes at fixed places, whatever there is; scores by the picture's mean."""

    def find(self, keys, pictures):  # type: ignore[no-untyped-def]
        boxes = np.array([[10, 5, 30, 40], [35, 8, 60, 45]], np.float32)
        return [
            Found(boxes, np.array([0.9, 0.5 + float(p.mean()) / 1000], np.float32))
            for p in pictures
        ]


def _patches(picture: np.ndarray) -> Found:
    mask = (picture.min(2) > 127).astype(np.uint8)
    count, _, about, _ = cv2.connectedComponentsWithStats(mask)
    rows = [
        (picture[y : y + h, x : x + w].mean() / 255, (x, y, x + w - 1, y + h - 1))
        for x, y, w, h, area in about[1:count].tolist()
        if area > 0.002 * mask.size
    ]
    rows.sort(reverse=True)
    if not rows:
        return NOTHING
    return Found(
        np.array([box for _, box in rows], np.float32),
        np.array([score for score, _ in rows], np.float32),
    )


def walkers(num_frames: int, *, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[np.ndarray]:
    """Two bright persons on dark ground: one walks to the right, the other stands at the right."""
    width, height = size
    pictures = []
    for number in range(num_frames):
        picture = np.full((height, width, 3), 30, np.uint8)
        left = int(width * (0.05 + 0.25 * number / max(1, num_frames - 1)))
        picture[height // 4 : -height // 6, left : left + width // 8] = 245
        picture[height // 3 : -height // 6, -width // 5 : -width // 12] = 215
        pictures.append(picture)
    return pictures


def encode(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    rate: int = RATE,
    times_s: Sequence[float] | None = None,
    codec: str = "mpeg4",
    gop: int = 5,
) -> Path:
    """Write a video; `times_s`: when each picture is shown, at a rate that varies."""
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = gop
        if codec == "mpeg4":
            stream.codec_context.qmin = stream.codec_context.qmax = 2
        base = Fraction(1, 1000) if times_s is not None else Fraction(1, rate)
        stream.codec_context.time_base = base
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number if times_s is None else round(1000 * times_s[number])
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turn(path: Path) -> Path:
    """Say in an mp4, as a phone held upright does, that it is shown a quarter turn clockwise."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40  # of version 0
    one = 1 << 16
    content[start : start + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def write_images(folder: Path, pictures: Sequence[np.ndarray]) -> Path:
    """A folder of PNGs, 1.png, 2.png, ... as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures, 1):
        cv2.imwrite(str(folder / f"{number}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return folder
