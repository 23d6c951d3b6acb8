"""Which boxes of a clip are one person: the annotated tubes, or boxes linked by overlap.

n: rows.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Integer

from stclip.boxes.linking import Linking, frames_within, link
from stclip.boxes.tubes import Tubes
from stclip.boxes.two_scores import TwoScoreLinking, track_numbers
from stclip.config import LinkingConfig, TwoScores
from stclip.records import BOX_COLUMNS

# Every box is of some track: none is suppressed, none too short, none too weak.
LINKING = Linking(top=1_000_000, nms=2.0, min_frames=1, min_score=0.0)


PATIENCE_S = LinkingConfig().patience_s


def tracks(
    table: pd.DataFrame,
    *,
    fps: Mapping[str, float],
    patience_s: float = PATIENCE_S,
    two_scores: TwoScores | None = None,
) -> Integer[np.ndarray, " n"]:
    """The number of each box's track within its clip (and box source, column `source`).

    Boxes that have a `tube` keep it. Others are linked from frame to frame: the best tracks so far
    choose first, each takes the best-scored box of IoU >= 0.2 with its last one; `patience_s`
    without one end it (the linking of Kalogeiton et al. 2017 that video mAP uses). With
    `two_scores` all tracks choose at once, those boxes first that the detector is sure of
    (`stclip.boxes.two_scores`).

    Args:
        table: clip, frame, x1..y2, detector_score; index 0 .. n-1.
        fps: frames a second of each clip.
        patience_s: seconds between two boxes of a track, at most; never less than a frame.
        two_scores: thresholds of the other linking.
    """
    found = (
        table["tube"].to_numpy(float, copy=True) if "tube" in table else np.full(len(table), np.nan)
    )
    open_rows = table[np.isnan(found)]
    keys = [key for key in ("source", "clip") if key in table]
    frames = {clip: frames_within(patience_s, 1 / rate) for clip, rate in fps.items()}
    for patience, alike in open_rows.groupby(open_rows["clip"].map(frames)):
        groups = alike.groupby(keys, sort=False).ngroup()
        if two_scores is not None:
            found[alike.index] = track_numbers(
                groups=groups.to_numpy(),
                frames=alike["frame"].to_numpy(),
                boxes_xyxy=alike[BOX_COLUMNS].to_numpy(np.float64),
                scores=alike["detector_score"].to_numpy(np.float64),
                linking=TwoScoreLinking(**two_scores.model_dump(), patience=patience),
            )
            continue
        tubes = link(
            clips=groups.to_numpy(),
            frames=alike["frame"].to_numpy(),
            boxes_xyxy=alike[BOX_COLUMNS].to_numpy(np.float64),
            scores=alike["detector_score"].to_numpy(np.float64)[None],
            linking=replace(LINKING, patience=patience),
        )
        for group, rows in alike.groupby(groups):
            found[rows.index] = _numbers(rows, tubes.of(tubes.clips == group))
    return found.astype(np.int64)


def _numbers(rows: pd.DataFrame, tubes: Tubes) -> np.ndarray:
    """Track numbers of one clip's boxes, by falling score of the track."""
    boxes = rows[BOX_COLUMNS].to_numpy(np.float64)
    numbers = rows["frame"].to_numpy()
    found = np.full(len(rows), -1)
    for number, (begin, end) in enumerate(zip(tubes.firsts, tubes.lasts, strict=True)):
        inside = np.flatnonzero((numbers >= begin) & (numbers <= end) & (found < 0))
        same = (boxes[inside] == tubes.boxes(number)[numbers[inside] - begin]).all(1)
        first = inside[same]
        # Two equal boxes in one frame are two persons, one for each of two tracks.
        _, once = np.unique(numbers[first], return_index=True)
        found[first[once]] = number
    assert (found >= 0).all(), "every box is of a track"
    return found
