"""Frame mAP: rank a class's detections over all frames, match them to ground truth, average.

N detections and M ground-truth boxes of one class. A frame is known by a code that both sides
share (`frame_codes`); detections in frames without ground truth are false positives.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from stclip.errors import ConfigError
from stclip.evaluate.average_precision import average_precision, weighted_average_precision
from stclip.evaluate.iou import paired_iou


@dataclass(frozen=True)
class FrameBoxes:
    """Boxes and the code of the frame each lies in."""

    frames: Int[np.ndarray, " N"]
    boxes_xyxy: Shaped[np.ndarray, "N 4"]  # pixels


@dataclass(frozen=True, kw_only=True)
class ClassRows:
    """All that is needed to judge one class; rows in document order, which decides ties."""

    label: str
    scores: Float[np.ndarray, " N"]
    found: FrameBoxes
    truth: FrameBoxes


@dataclass(frozen=True)
class Ranking:
    """One class's detections by falling score: row numbers and whether each is a hit."""

    rows: Int[np.ndarray, " N"]
    hits: Bool[np.ndarray, " N"]
    num_positives: int


def match_best(
    rows: ClassRows,
    order: Int[np.ndarray, " N"],
    *,
    iou: Callable[[np.ndarray, np.ndarray], np.ndarray],
    iou_threshold: float,
) -> Bool[np.ndarray, " N"]:
    """Which detections are true positives.

    A detection only tries the ground-truth box of its frame with the highest IoU (the first one
    on ties). It is a hit if that IoU reaches the threshold and no detection ranked before it took
    the box; there is no second choice.

    Args:
        rows: detections and ground truth of the class.
        order: (N,), row numbers by falling score.
        iou: row-wise overlap of two (n, 4) arrays.
        iou_threshold: least IoU of a hit, inclusive.

    Returns:
        (N,), in row order.
    """
    found, truth = rows.found, rows.truth
    hits = np.zeros(len(found.frames), bool)
    num_codes = 1 + max(found.frames.max(initial=-1), truth.frames.max(initial=-1))
    per_frame = np.bincount(truth.frames, minlength=num_codes)
    ranked = order[per_frame[found.frames[order]] > 0]  # those with anything to match
    if not len(ranked):
        return hits

    # every such detection beside every ground-truth box of its frame, P pairs in all
    num_pairs = per_frame[found.frames[ranked]]
    starts = np.cumsum(num_pairs) - num_pairs
    pairs = np.arange(num_pairs.sum())
    pair_row = np.repeat(ranked, num_pairs)
    within = pairs - np.repeat(starts, num_pairs)
    first_of_frame = np.cumsum(per_frame) - per_frame
    by_frame = np.argsort(truth.frames, kind="stable")
    pair_truth = by_frame[first_of_frame[found.frames[pair_row]] + within]
    overlap = iou(found.boxes_xyxy[pair_row], truth.boxes_xyxy[pair_truth])  # (P,)

    best = np.maximum.reduceat(overlap, starts)
    is_best = overlap == np.repeat(best, num_pairs)
    best_pair = np.minimum.reduceat(np.where(is_best, pairs, len(pairs)), starts)
    reached = best >= iou_threshold
    # `ranked` is in falling score, so the first occurrence of a ground-truth box takes it
    _, takers = np.unique(pair_truth[best_pair[reached]], return_index=True)
    hits[ranked[reached][takers]] = True
    return hits


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What one evaluator calls frame mAP; another evaluator is another set of functions."""

    iou_threshold: float
    iou: Callable[[np.ndarray, np.ndarray], np.ndarray] = paired_iou
    match: Callable[..., np.ndarray] = match_best
    average_precision: Callable[[np.ndarray, int], float] = average_precision
    weighted_average_precision: Callable[..., np.ndarray] = weighted_average_precision


# iclip: the evaluator published with iCLIP (after MultiSports), the one behind the paper's tables
PROTOCOLS: dict[str, Protocol] = {"iclip": Protocol(iou_threshold=0.5)}


def named_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ConfigError: no such protocol.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {name!r}; known are {sorted(PROTOCOLS)}.")
    return PROTOCOLS[name]


@dataclass(frozen=True)
class FrameMap:
    """Average precision by class, a fraction in 0..1, NaN for a class without ground truth."""

    ap: dict[str, float]
    rankings: dict[str, Ranking] = field(repr=False)

    @property
    def num_classes(self) -> int:
        """Classes with ground truth: those that enter the mean."""
        return int(np.isfinite(list(self.ap.values())).sum())

    @property
    def mean(self) -> float:
        """Plain mean over the classes with ground truth; NaN if there is none."""
        defined = [value for value in self.ap.values() if np.isfinite(value)]
        return float(np.mean(defined)) if defined else float("nan")


def frame_map(classes: Iterable[ClassRows], protocol: Protocol) -> FrameMap:
    """Frame mAP over classes.

    Args:
        classes: detections and ground truth of each class; a class without detections scores 0.
        protocol: how overlap, matching and area under the curve are computed.

    Returns:
        Average precision by class, its mean, and the rankings behind them.
    """
    ap, rankings = {}, {}
    for rows in classes:
        order = np.argsort(-rows.scores, kind="stable")
        hits = protocol.match(rows, order, iou=protocol.iou, iou_threshold=protocol.iou_threshold)
        ranking = Ranking(order.astype(np.int32), hits[order], len(rows.truth.frames))
        ap[rows.label] = protocol.average_precision(ranking.hits, ranking.num_positives)
        rankings[rows.label] = ranking
    return FrameMap(ap, rankings)


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
