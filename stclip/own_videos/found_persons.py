"""What was found in a video: persons at key frames, their tracks, and how well each label fits.

N boxes, K labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from stclip.evaluate.outside_rows import DETECTION_COLUMNS
from stclip.records import BOX_COLUMNS

BOXES = ["frame", "time_s", "track", *BOX_COLUMNS, "detector_score"]


@dataclass(frozen=True)
class Person:
    """A person at a key frame."""

    frame: int  # of the video, from 0
    time_s: float  # from the video's start
    track: int  # the same number in other key frames: the same person, as far as boxes overlap
    box_xyxy: tuple[float, float, float, float]  # pixels of the upright video
    detector_score: float  # 0..1
    probabilities: dict[str, float]  # of each label, 0..1

    @property
    def best(self) -> str:
        """The label that fits best."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


@dataclass(frozen=True)
class Track:
    """One person over time."""

    number: int
    first_s: float
    last_s: float
    rows: tuple[int, ...]  # of `Prediction.boxes`, by time
    probabilities: dict[str, float]  # the mean over its boxes

    def best(self, count: int = 1) -> list[tuple[str, float]]:
        """The labels that fit best, with their probabilities."""
        return sorted(self.probabilities.items(), key=lambda pair: -pair[1])[:count]


@dataclass(frozen=True)
class Prediction:
    """All that was found in a video."""

    video: str  # its name: that of the file without suffix, or of the folder
    path: str
    method: str
    labels: tuple[str, ...]
    exclusive: tuple[bool, ...]  # of each label: whether it shares a softmax
    size: tuple[int, int]  # width and height of the video, upright, in pixels
    key_frames: pd.DataFrame  # frame, time_s: all that were looked at, with persons or without
    boxes: pd.DataFrame  # columns BOXES, by frame and falling detector score; 0..N-1
    probabilities: Float[np.ndarray, "N K"]
    problems: tuple[str, ...] = ()  # what could not be read, in words

    @cached_property
    def persons(self) -> list[Person]:
        """One record per box."""
        boxes = self.boxes[BOX_COLUMNS].to_numpy(float).tolist()
        columns = [self.boxes[c].tolist() for c in ("frame", "time_s", "track", "detector_score")]
        return [
            Person(
                frame=frame, time_s=time_s, track=track, detector_score=score,
                box_xyxy=(box[0], box[1], box[2], box[3]),
                probabilities=dict(zip(self.labels, values.tolist(), strict=True)),
            )
            for frame, time_s, track, score, box, values in zip(
                *columns, boxes, self.probabilities, strict=True
            )
        ]  # fmt: skip

    @cached_property
    def tracks(self) -> list[Track]:
        """One record per track, in the order in which they begin."""
        found = []
        for number, rows in rows_by(self.boxes["track"].to_numpy(np.int64)).items():
            times = self.boxes["time_s"].iloc[rows]
            means = self.probabilities[rows].mean(0).tolist()
            found.append(
                Track(
                    number=number, first_s=float(times.iloc[0]), last_s=float(times.iloc[-1]),
                    rows=tuple(rows.tolist()),
                    probabilities=dict(zip(self.labels, means, strict=True)),
                )
            )  # fmt: skip
        return found

    @property
    def table(self) -> pd.DataFrame:
        """One row per box and label, as `stclip evaluate-file` reads it, and time and track.

        Columns: video, frame (from 0), class, score (class probability times detector score), x1,
        y1, x2, y2, time_s, track.
        """
        num_labels = len(self.labels)
        rows = self.boxes.loc[self.boxes.index.repeat(num_labels)].reset_index(drop=True)
        scores = self.probabilities * self.boxes[["detector_score"]].to_numpy(np.float32)
        table = rows.assign(
            **{"class": np.tile(np.array(self.labels, object), len(self.boxes))},
            video=self.video,
            score=scores.ravel(),
        )
        return table[[*DETECTION_COLUMNS, "time_s", "track"]]


def no_boxes() -> pd.DataFrame:
    """An empty table of `Prediction.boxes`."""
    whole = {"frame", "track"}
    return pd.DataFrame({c: np.zeros(0, np.int64 if c in whole else np.float32) for c in BOXES})


def rows_by(values: Int[np.ndarray, " N"]) -> dict[int, Int[np.ndarray, " n"]]:
    """The rows of each value, both rising."""
    order = np.argsort(values, kind="stable")
    known, begins = np.unique(values[order], return_index=True)
    return dict(zip(known.tolist(), np.split(order, begins[1:]), strict=False))


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of boxes one after the other."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else no_boxes()
