"""Evaluate one training run: its score files against ground truth, with and without soft voting."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stclip.boxes.linking import link
from stclip.errors import ConfigError, DataError
from stclip.evaluate.bootstrap import NUM_REPLICATES, clip_weights, interval, replicate_maps
from stclip.evaluate.breakdown import ReportPart, report_part
from stclip.evaluate.frame_map import LabelledBoxes, frame_map, shared_box_rows
from stclip.evaluate.matching import FrameBoxes, frame_codes
from stclip.evaluate.rules import Rules
from stclip.evaluate.run_tubes import truth_tubes
from stclip.evaluate.video_map import video_map
from stclip.evaluate.voting import ASSUMPTIONS, INDEPENDENT
from stclip.evaluate.write_breakdown import write_report
from stclip.records import BOX_COLUMNS, Boxes, KeyFrames, LabelSplit, Scores
from stclip.storage.files import read_json, write_json
from stclip.storage.parquet import read_parquet, write_parquet
from stclip.storage.seal import SEAL

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"
REPLICATES_FILE = "replicates.parquet"


@dataclass(frozen=True)
class _Truth:
    """The ground truth of one label group: a row per (box, label) on the test clips' key frames."""

    group: str
    labels: tuple[str, ...]
    clips: pd.Index  # names; position is the clip number
    table: pd.DataFrame  # clip, frame, x1..y2, tube, clip_number, action; index: the box
    num_boxes: int
    weights: np.ndarray  # (C, R) bootstrap weights


def evaluate_run(
    scores: Mapping[tuple[str, str], Scores],
    *,
    ground_truth: Boxes,
    key_frames: KeyFrames,
    split: LabelSplit,
    rules: Rules,
    num_replicates: int = NUM_REPLICATES,
    bootstrap_seed: int = 0,
) -> tuple[dict[str, Any], pd.DataFrame, dict[str, ReportPart]]:
    """Frame mAP of one run for every box source, label group and assumption.

    Args:
        scores: (boxes, labels) -> scored boxes, such as ("detected", "unseen"); labels is "unseen"
            or "base".
        ground_truth: the data set's boxes.
        key_frames: only these frames count; boxes are scored on no others.
        split: the label split with its clips filled in.
        rules: of the data set.
        num_replicates: bootstrap replicates over clips.
        bootstrap_seed: seed of the bootstrap; keep it, or runs are no longer paired.

    Returns:
        Metrics, boxes -> labels -> assumption -> {mAP, interval, AP by class, counts, perhaps
        video_mAP}, as fractions (None for a class without ground truth); the replicate mAPs, a
        column "boxes/labels/assumption" each; classes, curves and errors under the same names.

    Raises:
        ConfigError: unknown protocol or label group.
        DataError: scores do not belong to this split or its key frames, or nothing to evaluate.
    """
    truths: dict[str, _Truth] = {}
    metrics: dict[str, Any] = {}
    columns: dict[str, np.ndarray] = {}
    report: dict[str, ReportPart] = {}
    for (boxes, group), record in scores.items():
        if group not in truths:
            truths[group] = _truth(
                ground_truth, key_frames, split, group, num_replicates, bootstrap_seed
            )
        truth = truths[group]
        where = f"scores of {boxes} boxes, {group} labels"
        clip_numbers = _checked_clips(record, truth, where, key_frames)
        cells = metrics.setdefault(boxes, {}).setdefault(group, {})
        for assumption in rules.assumptions:
            name = f"{boxes}/{group}/{assumption}"
            cells[assumption], columns[name], report[name] = _evaluate(
                ASSUMPTIONS[assumption](record), clip_numbers, truth, rules, key_frames
            )
        logger.info(
            "%s: read %d boxes and %d ground-truth boxes of %d clips, dropped none; %d of %d "
            "annotated key frames have no box and count as missed.",
            where,
            len(record),
            truth.num_boxes,
            len(truth.clips),
            cells[INDEPENDENT]["num_frames_without_boxes"],
            cells[INDEPENDENT]["num_frames"],
        )
    return metrics, pd.DataFrame(columns), report


def write_run(
    folder: Path,
    metrics: Mapping[str, Any],
    replicates: pd.DataFrame,
    report: Mapping[str, ReportPart],
    provenance: Mapping[str, Any],
) -> None:
    """Write metrics.json, replicates.parquet and the report into `folder`.

    Args:
        folder: the run's folder.
        metrics: of `evaluate_run`.
        replicates: of `evaluate_run`.
        report: of `evaluate_run`.
        provenance: what made the run (method, title, order, assumptions, scale, dataset, split,
            split_sha256, seed, config_hash, ...); stands beside "metrics" at the top of the file.
    """
    assert "metrics" not in provenance, "provenance must not hide the metrics"
    write_parquet(replicates, folder / REPLICATES_FILE)
    write_report(folder, report)
    # last: its presence says that the evaluation is whole
    write_json(folder / METRICS_FILE, {**provenance, "metrics": metrics, **SEAL})


