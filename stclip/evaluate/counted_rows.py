"""Which rows of a run count, where a protocol leaves some out; a row is a box scored for a label.

N boxes, K labels; F frames of n boxes each.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from stclip.evaluate.matching import FrameBoxes
from stclip.evaluate.protocol import Protocol

_CELLS = 1 << 21  # scores of a block of frames: what is sorted at a time


def counted_rows(
    scores: Callable[[], Float[np.ndarray, "K N"]],
    found: FrameBoxes,
    *,
    num_labels: int,
    annotated: Int[np.ndarray, " A"],
    protocol: Protocol,
) -> Bool[np.ndarray, "K N"] | None:
    """The rows that a protocol judges.

    Args:
        scores: gives (K, N), of all labels among which the best rows of a frame are chosen; asked
            only where a protocol chooses them.
        found: (N,), the boxes.
        num_labels: K.
        annotated: (A,), the codes of the frames that have a ground-truth box of any label.
        protocol: `drop_degenerate`, `annotated_frames_only` and `max_rows` decide.

    Returns:
        (K, N), or None where all rows count. On equal scores the first box of the frame goes
        first, then the first label.
    """
    whole = np.ones(len(found.frames), bool)
    if protocol.drop_degenerate:
        whole &= (found.boxes_xyxy[:, 2:] > found.boxes_xyxy[:, :2]).all(1)
    if protocol.annotated_frames_only:
        whole &= np.isin(found.frames, annotated)
    if protocol.max_rows is None:
        return None if whole.all() else np.repeat(whole[None], num_labels, axis=0)
    values = scores()
    counted = np.zeros(values.shape, bool)
    for boxes in _frames_of_equal_size(np.flatnonzero(whole), found.frames, num_labels):
        of_frame = values[:, boxes].transpose(1, 2, 0).reshape(len(boxes), -1)  # (F, n K)
        best = _best(of_frame, protocol.max_rows).reshape(*boxes.shape, -1)
        counted[:, boxes] = best.transpose(2, 0, 1)
    return counted


def _frames_of_equal_size(
    rows: Int[np.ndarray, " M"], frames: Int[np.ndarray, " N"], num_labels: int
) -> Iterator[Int[np.ndarray, "F n"]]:
    """The boxes of frames that have equally many, some frames at a time."""
    rows = rows[np.argsort(frames[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(frames[rows], prepend=-1))
    sizes = np.diff(starts, append=len(rows))
    for size in np.unique(sizes).tolist():
        boxes = rows[starts[sizes == size][:, None] + np.arange(size)]  # (F, n)
        step = max(1, _CELLS // (size * num_labels))
        for first in range(0, len(boxes), step):
            yield boxes[first : first + step]


def _best(scores: Float[np.ndarray, "F M"], most: int) -> Bool[np.ndarray, "F M"]:
    """Mask of the best scores of each frame, at most so many; the first ones of equal scores."""
    if scores.shape[1] <= most:
        return np.ones(scores.shape, bool)
    least = np.partition(scores, -most, axis=1)[:, -most, None]  # the weakest that is kept
    above, tied = scores > least, scores == least
    room = most - above.sum(1, keepdims=True)
    return above | (tied & (tied.cumsum(1) <= room))
