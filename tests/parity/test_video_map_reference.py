"""Video mAP on J-HMDB's real tubes equals what the published evaluators give (rule V).

A tube for each test video and class: the best detected box of every frame (a frame without any
repeats the one before, at the start the first one after), scored by the mean of rule J's hash
score.
"""

import numpy as np
import pytest
from plain_tubes import ByLabel, Tube, stacked
from rule_j import SPLITS, chance, labels, persons, truth

from stclip.evaluate.video_map import VIDEO_PROTOCOLS, video_map
from stclip.records import BOX_COLUMNS

VALUES = {  # 0.2, 0.5, 0.75, 0.5:0.95
    ("multisports", "1"): (1.000000, 0.985544, 0.710766, 0.649795),
    ("multisports", "2"): (1.000000, 0.935262, 0.776112, 0.613062),
    ("multisports", "3"): (0.943828, 0.938899, 0.625359, 0.556736),
    ("multisports", "4"): (1.000000, 1.000000, 0.749212, 0.681705),
    ("act", "1"): (1.000000, 0.985221, 0.713716, 0.644896),
    ("act", "2"): (1.000000, 0.934293, 0.756267, 0.601073),
    ("act", "3"): (0.943346, 0.938567, 0.592492, 0.541490),
    ("act", "4"): (1.000000, 1.000000, 0.729757, 0.674419),
}


def tubes(split: str) -> tuple[ByLabel, ByLabel]:
    """Found and true tubes by number of the class and of the video."""
    names = list(labels(split))
    found: dict[int, dict[int, list[Tube]]] = {k: {} for k in range(len(names))}
    true: dict[int, dict[int, list[Tube]]] = {k: {} for k in range(len(names))}
    best = {video: rows for video, rows in persons()[persons()["k"] == 0].groupby("video")}
    for number, (video, frames) in enumerate(truth().groupby("video", sort=False)):
        shown = frames["class"].iloc[0]
        if shown not in names:
            continue
        true[names.index(shown)][number] = [Tube(1, frames[BOX_COLUMNS].to_numpy(np.float64))]
        rows = best[video].set_index("frame")
        boxes = rows[BOX_COLUMNS].astype("float64").reindex(frames["frame"]).ffill().bfill()
        for k, label in enumerate(names):
            noise = np.array([chance(video, frame, 0, label) for frame in rows.index])
            score = rows["detector_score"] * (0.6 * noise + 0.4 * (label == shown))
            found[k][number] = [Tube(1, boxes.to_numpy(), float(score.mean()))]
    return found, true


@pytest.mark.parametrize("split", SPLITS)
def test_every_reference_value(split: str) -> None:
    found, true = map(stacked, tubes(split))
    for name, protocol in VIDEO_PROTOCOLS.items():
        measured = list(video_map(found, true, protocol).values())
        assert measured == pytest.approx(VALUES[name, split], abs=1e-6)
