"""Tubes: one person's boxes over consecutive frames; linked from frame boxes as ACT does.

n: frames of a tube; F: frames of a clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Shaped

from stclip.errors import ConfigError, DataError
from stclip.evaluate.iou import paired_iou


@dataclass(frozen=True)
class Tube:
    """Boxes of the frames first, first + 1, ... of a clip."""

    first: int
    boxes_xyxy: Float[np.ndarray, "n 4"]  # pixels
    score: float = 1.0

    @property
    def last(self) -> int:
        """Its last frame."""
        return self.first + len(self.boxes_xyxy) - 1


@dataclass(frozen=True, kw_only=True)
class Linking:
    """How frame boxes become tubes (Kalogeiton et al., ICCV 2017, sec. 3.3, on single frames)."""

    top: int = 10  # best boxes of a frame that are kept
    nms: float = 0.3  # overlap above which the weaker of two boxes of a frame goes
    iou: float = 0.2  # least overlap with a tube's last box that extends it
    patience: int = 5  # frames without extension that end a tube
    min_frames: int = 15  # shorter tubes are dropped
    min_score: float = 0.01  # weaker tubes are dropped

    def __post_init__(self) -> None:
        """Refuse what links nothing."""
        if min(self.top, self.patience, self.min_frames) < 1:
            raise ConfigError(f"{self}: top, patience and min_frames must be at least 1.")

    def every(self, stride: int) -> "Linking":
        """The same in units of every `stride`-th frame."""
        return Linking(
            top=self.top, nms=self.nms, iou=self.iou, min_score=self.min_score,
            patience=max(1, self.patience // stride),
            min_frames=max(1, self.min_frames // stride),
        )  # fmt: skip


def tube_iou(one: Tube, other: Tube, *, plus: int) -> float:
    """Mean overlap over the shared frames, times the overlap of the frame ranges.

    `plus` is 1 where frames and pixels count as whole ones (ACT), 0 where a range from a to b is
    b - a long (MultiSports).
    """
    begin, end = max(one.first, other.first), min(one.last, other.last)
    shared = end - begin + plus
    if end < begin or shared <= 0:
        return 0.0
    union = max(one.last, other.last) - min(one.first, other.first) + plus
    a, b = (t.boxes_xyxy[begin - t.first : end - t.first + 1] for t in (one, other))
    return float(paired_iou(a, b, plus=plus).mean()) * shared / union


def suppress(tubes: Sequence[Tube], *, threshold: float, plus: int) -> list[Tube]:
    """Non-maximum suppression: by falling score, drop tubes that overlap a kept one by more."""
    kept: list[Tube] = []
    for tube in sorted(tubes, key=lambda t: -t.score):
        if all(tube_iou(tube, other, plus=plus) <= threshold for other in kept):
            kept.append(tube)
    return kept


class _Growing:
    """A tube under construction: boxes and scores of the frames it was extended in."""

    def __init__(self, frame: int, box: np.ndarray, score: float) -> None:
        self.frames, self.boxes, self.total = [frame], [box], score

    @property
    def score(self) -> float:
        return self.total / len(self.frames)

    def extend(self, frame: int, box: np.ndarray, score: float) -> None:
        self.frames.append(frame)
        self.boxes.append(box)
        self.total += score

    def finished(self) -> Tube:
        """Frames without extension get the boxes between their neighbours'."""
        frames = np.arange(self.frames[0], self.frames[-1] + 1)
        columns = np.array(self.boxes, np.float64).T
        boxes = np.stack([np.interp(frames, self.frames, column) for column in columns], axis=1)
        return Tube(self.frames[0], boxes, self.score)


def link(
    frames: Sequence[int],
    boxes_xyxy: Sequence[Shaped[np.ndarray, "_ 4"]],
    scores: Sequence[Float[np.ndarray, " _"]],
    linking: Linking,
) -> list[Tube]:
    """Link one clip's boxes of one label into tubes.

    In every frame the tubes that score best so far choose first; a tube takes the best-scored box
    left that overlaps its last box enough. Boxes that no tube takes begin new ones.

    Args:
        frames: (F,), numbers, rising.
        boxes_xyxy: per frame, its boxes, pixels.
        scores: per frame, their scores for the label.
        linking: the thresholds.

    Returns:
        Tubes by falling score.
    """
    if any(b <= a for a, b in pairwise(frames)):
        raise DataError(f"frames to link must rise, found {list(frames)}.")
    active: list[_Growing] = []
    ended: list[_Growing] = []
    for frame, boxes, score in zip(frames, boxes_xyxy, scores, strict=True):
        ended += [t for t in active if frame - t.frames[-1] > linking.patience]
        active = [t for t in active if frame - t.frames[-1] <= linking.patience]
        left = _strongest(boxes, score, linking)
        for tube in sorted(active, key=lambda t: -t.score):
            if not left:
                break
            overlap = paired_iou(boxes[left], np.repeat(tube.boxes[-1][None], len(left), axis=0))
            near = np.flatnonzero(overlap >= linking.iou)
            if len(near):
                row = left.pop(near[0])  # `left` is by falling score
                tube.extend(frame, boxes[row], float(score[row]))
        active += [_Growing(frame, boxes[row], float(score[row])) for row in left]
    tubes = [tube.finished() for tube in (*ended, *active)]
    long = [t for t in tubes if len(t.boxes_xyxy) >= linking.min_frames]
    return sorted((t for t in long if t.score >= linking.min_score), key=lambda t: -t.score)


def _strongest(boxes: np.ndarray, score: np.ndarray, linking: Linking) -> list[int]:
    """Rows by falling score after non-maximum suppression, at most `top`."""
    kept: list[int] = []
    for row in np.argsort(-score, kind="stable").tolist():
        others = np.repeat(boxes[row][None], len(kept), axis=0)
        if len(kept) < linking.top and (paired_iou(boxes[kept], others) <= linking.nms).all():
            kept.append(row)
    return kept
