"""Video mAP: rank a class's tubes over all videos, match them to ground-truth tubes, average.

| name          | evaluator     | overlap and ranges | suppression | taken tube    | area      |
|---------------|---------------|--------------------|-------------|---------------|-----------|
| `act`         | ACT's, MOC's  | +1                 | above 0.3   | the next best | trapezoid |
| `multisports` | HIT's         | no +1              | none        | a miss        | all-point |
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stclip.boxes.tubes import Tubes, suppress, tube_ious
from stclip.evaluate.average_precision import all_point, trapezoid
from stclip.evaluate.frame_map import mean_ap
from stclip.evaluate.matching import Pairs, match_best, match_free, rows_together

THRESHOLDS = (0.2, 0.5, 0.75)
_RANGE = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
MEAN_OF_RANGE = "0.5:0.95"


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


def video_map(found: Tubes, truth: Tubes, protocol: VideoProtocol) -> dict[str, float]:
    """Mean AP of tubes over the labels with ground truth; all labels are matched at once.

    Args:
        found: tubes with scores; of one label, equal scores rank in their order.
        truth: ground-truth tubes, with the same numbers of labels and clips.
        protocol: how overlap, suppression, matching and area are computed.

    Returns:
        Fractions in 0..1 (NaN without any ground truth) by threshold "0.2", "0.5", "0.75", and the
        mean over 0.50, 0.55, ..., 0.95 under "0.5:0.95".
    """
    if protocol.nms is not None:
        found = found.of(suppress(found, threshold=protocol.nms, plus=protocol.plus))
    num_clips = 1 + max(found.clips.max(initial=-1), truth.clips.max(initial=-1))
    codes = (tubes.labels * num_clips + tubes.clips for tubes in (found, truth))
    rows, columns = rows_together(*codes)
    pairs = Pairs(rows, columns, tube_ious(found, rows, truth, columns, plus=protocol.plus))
    by_score = np.lexsort((-found.scores, found.labels))
    place = np.empty(len(found), np.int64)  # in the ranking of its label
    place[by_score] = np.arange(len(found))
    place -= np.searchsorted(found.labels[by_score], found.labels)
    labels, positives = np.unique(truth.labels, return_counts=True)
    means = {}
    for threshold in {*THRESHOLDS, *_RANGE}:
        hits = protocol.match(pairs.of(pairs.iou >= threshold), found.scores).found
        ranks = [np.sort(place[hits[found.labels[hits] == label]]) for label in labels]
        means[threshold] = mean_ap(
            protocol.area(*of_label) for of_label in zip(ranks, positives.tolist(), strict=True)
        )
    result = {f"{t:g}": means[t] for t in THRESHOLDS}
    return result | {MEAN_OF_RANGE: float(np.mean([means[t] for t in _RANGE]))}
