"""ByteTrack as `trackers` has it, so that the tracks of single boxes can be read."""

from typing import ClassVar

import numpy as np
import pandas as pd
import supervision as sv
from trackers import ByteTrackTracker
from trackers.utils.state_representations import XYXYStateEstimator

from stclip.boxes.two_scores import TwoScoreLinking
from stclip.records import BOX_COLUMNS


class Predicted(XYXYStateEstimator):
    """ByteTrack's own state of a track; writes down which boxes it got.

    `trackers` numbers a track from its second box on, so its numbers lack the first link of each.
    """

    taken: ClassVar[list[tuple["Predicted", bytes]]] = []

    def __init__(self, bbox: np.ndarray) -> None:
        """Begin at a box."""
        super().__init__(bbox)
        self.box = bbox
        self.taken.append((self, bbox.tobytes()))

    def update(self, bbox: np.ndarray | None) -> None:
        """Take the box that was found."""
        super().update(bbox)
        if bbox is not None:
            self.box = bbox
            self.taken.append((self, bbox.tobytes()))


class LastBox(Predicted):
    """Nobody moves until he is seen again: between seconds of a film nothing can be predicted."""

    def state_to_bbox(self) -> np.ndarray:
        """The last box, in place of the predicted one."""
        return self.box


def bytetrack(
    found: pd.DataFrame, linking: TwoScoreLinking, estimator: type[Predicted]
) -> pd.Series:
    """The track of each detection by `trackers`; -1 where it has none.

    Its buffer counts the frames without a box that a track survives, our patience the frames to the
    next box. Its two rounds have one threshold of overlap.
    """
    assert linking.iou == linking.low_iou, "ByteTrack knows one"
    numbers = pd.Series(-1, index=found.index)
    for _, clip in found.groupby("clip"):
        tracker = ByteTrackTracker(
            lost_track_buffer=linking.patience - 1, frame_rate=30, track_activation_threshold=0,
            minimum_consecutive_frames=1, minimum_iou_threshold=linking.iou,
            high_conf_det_threshold=linking.high, state_estimator_class=estimator,
        )  # fmt: skip
        tracks: dict[Predicted, int] = {}
        for frame in range(clip["frame"].min(), clip["frame"].max() + 1):
            own = clip[clip["frame"] == frame]
            boxes = own[BOX_COLUMNS].to_numpy(np.float64).reshape(-1, 4)
            confidence = own["score"].to_numpy(np.float64)
            tracker.update(sv.Detections(xyxy=boxes, confidence=confidence))
            rows = dict(zip((box.tobytes() for box in boxes), own.index, strict=True))
            for track, box in estimator.taken:
                numbers[rows[box]] = tracks.setdefault(track, len(tracks))
            estimator.taken.clear()
    return numbers
