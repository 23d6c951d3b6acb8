"""Tells boxes of another unit or order by what nearly all of them look like.

A single odd box says nothing; a file in which 95% of the boxes look like something else probably
is it. What fits both cannot be told: y before x in shares of the picture, or boxes of smaller
pictures where no right ones are at hand. N: boxes.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)
NEARLY_ALL = 0.95
_MOST = 0.9
_SOME = 0.05
_ENOUGH = 20  # boxes before their order or scale says anything
_SLACK = 1.02  # how far a box may stick out of its picture
_REACH = 95  # percentile of the far corners
_RESIZED = 1.25  # factor on both axes


@dataclass(frozen=True)
class Looked:
    """Boxes as they are read, float (N, 4), and (N, 2) width and height of their pictures.

    Sizes are 1 where boxes are shares of the picture; NaN where nobody says them, nor the unit.
    """

    boxes_xyxy: np.ndarray
    sizes_wh: np.ndarray

    @property
    def reach(self) -> np.ndarray:
        """How far right and down the boxes reach, (2,)."""
        sizes = np.nan_to_num(self.sizes_wh, nan=1)
        return np.percentile(self.boxes_xyxy[:, 2:] / sizes, _REACH, axis=0)


def warn_look(seen: Looked, where: str | Path, *, like: Looked | None = None) -> None:
    """Log a warning if the boxes look like another unit or order; as `look`."""
    found = look(seen, like=like)
    if found:
        logger.warning(
            "%s: nearly all of the %d boxes look like %s", where, len(seen.boxes_xyxy), found
        )


def look(seen: Looked, *, like: Looked | None = None) -> str | None:
    """What the boxes look like, if not like corners in the unit of the sizes.

    Args:
        seen: the boxes.
        like: others of the same pictures, which are right, such as the ground truth.
    """
    boxes = seen.boxes_xyxy
    near, far = boxes[:, :2], boxes[:, 2:]
    if not len(boxes):
        return None
    in_shares, sizes = _expected_in_shares(seen.sizes_wh, like), _sizes(seen.sizes_wh, like)
    if in_shares and _nearly(boxes.max(1) > 2):
        return "pixels; expected are shares of the picture, 0 to 1"
    if in_shares is False and _are_shares(boxes):
        return "shares of the picture, 0 to 1; expected are pixels"
    empty, backward = (far <= near).any(1), far < near
    enough = len(boxes) >= _ENOUGH
    as_sides = _inside(near + far, sizes)
    if enough and _nearly(as_sides) and empty.mean() > _SOME:
        return "x, y, width, height; expected are the corners x1, y1, x2, y2"
    if _nearly(backward.all(1)):
        return "corners with x2, y2 first; expected are x1, y1, x2, y2"
    if _nearly(backward[:, 0]) or _nearly(backward[:, 1]):
        return "corners of which one is swapped; expected are x1 <= x2, y1 <= y2"
    if not enough:
        return None
    if not _mostly(_inside(far, sizes)):
        if _nearly(_inside(far[:, ::-1], sizes)):
            return "corners with y before x; expected are x1, y1, x2, y2"
        sides = far - near
        if _nearly((sides >= near).all(1) & _inside(sides, sizes)):
            return "corners that were read as x, y, width, height (`box_format` says it)"
    return _resized(seen, like)


def _expected_in_shares(sizes_wh: np.ndarray, like: Looked | None) -> bool | None:
    """Whether boxes should be shares of their pictures; None where nobody says it."""
    if not np.isnan(sizes_wh).any():
        return _nearly((sizes_wh == 1).all(1))
    return None if like is None or not len(like.boxes_xyxy) else _are_shares(like.boxes_xyxy)


def _sizes(sizes_wh: np.ndarray, like: Looked | None) -> np.ndarray:
    """Sizes; where nobody says them, those that the right boxes reach."""
    if like is None or len(like.boxes_xyxy) < _ENOUGH:
        return sizes_wh
    return np.where(np.isnan(sizes_wh), like.boxes_xyxy[:, 2:].max(axis=0), sizes_wh)


def _are_shares(boxes_xyxy: np.ndarray) -> bool:
    inside = (boxes_xyxy > -0.01).all(1) & (boxes_xyxy < 1.01).all(1)
    return _nearly(inside) and bool(boxes_xyxy.any())


def _resized(seen: Looked, like: Looked | None) -> str | None:
    expected = np.ones(2) if like is None or not len(like.boxes_xyxy) else like.reach
    if np.isnan(seen.sizes_wh).any() and like is None:
        return None
    ratio = seen.reach / np.maximum(expected, 1e-9)
    if not ((ratio > _RESIZED).all() or (like is not None and (ratio < 1 / _RESIZED).all())):
        return None
    return (
        f"boxes of pictures of another size (they reach {ratio[0]:.2f} times as far right and "
        f"{ratio[1]:.2f} times as far down as expected)"
    )


def _inside(far: np.ndarray, sizes_wh: np.ndarray) -> np.ndarray:
    """Whether a corner lies in its picture; false where its size is not known."""
    return np.all(far <= sizes_wh * _SLACK, axis=1)


def _nearly(mask: Any) -> bool:
    return bool(np.mean(mask) >= NEARLY_ALL)


def _mostly(mask: Any) -> bool:
    return bool(np.mean(mask) >= _MOST)
