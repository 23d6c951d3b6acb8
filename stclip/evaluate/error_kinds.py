"""What a score file gets wrong, and how much mAP each kind of error costs.

The kinds and their order of precedence are those of TIDE (Bolya et al., ECCV 2020), on boxes that
are scored for several labels. A row is a box scored for a label. One that finds a ground-truth box
of its label is correct; of the others, with f the threshold of a hit and b = 0.1:

| kind           | the row overlaps                                            | mended by  |
|----------------|-------------------------------------------------------------|------------|
| `localisation` | a box of its label by b up to f                             | moving     |
| `wrong class`  | a box without its label by f or more                        | relabeling |
| `duplicate`    | a box of its label by f or more, which a better row took    | removal    |
| `background`   | no box by b                                                 | removal    |
| `both`         | the rest: a box without its label by b up to f              | removal    |
| `missed`       | (ground truth) nothing found it, or would find it if mended | removal    |

A mended row takes its box if no row found it and this is the best one that could be mended so;
otherwise it is removed. A wrong class is relabelled to what its box shows.

N rows of a label, B ground-truth boxes.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Int8

from stclip.evaluate.frame_map import FrameMap, LabelledBoxes, Ranking, mean_ap
from stclip.evaluate.matching import FrameBoxes, Pairs, overlapping_pairs
from stclip.evaluate.protocol import Protocol

BACKGROUND = 0.1  # overlap below which a row has nothing to do with a box
KINDS = ("correct", "wrong class", "localisation", "both", "duplicate", "background")
MISSED = "missed"
_CORRECT, _CLASS, _LOCALISATION, _BOTH, _DUPLICATE, _BACKGROUND = range(len(KINDS))


@dataclass(frozen=True)
class ErrorRows:
    """The rows of one label: what kind they are, and what mending them could find."""

    kinds: Int8[np.ndarray, " N"]  # numbers into KINDS
    free: Bool[np.ndarray, " B"]  # has the label and no row found it
    moved: Float[np.ndarray, " B"]  # best score of a row that could move to each box, or -inf
    relabelled: Float[np.ndarray, " B"]  # of a row of any label that has the wrong class on it

    @property
    def missed(self) -> Bool[np.ndarray, " B"]:
        """Ground-truth boxes of the label that nothing found, or would find if mended."""
        return self.free & np.isinf(self.moved) & np.isinf(self.relabelled)


@dataclass(frozen=True)
class _Rows:
    """The rows of one label: what kind they are, which box they could be mended to."""

    kinds: Int8[np.ndarray, " N"]  # numbers into KINDS
    same_box: Int[np.ndarray, " N"]  # box of the label that overlaps most, -1 if none
    other_box: Int[np.ndarray, " N"]  # box without the label that overlaps most, -1 if none
    free: Bool[np.ndarray, " B"]  # has the label and no row found it


def error_rows(
    result: FrameMap, found: FrameBoxes, truth: LabelledBoxes, *, protocol: Protocol
) -> dict[str, ErrorRows]:
    """Tell the kind of every row, and the ground truth that is missed.

    Args:
        result: the evaluation.
        found: the boxes of its rows.
        truth: its ground truth; label numbers follow the order of `result.rankings`.
        protocol: its protocol.

    Returns:
        By label, in the order of `result.rankings`; rows as in its ranking.
    """
    pairs = overlapping_pairs(found, truth.boxes, iou=protocol.iou, least=BACKGROUND)
    pairs = pairs.of(np.lexsort((pairs.truth, -pairs.iou, pairs.found)))  # best first, per box
    labels, num_boxes = list(result.rankings), len(truth.boxes.frames)
    has_label = np.zeros((len(labels), num_boxes), bool)
    has_label[truth.labels, truth.rows] = True
    of_label = {
        label: _classify(
            result.rankings[label],
            pairs,
            has_label[k],
            len(found.frames),
            protocol.iou_threshold,
        )
        for k, label in enumerate(labels)
    }
    relabelled = _best_relabelled(result, of_label, num_boxes)
    return {
        label: ErrorRows(
            rows.kinds, rows.free, _best_moved(result.rankings[label], rows), relabelled
        )
        for label, rows in of_label.items()
    }


def error_table(
    result: FrameMap, found: FrameBoxes, truth: LabelledBoxes, *, protocol: Protocol
) -> pd.DataFrame:
    """Count and price the errors of every label.

    Args:
        result: the evaluation.
        found: the boxes of its rows.
        truth: its ground truth; label numbers follow the order of `result.rankings`.
        protocol: its protocol.

    Returns:
        A row per label and kind, and for all labels together (label ""): `rows`, `top` (among the
        best-ranked rows, as many as the label has ground-truth boxes), and `gain`, the AP (mAP for
        all labels) in 0..1 that mending gives back: NaN for what is correct and for a label without
        ground truth.
    """
    of_label = error_rows(result, found, truth, protocol=protocol)
    lines = []
    for label, rows in of_label.items():
        ranking = result.rankings[label]
        top = rows.kinds[ranking.order[: ranking.num_positives]]
        gains, num_missed = _gains(ranking, rows, result.ap[label], protocol)
        for number, kind in enumerate(KINDS):
            counts = [int((kinds == number).sum()) for kinds in (rows.kinds, top)]
            lines.append((label, kind, *counts, gains[kind]))
        lines.append((label, MISSED, num_missed, 0, gains[MISSED]))
    table = pd.DataFrame(lines, columns=["label", "kind", "rows", "top", "gain"])
    total = table.groupby("kind", sort=False).agg(
        rows=("rows", "sum"), top=("top", "sum"), gain=("gain", mean_ap)
    )
    return pd.concat([table, total.reset_index().assign(label="")], ignore_index=True)


def _classify(
    ranking: Ranking,
    pairs: Pairs,
    has_label: Bool[np.ndarray, " B"],
    num_found: int,
    threshold: float,
) -> _Rows:
    mask = has_label[pairs.truth]
    same, same_box = _first_of_each(pairs.of(mask), num_found)
    other, other_box = _first_of_each(pairs.of(~mask), num_found)
    kinds = np.select(
        [
            (same >= BACKGROUND) & (same < threshold),
            other >= threshold,
            same >= threshold,
            np.maximum(same, other) < BACKGROUND,
        ],
        [_LOCALISATION, _CLASS, _DUPLICATE, _BACKGROUND],
        _BOTH,
    )[ranking.boxes]
    kinds[ranking.hits.found] = _CORRECT
    free = has_label.copy()
    free[ranking.hits.truth] = False
    return _Rows(kinds.astype(np.int8), same_box[ranking.boxes], other_box[ranking.boxes], free)


def _first_of_each(pairs: Pairs, num_found: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlap and ground-truth box of each found box's first pair; 0 and -1 without."""
    boxes, first = np.unique(pairs.found, return_index=True)
    overlap, box = np.zeros(num_found), np.full(num_found, -1)
    overlap[boxes], box[boxes] = pairs.iou[first], pairs.truth[first]
    return overlap, box


