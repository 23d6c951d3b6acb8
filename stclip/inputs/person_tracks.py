"""Which boxes of a clip are one person: the annotated tubes, or boxes linked by overlap.

n: rows.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Integer

from stclip.boxes.linking import Linking, Overlaps, link
from stclip.records import BOX_COLUMNS

# Every box is of some track: none is suppressed, none too short, none too weak.
LINKING = Linking(top=1_000_000, nms=2.0, min_frames=1, min_score=0.0)


PATIENCE_S = 1 / 6  # five frames of ACT's 30 fps
_ROUNDING = 1e-3  # of frames


def tracks(
    table: pd.DataFrame, *, fps: Mapping[str, float], patience_s: float = PATIENCE_S
) -> Integer[np.ndarray, " n"]:
    """The number of each box's track within its clip (and box source, column `source`).

    Boxes that have a `tube` keep it. Others are linked from frame to frame: the best tracks so far
    choose first, each takes the best-scored box of IoU >= 0.2 with its last one; `patience_s`
    without one end it (the linking of Kalogeiton et al. 2017 that video mAP uses).

    Args:
        table: clip, frame, x1..y2, detector_score; index 0 .. n-1.
        fps: frames a second of each clip.
        patience_s: seconds between two boxes of a track, at most; never less than a frame.
    """
    found = (
        table["tube"].to_numpy(float, copy=True) if "tube" in table else np.full(len(table), np.nan)
    )
    open_rows = table[np.isnan(found)]
    keys = [key for key in ("source", "clip") if key in table]
    for _, rows in open_rows.groupby(keys, sort=False):
        frames = math.floor(patience_s * fps[rows["clip"].iloc[0]] + _ROUNDING)
        found[rows.index] = _linked(rows, replace(LINKING, patience=max(1, frames)))
    return found.astype(np.int64)


def _linked(rows: pd.DataFrame, linking: Linking) -> np.ndarray:
    """Track numbers of one clip's boxes, by falling score of the track."""
    boxes = rows[BOX_COLUMNS].to_numpy(np.float64)
    scores = rows["detector_score"].to_numpy(np.float64)
    numbers = rows["frame"].to_numpy()
    frames = np.unique(numbers)
    of_frame = [np.flatnonzero(numbers == frame) for frame in frames]
    tubes = link(
        frames.tolist(), Overlaps([boxes[r] for r in of_frame]), [scores[r] for r in of_frame],
        linking,
    )  # fmt: skip
    found = np.full(len(rows), -1)
    for number, tube in enumerate(tubes):
        inside = np.flatnonzero((numbers >= tube.first) & (numbers <= tube.last) & (found < 0))
        same = (boxes[inside] == tube.boxes_xyxy[numbers[inside] - tube.first]).all(1)
        first = inside[same]
        # Two equal boxes in one frame are two persons, one for each of two tracks.
        _, once = np.unique(numbers[first], return_index=True)
        found[first[once]] = number
    assert (found >= 0).all(), "every box is of a track"
    return found
