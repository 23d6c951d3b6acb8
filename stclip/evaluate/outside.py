"""Evaluate detections made outside this package: one csv against published ground truth.

The csv counts frames from 1, as the data sets publish them; that is kept in here, so that every
message names what stands in the file.
"""

import gzip
import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from stclip.errors import ConfigError, DataError
from stclip.evaluate.frame_map import (
    ClassRows,
    FrameBoxes,
    frame_codes,
    frame_map,
    named_protocol,
)
from stclip.records import BOX_COLUMNS, Boxes, Clips, LabelSplit

logger = logging.getLogger(__name__)

NUMBER_COLUMNS = ["frame", "score", *BOX_COLUMNS]
DETECTION_COLUMNS = ["video", "frame", "class", "score", *BOX_COLUMNS]


@dataclass(frozen=True)
class OutsideTruth:
    """Ground truth of the official test videos."""

    boxes: pd.DataFrame  # video, frame (1-based), class, x1..y2
    num_frames: pd.Series  # per test video, by name


@dataclass(frozen=True)
class Reader:
    """A ground-truth format: what it is called, the keys (or columns) it has, how it is read."""

    title: str
    keys: frozenset[str]
    read: Callable[[Any, Path, LabelSplit], OutsideTruth]


def evaluate_file(
    *,
    dataset: str,
    split: LabelSplit,
    ground_truth: Path,
    detections: Path,
    protocol: str = "iclip",
    iou: float = 0.5,
) -> dict[str, Any]:
    """Frame mAP of a detection csv over the unseen classes of a split.

    Args:
        dataset: the data set's name.
        split: base and unseen labels; its clip lists are not used.
        ground_truth: one of `READERS`' formats, told by its content; official test videos count.
        detections: csv or csv.gz, columns video (without class folder), frame (from 1), class
            (official name), score, x1, y1, x2, y2 (pixels). Rows of base classes are ignored. Boxes
            with x2 <= x1 or y2 <= y1 stay as false positives. Both are counted.
        protocol: a key of `PROTOCOLS`.
        iou: least IoU of a true positive, inclusive, in (0, 1].

    Returns:
        `mAP`, `AP` by class (fractions, None without ground truth), `counts` and `settings`.

    Raises:
        ConfigError: unknown protocol, threshold out of range, split of another data set.
        DataError: a file is missing, damaged or names what the ground truth does not have.
    """
    if split.dataset != dataset:
        raise ConfigError(f"split {split.name} belongs to {split.dataset!r}, not to {dataset!r}.")
    if not 0 < iou <= 1:
        raise ConfigError(f"iou {iou} is not in (0, 1].")
    rules = replace(named_protocol(protocol), iou_threshold=iou)
    reader, truth = _read_truth(ground_truth, split)
    boxes = truth.boxes[truth.boxes["class"].isin(split.unseen)]
    if boxes.empty:
        raise DataError(
            f"{ground_truth}: no box of the unseen classes {list(split.unseen)} on the "
            f"{len(truth.num_frames)} test videos; its classes are "
            f"{sorted(truth.boxes['class'].unique())}."
        )
    rows = _read_detections(detections, truth.num_frames, (*split.base, *split.unseen))
    unseen = rows["class"].isin(split.unseen)
    judged = rows[unseen]

    videos = truth.num_frames.index
    found_codes, truth_codes = frame_codes(
        *(
            (videos.get_indexer(pd.Index(t["video"])), t["frame"].to_numpy())
            for t in (judged, boxes)
        )
    )

    def side(table: pd.DataFrame, codes: np.ndarray, label: str) -> FrameBoxes:
        mask = (table["class"] == label).to_numpy()
        return FrameBoxes(codes[mask], table[BOX_COLUMNS].to_numpy(np.float64)[mask])

    classes = (
        ClassRows(
            label=label,
            scores=judged.loc[judged["class"] == label, "score"].to_numpy(),
            found=side(judged, found_codes, label),
            truth=side(boxes, truth_codes, label),
        )
        for label in split.unseen
    )
    result = frame_map(classes, rules)
    annotated = np.unique(truth_codes)
    counts = {
        "rows": len(rows),
        "rows_of_base_classes_ignored": int((~unseen).sum()),
        "rows_in_frames_without_unseen_truth": int((~np.isin(found_codes, annotated)).sum()),
        "degenerate_boxes": int(
            ((judged["x2"] <= judged["x1"]) | (judged["y2"] <= judged["y1"])).sum()
        ),
        "classes": result.num_classes,
        "test_videos": len(videos),
        "frames": len(annotated),
        "frames_without_rows": int((~np.isin(annotated, found_codes)).sum()),
        "gt_boxes": len(boxes),
    }
    logger.info("%s against %s (%s): %s", detections, ground_truth, reader.title, counts)
    return {
        "mAP": result.mean,
        "AP": {k: v if np.isfinite(v) else None for k, v in result.ap.items()},
        "counts": counts,
        "settings": {
            "dataset": dataset,
            "split": split.name,
            "protocol": protocol,
            "iou": iou,
            "ground_truth": ground_truth.name,
            "ground_truth_format": reader.title,
            "detections": detections.name,
        },
    }


