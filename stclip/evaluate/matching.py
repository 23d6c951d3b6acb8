"""Which detections find which ground-truth boxes.

A frame is known by a code that both sides share (`frame_codes`). P pairs: a detection beside a
ground-truth box of its frame. N detections, M ground-truth boxes, C candidates.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Shaped

Iou = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FrameBoxes:
    """Boxes and the code of the frame each lies in."""

    frames: Int[np.ndarray, " N"]
    boxes_xyxy: Shaped[np.ndarray, "N 4"]  # pixels

    @cached_property
    def columns(self) -> Float[np.ndarray, "4 N"]:
        """The corners, a contiguous row each: what is fast to pick from."""
        return np.ascontiguousarray(self.boxes_xyxy.T, np.float64)

    def of(self, rows: np.ndarray) -> "FrameBoxes":
        """Some of the boxes, by row numbers or mask."""
        return FrameBoxes(self.frames[rows], self.boxes_xyxy[rows])


@dataclass(frozen=True)
class Pairs:
    """Detections beside ground-truth boxes of their frame that overlap enough; rows of both."""

    found: Int[np.ndarray, " P"]
    truth: Int[np.ndarray, " P"]
    iou: Float[np.ndarray, " P"]

    def of(self, chosen: np.ndarray | slice) -> "Pairs":
        """Some of the pairs, by mask, slice or numbers."""
        return Pairs(self.found[chosen], self.truth[chosen], self.iou[chosen])


def overlapping_pairs(found: FrameBoxes, truth: FrameBoxes, *, iou: Iou, least: float) -> Pairs:
    """Every detection beside every ground-truth box of its frame with an overlap of `least` up.

    Returns:
        Pairs by ground-truth row, then by detection row.
    """
    pair_found, pair_truth = rows_together(found.frames, truth.frames)
    overlap = iou(found.columns[:, pair_found].T, truth.columns[:, pair_truth].T)
    enough = overlap >= least
    return Pairs(pair_found[enough], pair_truth[enough], overlap[enough])


def rows_together(
    found: Int[np.ndarray, " N"], truth: Int[np.ndarray, " M"]
) -> tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"]]:
    """Every row of one side beside every row of the other that has the same code.

    Args:
        found: (N,), codes from 0, few of them unused.
        truth: (M,), codes.

    Returns:
        Rows of `found` and rows of `truth`, by truth row, then by found row.
    """
    num_codes = 1 + max(found.max(initial=-1), truth.max(initial=-1))
    per_code = np.bincount(found, minlength=num_codes)
    num_pairs = per_code[truth]
    starts = np.cumsum(num_pairs) - num_pairs
    pair_truth = np.repeat(np.arange(len(truth)), num_pairs)
    within = np.arange(len(pair_truth)) - np.repeat(starts, num_pairs)
    first_of_code = np.cumsum(per_code) - per_code
    pair_found = np.repeat(first_of_code[truth], num_pairs) + within
    if (found[1:] < found[:-1]).any():  # files mostly are in order
        pair_found = np.argsort(found, kind="stable")[pair_found]
    return pair_found, pair_truth


def match_best(pairs: Pairs, scores: Float[np.ndarray, " N"]) -> Pairs:
    """Detections that are true positives, if a taken box means a false positive.

    A detection only tries the ground-truth box of its frame with the highest IoU (the first one
    on ties). It is a hit if no detection ranked before it took the box; there is no second choice.

    Args:
        pairs: of one class, with IoUs that reach the threshold.
        scores: (N,), of all detections of the class; ties rank in row order.

    Returns:
        The hits, in no particular order; no detection and no box occurs twice.
    """
    # by detection, best overlap first, then by ground-truth row
    pairs = pairs.of(np.lexsort((pairs.truth, -pairs.iou, pairs.found)))
    pairs = pairs.of(_first_of_runs(pairs.found))
    # by ground-truth box, highest score first, then by detection row
    pairs = pairs.of(np.lexsort((pairs.found, -scores[pairs.found], pairs.truth)))
    return pairs.of(_first_of_runs(pairs.truth))


def match_free(pairs: Pairs, scores: Float[np.ndarray, " N"]) -> Pairs:
    """Detections that are true positives, if a taken box gives way to the next best one.

    Detections in falling score take, of the boxes still free in their frame, the one with the
    highest IoU (the first one on ties), as ACT's and MOC's evaluators do.

    Args:
        pairs: of one class, with IoUs that reach the threshold.
        scores: (N,), of all detections of the class; ties rank in row order.

    Returns:
        The hits, in no particular order; no detection and no box occurs twice.
    """
    hits = [pairs.of(slice(0))]
    pairs = pairs.of(np.lexsort((pairs.truth, -pairs.iou, pairs.found, -scores[pairs.found])))
    while len(pairs.found):
        # In a round the detection that ranks first among all rivals for its best box takes it: no
        # detection before it wants any of its boxes, so what later ones do cannot matter to it.
        rank = np.cumsum(_first_of_runs(pairs.found)) - 1
        earliest = np.full(pairs.truth.max() + 1, len(rank))
        np.minimum.at(earliest, pairs.truth, rank)
        unrivalled = np.ones(rank[-1] + 1, bool)
        np.logical_and.at(unrivalled, rank, earliest[pairs.truth] == rank)
        first = _first_of_runs(pairs.found) & unrivalled[rank]
        hits.append(pairs.of(first))
        left = ~unrivalled[rank] & ~np.isin(pairs.truth, pairs.truth[first])
        pairs = pairs.of(left)
    return Pairs(*(np.concatenate(column) for column in zip(*map(astuple, hits), strict=True)))


def _first_of_runs(values: np.ndarray) -> np.ndarray:
    """Mask of the first of each run of equal values."""
    first = np.ones(len(values), bool)
    first[1:] = values[1:] != values[:-1]
    return first


def falling_order(scores: Float[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Rows by falling score, ties in row order: a stable sort, several times faster.

    NumPy sorts without stability by vector instructions; only rows that tie are put in order after.
    """
    order = np.argsort(-scores)
    ranked = scores[order]
    same = ranked[1:] == ranked[:-1]
    if same.any():
        run = np.concatenate([[0], np.cumsum(~same)])
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rows = order[tied]
        order[tied] = rows[np.lexsort((rows, run[tied]))]
    return order


