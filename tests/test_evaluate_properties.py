"""Frame AP against a slow exact definition of every protocol, on random boxes with tied scores."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stclip.evaluate.frame_map import LabelledBoxes, frame_map, own_box_rows, shared_box_rows
from stclip.evaluate.matching import FrameBoxes
from stclip.evaluate.protocol import PROTOCOLS

Box = tuple[int, int, int, int]
Placed = tuple[int, Box]  # frame, box

corner = st.integers(0, 6)
side = st.integers(-1, 8)  # some boxes have no area
boxes = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
real_boxes = st.tuples(corner, corner, st.integers(1, 8), st.integers(1, 8)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
frames = st.integers(0, 3)
found_rows = st.lists(st.tuples(frames, boxes, st.integers(0, 5)), max_size=25)  # scores tie often
truth_rows = st.lists(st.tuples(frames, real_boxes), min_size=1, max_size=12)


def exact_iou(one: Box, other: Box, plus: int) -> Fraction:
    def side(lo: int, hi: int) -> int:
        return max(0, hi - lo + plus)

    width = side(max(one[0], other[0]), min(one[2], other[2]))
    height = side(max(one[1], other[1]), min(one[3], other[3]))
    areas = [side(b[0], b[2]) * side(b[1], b[3]) for b in (one, other)]
    shared = width * height
    return Fraction(shared, sum(areas) - shared) if shared else Fraction(0)


def exact_ap(
    found: list[tuple[int, Box, int]], truth: list[Placed], *, plus: int, free: bool, raw: bool
) -> Fraction:
    """One detection at a time, in fractions: no rounding anywhere."""
    taken: set[int] = set()
    curve = [(Fraction(1), Fraction(0))]  # precision, recall; the start of the trapezoids
    hits = 0
    for rank, (frame, box, _) in enumerate(sorted(found, key=lambda row: -row[2]), 1):
        rivals = [
            (exact_iou(box, other, plus), -number)
            for number, (f, other) in enumerate(truth)
            if f == frame and not (free and number in taken)
        ]
        overlap, number = max(rivals, default=(Fraction(0), 0))
        if overlap >= Fraction(1, 2) and -number not in taken:
            taken.add(-number)
            hits += 1
        curve.append((Fraction(hits, rank), Fraction(hits, len(truth))))
    steps = list(pairwise(curve))
    if raw:
        return sum(((a[0] + b[0]) / 2 * (b[1] - a[1]) for a, b in steps), Fraction(0))
    area = Fraction(0)
    for number, (before, after) in enumerate(steps, 1):
        envelope = max(precision for precision, _ in curve[number:])
        area += (after[1] - before[1]) * envelope
    return area


def placed(rows: list[Placed]) -> FrameBoxes:
    return FrameBoxes(
        np.array([frame for frame, _ in rows], int),
        np.array([box for _, box in rows], float).reshape(-1, 4),
    )


@pytest.mark.parametrize(
    ("name", "plus", "free", "raw"),
    [("iclip", 0, False, False), ("hit", 1, False, False), ("act", 1, True, True)],
)
@settings(max_examples=200, deadline=None)
@given(found=found_rows, truth=truth_rows)
def test_ap_is_exact(
    name: str, plus: int, free: bool, raw: bool,
    found: list[tuple[int, Box, int]], truth: list[Placed],
) -> None:  # fmt: skip
    labelled = LabelledBoxes(placed(truth), np.arange(len(truth)), np.zeros(len(truth), int))
    rows = own_box_rows(
        ["a"],
        np.array([score for *_, score in found], float),
        np.zeros(len(found), int),
        placed([row[:2] for row in found]),
        labelled,
        protocol=PROTOCOLS[name],
    )
    measured = frame_map(rows, PROTOCOLS[name]).ap["a"]
    exact = exact_ap(found, truth, plus=plus, free=free, raw=raw)
    assert measured == pytest.approx(float(exact), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    found=st.lists(st.tuples(frames, boxes, st.tuples(*[st.integers(0, 4)] * 3)), max_size=15),
    truth=st.lists(
        st.tuples(frames, real_boxes, st.sets(st.integers(0, 2), min_size=1)),
        min_size=1,
        max_size=8,
    ),
)
def test_shared_boxes_equal_a_row_for_each_class(
    found: list[tuple[int, Box, tuple[int, ...]]], truth: list[tuple[int, Box, set[int]]]
) -> None:
    """Overlaps computed once for all classes give what a row per box and class gives."""
    pairs = [(number, label) for number, (*_, shown) in enumerate(truth) for label in sorted(shown)]
    numbers, labels = (np.array(column) for column in zip(*pairs, strict=True))
    labelled = LabelledBoxes(placed([row[:2] for row in truth]), numbers, labels)
    names = ["a", "b", "c"]
    scores = np.array([s for *_, s in found], float).reshape(-1, 3).T
    for protocol in PROTOCOLS.values():
        shared = shared_box_rows(
            names, np.ascontiguousarray(scores), placed([r[:2] for r in found]), labelled,
            protocol=protocol,
        )  # fmt: skip
        own = own_box_rows(
            names,
            scores.T.ravel(),
            np.tile(np.arange(3), len(found)),
            placed([row[:2] for row in found for _ in names]),
            labelled,
            protocol=protocol,
        )
        one, other = (frame_map(rows, protocol).ap for rows in (shared, own))
        assert one == pytest.approx(other, abs=1e-12, nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(found=found_rows, truth=truth_rows, data=st.data())
def test_removing_a_false_positive_never_hurts(
    found: list[tuple[int, Box, int]], truth: list[Placed], data: st.DataObject
) -> None:
    """In iclip's protocol a miss takes no box, so without it nothing else changes its mind."""
    labelled = LabelledBoxes(placed(truth), np.arange(len(truth)), np.zeros(len(truth), int))

    def ranking(rows: list[tuple[int, Box, int]]) -> tuple[float, set[int]]:
        scores = np.array([score for *_, score in rows], float)
        made = own_box_rows(
            ["a"], scores, np.zeros(len(rows), int), placed([r[:2] for r in rows]), labelled,
            protocol=PROTOCOLS["iclip"],
        )  # fmt: skip
        result = frame_map(made, PROTOCOLS["iclip"])
        return result.ap["a"], set(result.rankings["a"].hits.found.tolist())

    before, hits = ranking(found)
    misses = sorted(set(range(len(found))) - hits)
    if misses:
        gone = data.draw(st.sampled_from(misses))
        after, _ = ranking(found[:gone] + found[gone + 1 :])
        assert after >= before - 1e-12
