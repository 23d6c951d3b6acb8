"""A data set's settings become rules: linking in key frames, assumptions, protocols, thresholds."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, made_key_frames

from stclip.config import DatasetConfig, LinkingConfig, load_dataset
from stclip.config.models import Metric
from stclip.errors import ConfigError
from stclip.evaluate.evaluate import evaluate_run
from stclip.evaluate.rules import assumptions_of, linking_of, rules_of
from stclip.evaluate.video_map import VIDEO_PROTOCOLS
from stclip.records import BOX_COLUMNS, Boxes, KeyFrames, LabelSplit, Scores

BOX, LENGTH = (0, 0, 10, 10), 60
FRAME_MAP = Metric(name="frame_map", protocol="iclip", iou=[0.5])
VIDEO_MAP = Metric(name="video_map", protocol="act", iou=[0.2, 0.5, 0.75, "0.5:0.95"])


def settings(**changes: Any) -> DatasetConfig:
    """J-HMDB's, changed."""
    return load_dataset(ROOT / "config", "jhmdb", scale="paper").model_copy(update=changes)


def key_frames(*, every: int = 1, fps: float = 30) -> KeyFrames:
    """Those of one clip of 60 frames."""
    last = pd.DataFrame({"clip": ["clip"], "frame": [LENGTH - 1]})
    return made_key_frames(last, every=every, fps=fps)


@pytest.mark.parametrize(
    ("every", "fps", "patience", "min_frames"),
    [
        (1, 30, 5, 15),
        (5, 30, 1, 3),
        (1, 25, 4, 12),
        (30, 30, 1, 1),  # key frames a second apart: the next one must follow
    ],
)
def test_linking_counts_seconds_of_the_video_in_key_frames(
    every: int, fps: float, patience: int, min_frames: int
) -> None:
    frames = key_frames(every=every, fps=fps)
    for linking in (
        linking_of(LinkingConfig(), step_s=frames.step_s),
        rules_of(settings(), frames).tubes.linking,  # type: ignore[union-attr]
    ):
        assert (linking.patience, linking.min_frames) == (patience, min_frames)


def test_where_boxes_may_not_vote_no_method_stands_with_voting() -> None:
    voting, apart = settings(voting=True), settings(voting=False)
    assert rules_of(voting, key_frames()).assumptions == ("independent", "voted")
    assert rules_of(apart, key_frames()).assumptions == ("independent",)
    for of_method in (["independent"], ["voted"], ["independent", "voted"]):
        assert assumptions_of(of_method, voting) == of_method
        assert assumptions_of(of_method, apart) == ["independent"]


def test_rules_are_those_that_the_metrics_name() -> None:
    metrics = [FRAME_MAP.model_copy(update={"protocol": "hit", "iou": [0.3]})]
    rules = rules_of(settings(metrics=metrics), key_frames())
    assert (rules.frames.iou_threshold, rules.frames.whole_pixels) == (0.3, True)
    assert rules.tubes is None
    tubes = rules_of(settings(metrics=[FRAME_MAP, VIDEO_MAP]), key_frames()).tubes
    assert tubes is not None
    assert tubes.protocol is VIDEO_PROTOCOLS["act"]
    assert tubes.iou == (0.2, 0.5, 0.75, "0.5:0.95")


def test_unknown_protocols_are_refused() -> None:
    wrong = {"protocol": "x"}
    with pytest.raises(ConfigError, match=r"unknown protocol 'x'; known are \['act', "):
        rules_of(settings(metrics=[FRAME_MAP.model_copy(update=wrong)]), key_frames())
    with pytest.raises(ConfigError, match=r"unknown video protocol 'x'; known are \['act', "):
        rules_of(settings(metrics=[FRAME_MAP, VIDEO_MAP.model_copy(update=wrong)]), key_frames())


@pytest.mark.parametrize("every", [1, 5])
def test_iou_chooses_which_video_maps_are_reported(every: int) -> None:
    """One person sits all the time; the boxes found are too narrow: IoU 0.6."""
    frames = key_frames(every=every)
    table = frames.table[["clip", "frame"]].assign(**dict(zip(BOX_COLUMNS, BOX, strict=True)))
    truth = Boxes(table.assign(tube=0, actions=[["sit"]] * len(table)))
    found = table.assign(x2=6, detector_score=1.0)
    labels = ["sit", "wave"]
    probabilities = np.tile([0.9, 0.1], (len(found), 1))
    scores = Scores.from_parts(found, probabilities, labels)
    split = LabelSplit(
        "toy", "drawn", "1", base=("run",), unseen=tuple(labels), rule="", unseen_clips=("clip",)
    )

    def cell(*metrics: Metric) -> dict[str, Any]:
        metrics_of_run, *_ = evaluate_run(
            {("gt", "unseen"): scores},
            ground_truth=truth,
            key_frames=frames,
            split=split,
            rules=rules_of(settings(metrics=list(metrics)), frames),
            num_replicates=10,
        )
        return metrics_of_run["gt"]["unseen"]["independent"]

    assert "video_mAP" not in cell(FRAME_MAP)
    # +1: 7 of 11 columns, 0.64: of 0.50, 0.55 .. 0.95 three are reached
    assert cell(FRAME_MAP, VIDEO_MAP)["video_mAP"] == {
        "0.2": 1, "0.5": 1, "0.75": 0, "0.5:0.95": pytest.approx(0.3),
    }  # fmt: skip
    chosen = VIDEO_MAP.model_copy(update={"iou": [0.75, 0.5]})
    assert cell(FRAME_MAP, chosen)["video_mAP"] == {"0.75": 0, "0.5": 1}


def test_labels_judged_together_and_their_groups_come_from_the_data_set() -> None:
    groups = {"pose": ["sit", "stand"]}
    rules = rules_of(settings(scored_labels="together", label_groups=groups), key_frames())
    assert (rules.together, rules.label_groups) == (True, groups)
    assert (rules_of(settings(), key_frames()).together, settings().label_groups) == (False, {})
    capped = settings(metrics=[FRAME_MAP.model_copy(update={"protocol": "activitynet"})])
    frames = rules_of(capped, key_frames()).frames
    assert (frames.max_rows, frames.annotated_frames_only) == (50, True)
