"""Video mAP: rank a class's tubes over all videos, match them to ground-truth tubes, average.

| name          | evaluator     | overlap and ranges | suppression | taken tube    | area      |
|---------------|---------------|--------------------|-------------|---------------|-----------|
| `act`         | ACT's, MOC's  | +1                 | above 0.3   | the next best | trapezoid |
| `multisports` | HIT's         | no +1              | none        | a miss        | all-point |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stclip.boxes.linking import Tube, suppress, tube_iou
from stclip.evaluate.average_precision import all_point, trapezoid
from stclip.evaluate.frame_map import mean_ap
from stclip.evaluate.matching import Pairs, in_ranking, match_best, match_free

THRESHOLDS = (0.2, 0.5, 0.75)
_RANGE = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
MEAN_OF_RANGE = "0.5:0.95"

Tubes = Mapping[str, Sequence[Tube]]  # by video


@dataclass(frozen=True, kw_only=True)
class VideoProtocol:
    """One evaluator's rules."""

    plus: int
    nms: float | None
    match: Callable[[Pairs, np.ndarray], Pairs]
    area: Callable[[np.ndarray, int], float]


VIDEO_PROTOCOLS = {
    "act": VideoProtocol(plus=1, nms=0.3, match=match_free, area=trapezoid),
    "multisports": VideoProtocol(plus=0, nms=None, match=match_best, area=all_point),
}


def video_map(
    found: Mapping[str, Tubes], truth: Mapping[str, Tubes], protocol: VideoProtocol
) -> dict[str, float]:
    """Mean AP of tubes over the classes with ground truth.

    Args:
        found: class -> video -> tubes with scores.
        truth: class -> video -> ground-truth tubes; its classes are those evaluated.
        protocol: how overlap, suppression, matching and area are computed.

    Returns:
        Fractions in 0..1 (NaN without any ground truth) by threshold "0.2", "0.5", "0.75", and the
        mean over 0.50, 0.55, ..., 0.95 under "0.5:0.95".
    """
    thresholds = sorted({*THRESHOLDS, *_RANGE})
    by_class = [
        _class_ap(found.get(label, {}), truth[label], protocol, thresholds) for label in truth
    ]
    means = {t: mean_ap([ap[t] for ap in by_class]) for t in thresholds}
    result = {f"{t:g}": means[t] for t in THRESHOLDS}
    return result | {MEAN_OF_RANGE: float(np.mean([means[t] for t in _RANGE]))}


def _class_ap(
    found: Tubes, truth: Tubes, protocol: VideoProtocol, thresholds: Sequence[float]
) -> dict[float, float]:
    scores: list[float] = []
    rows: list[int] = []
    columns: list[int] = []
    overlaps: list[float] = []
    num_truth = 0
    for video in {**found, **truth}:  # in order of appearance: ties are decided by it
        tubes: Sequence[Tube] = found.get(video, ())
        if protocol.nms is not None:
            tubes = suppress(tubes, threshold=protocol.nms, plus=protocol.plus)
        for row, tube in enumerate(tubes, len(scores)):
            for column, other in enumerate(truth.get(video, ()), num_truth):
                rows.append(row)
                columns.append(column)
                overlaps.append(tube_iou(tube, other, plus=protocol.plus))
        scores += [tube.score for tube in tubes]
        num_truth += len(truth.get(video, ()))
    pairs = Pairs(np.array(rows, np.int64), np.array(columns, np.int64), np.array(overlaps))
    ranked = np.array(scores, np.float64)
    ap = {}
    for threshold in thresholds:
        hits = protocol.match(pairs.of(pairs.iou >= threshold), ranked).found
        ap[threshold] = protocol.area(in_ranking(hits, ranked)[1], num_truth)
    return ap
