"""Frames as small pictures that are embedded in a page; together they stay within a budget."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stclip.errors import ConfigError
from stclip.progress import Progress
from stclip.storage.frame_store import read_frame

WIDTHS = (320, 240, 192, 160, 128, 96, 64)  # pixels; frames are never enlarged
BUDGET = 14_000_000  # characters of base64, of a page of 20 MB
SAMPLE = 24  # frames that tell how much a width takes
MARGIN = 1.15  # of the estimate
WEBP = {"quality": 60, "method": 2}


@dataclass(frozen=True)
class StoredFrame:
    """Where a frame is read."""

    frames: Path  # folder of the frame store
    clip: str
    frame: int  # 0-based


def thumbnails(frames: Sequence[StoredFrame], *, budget: int = BUDGET) -> tuple[list[str], int]:
    """The frames as WebP in base64, all of one width, the largest that fits the budget.

    Returns:
        A picture of each frame, and the width of the widest in pixels.

    Raises:
        ConfigError: they do not fit at the smallest width. DataError: a frame is missing.
    """
    if not frames:
        return [], 0
    spread = np.linspace(0, len(frames) - 1, min(SAMPLE, len(frames))).round().astype(int)
    sample = [read_frame(f.frames, f.clip, f.frame) for f in (frames[i] for i in spread)]
    for width in WIDTHS:
        mean = np.mean([len(_encoded(picture, width)) for picture in sample])
        if mean * len(frames) * MARGIN <= budget:
            break
    else:
        raise ConfigError(
            f"--most: pictures of {len(frames)} frames take about {mean * len(frames) / 1e6:.0f} "
            f"MB at {width} pixels, more than the page's {budget / 1e6:.0f} MB; ask for fewer "
            "predictions."
        )
    progress, pictures = Progress("pictures", total=len(frames)), []
    for stored in frames:
        pictures.append(_encoded(read_frame(stored.frames, stored.clip, stored.frame), width))
        progress.advance()
    return pictures, min(width, max(picture.width for picture in sample))


def _encoded(picture: Image.Image, width: int) -> str:
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2)
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "webp", **WEBP)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
