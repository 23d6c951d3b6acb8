"""Boxes to samples: source, filter, clipping, grouping."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import key_frames

from stclip.boxes.clipping import clip_corners, clip_to_picture, has_area
from stclip.boxes.select import select_boxes
from stclip.config import BoxSource
from stclip.errors import DataError
from stclip.inputs.batch import Inputs
from stclip.inputs.samples import make_samples
from stclip.records import BOX_COLUMNS, Boxes, Clips, Data, Detections


def clips_of(*names: str, num_frames: int = 10) -> Clips:
    rows = {"clip": list(names), "actions": [["run"]] * len(names)}
    return Clips(
        pd.DataFrame(rows).assign(
            official_split="test", num_frames=num_frames, height=240, width=320, fps=30.0,
            licence="test",
        )
    )  # fmt: skip


def detections(rows: Sequence[tuple[str, int, float, float]]) -> Detections:
    """Detections from (clip, frame, x1, score), each 20x40 pixels."""
    table = pd.DataFrame(rows, columns=["clip", "frame", "x1", "score"])
    return Detections(table.assign(y1=10.0, x2=table["x1"] + 20, y2=50.0))


TRUTH = Boxes(
    pd.DataFrame([("a", 0, 1, 1, 9, 9, 0, ["run"])],
                 columns=["clip", "frame", *BOX_COLUMNS, "tube", "actions"])
)  # fmt: skip


def select(
    found: Detections | None, source: BoxSource, *, names: Sequence[str] = ("a",), every: int = 1
) -> pd.DataFrame:
    clips = clips_of("a", "b")
    data = Data(
        clips=clips, boxes=TRUTH, key_frames=key_frames(clips, TRUTH, every=every),
        frames=Path("unread"), detections=found,
    )  # fmt: skip
    return select_boxes(source, data, names=names)


DETECTED = BoxSource(source="detections")


def test_rows_go_by_the_callers_clip_order_then_frame_then_falling_score() -> None:
    found = detections(
        [("a", 7, 1, 0.2), ("a", 2, 2, 0.5), ("b", 5, 3, 0.9), ("a", 7, 4, 0.8), ("b", 1, 5, 0.1)]
    )
    table = select(found, DETECTED, names=["b", "a"])
    assert table["x1"].tolist() == [5, 3, 2, 4, 1]
    assert list(table) == ["clip", "frame", *BOX_COLUMNS, "detector_score", "origin", "stored"]
    assert table["stored"].tolist() == [4, 2, 1, 3, 0]  # rows of the detections
    assert select(found, DETECTED, names=["b"])["x1"].tolist() == [5, 3]


def test_top_keeps_the_best_and_ties_in_file_order() -> None:
    found = detections([("a", 0, i, s) for i, s in enumerate([0.5, 0.9, 0.5, 0.7, 0.5])])
    source = BoxSource(source="detections", top=3)
    assert select(found, source)["x1"].tolist() == [1, 3, 0]
    source = BoxSource(source="detections", top=4)
    assert select(found, source)["x1"].tolist() == [1, 3, 0, 2]


def test_within_keeps_scores_strictly_above_the_best_minus_it() -> None:
    # 0.5, 0.75 and 1.0 are exact: 0.75 is not above 1.0 - 0.25, 0.7501 is.
    found = detections([("a", 0, i, s) for i, s in enumerate([0.75, 1.0, 0.7501, 0.5])])
    assert select(found, BoxSource(source="detections", within=0.25))["x1"].tolist() == [1, 2]
    # Per frame: the best of frame 1 is 0.3.
    found = detections([("a", 0, 0, 0.9), ("a", 1, 1, 0.3), ("a", 1, 2, 0.2)])
    assert select(found, BoxSource(source="detections", within=0.15))["x1"].tolist() == [0, 1, 2]
    # Nothing above the best itself: it stays; an equal one does not.
    found = detections([("a", 0, 0, 0.9), ("a", 0, 1, 0.9)])
    assert select(found, BoxSource(source="detections", within=0.0))["x1"].tolist() == [0]
    both = BoxSource(source="detections", within=1.0, top=1)
    assert select(found, both)["x1"].tolist() == [0]


def test_boxes_are_clipped_to_the_last_pixel_and_empty_ones_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = pd.DataFrame(
        [
            (-5, -3, 320, 240, 0.9),  # clipped to 0, 0, 319, 239
            (10, 10, 10, 50, 0.8),  # no width
            (319.5, 10, 330, 50, 0.7),  # nothing left of it: 319..319
            (10, 60, 30, 50, 0.6),  # upside down
            (10.25, 20, 30, 50, 0.5),
        ],
        columns=[*BOX_COLUMNS, "score"],
    ).assign(clip="a", frame=0)
    with caplog.at_level(logging.INFO, logger="stclip.boxes.select"):
        found = select(Detections(table), BoxSource(source="detections", top=4))
    # Filter before clipping, as published: the fifth box does not take an empty one's place.
    assert found[BOX_COLUMNS].to_numpy().tolist() == [[0, 0, 319, 239]]
    assert "5 detections on 1 clips, 1 kept, 1 dropped by the filter, 3 empty" in caplog.text
    found = select(Detections(table), DETECTED)
    assert found["x1"].tolist() == [0, 10.25]


def test_boxes_off_the_key_frames_are_not_scored() -> None:
    found = detections([("a", frame, frame, 0.5) for frame in range(8)])
    assert select(found, DETECTED, every=3)["frame"].tolist() == [0, 3, 6]


def test_ground_truth_has_score_one_and_keeps_its_actions() -> None:
    found = select(None, BoxSource(source="ground_truth"))
    assert found["detector_score"].tolist() == [1.0]
    assert found["actions"].tolist() == [["run"]]
    with pytest.raises(DataError, match="none were given"):
        select(None, DETECTED)


def test_no_box_at_all_gives_no_sample() -> None:
    found = select(detections([("b", 0, 1, 0.5)]), BoxSource(source="detections", within=0.1))
    assert found.empty
    assert make_samples(found, clips_of("a"), inputs=Inputs(unit="person")) == []


def test_boxes_of_an_unlisted_clip_are_refused() -> None:
    with pytest.raises(DataError, match="boxes of clip 'c', which"):
        select(detections([("c", 0, 1, 0.5)]), DETECTED, names=["c"])


def test_samples_group_boxes_by_key_frame_or_clip_in_table_order() -> None:
    found = detections(
        [("b", 5, 1, 0.9), ("b", 6, 2, 0.9), ("a", 4, 3, 0.9), ("a", 5, 4, 0.9), ("a", 5, 5, 0.8)]
    )
    table = select(found, DETECTED, names=["b", "a"])
    clips = clips_of("a", "b")
    samples = make_samples(table, clips, inputs=Inputs(unit="person"))
    assert [(s.clip, s.key_frame) for s in samples] == [("b", 5), ("b", 6), ("a", 4), ("a", 5)]
    assert [s.rows.tolist() for s in samples] == [[0], [1], [2], [3, 4]]
    assert samples[3].boxes_xyxy.tolist() == [[4, 10, 24, 50], [5, 10, 25, 50]]
    assert samples[3].boxes_xyxy.dtype == np.float32
    assert {s.num_frames for s in samples} == {10}
    assert {s.memory_step for s in samples} == {1}
    by_second = Inputs(unit="person", memory=(1, 1), memory_every="second")
    samples = make_samples(table, clips, inputs=by_second)
    assert {s.memory_step for s in samples} == {30}  # frames/s
    samples = make_samples(table, clips, inputs=Inputs(unit="clip"))
    assert [s.clip for s in samples] == ["b", "a"]
    assert [s.rows.tolist() for s in samples] == [[0, 1], [2, 3, 4]]


def test_corners_move_to_the_last_pixel_of_their_own_picture() -> None:
    boxes = np.array([[-2, 3.5, 9, 50], [70, 1, 90, 5], [3, 47, 9, 60]], np.float32)
    sizes = np.array([[64, 48], [64, 48], [8, 40]])  # width, height
    found = clip_corners(boxes, sizes)
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 3.5, 9, 47], [63, 1, 63, 5], [3, 39, 7, 39]]
    assert has_area(found).tolist() == [True, False, False]


def test_a_table_is_clipped_like_its_corners_and_keeps_its_rows() -> None:
    rows = [("a", 0, -1, 5, 400, 20), ("b", 1, 330, 5, 340, 20), ("b", 2, 1, 2, 3, 4)]
    table = pd.DataFrame(rows, columns=["clip", "frame", *BOX_COLUMNS], index=[7, 8, 9])
    found = clip_to_picture(table, clips_of("a", "b"))  # 320 x 240
    assert found.index.tolist() == [7, 9]
    assert found[BOX_COLUMNS].to_numpy().tolist() == [[0, 5, 319, 20], [1, 2, 3, 4]]
    assert len(clip_to_picture(table[:0], clips_of("a"))) == 0
