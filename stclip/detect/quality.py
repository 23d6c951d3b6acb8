"""How good the person boxes are, and how far they would carry a perfect classifier.

Average precision by pycocotools; the ceiling by the evaluator that judges the methods.
"""

import contextlib
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd

from stclip.boxes.iou import paired_iou
from stclip.boxes.select import select_boxes
from stclip.config import BoxSource
from stclip.errors import DataError
from stclip.evaluate.frame_map import LabelledBoxes, frame_map, own_box_rows
from stclip.evaluate.matching import FrameBoxes, frame_codes
from stclip.evaluate.protocol import PROTOCOLS
from stclip.records import BOX_COLUMNS, Clips, Data, Detections, LabelSplit
from stclip.storage.files import read_json, write_json
from stclip.storage.seal import SEAL

logger = logging.getLogger(__name__)
UNFILTERED = "all"  # the box source that drops nothing
GROUND_TRUTH = "ground truth"  # the detector that the reference row names
MAX_PER_FRAME = 100  # COCO's own: AP and AR see at most so many boxes of a frame
RECALL_IOU = 0.5


@dataclass(frozen=True)
class Quality:
    """One detector under one box filter; fractions, but for `boxes_per_frame`.

    A detector that was fine-tuned per split has boxes per split: all but `ceilings` are means.
    """

    detector: str
    boxes: str  # name of the box source
    ap: float  # COCO: mean over IoU 0.50:0.95
    ap50: float
    ar: float  # COCO: recall, mean over IoU 0.50:0.95
    boxes_per_frame: float
    frames_without_box: float  # share of the key frames
    recall50: float  # share of the ground-truth boxes that some box reaches with IoU >= 0.5
    ceilings: dict[str, float]  # split -> frame mAP@0.5 of a perfect classifier


def box_filters(sources: Mapping[str, BoxSource]) -> dict[str, BoxSource]:
    """The filters for detections that a data set names, and before them the one without any."""
    detected = {name: s for name, s in sources.items() if s.source == "detections"}
    return {UNFILTERED: BoxSource(source="detections")} | detected


def measure(
    detector: str,
    detections: Mapping[str, Detections],
    data: Data,
    *,
    filters: Mapping[str, BoxSource],
    splits: Sequence[LabelSplit],
    together: bool = False,
) -> list[Quality]:
    """Judge a detector on the key frames of the tested clips, under every filter.

    Args:
        detector: its name.
        detections: its boxes by split; the same object for all splits if it does not depend on it.
        data: every ground-truth box is a person.
        filters: box source by name.
        splits: the label splits with their clips filled in.
        together: whether persons have labels of their own, as of `ceiling`.

    Raises:
        DataError: there is nothing to judge, or a box lies where no frame is.
    """
    tested = data.key_frames.tested
    names = tested["clip"].drop_duplicates().tolist()
    truth = select_boxes(BoxSource(source="ground_truth"), data, names=names)
    if truth.empty:
        raise DataError(
            f"no ground-truth box on the key frames of the {len(names)} tested clips; do "
            "boxes.parquet and clips.parquet belong together?"
        )
    rows = []
    for name, source in filters.items():
        measured: dict[
            int, tuple[pd.DataFrame, tuple[float, ...]]
        ] = {}  # by identity: the same boxes are judged once
        ceilings = {}
        for split in splits:
            found = detections[split.name]
            if id(found) not in measured:
                table = select_boxes(source, replace(data, detections=found), names=names)
                values = _measure_boxes(table, truth, num_frames=len(tested))
                measured[id(found)] = (table, values)
            table, _ = measured[id(found)]
            ceilings[split.name] = ceiling(
                table, truth, split=split, clips=data.clips, together=together
            )
        fields = ("ap", "ap50", "ar", "boxes_per_frame", "frames_without_box", "recall50")
        per_field = zip(*(values for _, values in measured.values()), strict=True)
        averages = {field: mean(values) for field, values in zip(fields, per_field, strict=True)}
        rows.append(Quality(detector=detector, boxes=name, ceilings=ceilings, **averages))
        logger.info("%s, %s boxes: %s, ceilings %s", detector, name, averages, ceilings)
    return rows


