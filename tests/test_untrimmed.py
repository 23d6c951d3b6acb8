"""Videos as UCF101-24 has them: annotated in parts, by several tubes, some boxes twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stclip.boxes.linking import Linking
from stclip.boxes.tubes import Tubes
from stclip.config import AnnotatedFrames
from stclip.errors import DataError
from stclip.evaluate.evaluate import evaluate_run
from stclip.evaluate.outside import evaluate_file
from stclip.evaluate.rules import Rules, TubeRules
from stclip.evaluate.run_tubes import truth_tubes
from stclip.evaluate.video_map import MEAN_OF_RANGE, VIDEO_PROTOCOLS
from stclip.records import BOX_COLUMNS, Boxes, Clips, KeyFrames, LabelSplit, Scores
from stclip.splits.key_frames import make_key_frames
from stclip.storage.files import write_json

HERE, THERE = (10, 10, 60, 110), (100, 10, 150, 110)
SPLIT = LabelSplit(
    "toy", "drawn", "1", base=("run",), unseen=("dive",), rule="test", unseen_clips=("v",)
)
# 1/6 s and half a second at 25 fps
RULES = Rules(
    tubes=TubeRules(
        linking=Linking(patience=4, min_frames=12),
        protocol=VIDEO_PROTOCOLS["act"],
        iou=(0.5, MEAN_OF_RANGE),
    )
)


def annotated(*tubes: tuple[range, tuple[int, ...]]) -> Boxes:
    """Clip v with a box in each frame of each tube."""
    rows = [
        ("v", frame, *box, tube, ["dive"])
        for tube, (frames, box) in enumerate(tubes)
        for frame in frames
    ]
    return Boxes(pd.DataFrame(rows, columns=list(Boxes.COLUMNS)))


def key_frames_of(boxes: Boxes, *, num_frames: int = 60, every: int = 1) -> KeyFrames:
    clips = Clips(
        pd.DataFrame(
            [("v", "test", num_frames, 240, 320, 25.0, "none", ["dive"])],
            columns=list(Clips.COLUMNS),
        )
    )
    rule = AnnotatedFrames(rule="annotated", frames=every)
    return make_key_frames(rule, clips=clips, boxes=boxes, test_split="test")


def tubes_of(boxes: Boxes, key_frames: KeyFrames) -> Tubes:
    table = boxes.table[key_frames.contain(boxes.table)]
    table = table.assign(clip_number=0, action="dive")
    return truth_tubes(table, key_frames.numbers(table), np.zeros(len(table), np.int64))


def spans(tubes: Tubes) -> list[tuple[int, int]]:
    return list(zip(tubes.firsts.tolist(), tubes.lasts.tolist(), strict=True))


def evaluated(boxes: Boxes, found: list[tuple[range, tuple[int, ...]]]) -> dict[str, Any]:
    """The metrics of detections of score 0.9 with all probability on dive."""
    rows = [("v", frame, *box, 0.9) for frames, box in found for frame in frames]
    table = pd.DataFrame(rows, columns=["clip", "frame", *BOX_COLUMNS, "detector_score"])
    table = table.sort_values("frame", kind="stable")
    scores = Scores.from_parts(table, np.ones((len(table), 1)), ["dive"])
    metrics, *_ = evaluate_run(
        {("detected", "unseen"): scores}, ground_truth=boxes, key_frames=key_frames_of(boxes),
        split=SPLIT, rules=RULES, num_replicates=2,
    )  # fmt: skip
    cell: dict[str, Any] = metrics["detected"]["unseen"]["independent"]
    return cell


def test_tubes_before_and_after_a_gap_are_no_tube_with_a_gap() -> None:
    boxes = annotated((range(3, 10), HERE), (range(20, 27), HERE), (range(5, 8), THERE))
    key_frames = key_frames_of(boxes)
    assert key_frames.table["frame"].tolist() == [*range(3, 10), *range(20, 27)]
    assert spans(tubes_of(boxes, key_frames)) == [(3, 9), (20, 26), (5, 7)]


def test_every_fourth_annotated_frame_leaves_tubes_without_gaps() -> None:
    boxes = annotated((range(3, 10), HERE), (range(20, 27), HERE), (range(5, 8), THERE))
    key_frames = key_frames_of(boxes, every=4)
    # annotated and divisible by 4: 4, 8, 20, 24; tube 2 lies between two of them
    assert key_frames.table["frame"].tolist() == [4, 8, 20, 24]
    assert key_frames.table["number"].tolist() == [1, 2, 5, 6]
    assert key_frames.step_s == pytest.approx(4 / 25)
    assert spans(tubes_of(boxes, key_frames)) == [(1, 2), (5, 6)]


def test_a_tube_that_misses_an_annotated_frame_is_refused() -> None:
    boxes = annotated((range(3, 10), HERE), (range(3, 10, 2), THERE))
    with pytest.raises(DataError, match=r"clip 'v': tube 1 \(dive\) has gaps"):
        tubes_of(boxes, key_frames_of(boxes))


def test_a_person_who_comes_back_is_two_tubes_on_both_sides() -> None:
    parts = [(range(15), HERE), (range(40, 55), HERE)]
    cell = evaluated(annotated(*parts), parts)
    # linked across the gap of 25 frames it would be one tube, and find one of the two at most
    assert cell["video_mAP"] == {"0.5": 1.0, MEAN_OF_RANGE: 1.0}
    assert (cell["mAP"], cell["num_frames"], cell["num_gt_boxes"]) == (1.0, 30, 30)


def test_pairs_of_different_lengths() -> None:
    tubes = [(range(30), HERE), (range(10, 40), THERE)]
    cell = evaluated(annotated(*tubes), tubes)
    assert cell["video_mAP"]["0.5"] == cell["mAP"] == 1.0
    assert (cell["num_frames"], cell["num_gt_boxes"]) == (40, 60)


def test_a_box_listed_twice_is_found_once() -> None:
    twice = annotated((range(15), HERE), (range(15), HERE))
    for found in ([(range(15), HERE)], [(range(15), HERE)] * 2):
        cell = evaluated(twice, found)
        # the second row of a frame tries the first copy as well: half of the boxes are found, by
        # rows that all rank equally: as many hits as misses among twice as many rows, or no miss
        assert cell["num_gt_boxes"] == 30
        assert cell["AP"]["dive"] == pytest.approx(_alternating(len(found)))
        # the second tube is suppressed: one of two is found, by the first of the ranking
        assert cell["video_mAP"]["0.5"] == 0.5


def _alternating(rows_a_frame: int) -> float:
    """15 hits of 30 boxes; with two rows a frame the ranking is hit, miss, hit, miss, ..."""
    ranks = [rows_a_frame * hit + 1 for hit in range(15)]
    precision = [(hit + 1) / rank for hit, rank in enumerate(ranks)]
    return sum(max(precision[hit:]) for hit in range(15)) / 30


def test_a_file_of_a_person_who_comes_back(tmp_path: Path) -> None:
    x1, y1, x2, y2 = HERE
    sides = [x1 + 1, y1 + 1, x2 - x1, y2 - y1]
    tubes = [
        {"label": 0, "sf": first, "ef": first + 15, "boxes": [sides] * 15} for first in (0, 40)
    ]
    video = {"numf": 60, "label": 0, "annotations": tubes}
    truth = {
        "classes": ["dive", "run"],
        "trainvideos": ["dive/w"],
        "db": {"dive/v": video, "dive/w": video},
    }
    write_json(tmp_path / "truth.json", truth)
    lines = [
        f"v,{frame + 1},dive,0.9,{x1},{y1},{x2},{y2}" for f in (0, 40) for frame in range(f, f + 15)
    ]
    text = "\n".join(["video,frame,class,score,x1,y1,x2,y2", *lines])
    (tmp_path / "rows.csv").write_text(text, "utf-8")
    found = evaluate_file(
        dataset="toy", split=SPLIT, ground_truth=tmp_path / "truth.json",
        detections=tmp_path / "rows.csv", video_protocol="act",
    )  # fmt: skip
    assert (found["mAP"], found["video_mAP"]["0.5"]) == (1.0, 1.0)
    assert found["counts"]["gt_boxes"] == 30
