"""The tubes of a run: linked from its scored boxes, and those of the ground truth.

Key frames are numbered 0, 1, 2, ... in here, whatever their stride in the video.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from stclip.boxes.linking import Linking, Overlaps, Tube, link
from stclip.errors import DataError
from stclip.records import BOX_COLUMNS, Scores

TubesByClass = dict[str, dict[str, list[Tube]]]  # class -> clip -> tubes


def linked_tubes(
    record: Scores,
    scores: Float[np.ndarray, "K N"],
    labels: Sequence[str],
    linking: Linking,
    stride: int,
) -> TubesByClass:
    """Link the boxes of every clip for every label.

    Args:
        record: the N scored boxes.
        scores: (K, N), what ranks each box for each label.
        labels: (K,), their names.
        linking: thresholds, in key frames.
        stride: of the key frames.
    """
    tubes: TubesByClass = {label: {} for label in labels}
    boxes = record.boxes_xyxy.astype(np.float64)
    for clip, of_clip in record.table.groupby("clip", sort=False).indices.items():
        number = record.table["frame"].to_numpy()[of_clip] // stride
        frames, starts = np.unique(np.sort(number), return_index=True)
        by_frame = np.asarray(of_clip)[np.argsort(number, kind="stable")]
        per_frame = np.split(by_frame, starts[1:])
        overlaps = Overlaps([boxes[r] for r in per_frame])
        for k, label in enumerate(labels):
            own = [scores[k, r] for r in per_frame]
            tubes[label][str(clip)] = link(frames.tolist(), overlaps, own, linking)
    return tubes


def truth_tubes(table: pd.DataFrame, labels: Sequence[str], stride: int) -> TubesByClass:
    """Ground-truth tubes on the key frames.

    Args:
        table: clip, frame, x1..y2, tube, action.
        labels: the classes.
        stride: of the key frames.

    Raises:
        DataError: a tube misses a key frame between its first and its last.
    """
    tubes: dict[str, dict[str, list[Tube]]] = {label: defaultdict(list) for label in labels}
    by_tube = table.sort_values("frame", kind="stable").groupby(["action", "clip", "tube"])
    for (action, clip, tube), rows in by_tube:
        frames = rows["frame"].to_numpy() // stride
        if (np.diff(frames) != 1).any():
            raise DataError(f"clip {clip!r}: tube {tube} ({action}) has gaps; run prepare again.")
        boxes = rows[BOX_COLUMNS].to_numpy(np.float64)
        tubes[str(action)][str(clip)].append(Tube(int(frames[0]), boxes))
    return {label: dict(by_clip) for label, by_clip in tubes.items()}