def measure_ground_truth(
    data: Data,
    *,
    sources: Mapping[str, BoxSource],
    splits: Sequence[LabelSplit],
    together: bool = False,
) -> list[Quality]:
    """The row of the data set's ground-truth box source: what perfect boxes reach."""
    filters = {name: s for name, s in sources.items() if s.source == "ground_truth"}
    nothing = Detections(pd.DataFrame(columns=list(Detections.COLUMNS)))
    return measure(
        GROUND_TRUTH, {split.name: nothing for split in splits}, data, filters=filters,
        splits=splits, together=together,
    )  # fmt: skip


def ceiling(
    found: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    split: LabelSplit,
    clips: Clips,
    together: bool = False,
) -> float:
    """Frame mAP@0.5 over the unseen labels if every box were given its true classes.

    A box has the detector score for each class of its clip and no row for the others.

    Args:
        found: boxes as `select_boxes` gives them; those of unseen test clips count.
        truth: ground-truth boxes, likewise, with `actions`.
        split: the label split.
        clips: the data set's clips.
        together: persons of a clip have labels of their own: a box has those of the person whom it
            overlaps most, if by enough for a hit.
    """
    found, truth = (t[t["clip"].isin(set(split.unseen_clips))] for t in (found, truth))
    if together:
        found_labels = _of_nearest(found, truth)
    else:
        found_labels = found["clip"].map(clips.table.set_index("clip")["actions"]).tolist()
    return _frame_map(found, found_labels, truth, truth["actions"].tolist(), split.unseen)


def _of_nearest(found: pd.DataFrame, truth: pd.DataFrame) -> list[Sequence[str]]:
    """The labels of the ground-truth box that each box hits; none where it hits nobody."""
    labels: list[Sequence[str]] = [()] * len(found)
    pairs = _pairs(found, truth.assign(person=range(len(truth))))
    hits = pairs[pairs["iou"] >= RECALL_IOU].sort_values("iou", kind="stable")
    for number, person in hits.drop_duplicates("number", keep="last")[["number", "person"]].values:
        labels[number] = truth["actions"].iloc[person]
    return labels


