"""The tubes of a run: linked from its scored boxes, and those of the ground truth.

Frames are the numbers of key frames in here, whatever lies between them in the video.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float, Integer

from stclip.boxes.linking import Linking, link
from stclip.boxes.tubes import Tubes, first_gap
from stclip.errors import DataError
from stclip.records import BOX_COLUMNS, Scores


def linked_tubes(
    record: Scores,
    clip_numbers: Integer[np.ndarray, " N"],
    numbers: Integer[np.ndarray, " N"],
    scores: Float[np.ndarray, "K N"],
    linking: Linking,
) -> Tubes:
    """Link the boxes of every clip for every label.

    Args:
        record: the N scored boxes.
        clip_numbers: (N,), the clip of each.
        numbers: (N,), the number of each box's key frame.
        scores: (K, N), what ranks each box for each label.
        linking: thresholds, in key frames.
    """
    return link(
        clips=clip_numbers,
        frames=numbers,
        boxes_xyxy=record.boxes_xyxy.astype(np.float64),
        scores=scores,
        linking=linking,
    )


def truth_tubes(
    table: pd.DataFrame,
    numbers: Integer[np.ndarray, " M"],
    labels: Integer[np.ndarray, " M"],
) -> Tubes:
    """Ground-truth tubes on the key frames.

    Args:
        table: clip, clip_number, x1..y2, tube, action.
        numbers: (M,), the number of each row's key frame.
        labels: (M,), the number of each row's action.

    Raises:
        DataError: a tube misses a key frame between its first and its last.
    """
    keys = (labels, table["clip_number"].to_numpy(), table["tube"].to_numpy())
    frames = numbers
    order = np.lexsort((frames, *keys[::-1]))
    labels, clips, tubes = (key[order] for key in keys)
    frames = frames[order]
    changes = np.diff(np.stack([labels, clips, tubes]), prepend=-1).any(axis=0)
    tube_numbers = np.cumsum(changes)
    if (gap := first_gap(tube_numbers, frames)) is not None:
        row = table.iloc[order[gap]]
        raise DataError(
            f"clip {row['clip']!r}: tube {row['tube']} ({row['action']}) has gaps; "
            "run prepare again."
        )
    boxes = table[BOX_COLUMNS].to_numpy(np.float64)[order]
    return Tubes.from_rows(
        tubes=tube_numbers, labels=labels, clips=clips, frames=frames, boxes_xyxy=boxes
    )
