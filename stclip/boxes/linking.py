"""Linking: boxes of single frames become tubes, as ACT does it.

The rule, for one clip and one label: in every frame the tubes that score best so far choose first;
a tube takes the best-scored box left that overlaps its last box enough. Boxes that no tube takes
begin new ones.

The fast way: a lane is a clip and a label. No two lanes touch, so all of them take the same step
at once: their first frames, then their second ones, and so on.

N boxes of C clips, F frames of all of them together, at most B boxes in a frame, K labels, L lanes,
A open tubes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from stclip.boxes.iou import paired_iou
from stclip.boxes.tubes import Tubes
from stclip.errors import ConfigError

_ROUNDING = 1e-3  # of frames: 1/6 s are 5 frames at 30 fps
_SCORES = 1 << 21  # of a block of clips: what is held at a time


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


def frames_within(seconds: float, step_s: float) -> int:
    """How many frames that are `step_s` apart go into so many seconds; at least one.

    >>> [frames_within(1 / 6, 1 / fps) for fps in (30, 25, 1)]
    [5, 4, 1]
    """
    return max(1, math.floor(seconds / step_s + _ROUNDING))


def link(
    *,
    clips: Integer[np.ndarray, " N"],
    frames: Integer[np.ndarray, " N"],
    boxes_xyxy: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, "K N"],
    linking: Linking,
) -> Tubes:
    """Link the boxes of every clip for every label into tubes.

    Args:
        clips: (N,), the clip of each box, from 0; in any order.
        frames: (N,), its frame, from 0.
        boxes_xyxy: (N, 4), pixels.
        scores: (K, N), of each box for each label.
        linking: the thresholds.

    Returns:
        Tubes by label, then by clip in order of appearance, then by falling score. On a tie the one
        that ended first, then the one that began first. `labels` are row numbers of `scores`.
    """
    known, first, clip = np.unique(clips, return_index=True, return_inverse=True)
    corners = np.ascontiguousarray(boxes_xyxy.T, np.float64)  # (4, N): fast to pick from
    found = [_grow(block, corners, scores, linking) for block in _blocks(clip, frames, len(scores))]
    if not found:
        nothing = np.empty(0, np.int64)
        return Tubes(
            labels=nothing, clips=nothing, firsts=nothing, lengths=nothing, starts=nothing,
            boxes_xyxy=np.empty((0, 4)), scores=np.empty(0),
        )  # fmt: skip
    columns = zip(*(vars(of_block).values() for of_block in found), strict=True)
    grown = _Grown(*map(np.concatenate, columns))
    order = np.lexsort((grown.begun, grown.ends, -grown.scores, first[grown.clips], grown.labels))
    return Tubes(
        labels=grown.labels,
        clips=known[grown.clips],
        firsts=grown.firsts,
        lengths=grown.lengths,
        starts=np.cumsum(grown.lengths) - grown.lengths,
        boxes_xyxy=grown.boxes_xyxy,
        scores=grown.scores,
    ).of(order)


@dataclass(frozen=True)
class _Block:
    """Some clips, those of most frames first, and their frames, clip after clip."""

    clips: Int[np.ndarray, " C"]
    num_frames: Int[np.ndarray, " C"]
    frames: Int[np.ndarray, " F"]  # numbers, rising in a clip
    rows: Int[np.ndarray, "F B"]  # the boxes of each frame, then -1

    @property
    def first(self) -> Int[np.ndarray, " C"]:
        """The place in `frames` of each clip's first frame."""
        return np.cumsum(self.num_frames) - self.num_frames

    def next_place(self, clips: np.ndarray, after: np.ndarray) -> Int[np.ndarray, " T"]:
        """The place in `frames` of a clip's first frame after a frame number; its end if none."""
        clip = np.repeat(np.arange(len(self.num_frames)), self.num_frames)
        span = 1 + max(self.frames.max(), after.max(initial=0))
        return np.searchsorted(clip * span + self.frames, clips * span + after, side="right")


