"""Overlap, matching, average precision, voting, bootstrap: values worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from stclip.boxes.iou import paired_iou
from stclip.evaluate.average_precision import all_point, trapezoid, weighted_all_point
from stclip.evaluate.bootstrap import (
    clip_weights,
    interval,
    mean_replicates,
    replicate_aps,
)
from stclip.evaluate.frame_map import ClassRows, LabelledBoxes, frame_map, own_box_rows
from stclip.evaluate.matching import FrameBoxes, frame_codes
from stclip.evaluate.protocol import PROTOCOLS
from stclip.evaluate.voting import ASSUMPTIONS, vote
from stclip.records import BOX_COLUMNS, Scores

BOX = [0, 0, 10, 10]
ELSEWHERE = [50, 0, 60, 10]
Row = tuple[int, float, list[float]]  # frame, score, box


def class_rows(
    found: list[Row],
    truth: list[tuple[int, list[float]]],
    label: str = "a",
    protocol: str = "iclip",
) -> ClassRows:
    boxes = FrameBoxes(
        np.array([frame for frame, _ in truth], int),
        np.array([box for _, box in truth], float).reshape(-1, 4),
    )
    (rows,) = own_box_rows(
        [label],
        np.array([score for _, score, _ in found], float),
        np.zeros(len(found), int),
        FrameBoxes(
            np.array([frame for frame, _, _ in found], int),
            np.array([box for _, _, box in found], float).reshape(-1, 4),
        ),
        LabelledBoxes(boxes, np.arange(len(truth)), np.zeros(len(truth), int)),
        protocol=PROTOCOLS[protocol],
    )
    return rows


def ap(found: list[Row], truth: list[tuple[int, list[float]]], protocol: str = "iclip") -> float:
    rows = class_rows(found, truth, protocol=protocol)
    return frame_map([rows], PROTOCOLS[protocol]).ap["a"]


# ---- overlap


def test_iou_has_no_plus_one() -> None:
    # 5x10 of two 10x10 boxes shared: 50 / 150. With +1 it would be 66 / 176.
    others = np.array([[5, 0, 15, 10], ELSEWHERE])
    assert paired_iou(np.array([BOX, BOX]), others).tolist() == [pytest.approx(1 / 3), 0]


def test_iou_of_boxes_without_area_is_zero() -> None:
    flat, inverted = [5, 0, 5, 10], [8, 0, 2, 10]
    boxes = np.array([flat, inverted, flat], np.float32)
    assert paired_iou(boxes, np.array([BOX, BOX, flat], np.float32)).tolist() == [0, 0, 0]


def test_iou_with_plus_one() -> None:
    # 11 wide and high; 6 x 11 shared of 2 x 121 - 66. Boxes that only touch share a column.
    others = np.array([[5, 0, 15, 10], [10, 0, 20, 10], ELSEWHERE])
    overlap = paired_iou(np.array([BOX] * 3), others, plus=1)
    assert overlap.tolist() == [pytest.approx(66 / 176), pytest.approx(11 / 231), 0]


# ---- matching and average precision


def test_iou_of_exactly_the_threshold_counts() -> None:
    # 10x5 inside 10x10: 50 / 100 = 0.5; one pixel row less: 0.4.
    assert ap([(0, 1, [0, 0, 10, 5])], [(0, BOX)]) == 1
    assert ap([(0, 1, [0, 0, 10, 4])], [(0, BOX)]) == 0


def test_second_box_on_one_person_is_a_false_positive() -> None:
    found = [(0, 0.9, BOX), (0, 0.8, BOX), (0, 0.7, ELSEWHERE)]
    # Ranked TP, FP, TP: precision 1 at recall 1/2, 2/3 at recall 1 -> (1 + 2/3) / 2.
    assert ap(found, [(0, BOX), (0, ELSEWHERE)]) == pytest.approx(5 / 6)


def test_no_second_choice_when_the_best_box_is_taken() -> None:
    # Truth A = x 0..10, B = x 2..12. Both detections overlap A most (the second 0.9 against 8/11),
    # although B is free and reaches 0.5 as well: the second is a false positive, B is missed.
    found = [(0, 0.9, BOX), (0, 0.8, [1, 0, 10, 10])]
    assert ap(found, [(0, BOX), (0, [2, 0, 12, 10])]) == 0.5


def test_equal_overlap_takes_the_first_truth_in_document_order() -> None:
    # x 1..11 overlaps x 0..10 and x 2..12 alike (90 / 110). It takes the first listed; a box right
    # on that one then comes too late, a box right on the other one does not.
    truth = [(0, BOX), (0, [2, 0, 12, 10])]
    middle = (0, 0.9, [1, 0, 11, 10])
    assert ap([middle, (0, 0.8, BOX)], truth) == 0.5
    assert ap([middle, (0, 0.8, [2, 0, 12, 10])], truth) == 1


def test_equal_scores_keep_document_order() -> None:
    hit, miss = (0, 0.5, BOX), (0, 0.5, ELSEWHERE)
    assert ap([hit, miss], [(0, BOX)]) == 1
    assert ap([miss, hit], [(0, BOX)]) == 0.5


def test_ranking_runs_over_all_frames_and_missed_frames_count() -> None:
    # Frame 2 has no detection, frame 3 no truth. Ranked: FP (frame 3), TP, TP; 3 boxes to find.
    # Precision at the hits 1/2, 2/3, envelope 2/3, 2/3 -> (2/3 + 2/3) / 3.
    found = [(0, 0.8, BOX), (1, 0.7, BOX), (3, 0.9, BOX)]
    assert ap(found, [(0, BOX), (1, BOX), (2, BOX)]) == pytest.approx(4 / 9)


def test_class_without_truth_is_left_out_and_class_without_detections_is_zero() -> None:
    perfect = class_rows([(0, 1, BOX)], [(0, BOX)], "perfect")
    unseen_by_all = class_rows([], [(0, BOX)], "missed")
    undefined = class_rows([(0, 1, BOX)], [], "undefined")
    result = frame_map([perfect, unseen_by_all, undefined], PROTOCOLS["iclip"])
    assert (result.ap["perfect"], result.ap["missed"]) == (1, 0)
    assert math.isnan(result.ap["undefined"])
    assert (result.mean, result.num_classes) == (0.5, 2)
    assert math.isnan(frame_map([undefined], PROTOCOLS["iclip"]).mean)


def test_envelope_by_hand() -> None:
    # Ranked FP, TP, TP, FP, TP of 4: precision at hits 1/2, 2/3, 3/5 -> envelope 2/3, 2/3, 3/5.
    assert all_point(np.array([1, 2, 4]), 4) == pytest.approx((2 / 3 + 2 / 3 + 3 / 5) / 4)


def test_act_gives_a_taken_box_s_rival_the_next_best() -> None:
    # As above, the second detection overlaps the taken A most; ACT lets it have B.
    found = [(0, 0.9, BOX), (0, 0.8, [1, 0, 10, 10])]
    assert ap(found, [(0, BOX), (0, [2, 0, 12, 10])], "act") == 1


def test_trapezoids_by_hand() -> None:
    # Ranked TP, FP, TP of 2: the curve goes (1, 0), (1, 1/2), (1/2, 1/2), (2/3, 1):
    # 1/2 x (1 + 1) / 2 + 1/2 x (1/2 + 2/3) / 2.
    assert trapezoid(np.array([0, 2]), 2) == pytest.approx(1 / 2 + 7 / 24)
    assert trapezoid(np.array([1]), 1) == pytest.approx(1 / 4)  # from (0, 0) to (1/2, 1)
    assert trapezoid(np.array([], int), 3) == 0
    assert math.isnan(trapezoid(np.array([], int), 0))


def test_vectorised_matching_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    frames, truth_frames = rng.integers(0, 30, 200), rng.integers(0, 30, 60)
    corner, truth_corner = rng.integers(0, 6, (200, 2)), rng.integers(0, 6, (60, 2))
    scores = rng.integers(0, 20, 200) / 20  # many ties
    found = FrameBoxes(frames, np.hstack([corner, corner + 10]))
    truth = FrameBoxes(truth_frames, np.hstack([truth_corner, truth_corner + 10]))
    taken: set[int] = set()
    hits = []
    for row in sorted(range(200), key=lambda r: -scores[r]):
        of_frame = [t for t in range(60) if truth_frames[t] == frames[row]]
        overlap = [paired_iou(found.boxes_xyxy[[row]], truth.boxes_xyxy[[t]])[0] for t in of_frame]
        best = of_frame[int(np.argmax(overlap))] if of_frame else -1
        hits.append(bool(of_frame) and max(overlap) >= 0.5 and best not in taken)
        taken |= {best} if hits[-1] else set()
    rows = class_rows(
        list(zip(frames, scores, found.boxes_xyxy.tolist(), strict=True)),
        list(zip(truth_frames, truth.boxes_xyxy.tolist(), strict=True)),
    )
    ranking = frame_map([rows], PROTOCOLS["iclip"]).rankings["a"]
    assert ranking.is_hit().tolist() == hits
    assert 10 < sum(hits) < 60


def test_frame_codes_join_tables_by_clip_and_frame() -> None:
    left, right = frame_codes(
        (np.array([0, 0, 1]), np.array([7, 8, 7])), (np.array([1, 0]), np.array([7, 9]))
    )
    assert right[0] == left[2]
    assert len({*left.tolist(), *right.tolist()}) == 4


# ---- voting


def scored(rows: list[tuple[str, int, float, list[float]]], labels: list[str]) -> Scores:
    """Rows of clip, frame, detector score and class probabilities; every box is BOX."""
    boxes = pd.DataFrame(
        [(clip, frame, *BOX, detector) for clip, frame, detector, _ in rows],
        columns=["clip", "frame", *BOX_COLUMNS, "detector_score"],
    )
    return Scores.from_parts(
        boxes, np.array([p for *_, p in rows]).reshape(-1, len(labels)), labels
    )


def test_voting_by_hand() -> None:
    scores = scored(
        [
            ("x", 0, 0.9, [1.0, 0.0]),
            ("y", 0, 0.5, [0.25, 0.75]),
            ("x", 1, 0.1, [0.5, 0.5]),
            ("x", 1, 0.8, [0.0, 1.0]),
        ],
        ["a", "b"],
    )
    voted = vote(scores)
    # Clip x: (1 + 0.5 + 0) / 3 = 0.5 whatever the detector says; clip y keeps its only vote.
    assert voted.probabilities.tolist() == [[0.5, 0.5], [0.25, 0.75], [0.5, 0.5], [0.5, 0.5]]
    columns = ["clip", "frame", *BOX_COLUMNS, "detector_score"]
    pd.testing.assert_frame_equal(voted.table[columns], scores.table[columns])
    assert ASSUMPTIONS["independent"](scores) is scores


def test_voting_on_no_boxes() -> None:
    assert len(vote(scored([], ["a", "b"]))) == 0


# ---- bootstrap


def test_a_clip_weighs_the_same_whatever_stands_beside_it() -> None:
    several = clip_weights(["x", "y", "z"], num_replicates=50, seed=3)
    alone = clip_weights(["z"], num_replicates=20, seed=3)
    assert several[2, :20].tolist() == alone[0].tolist()
    assert several[0].tolist() != several[1].tolist()
    assert alone[0].tolist() != clip_weights(["z"], num_replicates=20, seed=4)[0].tolist()


def test_weights_are_poisson_one() -> None:
    weights = clip_weights([f"clip {n}" for n in range(100)])
    # 100,000 draws: mean 1 and variance 1 have standard errors 0.003 and 0.006; P(0) = 1/e.
    assert weights.mean() == pytest.approx(1, abs=0.015)
    assert weights.var() == pytest.approx(1, abs=0.03)
    assert (weights == 0).mean() == pytest.approx(math.exp(-1), abs=0.01)


def test_weights_never_change() -> None:
    # measured; replicates of old and new runs are only paired as long as this holds
    weights = clip_weights(["x"], num_replicates=12)
    assert weights[0].tolist() == [0, 0, 2, 0, 2, 3, 0, 0, 1, 3, 1, 0]


def random_ranking(rng: np.random.Generator, n: int, num_clips: int) -> tuple[np.ndarray, ...]:
    hits = rng.random(n) < 0.4
    clips = rng.integers(0, num_clips, n)
    positives = np.bincount(clips[hits], minlength=num_clips) + rng.integers(0, 3, num_clips)
    return hits, clips, positives


def test_whole_number_weights_equal_repeated_data() -> None:
    rng = np.random.default_rng(1)
    hits, clips, positives = random_ranking(rng, 200, 10)
    weights = rng.poisson(1, (10, 40)).astype(np.uint8)
    weights[:, 0] = 1
    weighted = weighted_all_point(hits, clips, positives, weights)
    for replicate, value in enumerate(weighted):
        times = weights[:, replicate]
        repeated = np.repeat(hits, times[clips])
        assert value == pytest.approx(
            all_point(np.flatnonzero(repeated), int(positives @ times)), abs=1e-6
        )
    assert weighted[0] == pytest.approx(
        all_point(np.flatnonzero(hits), int(positives.sum())), abs=1e-6
    )


def test_weighted_average_precision_by_hand() -> None:
    # Ranked: FP of clip 0, TP of clip 1, TP of clip 0; one box each to find.
    hits, clips = np.array([False, True, True]), np.array([0, 1, 0])
    weights = np.array([[1, 0, 2, 0], [1, 1, 0, 0]])
    # Once each: 2/3 at both hits. Clip 1 alone: TP -> 1. Clip 0 twice: FP FP TP TP -> 2/4.
    # Nothing drawn: undefined.
    areas = weighted_all_point(hits, clips, np.array([1, 1]), weights)
    assert areas[:3] == pytest.approx([2 / 3, 1, 0.5])
    assert math.isnan(areas[3])


def test_classes_without_truth_in_a_replicate_leave_its_mean() -> None:
    # Class a lives in clip 0 (found), class b in clip 1 (missed).
    a = class_rows([(0, 1, BOX)], [(0, BOX)], "a")
    b = class_rows([(0, 1, BOX)], [(1, BOX)], "b")
    result = frame_map([a, b], PROTOCOLS["iclip"])
    by_class = replicate_aps(
        result,
        found_clips=np.array([0]),
        truth_clips={"a": np.array([0]), "b": np.array([1])},
        weights=np.array([[1, 2, 0, 0], [1, 0, 1, 0]], np.uint8),
    )
    assert list(by_class) == ["a", "b"]
    replicates = mean_replicates(list(by_class.values()))
    assert replicates[:3].tolist() == [0.5, 1, 0]
    assert math.isnan(replicates[3])
    assert interval(replicates) == (pytest.approx(0.025), pytest.approx(0.975))
