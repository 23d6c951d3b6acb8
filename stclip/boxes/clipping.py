"""Boxes moved into the picture: corners are pixels, 0..width-1 and 0..height-1.

N: boxes. A box that lies outside, or on the edge, has no area afterwards.
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Integer, Shaped

from stclip.errors import DataError
from stclip.records import BOX_COLUMNS, Clips


def clip_corners(
    boxes_xyxy: Shaped[np.ndarray, "N 4"], sizes: Integer[np.ndarray, "N 2"]
) -> Shaped[np.ndarray, "N 4"]:
    """Boxes inside pictures of these sizes (width, height); of the boxes' own type."""
    last = (np.tile(sizes, 2) - 1).astype(boxes_xyxy.dtype)  # (N, 4)
    return np.clip(boxes_xyxy, 0, last)


def has_area(boxes_xyxy: Shaped[np.ndarray, "N 4"]) -> Bool[np.ndarray, " N"]:
    """Whether a box is wider and higher than 0."""
    x1, y1, x2, y2 = boxes_xyxy.T
    return (x2 > x1) & (y2 > y1)


def clip_to_picture(table: pd.DataFrame, clips: Clips) -> pd.DataFrame:
    """`table` with its boxes clipped to their clips' pictures, without those that lose their area.

    Raises:
        DataError: a clip is unknown.
    """
    known = clips.table.set_index("clip")[["width", "height"]]
    unknown = set(table["clip"]) - set(known.index)
    if unknown:
        raise DataError(f"boxes of clip {min(unknown)!r}, which clips.parquet does not list.")
    boxes = table[BOX_COLUMNS].to_numpy()
    boxes = clip_corners(boxes, known.loc[table["clip"]].to_numpy())
    table = table.assign(**dict(zip(BOX_COLUMNS, boxes.T, strict=True)))
    return table[has_area(boxes)]