def _blocks(clip: np.ndarray, frames: np.ndarray, num_labels: int) -> Iterator[_Block]:
    """Clips in blocks of about `_SCORES` scores, padding included."""
    by_frame = np.lexsort((frames, clip))
    clip, frames = clip[by_frame], frames[by_frame].astype(np.int64)
    starts = np.flatnonzero(np.diff(clip, prepend=-1) | np.diff(frames, prepend=-1))
    num_boxes = np.diff(starts, append=len(clip))
    clip_of_frame = clip[starts]
    num_frames = np.bincount(clip_of_frame)
    first = np.cumsum(num_frames) - num_frames
    longest_first = np.argsort(-num_frames, kind="stable")
    width = int(num_boxes.max(initial=1))
    block = np.cumsum(num_frames[longest_first]) * width * num_labels // _SCORES
    for number in np.unique(block):
        clips = longest_first[block == number]
        chosen = np.concatenate([np.arange(first[c], first[c] + num_frames[c]) for c in clips])
        column = np.arange(num_boxes[chosen].max())
        within = np.minimum(starts[chosen, None] + column, len(clip) - 1)
        rows = np.where(column < num_boxes[chosen, None], by_frame[within], -1)
        yield _Block(clips, num_frames[clips], frames[starts[chosen]], rows)


def _strongest(
    block: _Block, corners: np.ndarray, scores: np.ndarray, linking: Linking
) -> Int[np.ndarray, "F K top"]:
    """Boxes of each frame by falling score after non-maximum suppression, at most `top`, then -1.

    All frames decide together: about their best box first, then about the second, and so on.
    """
    rows = block.rows
    over = _overlap(corners, rows[:, :, None], rows[:, None]) > linking.nms  # (F, B, B)
    score = np.where(rows >= 0, scores[:, rows], -np.inf).transpose(1, 0, 2)  # (F, K, B)
    order = np.argsort(-score, axis=2, kind="stable")
    free = np.repeat(rows[:, None] >= 0, len(scores), axis=1)  # by place in `rows`
    taken = np.zeros_like(free)  # by rank
    num_taken = np.zeros(free.shape[:2], np.int64)
    frame = np.arange(len(rows))[:, None]
    for rank in range(rows.shape[1]):
        place = order[:, :, rank]
        takes = np.take_along_axis(free, place[..., None], 2)[..., 0] & (num_taken < linking.top)
        taken[:, :, rank] = takes
        num_taken += takes
        free &= ~(over[frame, place] & takes[..., None])
    most = int(num_taken.max(initial=1))
    ranked = np.where(taken, rows[frame[..., None], order], -1)
    return np.take_along_axis(ranked, np.argsort(~taken, axis=2, kind="stable")[..., :most], 2)


@dataclass(frozen=True)
class _Grown:
    """Tubes of some clips; their boxes tube after tube."""

    labels: Int[np.ndarray, " T"]
    clips: Int[np.ndarray, " T"]
    firsts: Int[np.ndarray, " T"]
    lengths: Int[np.ndarray, " T"]
    scores: Float[np.ndarray, " T"]
    ends: Int[np.ndarray, " T"]  # when they ended: rises within a clip
    begun: Int[np.ndarray, " T"]  # rises in the order in which a lane's tubes began
    boxes_xyxy: Float[np.ndarray, "S 4"]


