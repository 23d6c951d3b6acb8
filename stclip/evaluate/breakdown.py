"""Beside the numbers: AP by class, precision-recall curves and errors, as csv and as a figure.

`classes.csv`, `curves.csv`, `errors.csv` and `errors.png` hold one or several evaluations, told
apart by the column `cell` (boxes/labels/assumption of a run).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stclip.evaluate.error_kinds import error_table
from stclip.evaluate.frame_map import FrameMap, LabelledBoxes, Ranking
from stclip.evaluate.matching import FrameBoxes
from stclip.evaluate.protocol import Protocol

CLASSES, CURVES, ERRORS = "classes.csv", "curves.csv", "errors.csv"
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class ReportPart:
    """What lies behind one mAP."""

    classes: pd.DataFrame  # label, AP, gt_boxes, rows, found, recall
    curves: pd.DataFrame  # label, recall, precision
    errors: pd.DataFrame  # label ("" for all), kind, rows, top, gain


def report_part(
    result: FrameMap, found: FrameBoxes, truth: LabelledBoxes, protocol: Protocol
) -> ReportPart:
    """Tabulate an evaluation.

    Args:
        result: the evaluation.
        found: the boxes of its rows.
        truth: its ground truth.
        protocol: its protocol.
    """
    classes = pd.DataFrame(
        {
            "label": label,
            "AP": result.ap[label],
            "gt_boxes": ranking.num_positives,
            "rows": len(ranking.scores),
            "found": len(ranking.hit_ranks),
            "recall": len(ranking.hit_ranks) / ranking.num_positives
            if ranking.num_positives
            else np.nan,
        }
        for label, ranking in result.rankings.items()
    )
    curves = pd.DataFrame(
        {
            "label": np.repeat(list(result.rankings), len(RECALLS)),
            "recall": np.tile(RECALLS, len(result.rankings)),
            "precision": np.concatenate([_curve(each) for each in result.rankings.values()]),
        }
    )
    errors = error_table(result, found, truth, protocol=protocol)
    return ReportPart(classes, curves, errors)


def _curve(ranking: Ranking) -> np.ndarray:
    """The precision envelope at 101 recalls: the best precision at this or a higher recall."""
    precision = np.full(len(RECALLS), np.nan)
    if ranking.num_positives:
        hits = np.arange(1, len(ranking.hit_ranks) + 1)
        envelope = np.maximum.accumulate((hits / (ranking.hit_ranks + 1))[::-1])[::-1]
        # the first hit that reaches the recall; the small amount forgives rounding of the division
        need = np.ceil(RECALLS * ranking.num_positives - 1e-9).astype(int).clip(1) - 1
        precision = np.append(envelope, 0.0)[np.minimum(need, len(envelope))]
    return precision
