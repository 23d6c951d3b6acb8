"""Overlap of boxes. N boxes; corners are xyxy in pixels, a box is x2 - x1 wide (no +1)."""

import numpy as np
from jaxtyping import Float, Shaped


def paired_iou(
    boxes_xyxy: Shaped[np.ndarray, "N 4"], others_xyxy: Shaped[np.ndarray, "N 4"]
) -> Float[np.ndarray, " N"]:
    """Intersection over union row by row.

    Args:
        boxes_xyxy: (N, 4), pixels.
        others_xyxy: (N, 4), pixels.

    Returns:
        float64 (N,) in 0..1; 0 for a box without area.
    """
    # float64: whole-pixel boxes are exact, so that an IoU of just 0.5 is not lost to rounding
    a, b = boxes_xyxy.astype(np.float64), others_xyxy.astype(np.float64)
    inside = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = inside.clip(0).prod(-1)
    union = _area(a) + _area(b) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=intersection > 0)


def _area(boxes_xyxy: np.ndarray) -> np.ndarray:
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clip(0).prod(-1)