def _grow(block: _Block, corners: np.ndarray, scores: np.ndarray, linking: Linking) -> _Grown:
    """Link a block of clips, all lanes in step."""
    kept = _strongest(block, corners, scores, linking)
    num_labels = len(scores)
    most = int((kept >= 0).sum())  # no box begins more than one tube
    lane, count, last_frame, last_row = (np.zeros(most, np.int64) for _ in range(4))
    total = np.zeros(most)  # of the scores
    steps: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # tubes, and what they took

    def extend(tubes: np.ndarray, rows: np.ndarray, frames: np.ndarray) -> None:
        total[tubes] += scores[lane[tubes] % num_labels, rows]
        count[tubes] += 1
        last_frame[tubes], last_row[tubes] = frames, rows
        steps.append((tubes, rows, frames))

    begun, open_tubes = 0, np.empty(0, np.int64)
    for place in range(int(block.num_frames.max())):
        # the longest clips come first: lanes that go on are the first ones
        now = block.first[block.num_frames > place] + place
        rows = kept[now].reshape(len(now) * num_labels, -1)  # (L, top)
        frame = np.repeat(block.frames[now], num_labels)  # (L,)
        open_tubes = open_tubes[lane[open_tubes] < len(rows)]
        waited = frame[lane[open_tubes]] - last_frame[open_tubes]
        open_tubes = open_tubes[waited <= linking.patience]
        best_first = np.lexsort((-total[open_tubes] / count[open_tubes], lane[open_tubes]))
        tubes = open_tubes[best_first]
        lanes = lane[tubes]
        near = _overlap(corners, last_row[tubes, None], rows[lanes]) >= linking.iou
        free = rows >= 0
        chosen = _choose(near, lanes, free)
        takes = chosen >= 0
        extend(tubes[takes], rows[lanes[takes], chosen[takes]], frame[lanes[takes]])
        lanes, left = np.nonzero(free)
        new = np.arange(begun, begun := begun + len(lanes))
        lane[new] = lanes
        extend(new, rows[lanes, left], frame[lanes])
        open_tubes = np.concatenate([open_tubes, new])
    # the boxes of every tube in order of time; what is too short or too weak goes
    score, last = total[:begun] / count[:begun], last_frame[:begun]
    tubes, rows, frames = (np.concatenate(column) for column in zip(*steps, strict=True))
    by_tube = np.argsort(tubes, kind="stable")
    tubes, rows, frames = tubes[by_tube], rows[by_tube], frames[by_tube]
    first = frames[np.cumsum(count[:begun]) - count[:begun]]
    stays = (last - first + 1 >= linking.min_frames) & (score >= linking.min_score)
    clips, labels = np.divmod(lane[:begun][stays], num_labels)
    known = stays[tubes]
    lengths = (last - first + 1)[stays]
    shift = np.zeros(begun, np.int64)  # from a tube's frames to its rows among those that stay
    shift[stays] = np.cumsum(lengths) - lengths - first[stays]
    return _Grown(
        labels=labels,
        clips=block.clips[clips],
        firsts=first[stays],
        lengths=lengths,
        scores=score[stays],
        ends=block.next_place(clips, last[stays] + linking.patience),
        begun=np.flatnonzero(stays),
        boxes_xyxy=_filled(
            (frames + shift[tubes])[known], corners[:, rows[known]].T, int(lengths.sum())
        ),
    )


def _overlap(corners: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of the boxes of two arrays of row numbers, which are broadcast; corners (4, N)."""
    one, other = np.broadcast_arrays(rows, others)
    return paired_iou(corners[:, one.ravel()].T, corners[:, other.ravel()].T).reshape(one.shape)


def _filled(
    places: Int[np.ndarray, " n"], boxes_xyxy: Float[np.ndarray, "n 4"], num_rows: int
) -> Float[np.ndarray, "S 4"]:
    """Boxes at `places`, rising, of all rows; the rows between get boxes between their neighbours'.

    A tube begins and ends with a known box, so no box is made of two tubes' boxes.
    """
    if len(places) == num_rows:
        return boxes_xyxy
    rows = np.arange(num_rows)
    return np.stack([np.interp(rows, places, column) for column in boxes_xyxy.T], axis=1)


def _choose(
    near: Bool[np.ndarray, "A top"], lanes: Int[np.ndarray, " A"], free: Bool[np.ndarray, "L top"]
) -> Int[np.ndarray, " A"]:
    """Which box of its lane each tube takes, -1 for none.

    The first tubes of all lanes choose together, then the second ones, and so on.

    Args:
        near: whether the tube may take the box.
        lanes: of the tubes, rising; the tubes of a lane in the order in which they choose.
        free: the boxes that are left; what is taken is cleared.
    """
    chosen = np.full(len(lanes), -1)
    turn = np.arange(len(lanes)) - np.searchsorted(lanes, lanes)
    by_turn = np.argsort(turn, kind="stable")
    for tubes in np.split(by_turn, np.cumsum(np.bincount(turn))[:-1]):
        may = near[tubes] & free[lanes[tubes]]
        takes, box = may.any(1), may.argmax(1)
        chosen[tubes[takes]] = box[takes]
        free[lanes[tubes[takes]], box[takes]] = False
    return chosen
