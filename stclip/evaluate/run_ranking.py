"""The rows of a run (a box scored for a label) as they are ranked, matched and judged.

N boxes, K labels.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from stclip.errors import DataError
from stclip.evaluate.counted_rows import counted_rows
from stclip.evaluate.error_kinds import ErrorRows, error_rows
from stclip.evaluate.frame_map import FrameMap, frame_map, shared_box_rows
from stclip.evaluate.rules import Rules
from stclip.evaluate.run_sides import RunBoxes, RunTruth, boxes_sha256, scores_of
from stclip.evaluate.voting import ASSUMPTIONS
from stclip.records import Boxes, KeyFrames, LabelSplit, Scores

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JudgedRows:
    """The rows of a box source and label group under an assumption, each with what it is."""

    found: RunBoxes
    truth: RunTruth
    result: FrameMap
    errors: dict[str, ErrorRows]  # by label; rows as in its ranking


def judge_rows(
    scores: Mapping[str, Scores],
    group: str,
    *,
    source: str,
    assumption: str,
    ground_truth: Boxes,
    key_frames: KeyFrames,
    split: LabelSplit,
    rules: Rules,
) -> JudgedRows:
    """Judge every row of a label group as `stclip.evaluate.evaluate.evaluate_run` does.

    Args:
        scores: by label group; where labels are judged together, of both groups.
        group: "unseen" or "base".
        source: of the boxes, for messages.
        assumption: "independent" or "voted".
        ground_truth: the data set's boxes.
        key_frames: only these frames count.
        split: the label split with its clips filled in.
        rules: of the data set.

    Raises:
        ConfigError: unknown label group.
        DataError: scores do not belong to this split or its key frames, or nothing to judge.
    """
    truths = {
        name: RunTruth.of(ground_truth, key_frames, split, name, num_replicates=0, seed=0)
        for name in scores
    }
    found = {
        name: RunBoxes.of(record, truths[name], source, key_frames)
        for name, record in scores.items()
    }
    if rules.together:
        check_same_boxes(found)
    party = list(found) if rules.together else [group]
    masks = counted_of(party, assumption, found, truths, rules)
    own, truth = found[group], truths[group]
    record = ASSUMPTIONS[assumption](own.record)
    result = ranked(record, own, truth, rules=rules, counted=masks[party.index(group)])
    errors = error_rows(result, own.boxes, truth.labelled, protocol=rules.frames)
    return JudgedRows(own, truth, result, errors)


def ranked(
    record: Scores,
    found: RunBoxes,
    truth: RunTruth,
    *,
    rules: Rules,
    counted: Bool[np.ndarray, "K N"] | None,
) -> FrameMap:
    """Rank and match the rows of every label.

    Args:
        record: the scores of `found` under an assumption.
        found: their boxes.
        truth: the ground truth.
        rules: of the data set.
        counted: of `counted_of`.
    """
    classes = shared_box_rows(
        truth.labels, scores_of(record), found.boxes, truth.labelled,
        protocol=rules.frames, counted=counted,
    )  # fmt: skip
    return frame_map(classes, rules.frames)


def counted_of(
    party: Sequence[str],
    assumption: str,
    found: Mapping[str, RunBoxes],
    truths: Mapping[str, RunTruth],
    rules: Rules,
) -> Sequence[np.ndarray | None]:
    """The rows that count of each group of labels that are judged together; None: all."""
    first = found[party[0]]
    num_labels = [len(found[group].record.labels) for group in party]

    def scores() -> np.ndarray:
        records = [ASSUMPTIONS[assumption](found[group].record) for group in party]
        return np.concatenate([scores_of(record) for record in records])

    counted = counted_rows(
        scores, first.boxes, num_labels=sum(num_labels), annotated=truths[party[0]].annotated,
        protocol=rules.frames,
    )  # fmt: skip
    if counted is None:
        return [None] * len(party)
    logger.info(
        "%s: of %d rows (a box and a label) of %s labels %d count by the protocol",
        first.where, counted.size, " and ".join(party), counted.sum(),
    )  # fmt: skip
    return np.split(counted, np.cumsum(num_labels)[:-1])


def check_same_boxes(found: Mapping[str, RunBoxes]) -> None:
    """Labels of two groups are judged together only on the same boxes.

    Raises:
        DataError: they differ.
    """
    one, other = found.values()
    if boxes_sha256(one.record) != boxes_sha256(other.record):
        raise DataError(
            f"{one.where} and {other.where}: {len(one.record)} and {len(other.record)} boxes, "
            "which are not the same; labels are judged together on the same boxes. Run the score "
            "stage again."
        )
