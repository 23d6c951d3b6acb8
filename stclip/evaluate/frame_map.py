"""Frame mAP: rank a class's detections over all frames, match them to ground truth, average.

N rows (a box and its score) of a class, B ground-truth boxes with M labels in all, K classes. Rows
in frames without ground truth are false positives.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from stclip.evaluate.matching import (
    FrameBoxes,
    Pairs,
    falling_order,
    in_ranking,
    overlapping_pairs,
)
from stclip.evaluate.protocol import Protocol


@dataclass(frozen=True)
class LabelledBoxes:
    """Ground-truth boxes with any number of labels each."""

    boxes: FrameBoxes  # (B,)
    rows: Int[np.ndarray, " M"]  # a box number for each of its labels, rising
    labels: Int[np.ndarray, " M"]  # the label's number

    def per_label(self, pairs: Pairs) -> tuple[Pairs, Int[np.ndarray, " Q"]]:
        """Repeat pairs for every label of their ground-truth box; also the label of each."""
        per_box = np.bincount(self.rows, minlength=len(self.boxes.frames))
        times = per_box[pairs.truth]
        first_of_box = np.cumsum(per_box) - per_box
        starts = np.repeat(np.cumsum(times) - times, times)
        row = np.repeat(first_of_box[pairs.truth], times) + np.arange(len(starts)) - starts
        return pairs.of(np.repeat(np.arange(len(times)), times)), self.labels[row]


@dataclass(frozen=True, kw_only=True)
class ClassRows:
    """All that is needed to judge one class; rows in document order, which decides ties."""

    label: str
    boxes: Int[np.ndarray, " N"]  # the number of each row's box
    scores: Float[np.ndarray, " N"]
    pairs: Pairs  # rows beside ground-truth boxes of the class, from the IoU threshold up
    num_positives: int


def shared_box_rows(
    labels: Sequence[str],
    scores: Float[np.ndarray, "K N"],
    found: FrameBoxes,
    truth: LabelledBoxes,
    *,
    protocol: Protocol,
    counted: Bool[np.ndarray, "K N"] | None = None,
) -> Iterator[ClassRows]:
    """Classes of boxes that are all scored for all of them; overlaps are computed once.

    Args:
        labels: (K,), their names.
        scores: (K, N), contiguous rows are fastest.
        found: (N,), the boxes.
        truth: ground truth of all classes.
        protocol: gives overlap and threshold.
        counted: (K, N), the rows that are there at all; None: all of them.
    """
    pairs = overlapping_pairs(found, truth.boxes, iou=protocol.iou, least=protocol.iou_threshold)
    pairs, pair_labels = truth.per_label(pairs)
    boxes, own = [np.arange(len(found.frames))] * len(labels), list(scores)
    if counted is not None:
        there = counted[pair_labels, pairs.found]
        pairs, pair_labels = pairs.of(there), pair_labels[there]
        place = np.cumsum(counted, axis=1, dtype=np.int32) - 1  # of a row among those of its label
        pairs = replace(pairs, found=place[pair_labels, pairs.found].astype(np.int64))
        boxes = [np.flatnonzero(of_label) for of_label in counted]
        own = [of_label[rows] for of_label, rows in zip(scores, boxes, strict=True)]
    yield from _by_label(labels, boxes, own, pairs, pair_labels, truth)


def own_box_rows(
    labels: Sequence[str],
    scores: Float[np.ndarray, " N"],
    row_labels: Int[np.ndarray, " N"],
    found: FrameBoxes,
    truth: LabelledBoxes,
    *,
    protocol: Protocol,
) -> Iterator[ClassRows]:
    """Classes of rows that are a box and a score for one class each.

    Args:
        labels: (K,), their names.
        scores: (N,).
        row_labels: (N,), numbers into `labels`.
        found: (N,), the box of each row.
        truth: ground truth of all classes.
        protocol: gives overlap and threshold.
    """
    # only rows and boxes of one class in one frame can meet: each such cell is a frame of its own
    each = truth.boxes.of(truth.rows)
    cells = FrameBoxes(each.frames * len(labels) + truth.labels, each.boxes_xyxy)
    found_cells = FrameBoxes(found.frames * len(labels) + row_labels, found.boxes_xyxy)
    pairs = overlapping_pairs(found_cells, cells, iou=protocol.iou, least=protocol.iou_threshold)
    by_label = np.argsort(row_labels, kind="stable")
    counts = np.bincount(row_labels, minlength=len(labels))
    boxes = np.split(by_label, np.cumsum(counts)[:-1])
    place = np.empty(len(scores), np.int64)  # of a row among those of its label
    place[by_label] = np.arange(len(scores)) - np.repeat(np.cumsum(counts) - counts, counts)
    pair_labels = truth.labels[pairs.truth]
    pairs = Pairs(place[pairs.found], truth.rows[pairs.truth], pairs.iou)
    yield from _by_label(labels, boxes, [scores[b] for b in boxes], pairs, pair_labels, truth)


def _by_label(
    labels: Sequence[str],
    boxes: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    pairs: Pairs,
    pair_labels: np.ndarray,
    truth: LabelledBoxes,
) -> Iterator[ClassRows]:
    order = np.argsort(pair_labels, kind="stable")
    pairs = pairs.of(order)
    ends = np.searchsorted(pair_labels[order], np.arange(len(labels)), side="right").tolist()
    positives = np.bincount(truth.labels, minlength=len(labels)).tolist()
    for k, label in enumerate(labels):
        yield ClassRows(
            label=label,
            boxes=boxes[k],
            scores=scores[k],
            pairs=pairs.of(slice(ends[k - 1] if k else 0, ends[k])),
            num_positives=positives[k],
        )


@dataclass(frozen=True)
class Ranking:
    """One class's rows and the true positives among them."""

    boxes: Int[np.ndarray, " N"]  # the number of each row's box
    scores: Float[np.ndarray, " N"]
    hits: Pairs  # in ranking order
    hit_ranks: Int[np.ndarray, " H"]  # their places in it, from 0, rising
    num_positives: int

    @cached_property
    def order(self) -> Int[np.ndarray, " N"]:
        """Rows by falling score, ties in row order."""
        return falling_order(self.scores)

    def is_hit(self) -> Bool[np.ndarray, " N"]:
        """Whether the row at each rank is a true positive."""
        hits = np.zeros(len(self.scores), bool)
        hits[self.hit_ranks] = True
        return hits


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
        return mean_ap(self.ap.values())


def mean_ap(values: Iterable[float]) -> float:
    """Mean over the defined values; NaN if there is none."""
    defined = [value for value in values if np.isfinite(value)]
    return float(np.mean(defined)) if defined else float("nan")


def frame_map(classes: Iterable[ClassRows], protocol: Protocol) -> FrameMap:
    """Frame mAP over classes.

    Args:
        classes: detections and ground truth of each class; a class without detections scores 0.
        protocol: how matching and area under the curve are computed.

    Returns:
        Average precision by class, its mean, and the rankings behind them.
    """
    ap, rankings = {}, {}
    for rows in classes:
        hits = protocol.match(rows.pairs, rows.scores)
        order, ranks = in_ranking(hits.found, rows.scores)
        ranking = Ranking(rows.boxes, rows.scores, hits.of(order), ranks, rows.num_positives)
        ap[rows.label] = protocol.area(ranks, ranking.num_positives)
        rankings[rows.label] = ranking
    return FrameMap(ap, rankings)
