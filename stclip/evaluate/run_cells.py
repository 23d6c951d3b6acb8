"""One cell of a run's metrics: the scores of a box source and label group under an assumption."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from stclip.boxes.linking import link
from stclip.evaluate.bootstrap import replicate_aps
from stclip.evaluate.breakdown import ReportPart, report_part
from stclip.evaluate.class_means import ClassResults
from stclip.evaluate.rules import Rules
from stclip.evaluate.run_ranking import ranked
from stclip.evaluate.run_sides import RunBoxes, RunTruth, boxes_sha256, scores_of
from stclip.evaluate.run_tubes import truth_tubes
from stclip.evaluate.video_map import video_map
from stclip.records import KeyFrames, Scores


@dataclass(frozen=True)
class RunCell:
    """What an evaluation came to."""

    metrics: dict[str, Any]  # of metrics.json
    replicates: dict[str, Float[np.ndarray, " R"]]  # "" of all classes, and of label groups
    classes: ClassResults
    report: ReportPart | None  # None for what was judged in parts


def judge(
    record: Scores,
    found: RunBoxes,
    truth: RunTruth,
    *,
    rules: Rules,
    key_frames: KeyFrames,
    counted: Bool[np.ndarray, "K N"] | None,
) -> RunCell:
    """Evaluate a cell.

    Args:
        record: the scores of `found` under the cell's assumption.
        found: their boxes.
        truth: the ground truth.
        rules: of the data set.
        key_frames: number the frames of tubes.
        counted: of `stclip.evaluate.run_ranking.counted_of`.
    """
    scores = scores_of(record)
    labelled, clips = truth.labelled, truth.table["clip_number"].to_numpy()
    result = ranked(record, found, truth, rules=rules, counted=counted)
    rows = {label: labelled.labels == k for k, label in enumerate(truth.labels)}
    box = truth.table.index.to_numpy()
    of_classes = ClassResults(
        ap=result.ap,
        replicates=replicate_aps(
            result,
            found_clips=found.clip_numbers,
            truth_clips={label: clips[of_label] for label, of_label in rows.items()},
            weights=truth.weights,
        ),
        gt_boxes={label: box[of_label] for label, of_label in rows.items()},
    )
    cell, replicates = _metrics(of_classes, [truth], found, rules)
    if counted is not None:
        cell["num_rows"] = int(counted.sum())
    if rules.tubes:
        tubes = link(
            clips=found.clip_numbers,
            frames=key_frames.numbers(record.table),
            boxes_xyxy=record.boxes_xyxy,
            scores=scores,
            linking=rules.tubes.linking,
        )
        wanted = truth_tubes(truth.table, key_frames.numbers(truth.table), labelled.labels)
        found_map = video_map(tubes, wanted, rules.tubes.protocol)
        cell["video_mAP"] = {str(iou): found_map[str(iou)] for iou in rules.tubes.iou}
    report = report_part(result, found.boxes, labelled, rules.frames)
    return RunCell(cell, replicates, of_classes, report)


def join(
    cells: Sequence[RunCell], found: RunBoxes, truths: Sequence[RunTruth], rules: Rules
) -> RunCell:
    """The cell of all labels, of those of its groups; they were judged on the same boxes."""
    one, *others = (cell.classes for cell in cells)
    for other in others:
        one = one.with_classes_of(other)
    cell, replicates = _metrics(one, truths, found, rules)
    rows = [part.metrics["num_rows"] for part in cells if "num_rows" in part.metrics]
    if rows:
        cell["num_rows"] = sum(rows)
    return RunCell(cell, replicates, one, None)


def _metrics(
    classes: ClassResults, truths: Sequence[RunTruth], found: RunBoxes, rules: Rules
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Means and counts, and the replicates of the means."""
    mean, replicates = classes.mean()
    annotated = np.unique(np.concatenate([truth.frames for truth in truths]))
    cell: dict[str, Any] = {
        "mAP": mean["mAP"],
        "interval": mean["interval"],
        "AP": {k: v if np.isfinite(v) else None for k, v in classes.ap.items()},
        "num_classes": mean["num_classes"],
        "num_clips": len(truths[0].clips),
        "num_frames": len(annotated),
        "num_gt_boxes": mean["num_gt_boxes"],
        "num_boxes": len(found.record),
        "num_frames_without_boxes": int((~np.isin(annotated, found.boxes.frames)).sum()),
        "boxes_sha256": boxes_sha256(found.record),
    }
    of_all = {"": replicates}
    if not rules.label_groups:
        return cell, of_all
    cell["label_groups"], of_groups = classes.group_means(rules.label_groups)
    return cell, of_all | of_groups
