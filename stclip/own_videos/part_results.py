"""What is found in a part: its tracks, and its form in the journal of an interrupted video."""

import base64
from typing import Any

import numpy as np
import pandas as pd

from stclip.boxes.two_scores import TrackLinker
from stclip.own_videos.found_persons import rows_by
from stclip.records import BOX_COLUMNS


def go_on(linker: TrackLinker, keys: pd.DataFrame, boxes: pd.DataFrame) -> None:
    """Bring the linker to where it was behind a part."""
    steps = boxes["frame"].map(dict(zip(keys["frame"], keys["step"], strict=True)))
    link_boxes(linker, steps, boxes)


def link_boxes(linker: TrackLinker, steps: pd.Series, table: pd.DataFrame) -> np.ndarray:
    """The track of each box; `steps`: of its key frame, rising."""
    found = np.full(len(table), -1, np.int64)
    boxes = table[BOX_COLUMNS].to_numpy(np.float64)
    scores = table["detector_score"].to_numpy(np.float64)
    for step, rows in rows_by(steps.to_numpy(np.int64)).items():
        found[rows] = linker.add(step, boxes[rows], scores[rows])
    return found


def stored(
    size: tuple[int, int], keys: pd.DataFrame, boxes: pd.DataFrame, values: np.ndarray
) -> dict[str, Any]:
    """A part for the journal: small, and the same numbers when it is read."""
    return {
        "size": list(size),
        "keys": keys.to_dict("list"),
        "boxes": boxes.to_dict("list"),
        "labels": values.shape[1],
        "probabilities": base64.b64encode(values.astype("<f4").tobytes()).decode(),
    }


def restored(part: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """What `stored` made small."""
    values = np.frombuffer(base64.b64decode(part["probabilities"]), "<f4")
    boxes = pd.DataFrame(part["boxes"])
    sides = [*BOX_COLUMNS, "detector_score"]
    boxes[sides] = boxes[sides].astype(np.float32)
    return pd.DataFrame(part["keys"]), boxes, values.reshape(-1, part["labels"]).copy()
