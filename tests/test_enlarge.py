"""Drawn pictures at a real data set's size: boxes still fit what is drawn."""

import cv2
import numpy as np
import pytest

from stclip.mini import jhmdb_archives, ucf_archives
from stclip.mini.archive_files import xywh
from stclip.mini.drawing import tight_box
from stclip.mini.enlarge import enlarged, enlarged_boxes


def test_pictures_of_that_size_stay_the_same_array() -> None:
    pictures = np.zeros((2, 96, 128, 3), np.uint8)
    assert enlarged(pictures, height=96) is pictures


@pytest.mark.parametrize("height", [240, 192, 720])
def test_the_box_of_an_enlarged_mask_is_the_enlarged_box(height: int) -> None:
    rng = np.random.default_rng(height)
    masks = np.zeros((8, 96, 128), np.uint8)
    for mask in masks:
        (x1, x2), (y1, y2) = (np.sort(rng.choice(n, 2, replace=False)) for n in (128, 96))
        mask[y1 : y2 + 1, x1 : x2 + 1] = 1
    large = enlarged(masks, height=height, smooth=False)
    assert large.shape == (8, height, round(128 * height / 96))
    assert {*np.unique(large)} == {0, 1}
    for small, mask in zip(masks, large, strict=True):
        drawn, found = tight_box(small), tight_box(mask)
        assert drawn is not None
        assert found is not None
        assert np.abs(enlarged_boxes(drawn, height / 96) - found).max() <= 1  # a pixel is shared


def test_smooth_pictures_keep_their_colours_and_places() -> None:
    picture = np.zeros((1, 96, 128, 3), np.uint8)
    picture[:, 20:60, 30:90] = (200, 100, 50)
    large = enlarged(picture, height=240)[0]
    assert large.shape == (240, 320, 3)
    assert large[100, 150].tolist() == [200, 100, 50]
    assert large[20, 20].tolist() == [0, 0, 0]


def test_boxes_of_things_grow_with_the_pictures() -> None:
    box = np.array([3, 5, 6, 9], np.float32)  # 4 columns, 5 rows
    assert xywh(box) == [3, 5, 4, 5]
    assert xywh(box, factor=2.0) == [6, 10, 8, 10]


def test_archives_are_of_the_chosen_size() -> None:
    small, large = (
        jhmdb_archives._pack(jhmdb_archives._Job(0, "wave", 0, 15, height)) for height in (96, 240)
    )
    assert len(small.frames) == len(large.frames) == 15
    assert len(large.mask) > len(small.mask)
    png = cv2.imdecode(np.frombuffer(large.frames[0], np.uint8), cv2.IMREAD_COLOR)
    assert png is not None
    assert png.shape == (240, 320, 3)
    job = ucf_archives._Job(0, "Biking", "Biking", "test", 0, 16, 240)
    packed = ucf_archives._pack(job)
    assert packed.num_frames == 16
    boxes = np.concatenate([tube.boxes_xyxy for tube in packed.tubes])
    assert 128 < boxes[:, 2].max() < 320