def _pairs(boxes: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Boxes of a frame two by two: `number` of the first, the second's columns, `iou`."""
    numbered = boxes[["clip", "frame", *BOX_COLUMNS]].assign(number=range(len(boxes)))
    pairs = numbered.merge(others, on=["clip", "frame"])
    sides = [pairs[[f"{c}_{s}" for c in BOX_COLUMNS]].to_numpy(np.float32) for s in ("x", "y")]
    return pairs.assign(iou=paired_iou(*sides))


def _frame_map(
    found: pd.DataFrame,
    found_labels: Sequence[Iterable[str]],
    truth: pd.DataFrame,
    truth_labels: Sequence[Iterable[str]],
    labels: Sequence[str],
) -> float:
    """Frame mAP by the rules of the methods' tables; the only use of the evaluator in here."""
    numbers = pd.Index(pd.concat([found["clip"], truth["clip"]]).unique())
    found_codes, truth_codes = frame_codes(
        *((numbers.get_indexer(t["clip"]), t["frame"].to_numpy()) for t in (found, truth))
    )
    rows, row_labels = _labelled(found_labels, labels)
    truth_rows, truth_numbers = _labelled(truth_labels, labels)
    boxes, truth_boxes = (t[BOX_COLUMNS].to_numpy(np.float32) for t in (found, truth))
    protocol = PROTOCOLS["iclip"]
    classes = own_box_rows(
        labels,
        found["detector_score"].to_numpy(np.float64)[rows],
        row_labels,
        FrameBoxes(found_codes[rows], boxes[rows]),
        LabelledBoxes(FrameBoxes(truth_codes, truth_boxes), truth_rows, truth_numbers),
        protocol=protocol,
    )
    return frame_map(classes, protocol).mean


def _labelled(
    names: Sequence[Iterable[str]], labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Row number and label number of every (row, label) pair; other labels are left out."""
    pairs = [(i, labels.index(n)) for i, own in enumerate(names) for n in own if n in labels]
    rows, numbers = np.array(pairs, np.int64).reshape(-1, 2).T
    return rows, numbers


def _measure_boxes(
    found: pd.DataFrame, truth: pd.DataFrame, *, num_frames: int
) -> tuple[float, ...]:
    """AP, AP50, AR, boxes a frame, share of frames without a box, recall at IoU 0.5."""
    boxed = len(found[["clip", "frame"]].drop_duplicates())
    return (
        *coco_precision(found, truth),
        len(found) / num_frames,
        1 - boxed / num_frames,
        recall(found, truth),
    )


def recall(found: pd.DataFrame, truth: pd.DataFrame) -> float:
    """Share of the ground-truth boxes that a box of their frame reaches with IoU >= 0.5."""
    pairs = _pairs(truth, found[["clip", "frame", *BOX_COLUMNS]])
    return pairs.loc[pairs["iou"] >= RECALL_IOU, "number"].nunique() / len(truth)


def coco_precision(found: pd.DataFrame, truth: pd.DataFrame) -> tuple[float, float, float]:
    """AP, AP50 and AR of person boxes by pycocotools, at most 100 boxes a frame.

    Args:
        found: columns clip, frame, x1, y1, x2, y2, detector_score.
        truth: columns clip, frame, x1, y1, x2, y2; every box is a person.

    Returns:
        AP and AR are means over IoU 0.50, 0.55, .. 0.95; fractions.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if found.empty:
        return 0.0, 0.0, 0.0
    keys = pd.MultiIndex.from_frame(pd.concat([truth, found])[["clip", "frame"]].drop_duplicates())
    truth_images, found_images = (
        keys.get_indexer(pd.MultiIndex.from_frame(t[["clip", "frame"]])) for t in (truth, found)
    )
    boxes = _xywh(truth)
    reference = COCO()
    reference.dataset = {
        "images": [{"id": number} for number in range(len(keys))],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": number + 1, "image_id": int(image), "category_id": 1, "iscrowd": 0,
                "bbox": box.tolist(), "area": float(box[2] * box[3]),
            }
            for number, (image, box) in enumerate(zip(truth_images, boxes, strict=True))
        ],
    }  # fmt: skip
    scores = found["detector_score"].to_numpy(np.float64)
    results = np.column_stack([found_images, _xywh(found), scores, np.ones(len(found))])
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        reference.createIndex()
        judge = COCOeval(reference, reference.loadRes(results), "bbox")
        judge.params.maxDets = [1, 10, MAX_PER_FRAME]
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, 0, 0, -1]  # (IoU thresholds, recall thresholds)
    recalls = judge.eval["recall"][:, 0, 0, -1]  # (IoU thresholds,)
    return float(precision.mean()), float(precision[0].mean()), float(recalls.mean())


def _xywh(table: pd.DataFrame) -> np.ndarray:
    corners = table[BOX_COLUMNS].to_numpy(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def write_quality(path: Path, rows: Sequence[Quality], about: Mapping[str, Any]) -> None:
    """Write what `measure` gave; `about`: scale, dataset, title, splits."""
    write_json(path, {**about, "rows": [asdict(row) for row in rows], **SEAL})


def read_quality(path: Path) -> tuple[dict[str, Any], list[Quality]]:
    """Read what `write_quality` wrote.

    Raises:
        DataError: missing, damaged or of another version.
    """
    content = read_json(path)
    try:
        rows = [Quality(**row) for row in content.pop("rows")]
        missing = {"scale", "dataset", "title", "benchmark", "splits"} - content.keys()
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a quality file ({error}); measure again.") from None
    if missing:
        raise DataError(f"{path}: lacks {sorted(missing)}; measure again.")
    return content, rows
