"""Tubes: one person's boxes over consecutive frames, and how much two of them overlap.

T tubes, S boxes of all of them together, P pairs of tubes.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from stclip.boxes.iou import paired_iou

_BOXES = 1 << 20  # overlaps computed at a time
_PAIRS = 1 << 22  # pairs of tubes looked at at a time


@dataclass(frozen=True, kw_only=True)
class Tubes:
    """Tubes of any number of clips and labels; their order decides ties.

    Tube t has a box in each of the frames firsts[t], firsts[t] + 1, ...: `lengths[t]` rows of
    `boxes_xyxy` from row `starts[t]` on.
    """

    labels: Integer[np.ndarray, " T"]
    clips: Integer[np.ndarray, " T"]
    firsts: Integer[np.ndarray, " T"]
    lengths: Integer[np.ndarray, " T"]
    starts: Integer[np.ndarray, " T"]
    boxes_xyxy: Float[np.ndarray, "S 4"]  # pixels
    scores: Float[np.ndarray, " T"]

    def __len__(self) -> int:
        """Number of tubes."""
        return len(self.firsts)

    @property
    def lasts(self) -> Integer[np.ndarray, " T"]:
        """The last frame of each."""
        return self.firsts + self.lengths - 1

    def boxes(self, tube: int) -> Float[np.ndarray, "_ 4"]:
        """The boxes of one tube."""
        return self.boxes_xyxy[self.starts[tube] : self.starts[tube] + self.lengths[tube]]

    def of(self, chosen: np.ndarray) -> "Tubes":
        """Some of the tubes, by mask or numbers."""
        names = ("labels", "clips", "firsts", "lengths", "starts", "scores")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    @classmethod
    def from_rows(
        cls,
        *,
        tubes: Integer[np.ndarray, " S"],
        labels: Integer[np.ndarray, " S"],
        clips: Integer[np.ndarray, " S"],
        frames: Integer[np.ndarray, " S"],
        boxes_xyxy: Float[np.ndarray, "S 4"],
    ) -> "Tubes":
        """Tubes of score 1 from boxes: tube after tube, each in frame order without gaps.

        Args:
            tubes: (S,), a number that changes from one tube to the next.
            labels: (S,), of each box's tube.
            clips: (S,), of each box's tube.
            frames: (S,).
            boxes_xyxy: (S, 4), pixels.
        """
        starts = np.flatnonzero(np.diff(tubes, prepend=tubes[:1] - 1))
        return cls(
            labels=labels[starts],
            clips=clips[starts],
            firsts=frames[starts],
            lengths=np.diff(starts, append=len(tubes)),
            starts=starts,
            boxes_xyxy=boxes_xyxy,
            scores=np.ones(len(starts)),
        )


def first_gap(tubes: Integer[np.ndarray, " S"], frames: Integer[np.ndarray, " S"]) -> int | None:
    """The first row that is not one frame after the row before it, though of the same tube."""
    rows = np.flatnonzero((np.diff(tubes) == 0) & (np.diff(frames) != 1)) + 1
    return int(rows[0]) if len(rows) else None


def tube_ious(
    one: Tubes,
    rows: Integer[np.ndarray, " P"],
    other: Tubes,
    columns: Integer[np.ndarray, " P"],
    *,
    plus: int,
) -> Float[np.ndarray, " P"]:
    """Mean overlap over the shared frames, times the overlap of the frame ranges, pair by pair.

    Pairs that share equally many frames are computed together.

    Args:
        one: tubes.
        rows: (P,), a tube of `one` for each pair.
        other: tubes.
        columns: (P,), a tube of `other` for each pair.
        plus: 1 where frames and pixels count as whole ones (ACT), 0 where a range from a to b is
            b - a long (MultiSports).

    Returns:
        (P,), in 0..1; 0 for tubes that share no frame.
    """
    begin = np.maximum(one.firsts[rows], other.firsts[columns])
    end = np.minimum(one.lasts[rows], other.lasts[columns])
    union = np.maximum(one.lasts[rows], other.lasts[columns]) + plus
    union -= np.minimum(one.firsts[rows], other.firsts[columns])
    first_box = one.starts[rows] + begin - one.firsts[rows]
    first_other = other.starts[columns] + begin - other.firsts[columns]
    overlap = np.zeros(len(rows))
    num_shared = end - begin + 1
    meeting = np.flatnonzero((num_shared > 0) & (num_shared > 1 - plus))
    meeting = meeting[np.argsort(num_shared[meeting], kind="stable")]
    lengths, where = np.unique(num_shared[meeting], return_index=True)
    for length, pairs in zip(lengths.tolist(), np.split(meeting, where[1:]), strict=False):
        frame = np.arange(length)
        for at in range(0, len(pairs), step := max(1, _BOXES // length)):
            part = pairs[at : at + step]
            a = one.boxes_xyxy[(first_box[part, None] + frame).ravel()]
            b = other.boxes_xyxy[(first_other[part, None] + frame).ravel()]
            overlap[part] = paired_iou(a, b, plus=plus).reshape(-1, length).mean(1)
    overlap[meeting] = overlap[meeting] * (num_shared[meeting] - 1 + plus) / union[meeting]
    return overlap


def suppress(tubes: Tubes, *, threshold: float, plus: int) -> Bool[np.ndarray, " T"]:
    """Non-maximum suppression: by falling score, drop tubes that overlap a kept one by more.

    Only tubes of one label and clip suppress each other; ties rank in the tubes' order. The tubes
    of one rank are judged together, those of all labels and clips.

    Returns:
        Mask of the tubes that stay.
    """
    order = np.lexsort((-tubes.scores, tubes.clips, tubes.labels))
    labels, clips = tubes.labels[order], tubes.clips[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (labels[1:] != labels[:-1]) | (clips[1:] != clips[:-1])
    place = np.arange(len(order))
    rank = place - np.maximum.accumulate(np.where(begins, place, 0))
    rivals = [_rivals(tubes, order, rank, part, threshold, plus) for part in _parts(rank)]
    better, worse = np.concatenate(rivals, axis=1)
    by_rank = np.argsort(rank[worse], kind="stable")
    better, worse = better[by_rank], worse[by_rank]
    ends = np.cumsum(np.bincount(rank[worse]))
    stays = np.ones(len(order), bool)
    for begin, end in pairwise(ends.tolist()):
        stays[worse[begin:end][stays[better[begin:end]]]] = False
    mask = np.empty(len(order), bool)
    mask[order] = stays
    return mask


def _parts(rank: Int[np.ndarray, " T"]) -> list[slice]:
    """Tubes in parts of about `_PAIRS` pairs of a tube and a better one."""
    block = np.cumsum(rank) // _PAIRS
    starts = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(rank)]
    return [slice(a, b) for a, b in pairwise(starts)]


def _rivals(
    tubes: Tubes,
    order: Int[np.ndarray, " T"],
    rank: Int[np.ndarray, " T"],
    part: slice,
    threshold: float,
    plus: int,
) -> Int[np.ndarray, "2 P"]:
    """Places in `order` of tubes that overlap too much: the better one of each pair, the worse."""
    times = rank[part]
    worse = np.repeat(np.arange(len(order))[part], times)
    better = worse - 1 - (np.arange(len(worse)) - np.repeat(np.cumsum(times) - times, times))
    overlap = tube_ious(tubes, order[worse], tubes, order[better], plus=plus)
    too_much = overlap > threshold
    return np.stack([better[too_much], worse[too_much]])
