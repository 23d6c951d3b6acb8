"""Overlap of boxes. N boxes; corners are xyxy in pixels, a box is x2 - x1 wide, or 1 more."""

import numpy as np
from jaxtyping import Float, Shaped


def paired_iou(
    boxes_xyxy: Shaped[np.ndarray, "N 4"], others_xyxy: Shaped[np.ndarray, "N 4"], *, plus: int = 0
) -> Float[np.ndarray, " N"]:
    """Intersection over union row by row.

    Args:
        boxes_xyxy: (N, 4), pixels.
        others_xyxy: (N, 4), pixels.
        plus: 1 for evaluators that count corners as whole pixels: a box is x2 - x1 + 1 wide.

    Returns:
        float64 (N,) in 0..1; 0 for a box without area.
    """
    # float64: whole-pixel boxes are exact, so that an IoU of just 0.5 is not lost to rounding
    a, b = (np.ascontiguousarray(x.T, np.float64) for x in (boxes_xyxy, others_xyxy))
    intersection = _side(a, b, 0, plus) * _side(a, b, 1, plus)
    union = _area(a, plus) + _area(b, plus) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=intersection > 0)


def _side(a: np.ndarray, b: np.ndarray, axis: int, plus: int) -> np.ndarray:
    """Length of the shared stretch along an axis."""
    side = np.minimum(a[axis + 2], b[axis + 2]) - np.maximum(a[axis], b[axis])
    return np.maximum(side + plus if plus else side, 0, out=side)


def _area(corners: np.ndarray, plus: int) -> np.ndarray:
    return _side(corners, corners, 0, plus) * _side(corners, corners, 1, plus)