def _best_relabelled(
    result: FrameMap, of_label: dict[str, _Rows], num_boxes: int
) -> Float[np.ndarray, " B"]:
    """The best score of a row that has the wrong class on each box; -inf without any.

    Whatever label the row has, the box lacks it; relabelled, the row may take any that it shows.
    """
    best = np.full(num_boxes, -np.inf)
    for label, rows in of_label.items():
        wrong = rows.kinds == _CLASS
        np.maximum.at(best, rows.other_box[wrong], result.rankings[label].scores[wrong])
    return best


def _best_moved(ranking: Ranking, rows: _Rows) -> Float[np.ndarray, " B"]:
    """The best score of a row of the label that could move to each box; -inf without any."""
    moves = rows.kinds == _LOCALISATION
    best = np.full(len(rows.free), -np.inf)
    np.maximum.at(best, rows.same_box[moves], ranking.scores[moves])
    return best


def _gains(
    ranking: Ranking, rows: ErrorRows, ap: float, protocol: Protocol
) -> tuple[dict[str, float], int]:
    """What mending each kind gives back, and how much ground truth nothing could find."""
    ranked_kinds, falling = rows.kinds[ranking.order], -ranking.scores[ranking.order]

    def mended(kind: int, taking: np.ndarray, num_positives: int) -> float:
        """AP without the rows of a kind, with rows of the scores `taking` as true positives."""
        ranks = _ranks_of_hits(ranked_kinds != kind, falling, ranking.hit_ranks, np.sort(-taking))
        return protocol.area(ranks, num_positives) - ap

    none, all_of_them = np.empty(0), ranking.num_positives
    gains = {
        kind: mended(number, none, all_of_them)
        for number, kind in enumerate(KINDS)
        if number in (_BOTH, _DUPLICATE, _BACKGROUND)
    }
    for number, scores in ((_CLASS, rows.relabelled), (_LOCALISATION, rows.moved)):
        taking = scores[rows.free & np.isfinite(scores)]
        gains[KINDS[number]] = mended(number, taking, all_of_them)
    num_missed = int(rows.missed.sum())
    nothing_left = num_missed == all_of_them and all_of_them > 0
    found_anyway = mended(-1, none, all_of_them - num_missed)
    gains[MISSED] = 0.0 if nothing_left else found_anyway  # no box left: nothing to be right about
    gains[KINDS[_CORRECT]] = float("nan")
    return gains, num_missed


def _ranks_of_hits(
    stays: Bool[np.ndarray, " N"],
    falling: Float[np.ndarray, " N"],
    hit_ranks: Int[np.ndarray, " H"],
    taking: Float[np.ndarray, " T"],
) -> Int[np.ndarray, " H+T"]:
    """Places of the true positives, from 0 and rising, once rows left a ranking and others came in.

    Nothing is sorted anew: how many rows stay before a place is a running sum. On a tie the rows
    that came in are last.

    Args:
        stays: whether the row at each rank stays; every hit does.
        falling: the negated score at each rank, rising.
        hit_ranks: ranks of the hits.
        taking: negated scores of the rows that come in, all hits, rising.
    """
    before = np.concatenate([[0], np.cumsum(stays)])  # rows that stay among the first so many
    old = before[hit_ranks] + np.searchsorted(taking, falling[hit_ranks], side="left")
    new = before[np.searchsorted(falling, taking, side="right")] + np.arange(len(taking))
    return np.sort(np.concatenate([old, new]))
