"""The two sides of a run's evaluation, checked: ground truth of a label group, and scored boxes.

A frame is known by its row among the key frames. C clips, N boxes, R replicates.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from stclip.errors import ConfigError, DataError
from stclip.evaluate.bootstrap import clip_weights
from stclip.evaluate.frame_map import LabelledBoxes
from stclip.evaluate.matching import FrameBoxes
from stclip.records import BOX_COLUMNS, LABEL_GROUPS, Boxes, KeyFrames, LabelSplit, Scores


@dataclass(frozen=True)
class RunTruth:
    """The ground truth of one label group: a row per (box, label) on the test clips' key frames."""

    group: str
    labels: tuple[str, ...]
    clips: pd.Index  # names; position is the clip number
    table: pd.DataFrame  # clip, frame, x1..y2, tube, clip_number, action; index: the box
    frames: Int[np.ndarray, " M"]  # of each row of the table
    annotated: Int[np.ndarray, " A"]  # frames that have a box of any label, in the group or not
    weights: UInt8[np.ndarray, "C R"]  # of the bootstrap

    @classmethod
    def of(
        cls,
        ground_truth: Boxes,
        key_frames: KeyFrames,
        split: LabelSplit,
        group: str,
        *,
        num_replicates: int,
        seed: int,
    ) -> "RunTruth":
        """Select the boxes of a group.

        Raises:
            ConfigError: unknown group. DataError: nothing to evaluate.
        """
        if group not in LABEL_GROUPS:
            raise ConfigError(f"unknown label group {group!r}; known are 'unseen' and 'base'.")
        labels, clips = split.labels(group), pd.Index(split.test_clips(group), dtype="str")
        where = f"{split.where}, {group} labels"
        if clips.empty:
            raise DataError(f"{where}: the split names no test clips; run the splits stage.")
        table = ground_truth.table
        numbers = clips.get_indexer(pd.Index(table["clip"]))
        used = table.assign(clip_number=numbers)[numbers >= 0]
        used = used.assign(key_frame=key_frames.rows_of(used))
        used = used[used["key_frame"] >= 0]
        rows = used.explode("actions").rename(columns={"actions": "action"})
        rows = rows[rows["action"].isin(labels)]
        if rows.empty:
            raise DataError(
                f"{where}: no ground-truth box of {list(labels)} on the key frames of its "
                f"{len(clips)} test clips; do boxes and split belong together?"
            )
        return cls(
            group=group,
            labels=labels,
            clips=clips,
            table=rows,
            frames=rows["key_frame"].to_numpy(np.int64),
            annotated=np.unique(used["key_frame"].to_numpy(np.int64)),
            weights=clip_weights(list(clips), num_replicates=num_replicates, seed=seed),
        )

    @cached_property
    def labelled(self) -> LabelledBoxes:
        """Each box once, with the numbers of its labels."""
        box, first = np.unique(self.table.index, return_index=True)  # a row for each action
        corners = self.table[BOX_COLUMNS].to_numpy(np.float32)[first]
        return LabelledBoxes(
            FrameBoxes(self.frames[first], corners),
            np.searchsorted(box, self.table.index),
            pd.Index(self.labels).get_indexer(pd.Index(self.table["action"])),
        )


@dataclass(frozen=True)
class RunBoxes:
    """The scored boxes of a box source and label group."""

    record: Scores
    clip_numbers: Int[np.ndarray, " N"]
    boxes: FrameBoxes
    where: str  # names them in messages

    @classmethod
    def of(cls, record: Scores, truth: RunTruth, source: str, key_frames: KeyFrames) -> "RunBoxes":
        """Number clips and frames.

        Raises:
            DataError: a label or a box does not belong to the split and its key frames.
        """
        where = f"scores of {source} boxes, {truth.group} labels"
        if record.labels != list(truth.labels):
            raise DataError(
                f"{where}: label columns are {record.labels}, the split's labels are "
                f"{list(truth.labels)}; score again with this split."
            )
        numbers = truth.clips.get_indexer(pd.Index(record.table["clip"]))
        frames = key_frames.rows_of(record.table)
        for bad, reason in (
            (numbers < 0, f"is not among the split's {len(truth.clips)} {truth.group} test clips"),
            (frames < 0, "is not a key frame"),
        ):
            if bad.any():
                row = record.table[bad].iloc[0]
                raise DataError(
                    f"{where}: clip {row['clip']!r} frame {row['frame']} {reason}; {bad.sum()} "
                    "rows like this. Score again with this split and these key frames."
                )
        boxes = FrameBoxes(frames.astype(np.int64), record.boxes_xyxy)
        return cls(record, numbers, boxes, where)


def scores_of(record: Scores) -> Float[np.ndarray, "K N"]:
    """What ranks a box for a label: class probability x detector score.

    In float64, where the product of two float32 numbers is exact: no ties arise that are not there.
    """
    detector_scores = record.table["detector_score"].to_numpy(np.float64)
    return np.ascontiguousarray(record.probabilities.T, np.float64) * detector_scores


def boxes_sha256(record: Scores) -> str:
    """Which boxes were scored; two runs can be compared only if they scored the same."""
    names = "\n".join(record.table["clip"])
    frames = record.table["frame"].to_numpy("<i4").tobytes()
    parts = (names.encode(), frames, record.boxes_xyxy.astype("<f4").tobytes())
    return hashlib.sha256(b"".join(parts)).hexdigest()
