"""Evaluate one training run: its score files against ground truth, with and without soft voting."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stclip.errors import DataError
from stclip.evaluate.bootstrap import NUM_REPLICATES
from stclip.evaluate.breakdown import ReportPart
from stclip.evaluate.class_means import mean_text
from stclip.evaluate.rules import Rules
from stclip.evaluate.run_cells import RunCell, join, judge
from stclip.evaluate.run_ranking import check_same_boxes, counted_of
from stclip.evaluate.run_sides import RunBoxes, RunTruth
from stclip.evaluate.voting import ASSUMPTIONS, INDEPENDENT
from stclip.evaluate.write_breakdown import write_report
from stclip.records import LABEL_GROUPS, Boxes, KeyFrames, LabelSplit, Scores
from stclip.storage.files import read_json, write_json
from stclip.storage.parquet import read_parquet, write_parquet
from stclip.storage.seal import SEAL

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"
REPLICATES_FILE = "replicates.parquet"
ALL = "all"  # the labels of both groups, where they are judged together


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
        label_groups and video_mAP}, as fractions (None for a class without ground truth); the
        replicate mAPs, a column "boxes/labels/assumption" each, of a group of labels followed by
        "/group"; classes, curves and errors under the names of the former. Where labels are judged
        together, labels "all" are those of both groups.

    Raises:
        ConfigError: unknown protocol or label group.
        DataError: scores do not belong to this split or its key frames, or nothing to evaluate.
    """
    truths = {
        group: RunTruth.of(
            ground_truth, key_frames, split, group,
            num_replicates=num_replicates, seed=bootstrap_seed,
        )
        for group in dict.fromkeys(group for _, group in scores)
    }  # fmt: skip
    metrics: dict[str, Any] = {}
    columns: dict[str, np.ndarray] = {}
    report: dict[str, ReportPart] = {}
    for boxes in dict.fromkeys(boxes for boxes, _ in scores):
        found = {
            group: RunBoxes.of(record, truths[group], boxes, key_frames)
            for (source, group), record in scores.items()
            if source == boxes
        }
        cells = _cells(found, truths, rules, key_frames)
        for (group, assumption), cell in cells.items():
            name = f"{boxes}/{group}/{assumption}"
            metrics.setdefault(boxes, {}).setdefault(group, {})[assumption] = cell.metrics
            for label_group, values in cell.replicates.items():
                columns[f"{name}/{label_group}" if label_group else name] = values
            if cell.report is not None:
                report[name] = cell.report
            _log(name, cell)
    return metrics, pd.DataFrame(columns), report


def _cells(
    found: Mapping[str, RunBoxes],
    truths: Mapping[str, RunTruth],
    rules: Rules,
    key_frames: KeyFrames,
) -> dict[tuple[str, str], RunCell]:
    """The cells of a box source, by label group and assumption."""
    together = rules.together and set(found) == set(LABEL_GROUPS)
    if together:
        check_same_boxes(found)
    # the best rows of a frame are chosen among all labels that are judged together
    parties = [list(found)] if together else [[group] for group in found]
    counted = {
        (group, assumption): mask
        for party in parties
        for assumption in rules.assumptions
        for group, mask in zip(
            party, counted_of(party, assumption, found, truths, rules), strict=True
        )
    }
    cells: dict[tuple[str, str], RunCell] = {}
    for group, own in found.items():
        for assumption in rules.assumptions:
            cells[group, assumption] = judge(
                ASSUMPTIONS[assumption](own.record), own, truths[group], rules=rules,
                key_frames=key_frames, counted=counted[group, assumption],
            )  # fmt: skip
        about = cells[group, INDEPENDENT].metrics
        logger.info(
            "%s: read %d boxes and %d ground-truth boxes of %d clips, dropped none; %d of %d "
            "annotated key frames have no box and count as missed.",
            own.where,
            *(about[f"num_{what}"] for what in ("boxes", "gt_boxes", "clips")),
            *(about[f"num_frames{what}"] for what in ("_without_boxes", "")),
        )
    if together:
        sides = [truths[group] for group in found]
        for assumption in rules.assumptions:
            parts = [cells[group, assumption] for group in found]
            cells[ALL, assumption] = join(parts, next(iter(found.values())), sides, rules)
    return cells


def _log(name: str, cell: RunCell) -> None:
    """What entered each mean, and which labels entered none."""
    about = cell.metrics | {"num_labels": len(cell.classes.ap)}
    logger.info("%s: %s", name, mean_text(about))
    for label_group, mean in about.get("label_groups", {}).items():
        logger.info("%s, %s: %s", name, label_group, mean_text(mean))
    if cell.classes.without_truth:
        logger.info("%s: no ground truth, in no mean: %s", name, cell.classes.without_truth)


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
