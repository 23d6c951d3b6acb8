"""Evaluate detections made outside this package: one csv against published ground truth.

Frames count as the data sets publish them; that is kept in here, so that every message names what
stands in the file.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from stclip.boxes.linking import Linking, link
from stclip.boxes.looks import Looked, warn_look
from stclip.boxes.tubes import Tubes, first_gap
from stclip.config import pick
from stclip.errors import ConfigError, DataError
from stclip.evaluate.breakdown import report_part
from stclip.evaluate.frame_map import FrameMap, LabelledBoxes, frame_map, own_box_rows
from stclip.evaluate.matching import FrameBoxes, frame_codes
from stclip.evaluate.outside_formats import OutsideTruth, frames_of
from stclip.evaluate.outside_rows import read_rows
from stclip.evaluate.outside_truth import read_truth
from stclip.evaluate.protocol import PROTOCOLS, Protocol
from stclip.evaluate.video_map import VIDEO_PROTOCOLS, video_map
from stclip.evaluate.write_breakdown import write_report
from stclip.prepare.label_map import read_label_map
from stclip.records import BOX_COLUMNS, LabelSplit
from stclip.splits.key_frames import read_excluded
from stclip.storage.files import digest
from stclip.storage.name_matching import match_names

logger = logging.getLogger(__name__)
GROUPS = ("unseen", "base", "all")


@dataclass(frozen=True)
class OutsideResult:
    """An evaluation and what went into it; label numbers follow `labels`."""

    labels: list[str]
    result: FrameMap
    rows: pd.DataFrame  # those judged, in ranking-tie order
    found: FrameBoxes
    truth_table: pd.DataFrame
    truth: LabelledBoxes
    counts: dict[str, int] = field(default_factory=dict)


def evaluate_file(
    *,
    dataset: str,
    split: LabelSplit,
    ground_truth: Path,
    detections: Path,
    protocol: str = "iclip",
    iou: float = 0.5,
    labels: str = "unseen",
    label_map: Path | None = None,
    exclude: Path | None = None,
    max_rows: int | None = None,
    unannotated_frames: Literal["count", "ignore"] | None = None,
    video_protocol: str | None = None,
    report: Path | None = None,
) -> dict[str, Any]:
    """Frame mAP of a detection csv over the unseen (or base, or all) classes of a split.

    Args:
        dataset: the data set's name.
        split: base and unseen labels; its clip lists are not used.
        ground_truth: one of `outside_truth.READERS`' formats; official test videos count.
        detections: csv or csv.gz, columns video (without class folder), frame (as published),
            class (official name), score in 0..1, x1, y1, x2, y2 (the units of the ground truth).
        protocol: a key of `PROTOCOLS`.
        iou: least IoU of a true positive, inclusive, in (0, 1].
        labels: which labels of the split are evaluated, one of `GROUPS`.
        label_map: AVA's list of actions; classes it lacks do not exist on either side.
        exclude: csv `video,timestamp` of frames that count on neither side.
        max_rows: best (box, class) rows of a frame that are kept, over all classes; None: as the
            protocol says.
        unannotated_frames: whether rows in frames that the ground truth does not list are false
            positives (`count`); None: as the protocol says.
        video_protocol: a key of `VIDEO_PROTOCOLS`; rows are linked to tubes and video mAP added.
        report: folder for curves, errors and their figure.

    Returns:
        `mAP`, `AP` by class (fractions, None without ground truth), perhaps `video_mAP`, `counts`
        and `settings`.

    Raises:
        ConfigError: unknown protocol or labels, threshold out of range, split of another data set.
        DataError: a file is missing, damaged or names what the ground truth does not have.
    """
    if split.dataset != dataset:
        raise ConfigError(f"split {split.name} belongs to {split.dataset!r}, not to {dataset!r}.")
    if not 0 < iou <= 1:
        raise ConfigError(f"iou {iou} is not in (0, 1].")
    if labels not in GROUPS:
        raise ConfigError(f"unknown labels {labels!r}; known are {list(GROUPS)}.")
    rules = replace(pick(PROTOCOLS, protocol, what="protocol"), iou_threshold=iou)
    if max_rows is not None:
        rules = replace(rules, max_rows=max_rows)
    if unannotated_frames is not None:
        rules = replace(rules, annotated_frames_only=unannotated_frames == "ignore")
    if video_protocol:
        pick(VIDEO_PROTOCOLS, video_protocol, what="video protocol")
    everything = [*split.base, *split.unseen]
    numbered = _read_labels(label_map, split) if label_map else None
    reader, truth = read_truth(ground_truth, split, numbered)
    exists = set(numbered.values()) if numbered else set(everything)
    group = everything if labels == "all" else split.labels(labels)
    if exists.isdisjoint(group):
        raise DataError(
            f"{label_map}: has none of the {len(group)} {labels} classes: {list(group)}."
        )
    rows, unknown = read_rows(detections, truth.videos, exists | set(everything))
    _look(rows, truth, detections)
    evaluation = evaluate_rows(
        rows[rows["class"].isin(exists)],
        truth,
        [label for label in group if label in exists],
        protocol=rules,
        exclude=_read_excluded(exclude, truth) if exclude else None,
        where=str(ground_truth),
    )
    counts = {
        "rows": len(rows) + unknown,
        "rows_of_unknown_videos": unknown,
        "rows_of_unlisted_classes": int((~rows["class"].isin(exists)).sum()),
        "unlisted_classes": len(set(everything) - exists),
        "gt_rows_of_unlisted_classes": truth.unlisted_rows,
    } | evaluation.counts
    logger.info("%s against %s (%s): %s", detections, ground_truth, reader.title, counts)
    result = evaluation.result
    found: dict[str, Any] = {
        "mAP": result.mean,
        "AP": {k: v if np.isfinite(v) else None for k, v in result.ap.items()},
    }
    if video_protocol:
        found["video_mAP"] = _video_map(evaluation, video_protocol, str(ground_truth))
    found["counts"] = counts
    found["settings"] = {
        "dataset": dataset,
        "split": split.name,
        "labels": labels,
        "protocol": protocol,
        "iou": iou,
        "max_rows": rules.max_rows,
        "unannotated_frames": "ignore" if rules.annotated_frames_only else "count",
        "label_map": label_map.name if label_map else None,
        "label_map_sha256": digest(label_map) if label_map else None,
        "excluded": exclude.name if exclude else None,
        "video_protocol": video_protocol,
        "ground_truth": ground_truth.name,
        "ground_truth_format": reader.title,
        "detections": detections.name,
    }
    if report:
        write_report(report, {"": report_part(result, evaluation.found, evaluation.truth, rules)})
    return found


def evaluate_rows(
    rows: pd.DataFrame,
    truth: OutsideTruth,
    labels: Sequence[str],
    *,
    protocol: Protocol,
    exclude: pd.MultiIndex | None = None,
    where: str = "ground truth",
) -> OutsideResult:
    """Judge detection rows that are already read.

    Args:
        rows: video, frame, class, score, x1..y2; classes outside `labels` count for `max_rows`.
        truth: the ground truth, of any classes.
        labels: the classes evaluated.
        protocol: the rules.
        exclude: (video, frame) pairs that count on neither side.
        where: names the ground truth in messages.
    """
    boxes = truth.boxes
    out_rows, out_boxes = (
        np.zeros(len(table), bool) if exclude is None else frames_of(table).isin(exclude)
        for table in (rows, boxes)
    )
    left_out = {"excluded_rows": int(out_rows.sum()), "excluded_boxes": int(out_boxes.sum())}
    rows, boxes = rows[~out_rows], boxes[~out_boxes]
    boxes = boxes[boxes["class"].isin(labels)].reset_index(drop=True)
    if boxes.empty:
        raise DataError(
            f"{where}: no box of the classes {list(labels)} on the {len(truth.videos)} test "
            f"videos; its classes are {sorted(truth.boxes['class'].unique())}."
        )
    rows, dropped = _as_the_protocol_reads(
        rows, truth, protocol, truth.frames if protocol.annotated_frames_only else None
    )
    judged = rows[rows["class"].isin(labels)]
    names = truth.videos.index
    found_codes, truth_codes = frame_codes(
        *((names.get_indexer(pd.Index(t["video"])), t["frame"].to_numpy()) for t in (judged, boxes))
    )
    found = FrameBoxes(found_codes, judged[BOX_COLUMNS].to_numpy(np.float64))
    number = {label: k for k, label in enumerate(labels)}
    labelled = _labelled_boxes(boxes, truth_codes, number)
    scores = judged["score"].to_numpy(np.float64)
    row_labels = judged["class"].map(number).to_numpy(np.int64)
    classes = own_box_rows(labels, scores, row_labels, found, labelled, protocol=protocol)
    result = frame_map(classes, protocol)
    annotated_codes = np.unique(truth_codes)
    size = truth.videos.loc[judged["video"], ["width", "height"]].to_numpy(np.float64)
    corners = found.boxes_xyxy
    counts = (
        left_out
        | dropped
        | {
            "rows_of_other_labels": len(rows) - len(judged),
            "rows_judged": len(judged),
            "rows_in_frames_without_truth": int((~np.isin(found_codes, annotated_codes)).sum()),
            "duplicate_rows": int(judged.duplicated().sum()),
            "degenerate_boxes": int((corners[:, 2:] <= corners[:, :2]).any(1).sum()),
            "boxes_outside_picture": int(
                ((corners[:, :2] < 0).any(1) | (corners[:, 2:] > size).any(1)).sum()
            ),
            "classes": result.num_classes,
            "classes_without_truth": len(labels) - result.num_classes,
            "test_videos": len(names),
            "videos_with_truth_without_rows": len(
                set(boxes["video"].unique()) - set(judged["video"].unique())
            ),
            "frames": len(annotated_codes),
            "frames_without_rows": int((~np.isin(annotated_codes, found_codes)).sum()),
            "gt_boxes": len(boxes),
        }
    )
    return OutsideResult(list(labels), result, judged, found, boxes, labelled, counts)


def _labelled_boxes(
    boxes: pd.DataFrame, codes: np.ndarray, number: dict[str, int]
) -> LabelledBoxes:
    """Rows of one box with several classes become one box; a box listed twice stays two."""
    keys = ["video", "frame", "tube", *BOX_COLUMNS]
    again = boxes.groupby([*keys, "class"]).cumcount()
    box = boxes.assign(again=again).groupby([*keys, "again"], sort=False).ngroup().to_numpy()
    order = np.argsort(box, kind="stable")
    _, first = np.unique(box, return_index=True)
    return LabelledBoxes(
        FrameBoxes(codes[first], boxes[BOX_COLUMNS].to_numpy(np.float64)[first]),
        box[order],
        boxes["class"].map(number).to_numpy(np.int64)[order],
    )


def _as_the_protocol_reads(
    rows: pd.DataFrame, truth: OutsideTruth, protocol: Protocol, annotated: pd.MultiIndex | None
) -> tuple[pd.DataFrame, dict[str, int]]:
    """What an evaluator does to the rows of a file before it judges them; counts what goes."""
    dropped: dict[str, int] = {}

    def keep(mask: np.ndarray, why: str) -> None:
        nonlocal rows
        dropped[why] = int((~mask).sum())
        rows = rows[mask]

    if protocol.drop_degenerate:
        has_area = (rows["x2"] > rows["x1"]) & (rows["y2"] > rows["y1"])
        keep(has_area.to_numpy(), "dropped_degenerate")
    if protocol.whole_pixels:
        rows = rows.assign(**{c: rows[c].round() for c in BOX_COLUMNS})
    if protocol.score_decimals is not None:
        rows = rows.assign(score=rows["score"].round(protocol.score_decimals))
        keep((rows["score"] > 0).to_numpy(), "dropped_zero_scores")
    if annotated is not None:
        keep(frames_of(rows).isin(annotated), "dropped_in_unannotated_frames")
    if protocol.max_rows is not None:
        falling = rows.sort_values("score", ascending=False, kind="stable")
        place = falling.groupby(["video", "frame"]).cumcount().reindex(rows.index)
        keep((place < protocol.max_rows).to_numpy(), "dropped_beyond_max_rows")
    if protocol.by_file_name:
        folder = truth.boxes.drop_duplicates("video").set_index("video")["class"]
        name = rows["video"].map(folder).fillna("") + "_" + rows["video"]
        name += "_" + rows["frame"].astype("str").str.zfill(5)
        rows = rows.loc[name.sort_values(kind="stable").index]
    return rows, dropped


def _read_labels(path: Path, split: LabelSplit) -> dict[int, str]:
    """The label map; what the split has beyond it is counted in the log."""
    numbered = read_label_map(path)
    labels = [*split.base, *split.unseen]
    known, among = set(numbered.values()), f"classes of {path}"
    match_names(labels, known, where=split.where, what="classes", among=among)
    return numbered


def _read_excluded(path: Path, truth: OutsideTruth) -> pd.MultiIndex:
    """(video, frame) of the list; at least one lies in the test videos."""
    excluded = read_excluded(path).set_axis(["video", "frame"], axis=1)
    match_names(
        excluded["video"], truth.videos.index, where=path, what="excluded seconds",
        among="test videos of the ground truth",
    )  # fmt: skip
    return frames_of(excluded)


def _look(rows: pd.DataFrame, truth: OutsideTruth, where: Path) -> None:
    """Warn if the detections' boxes are not in the unit or order of the ground truth's."""
    seen, like = (
        Looked(
            table[BOX_COLUMNS].to_numpy(np.float64),
            truth.videos.loc[table["video"], ["width", "height"]].to_numpy(np.float64),
        )
        for table in (rows, truth.boxes)
    )
    warn_look(seen, where, like=like)


def _video_map(evaluation: OutsideResult, protocol: str, where: str) -> dict[str, float]:
    """Link the rows to tubes, compare them with the ground truth's."""
    rules = pick(VIDEO_PROTOCOLS, protocol, what="video protocol")
    table = evaluation.truth_table
    if (table["tube"] < 0).any():
        raise ConfigError(f"{where}: has no tubes, so there is no video mAP; leave it out.")
    labels = pd.Index(evaluation.labels)
    by_tube = table.groupby(["class", "video", "tube"], sort=False).ngroup().to_numpy()
    order = np.argsort(by_tube, kind="stable")
    table, by_tube = table.iloc[order], by_tube[order]
    frames = table["frame"].to_numpy()
    if (gap := first_gap(by_tube, frames)) is not None:
        video = table["video"].iloc[gap]
        raise DataError(f"{where}: a tube of video {video!r} has gaps or is out of order.")
    rows = evaluation.rows
    videos = pd.Index(pd.concat([rows["video"], table["video"]]).unique())
    truth = Tubes.from_rows(
        tubes=by_tube,
        labels=labels.get_indexer(pd.Index(table["class"])),
        clips=videos.get_indexer(pd.Index(table["video"])),
        frames=frames,
        boxes_xyxy=table[BOX_COLUMNS].to_numpy(np.float64),
    )
    # every class has boxes of its own, so each class of a video is linked like a clip
    group = rows.groupby(["class", "video"], sort=False).ngroup().to_numpy()
    tubes = link(
        clips=group,
        frames=rows["frame"].to_numpy(),
        boxes_xyxy=rows[BOX_COLUMNS].to_numpy(np.float64),
        scores=rows["score"].to_numpy(np.float64)[None],
        linking=Linking(),
    )
    first_rows = rows.iloc[np.unique(group, return_index=True)[1]]
    found = replace(
        tubes,
        labels=labels.get_indexer(pd.Index(first_rows["class"]))[tubes.clips],
        clips=videos.get_indexer(pd.Index(first_rows["video"]))[tubes.clips],
    )
    return video_map(found, truth, rules)
