"""What was found in a video, in the forms of other libraries, which are imported when asked for."""

from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from stclip.errors import ConfigError
from stclip.own_videos.found_persons import Prediction, rows_by
from stclip.records import BOX_COLUMNS


def to_supervision(found: Prediction) -> dict[int, Any]:
    """A `supervision.Detections` for each key frame with persons, by frame from 0.

    Each has `xyxy` (n, 4) float32 in pixels of the upright video, `confidence` (n,) (class
    probability times detector score), `class_id` (n,) of the best label, its place in
    `Prediction.labels`, `tracker_id` (n,), and `data` with `class_name` (n,), `detector_score` (n,)
    and `probabilities` (n, K).

    Raises:
        ConfigError: supervision is not installed.
    """
    supervision = _library("supervision")
    names = np.array(found.labels)
    detections = {}
    for frame, rows in rows_by(found.boxes["frame"].to_numpy(np.int64)).items():
        values, boxes = found.probabilities[rows], found.boxes.iloc[rows]
        best = values.argmax(1)
        scores = boxes["detector_score"].to_numpy(np.float32)
        detections[frame] = supervision.Detections(
            xyxy=boxes[BOX_COLUMNS].to_numpy(np.float32),
            confidence=values.max(1) * scores,
            class_id=best.astype(int),
            tracker_id=boxes["track"].to_numpy(int),
            data={"class_name": names[best], "detector_score": scores, "probabilities": values},
        )
    return detections


def to_fiftyone(found: Prediction, *, field: str = "predictions") -> Any:
    """A `fiftyone.Sample` of the video whose key frames (from 1 there) hold `field`.

    Each box is a `fiftyone.Detection` of its best label: `bounding_box` is x, y, width and height
    as shares of the picture, `confidence` class probability times detector score, `index` the
    track.

    Raises:
        ConfigError: fiftyone is not installed.
    """
    fiftyone = _library("fiftyone")
    sample = fiftyone.Sample(filepath=found.path)
    width, height = found.size
    by_frame: dict[int, list[Any]] = {int(frame): [] for frame in found.key_frames["frame"]}
    for row, person in enumerate(found.persons):
        x1, y1, x2, y2 = person.box_xyxy
        best = float(found.probabilities[row].max())
        by_frame[person.frame].append(
            fiftyone.Detection(
                label=found.labels[int(found.probabilities[row].argmax())],
                bounding_box=[x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height],
                confidence=best * person.detector_score,
                index=person.track,
            )
        )
    for frame, detections in by_frame.items():
        of_frame = fiftyone.Detections(detections=detections)
        sample.frames[frame + 1] = fiftyone.Frame(**{field: of_frame})
    return sample


def _library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(
            f"{name} is not installed; install it into this environment: pip install {name}."
        ) from None
