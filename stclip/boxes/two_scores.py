"""Linking of persons' boxes in two rounds by score, as ByteTrack does (Zhang et al., ECCV 2022).

In every frame the boxes of high score are assigned to the open tracks first, those of low score to
the tracks that are left; each round is the assignment of most overlap in all. Unlike ByteTrack, no
box is thrown away and nothing predicts where a person went: between key frames of films a second
apart there may be a cut, and every box has to be of some track.

N boxes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer
from scipy.optimize import linear_sum_assignment

from stclip.boxes.iou import paired_iou
from stclip.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TwoScoreLinking:
    """When two boxes are one person."""

    high: float  # score of a box from which it is of the first round
    iou: float  # least overlap with a track's last box in the first round
    low_iou: float  # in the second round
    patience: int  # frames without a box after which a track ends

    def __post_init__(self) -> None:
        """Refuse what links nothing."""
        if self.patience < 1:
            raise ConfigError(f"{self}: patience must be at least 1.")


def track_numbers(
    *,
    groups: Integer[np.ndarray, " N"],
    frames: Integer[np.ndarray, " N"],
    boxes_xyxy: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, " N"],
    linking: TwoScoreLinking,
) -> Int[np.ndarray, " N"]:
    """The track of each box, numbered from 0 in each group as tracks begin.

    Args:
        groups: (N,), boxes of different groups are never linked; in any order.
        frames: (N,), frame of each box.
        boxes_xyxy: (N, 4), pixels.
        scores: (N,), of the detector. Of boxes that begin tracks in a frame the best is first.
        linking: the thresholds.
    """
    found = np.full(len(groups), -1)
    order = np.lexsort((-scores, frames, groups))
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1) | np.diff(frames[order], prepend=-1))
    group, linker = -1, TrackLinker(linking)
    for rows in np.split(order, starts[1:]) if len(order) else []:
        if groups[rows[0]] != group:
            group, linker = groups[rows[0]], TrackLinker(linking)
        found[rows] = linker.add(int(frames[rows[0]]), boxes_xyxy[rows], scores[rows])
    return found


class TrackLinker:
    """Links the boxes of one video frame by frame, as they become known."""

    def __init__(self, linking: TwoScoreLinking) -> None:
        """`linking`: the thresholds."""
        self.linking = linking
        self._frames = np.empty(0, np.int64)  # of each track: the last frame with a box
        self._boxes = np.empty((0, 4))  # and that box

    def add(
        self, frame: int, boxes_xyxy: Float[np.ndarray, "n 4"], scores: Float[np.ndarray, " n"]
    ) -> Int[np.ndarray, " n"]:
        """The track of each box of the next frame; of new tracks that of the best box is first.

        Args:
            frame: its number, higher than those before.
            boxes_xyxy: (n, 4), pixels.
            scores: (n,), of the detector.
        """
        found = np.full(len(scores), -1)
        by_score = np.argsort(-scores, kind="stable")
        open_tracks = np.flatnonzero(frame - self._frames <= self.linking.patience)
        high = scores[by_score] >= self.linking.high
        rounds = ((by_score[high], self.linking.iou), (by_score[~high], self.linking.low_iou))
        for chosen, least in rounds:
            tracks, boxes = _assign(self._boxes[open_tracks], boxes_xyxy[chosen], least)
            found[chosen[boxes]] = open_tracks[tracks]
            open_tracks = np.delete(open_tracks, tracks)
        new = by_score[found[by_score] < 0]
        found[new] = len(self._frames) + np.arange(len(new))
        self._frames = np.concatenate([self._frames, np.zeros(len(new), np.int64)])
        self._boxes = np.concatenate([self._boxes, np.zeros((len(new), 4))])
        self._frames[found], self._boxes[found] = frame, boxes_xyxy
        return found


def _assign(
    tracks: Float[np.ndarray, "T 4"], boxes: Float[np.ndarray, "B 4"], least: float
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Which track takes which box, so that the overlaps of `least` up are most in all."""
    at, to = np.indices((len(tracks), len(boxes))).reshape(2, -1)
    overlap = paired_iou(tracks[at], boxes[to]).reshape(len(tracks), len(boxes))
    overlap = np.where(overlap >= least, overlap, 0.0)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    near = overlap[rows, columns] > 0
    return rows[near], columns[near]