def in_ranking(
    rows: Int[np.ndarray, " C"], scores: Float[np.ndarray, " N"]
) -> tuple[Int[np.ndarray, " C"], Int[np.ndarray, " C"]]:
    """How some detections stand in the ranking of all by falling score.

    Only the places of hits are needed: sorting the values from the lowest of them up is several
    times faster than ranking all rows. Ties, which rank in row order, take the slow way.

    Returns:
        The order that puts `rows` into ranking order, and then their places, from 0, rising.
    """
    if not len(rows):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.argsort(scores[rows])
    wanted = scores[rows[order]]  # rising
    ascending = np.sort(scores[scores >= wanted[0]])
    end = np.searchsorted(ascending, wanted, side="right")
    if (ascending[np.maximum(end - 2, 0)] == wanted)[end > 1].any():
        places = np.empty(len(scores), np.int64)
        places[falling_order(scores)] = np.arange(len(scores))
        order = np.argsort(places[rows])
        return order, places[rows[order]]
    return order[::-1], (len(ascending) - end)[::-1]


def frame_codes(
    *sides: tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]],
) -> list[Int[np.ndarray, " _"]]:
    """Number the (clip, frame) pairs of several tables together, from 0 without gaps.

    Args:
        sides: clip numbers (0-based) and frame numbers of each table.

    Returns:
        One code array per side; equal codes mean the same frame of the same clip.
    """
    clips = np.concatenate([np.asarray(clip, np.int64) for clip, _ in sides])
    frames = np.concatenate([np.asarray(frame, np.int64) for _, frame in sides])
    keys = clips * (frames.max(initial=0) + 1) + frames
    _, codes = np.unique(keys, return_inverse=True)
    return np.split(codes, np.cumsum([len(clip) for clip, _ in sides])[:-1])
