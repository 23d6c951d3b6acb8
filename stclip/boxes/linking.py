"""Tubes: one person's boxes over consecutive frames; linked from frame boxes as ACT does.

n: frames of a tube; F: frames of a clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Shaped

from stclip.boxes.iou import paired_iou
from stclip.errors import ConfigError, DataError


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


class Overlaps:
    """IoU between the boxes of two frames of a clip, computed when asked for and kept.

    The labels of a clip share its boxes, so one of these serves all of them.
    """

    def __init__(self, boxes_xyxy: Sequence[Shaped[np.ndarray, "_ 4"]]) -> None:
        """`boxes_xyxy`: per frame, its boxes, pixels."""
        self.boxes = boxes_xyxy
        self._known: dict[tuple[int, int], list[list[float]]] = {}

    def between(self, one: int, other: int) -> list[list[float]]:
        """A row per box of frame number `one`, a column per box of frame number `other`."""
        if (one, other) not in self._known:
            a, b = self.boxes[one], self.boxes[other]
            flat = paired_iou(np.repeat(a, len(b), axis=0), np.tile(b, (len(a), 1)))
            self._known[one, other] = flat.reshape(len(a), len(b)).tolist()
        return self._known[one, other]


class _Growing:
    """A tube under construction: the number of each frame that extended it, and which box."""

    def __init__(self, place: int, row: int, score: float) -> None:
        self.places, self.rows, self.total = [place], [row], score

    @property
    def score(self) -> float:
        return self.total / len(self.rows)

    def extend(self, place: int, row: int, score: float) -> None:
        self.places.append(place)
        self.rows.append(row)
        self.total += score

    def finished(self, frames: Sequence[int], boxes: Sequence[np.ndarray]) -> Tube:
        """Frames without extension get the boxes between their neighbours'."""
        known = [frames[place] for place in self.places]
        corners = np.stack([boxes[p][r] for p, r in zip(self.places, self.rows, strict=True)])
        wanted = np.arange(known[0], known[-1] + 1)
        if len(wanted) > len(known):
            columns = [np.interp(wanted, known, column) for column in corners.T]
            corners = np.stack(columns, axis=1)
        return Tube(known[0], corners.astype(np.float64), self.score)


def link(
    frames: Sequence[int],
    overlaps: Overlaps,
    scores: Sequence[Float[np.ndarray, " _"]],
    linking: Linking,
) -> list[Tube]:
    """Link one clip's boxes of one label into tubes.

    In every frame the tubes that score best so far choose first; a tube takes the best-scored box
    left that overlaps its last box enough. Boxes that no tube takes begin new ones.

    Args:
        frames: (F,), numbers, rising.
        overlaps: of the F frames' boxes.
        scores: per frame, the boxes' scores for the label.
        linking: the thresholds.

    Returns:
        Tubes by falling score.
    """
    if any(b <= a for a, b in pairwise(frames)):
        raise DataError(f"frames to link must rise, found {list(frames)}.")
    active: list[_Growing] = []
    ended: list[_Growing] = []
    for place, (frame, of_frame) in enumerate(zip(frames, scores, strict=True)):
        ended += [t for t in active if frame - frames[t.places[-1]] > linking.patience]
        active = [t for t in active if frame - frames[t.places[-1]] <= linking.patience]
        score = of_frame.tolist()
        left = _strongest(score, overlaps.between(place, place), linking)
        for tube in sorted(active, key=lambda t: -t.score):
            with_last = overlaps.between(tube.places[-1], place)[tube.rows[-1]]
            near = next((row for row in left if with_last[row] >= linking.iou), None)
            if near is not None:  # `left` is by falling score
                left.remove(near)
                tube.extend(place, near, score[near])
        active += [_Growing(place, row, score[row]) for row in left]
    tubes = [tube.finished(frames, overlaps.boxes) for tube in (*ended, *active)]
    long = [t for t in tubes if len(t.boxes_xyxy) >= linking.min_frames]
    return sorted((t for t in long if t.score >= linking.min_score), key=lambda t: -t.score)


def _strongest(score: list[float], within: list[list[float]], linking: Linking) -> list[int]:
    """Rows by falling score after non-maximum suppression, at most `top`."""
    kept: list[int] = []
    for row in sorted(range(len(score)), key=lambda r: -score[r]):
        if all(within[row][other] <= linking.nms for other in kept):
            kept.append(row)
        if len(kept) == linking.top:
            break
    return kept
