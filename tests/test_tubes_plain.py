"""Linking, suppression and video mAP of many clips at once equal the plain loops, ties included."""

import numpy as np
import plain_tubes
import pytest
from plain_tubes import Tube, listed, stacked

from stclip.boxes import linking as fast
from stclip.boxes import tubes as fast_tubes
from stclip.boxes.linking import Linking, link
from stclip.boxes.tubes import suppress, tube_ious
from stclip.evaluate.video_map import VIDEO_PROTOCOLS, video_map

NUM_LABELS, NUM_CLIPS = 3, 5


def random_linking(rng: np.random.Generator) -> Linking:
    return Linking(
        top=int(rng.integers(1, 5)),
        nms=float(rng.choice([0.0, 0.3, 0.7, 2.0])),
        iou=float(rng.choice([0.0, 0.2, 0.5])),
        patience=int(rng.integers(1, 5)),
        min_frames=int(rng.integers(1, 6)),
        min_score=float(rng.choice([0.0, 0.3])),
    )


def random_boxes(
    rng: np.random.Generator, num_boxes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Clips, frames with gaps, boxes that often overlap, scores that often tie; in any order."""
    clips = rng.choice([7, 0, 3, 9, 4], num_boxes)
    frames = rng.choice(np.flatnonzero(rng.random(25) < 0.8), num_boxes)
    corner = rng.integers(0, 12, (num_boxes, 2))
    boxes = np.hstack([corner, corner + rng.integers(0, 15, (num_boxes, 2))]).astype(float)
    scores = rng.choice([0.1, 0.2, 0.5, 0.9, rng.random()], (NUM_LABELS, num_boxes))
    return clips, frames, boxes, scores


def as_rows(label: int, clip: int, tube: Tube) -> tuple[int, int, int, float, list[list[float]]]:
    return label, clip, tube.first, tube.score, tube.boxes_xyxy.tolist()


@pytest.mark.parametrize("seed", range(60))
def test_linking_equals_the_plain_loop(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    linking = random_linking(rng)
    clips, frames, boxes, scores = random_boxes(rng, int(rng.integers(1, 250)))
    if seed % 2:  # many blocks
        monkeypatch.setattr(fast, "_SCORES", 200)
    tubes = link(clips=clips, frames=frames, boxes_xyxy=boxes, scores=scores, linking=linking)
    wanted = [
        as_rows(label, clip, tube)
        for label in range(NUM_LABELS)
        for clip in dict.fromkeys(clips.tolist())
        for own in [clips == clip]
        for tube in plain_tubes.link(frames[own], boxes[own], scores[label, own], linking)
    ]
    assert [as_rows(*tube) for tube in listed(tubes)] == wanted


def random_tubes(rng: np.random.Generator, most: int) -> dict[int, dict[int, list[Tube]]]:
    def tube() -> Tube:
        corner = rng.integers(0, 4, 2)
        steps = rng.integers(0, 2, (rng.integers(1, 12), 4))
        boxes = np.concatenate([corner, corner + 8]) + steps
        return Tube(
            int(rng.integers(0, 6)), boxes.astype(float), float(rng.choice([0.2, 0.6, 0.9]))
        )

    return {
        label: {
            int(clip): [tube() for _ in range(rng.integers(0, most))]
            for clip in rng.permutation(NUM_CLIPS)
        }
        for label in range(NUM_LABELS)
        if rng.random() < 0.8
    }


@pytest.mark.parametrize("name", VIDEO_PROTOCOLS)
@pytest.mark.parametrize("seed", range(30))
def test_video_map_equals_the_plain_loop(
    name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    protocol = VIDEO_PROTOCOLS[name]
    if seed % 2:  # many parts
        monkeypatch.setattr(fast_tubes, "_PAIRS", 4)
        monkeypatch.setattr(fast_tubes, "_BOXES", 20)
    found, truth = random_tubes(rng, 6), random_tubes(rng, 3)
    measured = video_map(stacked(found), stacked(truth), protocol)
    for threshold in (0.2, 0.5, 0.75):
        wanted = plain_tubes.video_ap(found, truth, protocol, threshold)
        np.testing.assert_equal(measured[f"{threshold:g}"], wanted)


@pytest.mark.parametrize("plus", [0, 1])
def test_overlap_and_suppression_equal_the_plain_loop(plus: int) -> None:
    rng = np.random.default_rng(0)
    lengths = [1, 2, 7, 8, 9, 127, 128, 129, 300, 1000]  # a sum of floats depends on its order
    tubes = []
    for length in lengths:
        corner = rng.random((length, 2)) * 10
        boxes = np.hstack([corner, corner + 20 + rng.random((length, 2))])
        tubes.append(Tube(int(rng.integers(0, 5)), boxes, float(rng.random())))
    one = stacked({0: {0: tubes}})
    rows, columns = (each.ravel() for each in np.indices((len(tubes), len(tubes))))
    wanted = [
        plain_tubes.tube_iou(tubes[r], tubes[c], plus=plus)
        for r, c in zip(rows, columns, strict=True)
    ]
    assert tube_ious(one, rows, one, columns, plus=plus).tolist() == wanted
    kept = plain_tubes.suppress(tubes, threshold=0.1, plus=plus)
    mask = suppress(one, threshold=0.1, plus=plus)
    assert {id(t) for t in kept} == {id(t) for t, stays in zip(tubes, mask, strict=True) if stays}
