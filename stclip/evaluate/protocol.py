"""What the evaluators of the field call frame mAP, by name.

| name          | evaluator                                 | overlap | taken box     | area      |
|---------------|-------------------------------------------|---------|---------------|-----------|
| `iclip`       | iCLIP's, from MultiSports; the paper's     | no +1   | a miss        | all-point |
| `tf`          | TensorFlow object detection, as AlphAction | no +1   | a miss        | all-point |
| `activitynet` | the same, as ActivityNet's script for AVA  | no +1   | a miss        | all-point |
| `hit`         | HIT's, from Padilla; Pascal VOC            | +1      | a miss        | all-point |
| `act`         | ACT's and MOC's                            | +1      | the next best | trapezoid |
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from stclip.boxes.iou import paired_iou
from stclip.evaluate.average_precision import all_point, trapezoid
from stclip.evaluate.matching import Iou, Pairs, match_best, match_free


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One evaluator's rules.

    The last six say what it does to rows (a box and a class) before it judges them. Rounding and
    ties by file name concern files from outside only (`stclip.evaluate.outside`).
    """

    iou_threshold: float = 0.5
    iou: Iou = paired_iou
    match: Callable[[Pairs, np.ndarray], Pairs] = match_best
    area: Callable[[np.ndarray, int], float] = all_point
    drop_degenerate: bool = False  # rows with x2 <= x1 or y2 <= y1; otherwise false positives
    whole_pixels: bool = False  # corners are rounded, halves to even
    score_decimals: int | None = None  # scores are rounded; what becomes 0 is dropped
    by_file_name: bool = False  # ties rank by <class>_<video>_<frame>, not in document order
    max_rows: int | None = None  # best (box, class) rows of a frame that are kept
    annotated_frames_only: bool = False  # rows in frames without any box are dropped


_PLUS_ONE = partial(paired_iou, plus=1)

PROTOCOLS: dict[str, Protocol] = {
    "iclip": Protocol(),
    "tf": Protocol(drop_degenerate=True),
    "activitynet": Protocol(drop_degenerate=True, max_rows=50, annotated_frames_only=True),
    "hit": Protocol(iou=_PLUS_ONE, whole_pixels=True, score_decimals=5, by_file_name=True),
    "act": Protocol(iou=_PLUS_ONE, match=match_free, area=trapezoid),
}
