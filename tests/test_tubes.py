"""Linking boxes to tubes and comparing tubes: values worked out by hand."""

import numpy as np
import pytest

from stclip.boxes.linking import Linking, Overlaps, Tube, link, suppress, tube_iou
from stclip.errors import ConfigError, DataError
from stclip.evaluate.video_map import VIDEO_PROTOCOLS, video_map

BOX, FAR = [0, 0, 10, 10], [50, 0, 60, 10]
SHORT = Linking(min_frames=1)


def still(first: int, length: int, score: float = 1.0, box: list[int] = BOX) -> Tube:
    return Tube(first, np.array([box] * length, float), score)


def linked(
    per_frame: dict[int, list[tuple[list[int], float]]], linking: Linking = SHORT
) -> list[Tube]:
    return link(
        list(per_frame),
        Overlaps(
            [np.array([b for b, _ in rows], float).reshape(-1, 4) for rows in per_frame.values()]
        ),
        [np.array([score for _, score in rows], float) for rows in per_frame.values()],
        linking,
    )


def test_overlap_of_tubes_by_hand() -> None:
    # Frames 0..9 and 5..14 share 5 of 15; the boxes are equal.
    assert tube_iou(still(0, 10), still(5, 10), plus=1) == pytest.approx(5 / 15)
    # MultiSports takes 0..9 for 9 long: shared 4, together 14.
    assert tube_iou(still(0, 10), still(5, 10), plus=0) == pytest.approx(4 / 14)
    # Pixels 0..10 and 0..4 of the width, with +1: 5 x 11 of 11 x 11.
    half = still(0, 10, box=[0, 0, 4, 10])
    assert tube_iou(still(0, 10), half, plus=1) == pytest.approx(5 / 11)
    assert tube_iou(still(0, 10), half, plus=0) == pytest.approx(4 / 10)
    assert tube_iou(still(0, 5), still(5, 5), plus=1) == 0


def test_suppression_keeps_the_best_of_overlapping_tubes() -> None:
    tubes = [still(0, 10, 0.5), still(0, 9, 0.9), still(0, 10, 0.1, FAR)]
    kept = suppress(tubes, threshold=0.3, plus=1)
    assert [tube.score for tube in kept] == [0.9, 0.1]


def test_two_persons_become_two_tubes_by_falling_score() -> None:
    frames = {f: [(BOX, 0.4), (FAR, 0.8)] for f in range(4)}
    first, second = linked(frames)
    assert (first.score, second.score) == (pytest.approx(0.8), pytest.approx(0.4))
    assert (first.first, first.last) == (0, 3)
    assert first.boxes_xyxy.tolist() == [FAR] * 4


def test_a_missed_frame_is_filled_between_its_neighbours() -> None:
    (tube,) = linked({0: [(BOX, 0.6)], 1: [], 2: [([2, 0, 12, 10], 0.8)]})
    assert tube.boxes_xyxy.tolist() == [BOX, [1, 0, 11, 10], [2, 0, 12, 10]]
    assert tube.score == pytest.approx(0.7)  # mean over the frames that have a box


@pytest.mark.parametrize(("missed", "number"), [(4, 1), (5, 2)])
def test_a_tube_ends_after_five_missed_frames(missed: int, number: int) -> None:
    frames = {0: [(BOX, 0.5)]} | {f: [] for f in range(1, missed + 1)} | {missed + 1: [(BOX, 0.5)]}
    assert len(linked(frames)) == number


def test_the_best_scored_tube_chooses_first_and_takes_the_best_scored_box() -> None:
    # Both tubes overlap both boxes of frame 1; the stronger one gets the box with 0.9.
    left, right = [0, 0, 10, 10], [4, 0, 14, 10]
    frames = {0: [(left, 0.8), (right, 0.2)], 1: [(right, 0.9), (left, 0.1)]}
    strong, weak = linked(frames, Linking(min_frames=1, nms=0.9))
    assert strong.boxes_xyxy.tolist() == [left, right]
    assert weak.boxes_xyxy.tolist() == [right, left]
    assert (strong.score, weak.score) == (pytest.approx(0.85), pytest.approx(0.15))


def test_weak_short_and_overlapping_boxes_are_dropped() -> None:
    assert linked({f: [(BOX, 0.009)] for f in range(20)}) == []
    assert linked({f: [(BOX, 0.5)] for f in range(14)}, Linking()) == []
    assert len(linked({f: [(BOX, 0.5)] for f in range(15)}, Linking())) == 1
    # 9 of 11 columns shared: the weaker box of the frame goes
    assert len(linked({0: [(BOX, 0.5), ([1, 0, 11, 10], 0.4)]})) == 1


def test_linking_of_every_fifth_frame_counts_frames_of_the_video() -> None:
    linking = Linking().every(5)
    assert (linking.min_frames, linking.patience) == (3, 1)


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match=r"frames to link must rise, found \[1, 1\]"):
        link([1, 1], Overlaps([np.zeros((0, 4))] * 2), [np.zeros(0)] * 2, SHORT)
    with pytest.raises(ConfigError, match="must be at least 1"):
        Linking(top=0)


def test_video_map_by_hand() -> None:
    truth = {"a": {"v": [still(0, 10)], "w": [still(0, 10)]}, "b": {}}
    found = {"a": {"v": [still(0, 10, 0.9), still(0, 4, 0.8)], "w": [still(0, 8, 0.7)]}}
    values = video_map(found, truth, VIDEO_PROTOCOLS["multisports"])
    # Ranked: TP, then 0..3 against a taken tube, then 0..7 of 0..9: 7 / 9 = 0.78 of the time.
    # At 0.75: precision 1 and 2/3 -> 5/6; at 0.80 and above only the first is found: 1/2.
    assert values["0.75"] == pytest.approx(5 / 6)
    # 0.50 ... 0.75 are six thresholds, 0.80 ... 0.95 four. Class b has no ground truth.
    assert values["0.5:0.95"] == pytest.approx((6 * 5 / 6 + 4 * 1 / 2) / 10)
    # ACT suppresses 0..3 (overlap 0.4 with 0..9) and integrates trapezoids: TP, TP -> 1.
    assert video_map(found, truth, VIDEO_PROTOCOLS["act"])["0.75"] == 1.0
