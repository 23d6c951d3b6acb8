"""CLIP's own picture preprocessing, for whole frames and for person crops.

The cover-and-centre-crop rule is OpenAI CLIP's (shorter side to 224, bicubic, centre 224), written
for any height x width. Pictures come and go as uint8; the backbone normalises.
"""

import numpy as np
from PIL import Image

from stclip.config import Preprocessing

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
    resized, (left, top) = _placement(image.size, size, preprocessing)
    picture = image.resize(resized, how) if resized != image.size else image
    return to_array(picture.crop((left, top, left + width, top + height)))


def boxes_to_model(
    boxes_xyxy: np.ndarray,
    frame_size: tuple[int, int],
    size: tuple[int, int],
    preprocessing: Preprocessing = CLIPS_OWN,
) -> np.ndarray:
    """Where boxes (n, 4) of a frame lie in the picture that `to_model` makes of it, in its pixels.

    Nothing is clipped: what was cut off lies outside. `frame_size` is height and width, as `size`.
    """
    frame_height, frame_width = frame_size
    (width, height), (left, top) = _placement((frame_width, frame_height), size, preprocessing)
    scale = np.array([width / frame_width, height / frame_height] * 2, np.float32)
    return boxes_xyxy * scale - np.array([left, top] * 2, np.float32)


def boxes_to_frame(
    boxes_xyxy: np.ndarray,
    frame_size: tuple[int, int],
    size: tuple[int, int],
    preprocessing: Preprocessing = CLIPS_OWN,
) -> np.ndarray:
    """The inverse of `boxes_to_model`: where boxes (n, 4) of the picture lie in the frame."""
    frame_height, frame_width = frame_size
    (width, height), (left, top) = _placement((frame_width, frame_height), size, preprocessing)
    scale = np.array([width / frame_width, height / frame_height] * 2, np.float32)
    return (boxes_xyxy + np.array([left, top] * 2, np.float32)) / scale


def patch_boxes(size: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """The patches of a picture, row by row, float32 (N, 4) in its pixels.

    Args:
        size: height and width of the picture.
        grid: how many patches it has along y and x.

    >>> patch_boxes((4, 6), (1, 2)).tolist()
    [[0.0, 0.0, 3.0, 4.0], [3.0, 0.0, 6.0, 4.0]]
    """
    high, wide = size[0] / grid[0], size[1] / grid[1]
    rows, columns = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    sides = [columns * wide, rows * high, (columns + 1) * wide, (rows + 1) * high]
    return np.stack(sides, 1).astype(np.float32)


def _placement(
    picture: tuple[int, int], size: tuple[int, int], preprocessing: Preprocessing
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height that a picture is resized to, and left and top of what is cut from that.

    `picture` is width and height too, `size` the height and width that are cut.
    """
    (picture_width, picture_height), (height, width) = picture, size
    if preprocessing.frame_mode == "squash":
        return (width, height), (0, 0)
    enlarge = preprocessing.enlarge
    over_height, over_width = round(height * enlarge), round(width * enlarge)
    if picture_width * height <= picture_height * width:  # the width is the tight side
        resized = (over_width, int(over_width * picture_height / picture_width))
    else:
        resized = (int(over_height * picture_width / picture_height), over_height)
    return resized, (round((resized[0] - width) / 2), round((resized[1] - height) / 2))


def crop_box(
    image: Image.Image, box_xyxy: np.ndarray, size: tuple[int, int], how: Preprocessing
) -> np.ndarray:
    """Cut a person or an object out and bring the crop to `size` (height, width).

    `how.crop_mode`: `center` as CLIP does (cuts tall persons; the released ST-CLIP), `squash`
    (aspect ratio lost), `pad` (whole box on black), `context` (the box is widened to the aspect
    ratio of `size` and moved inside the picture, so nothing is distorted, and cut only where the
    picture is too small for it).

    Returns:
        uint8 (3, height, width).
    """
    (height, width), mode, scale = size, how.crop_mode, how.crop_scale
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
    filter_ = INTERPOLATIONS[how.interpolation]
    if mode == "squash":
        return to_array(crop.resize((width, height), filter_))
    if mode == "pad":
        side = max(crop.width / width, crop.height / height)
        canvas = Image.new("RGB", (round(side * width), round(side * height)))
        canvas.paste(crop, ((canvas.width - crop.width) // 2, (canvas.height - crop.height) // 2))
        return to_array(canvas.resize((width, height), filter_))
    return to_model(crop, size, Preprocessing(interpolation=how.interpolation))


def _widen(low: float, high: float, *, at_least: float, limit: int) -> tuple[float, float]:
    """Grow an interval around its middle to `at_least`, then move it into 0..limit."""
    length = min(max(high - low, at_least), limit)
    low = (low + high - length) / 2
    low = min(max(low, 0), limit - length)
    return low, low + length


def to_array(image: Image.Image) -> np.ndarray:
    """uint8 (3, height, width)."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
