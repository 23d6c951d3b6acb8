"""Drawn pictures at a real data set's size; what is drawn stays small, so this adds no detail.

Legend: T frames, H height, W width.
"""

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8


def enlarged(
    pictures: UInt8[np.ndarray, "T H W *C"], *, height: int, smooth: bool = True
) -> UInt8[np.ndarray, "T h w *C"]:
    """Pictures, or masks (`smooth=False`: no value that was not there), of so many rows.

    Returns:
        The same array where it is as high already.
    """
    _, rows, columns, *_ = pictures.shape
    if height == rows:
        return pictures
    size = (round(columns * height / rows), height)
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    return np.stack([cv2.resize(picture, size, interpolation=how) for picture in pictures])


def enlarged_boxes(boxes_xyxy: Float[np.ndarray, "*N 4"], factor: float) -> Int[np.ndarray, "*N 4"]:
    """Boxes of inclusive corners, in whole pixels of pictures `factor` times as large."""
    first = np.floor(boxes_xyxy[..., :2] * factor)
    last = np.ceil((boxes_xyxy[..., 2:] + 1) * factor) - 1
    return np.concatenate([first, last], -1).astype(int)
