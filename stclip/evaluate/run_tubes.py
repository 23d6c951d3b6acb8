"""The tubes of the ground truth on key frames.

Frames are the numbers of key frames in here, whatever lies between them in the video.
"""

import numpy as np
import pandas as pd
from jaxtyping import Integer

from stclip.boxes.tubes import Tubes, first_gap
from stclip.errors import DataError
from stclip.records import BOX_COLUMNS


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
    order = np.lexsort((numbers, *keys[::-1]))
    labels, clips, tubes = (key[order] for key in keys)
    frames = numbers[order]
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