def _content(path: Path) -> bytes:
    """The file's bytes, unzipped if they are gzip (told by content, not by name)."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: damaged or unreadable ({error}); get it again.") from None


# ---- ground truth


def _read_truth(path: Path, split: LabelSplit) -> tuple[Reader, OutsideTruth]:
    content = _content(path)
    try:
        parquet = content[:4] == b"PAR1"
        data = pd.read_parquet(io.BytesIO(content)) if parquet else json.loads(content)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: neither JSON nor parquet ({error}); accepted are {_accepted()}."
        ) from None
    keys = set(data) if isinstance(data, dict | pd.DataFrame) else set()
    for reader in READERS:
        if reader.keys <= keys:
            try:
                return reader, reader.read(data, path, split)
            except (KeyError, TypeError, IndexError, AttributeError) as error:
                raise DataError(
                    f"{path}: looks like {reader.title} but is not built like it "
                    f"({type(error).__name__}: {error})."
                ) from None
    raise DataError(
        f"{path}: unknown ground-truth format with keys {sorted(map(str, keys))[:12]}; accepted "
        f"are {_accepted()}."
    )


def _read_tubes(data: Any, path: Path, split: LabelSplit) -> OutsideTruth:
    rows, num_frames = [], {}
    for key in data["test_videos"][0]:  # official split 1
        video = PurePosixPath(key).name
        num_frames[video] = data["nframes"][key]
        for label, tubes in data["gttubes"][key].items():
            name = data["labels"][int(label)]
            rows += [(video, name, *box) for tube in tubes for box in tube]
    boxes = pd.DataFrame(rows, columns=["video", "class", "frame", *BOX_COLUMNS])
    return OutsideTruth(boxes, pd.Series(num_frames))


def _read_coco(data: Any, path: Path, split: LabelSplit) -> OutsideTruth:
    labels = dict(enumerate(sorted((*split.base, *split.unseen)), 1))  # action_ids, alphabetical
    images = {i["id"]: (i["movie"], int(i["timestamp"])) for i in data["images"]}
    rows = [
        (*images[a["image_id"]], labels[action], *a["bbox"])
        for a in data["annotations"]
        for action in a["action_ids"]
    ]
    boxes = pd.DataFrame(rows, columns=["video", "frame", "class", *BOX_COLUMNS])
    frames = pd.DataFrame(images.values(), columns=["video", "frame"])
    return OutsideTruth(boxes, frames.groupby("video")["frame"].max())


def _read_boxes(data: Any, path: Path, split: LabelSplit) -> OutsideTruth:
    clips = Clips.read(path.with_name("clips.parquet")).table
    test = clips[clips["official_split"] == "test"].set_index("clip")
    table = Boxes(data).table[["clip", "frame", "actions", *BOX_COLUMNS]]
    table = table[table["clip"].isin(test.index)].explode("actions")
    boxes = table.rename(columns={"clip": "video", "actions": "class"})
    return OutsideTruth(boxes.assign(frame=boxes["frame"] + 1), test["num_frames"])


READERS = (
    Reader(
        "JHMDB-GT (gttubes, nframes, labels, test_videos) as JSON",
        frozenset({"gttubes", "nframes", "labels", "test_videos"}),
        _read_tubes,
    ),
    Reader(
        "ST-CLIP's test annotations (images, annotations) as JSON",
        frozenset({"images", "annotations"}),
        _read_coco,
    ),
    Reader(
        "boxes.parquet of the prepare stage, clips.parquet beside it",
        frozenset(Boxes.COLUMNS),
        _read_boxes,
    ),
)


def _accepted() -> str:
    return "; ".join(f"({n}) {r.title}" for n, r in enumerate(READERS, 1))


# ---- detections


def _read_detections(path: Path, num_frames: pd.Series, labels: tuple[str, ...]) -> pd.DataFrame:
    """Read and check the csv; the index is the line number."""
    try:
        table = pd.read_csv(
            io.BytesIO(_content(path)), dtype="str", keep_default_na=False, skip_blank_lines=False
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a csv file ({error}).") from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes a surplus field for an index
        raise DataError(f"{path}: line 2: has more fields than the header {list(table)}.")
    missing = [c for c in DETECTION_COLUMNS if c not in table]
    if missing:
        raise DataError(
            f"{path}: columns {missing} are missing; found {list(table)}, needed are "
            f"{','.join(DETECTION_COLUMNS)}."
        )
    table = table[DETECTION_COLUMNS].fillna("")
    table.index += 2  # line 1 is the header
    table = table[(table != "").any(axis=1)]

    def refuse(bad: np.ndarray, column: str, reason: str) -> None:
        if bad.any():
            line = table.index[bad][0]
            raise DataError(
                f"{path}: line {line}: {column} {table[column].loc[line]!r} {reason}; "
                f"{bad.sum()} such rows."
            )

    refuse(
        ~table["class"].isin(labels).to_numpy(), "class", f"is unknown; known are {sorted(labels)}"
    )
    refuse(
        ~table["video"].isin(num_frames.index).to_numpy(),
        "video",
        f"is not among the {len(num_frames)} test videos of the ground truth (names are without "
        f"class folder, such as {num_frames.index[0]!r})",
    )
    rows = table[["video", "class"]].copy()
    for column in NUMBER_COLUMNS:
        numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
        refuse(~np.isfinite(numbers), column, "is not a finite number")
        rows[column] = table[column].astype("float64")  # to_numeric may be off in the last digit
    last = num_frames.loc[rows["video"]].to_numpy()
    frame = rows["frame"].to_numpy()
    refuse(frame % 1 != 0, "frame", "is not a whole number")
    refuse(frame < 1, "frame", "is below 1: frames count from 1")
    refuse(frame > last, "frame", "is beyond the end of the video")
    return rows.astype({"frame": "int64"})
