"""CLIP's own picture preprocessing, for whole frames and for person crops.

The cover-and-centre-crop rule is OpenAI CLIP's (shorter side to 224, bicubic, centre 224), written
for any height x width. Pictures come and go as uint8; the backbone normalises.
"""

import numpy as np
from PIL import Image

from stclip.config import CropMode, Preprocessing

CLIPS_OWN = Preprocessing()
INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def to_model(
    image: Image.Image,
    size: tuple[int, int],
    preprocessing: Preprocessing = CLIPS_OWN,
) -> np.ndarray:
    """Resize until the picture covers `size` (height, width), then cut its centre.

    With `enlarge` it covers that many times the size: 256 / 224 is what many video methods do. With
    `frame_mode` squash nothing is cut and the aspect ratio is lost.

    Returns:
        uint8 (3, height, width).
    """
    height, width = size
    how = INTERPOLATIONS[preprocessing.interpolation]
    if preprocessing.frame_mode == "squash":
        return to_array(image.resize((width, height), how))
    enlarge = preprocessing.enlarge
    over_height, over_width = round(height * enlarge), round(width * enlarge)
    if image.width * height <= image.height * width:  # the width is the tight side
        resized = (over_width, int(over_width * image.height / image.width))
    else:
        resized = (int(over_height * image.width / image.height), over_height)
    picture = image.resize(resized, how) if resized != image.size else image
    left, top = round((resized[0] - width) / 2), round((resized[1] - height) / 2)
    return to_array(picture.crop((left, top, left + width, top + height)))


def crop_box(
    image: Image.Image,
    box_xyxy: np.ndarray,
    size: tuple[int, int],
    *,
    mode: CropMode,
    scale: float,
) -> np.ndarray:
    """Cut a person or an object out and bring the crop to `size` (height, width).

    Modes: `center` as CLIP does (cuts tall persons; the released ST-CLIP), `squash` (aspect ratio
    lost), `pad` (whole box on black), `context` (the box is widened to the aspect ratio of `size`
    and moved inside the picture, so nothing is distorted, and cut only where the picture is too
    small for it).

    Returns:
        uint8 (3, height, width).
    """
    height, width = size
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    if scale != 1.0:
        grow_x, grow_y = (x2 - x1) * (scale - 1) / 2, (y2 - y1) * (scale - 1) / 2
        x1, y1, x2, y2 = x1 - grow_x, y1 - grow_y, x2 + grow_x, y2 + grow_y
    if mode == "context":
        x1, x2 = _widen(x1, x2, at_least=(y2 - y1) * width / height, limit=image.width)
        y1, y2 = _widen(y1, y2, at_least=(x2 - x1) * height / width, limit=image.height)
    left, top, right, bottom = (round(v) for v in (x1, y1, x2, y2))
    if scale != 1.0:  # an enlarged box stays inside the picture; a published box is cut as it is
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, image.width), min(bottom, image.height)
    crop = image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    if mode == "squash":
        return to_array(crop.resize((width, height), Image.Resampling.BICUBIC))
    if mode == "pad":
        side = max(crop.width / width, crop.height / height)
        canvas = Image.new("RGB", (round(side * width), round(side * height)))
        canvas.paste(crop, ((canvas.width - crop.width) // 2, (canvas.height - crop.height) // 2))
        return to_array(canvas.resize((width, height), Image.Resampling.BICUBIC))
    return to_model(crop, size)


def _widen(low: float, high: float, *, at_least: float, limit: int) -> tuple[float, float]:
    """Grow an interval around its middle to `at_least`, then move it into 0..limit."""
    length = min(max(high - low, at_least), limit)
    low = (low + high - length) / 2
    low = min(max(low, 0), limit - length)
    return low, low + length


def to_array(image: Image.Image) -> np.ndarray:
    """uint8 (3, height, width)."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
