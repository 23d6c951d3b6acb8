"""Linking boxes to tubes and comparing tubes: values worked out by hand."""

import numpy as np
import pytest
from plain_tubes import Tube, listed, stacked

from stclip.boxes.linking import Linking, link
from stclip.boxes.tubes import suppress, tube_ious
from stclip.errors import ConfigError
from stclip.evaluate.video_map import VIDEO_PROTOCOLS, video_map

BOX, FAR = [0, 0, 10, 10], [50, 0, 60, 10]
SHORT = Linking(min_frames=1)


def still(first: int, length: int, score: float = 1.0, box: list[int] = BOX) -> Tube:
    return Tube(first, np.array([box] * length, float), score)


def linked(
    per_frame: dict[int, list[tuple[list[int], float]]], linking: Linking = SHORT
) -> list[Tube]:
    rows = [(frame, *row) for frame, of_frame in per_frame.items() for row in of_frame]
    tubes = link(
        clips=np.zeros(len(rows), int),
        frames=np.array([frame for frame, *_ in rows]),
        boxes_xyxy=np.array([box for _, box, _ in rows], float),
        scores=np.array([[score for *_, score in rows]]),
        linking=linking,
    )
    return [tube for *_, tube in listed(tubes)]


def tube_iou(one: Tube, other: Tube, *, plus: int) -> float:
    a, b = (stacked({0: {0: [tube]}}) for tube in (one, other))
    return float(tube_ious(a, np.zeros(1, int), b, np.zeros(1, int), plus=plus)[0])


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
    kept = suppress(stacked({0: {0: tubes}}), threshold=0.3, plus=1)
    assert kept.tolist() == [False, True, True]
    # tubes of another clip or label are no rivals
    apart = stacked({0: {0: tubes[:1], 1: tubes[1:2]}, 1: {0: tubes[:1]}})
    assert suppress(apart, threshold=0.3, plus=1).all()


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


def test_linking_that_links_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be at least 1"):
        Linking(top=0)


def test_no_boxes_make_no_tubes() -> None:
    nothing = np.empty(0, int)
    boxes, scores = np.empty((0, 4)), np.empty((3, 0))
    tubes = link(clips=nothing, frames=nothing, boxes_xyxy=boxes, scores=scores, linking=SHORT)
    assert len(tubes) == 0
    truth = stacked({0: {0: [still(0, 3)]}})
    assert video_map(tubes, truth, VIDEO_PROTOCOLS["act"])["0.2"] == 0
    assert np.isnan(video_map(truth, tubes, VIDEO_PROTOCOLS["act"])["0.2"])


def test_video_map_by_hand() -> None:
    truth = stacked({0: {0: [still(0, 10)], 1: [still(0, 10)]}})
    found = stacked(
        {
            0: {0: [still(0, 10, 0.9), still(0, 4, 0.8)], 1: [still(0, 8, 0.7)]},
            1: {0: [still(0, 10, 0.9)]},
        }
    )
    values = video_map(found, truth, VIDEO_PROTOCOLS["multisports"])
    # Ranked: TP, then 0..3 against a taken tube, then 0..7 of 0..9: 7 / 9 = 0.78 of the time.
    # At 0.75: precision 1 and 2/3 -> 5/6; at 0.80 and above only the first is found: 1/2.
    assert values["0.75"] == pytest.approx(5 / 6)
    # 0.50 ... 0.75 are six thresholds, 0.80 ... 0.95 four. Label 1 has no ground truth.
    assert values["0.5:0.95"] == pytest.approx((6 * 5 / 6 + 4 * 1 / 2) / 10)
    # ACT suppresses 0..3 (overlap 0.4 with 0..9) and integrates trapezoids: TP, TP -> 1.
    assert video_map(found, truth, VIDEO_PROTOCOLS["act"])["0.75"] == 1.0