def read_run(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Read what `write_run` wrote.

    Raises:
        DataError: a file is missing or damaged.
    """
    run = read_json(folder / METRICS_FILE)
    path = folder / REPLICATES_FILE
    try:
        return run, read_parquet(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run the evaluate stage again.") from None


def _truth(
    ground_truth: Boxes,
    key_frames: KeyFrames,
    split: LabelSplit,
    group: str,
    replicates: int,
    seed: int,
) -> _Truth:
    if group not in ("unseen", "base"):
        raise ConfigError(f"unknown label group {group!r}; known are 'unseen' and 'base'.")
    labels, clips = split.labels(group), pd.Index(split.test_clips(group), dtype="str")
    where = f"{split.where}, {group} labels"
    if clips.empty:
        raise DataError(f"{where}: the split names no test clips; run the splits stage.")
    table = ground_truth.table
    numbers = clips.get_indexer(pd.Index(table["clip"]))
    used = table.assign(clip_number=numbers)[numbers >= 0]
    used = used[key_frames.contain(used)]
    rows = used.explode("actions").rename(columns={"actions": "action"})
    rows = rows[rows["action"].isin(labels)]
    if rows.empty:
        raise DataError(
            f"{where}: no ground-truth box of {list(labels)} on the key frames of its "
            f"{len(clips)} test clips; do boxes and split belong together?"
        )
    weights = clip_weights(list(clips), num_replicates=replicates, seed=seed)
    return _Truth(group, labels, clips, rows, rows.index.nunique(), weights)


def _checked_clips(record: Scores, truth: _Truth, where: str, key_frames: KeyFrames) -> np.ndarray:
    """The clip number of every scored box; DataError if a row does not belong here."""
    if record.labels != list(truth.labels):
        raise DataError(
            f"{where}: label columns are {record.labels}, the split's labels are "
            f"{list(truth.labels)}; score again with this split."
        )
    numbers = truth.clips.get_indexer(pd.Index(record.table["clip"]))
    for bad, reason in (
        (numbers < 0, f"is not among the split's {len(truth.clips)} {truth.group} test clips"),
        (~key_frames.contain(record.table), "is not a key frame"),
    ):
        if bad.any():
            row = record.table[bad].iloc[0]
            raise DataError(
                f"{where}: clip {row['clip']!r} frame {row['frame']} {reason}; {bad.sum()} rows "
                "like this. Score again with this split and these key frames."
            )
    return numbers


def _evaluate(
    record: Scores,
    clip_numbers: np.ndarray,
    truth: _Truth,
    rules: Rules,
    key_frames: KeyFrames,
) -> tuple[dict[str, Any], np.ndarray, ReportPart]:
    table = truth.table
    truth_numbers = table["clip_number"].to_numpy()
    found_codes, truth_codes = frame_codes(
        (clip_numbers, record.table["frame"].to_numpy()),
        (truth_numbers, table["frame"].to_numpy()),
    )
    found = FrameBoxes(found_codes, record.boxes_xyxy)
    # float64: the product of two float32 numbers is exact, so no ties arise that are not there
    detector_scores = record.table["detector_score"].to_numpy(np.float64)
    scores = np.ascontiguousarray(record.probabilities.T, np.float64) * detector_scores  # (K, N)
    box, first = np.unique(table.index, return_index=True)  # a box has a row for each action
    labelled = LabelledBoxes(
        FrameBoxes(truth_codes[first], table[BOX_COLUMNS].to_numpy(np.float32)[first]),
        np.searchsorted(box, table.index),
        pd.Index(truth.labels).get_indexer(pd.Index(table["action"])),
    )
    classes = shared_box_rows(truth.labels, scores, found, labelled, protocol=rules.frames)
    result = frame_map(classes, rules.frames)
    replicates = replicate_maps(
        result,
        found_clips=clip_numbers,
        truth_clips={
            label: truth_numbers[labelled.labels == k] for k, label in enumerate(truth.labels)
        },
        weights=truth.weights,
    )
    annotated = np.unique(truth_codes)
    cell: dict[str, Any] = {
        "mAP": result.mean,
        "interval": list(interval(replicates)),
        "AP": {k: v if np.isfinite(v) else None for k, v in result.ap.items()},
        "num_classes": result.num_classes,
        "num_clips": len(truth.clips),
        "num_frames": len(annotated),
        "num_gt_boxes": truth.num_boxes,
        "num_boxes": len(record),
        "num_frames_without_boxes": int((~np.isin(annotated, found_codes)).sum()),
        "boxes_sha256": _boxes_sha256(record),
    }
    if rules.tubes:
        tubes = link(
            clips=clip_numbers,
            frames=key_frames.numbers(record.table),
            boxes_xyxy=record.boxes_xyxy,
            scores=scores,
            linking=rules.tubes.linking,
        )
        wanted = truth_tubes(table, key_frames.numbers(table), labelled.labels)
        found_map = video_map(tubes, wanted, rules.tubes.protocol)
        cell["video_mAP"] = {str(iou): found_map[str(iou)] for iou in rules.tubes.iou}
    return cell, replicates, report_part(result, found, labelled, rules.frames)


def _boxes_sha256(record: Scores) -> str:
    """Which boxes were scored; two runs can be compared only if they scored the same."""
    names = "\n".join(record.table["clip"])
    frames = record.table["frame"].to_numpy("<i4").tobytes()
    parts = (names.encode(), frames, record.boxes_xyxy.astype("<f4").tobytes())
    return hashlib.sha256(b"".join(parts)).hexdigest()
