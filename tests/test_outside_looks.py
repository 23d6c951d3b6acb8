"""Boxes that look like another unit or order."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside_annotations import MAP, SHARED, ava, needs_data
from test_evaluate_outside import SPLIT, TUBES, run

from stclip.boxes.looks import Looked, look
from stclip.errors import DataError
from stclip.evaluate.outside_truth import read_truth
from stclip.records import BOX_COLUMNS, LabelSplit


def _many(boxes: np.ndarray) -> tuple[dict[str, Any], list[str]]:
    """Ground truth of a tube with these boxes, and a row for each as it is."""
    tube = [[n, *box] for n, box in enumerate(boxes.tolist(), 1)]
    truth = json.loads(json.dumps(TUBES))
    truth["gttubes"]["sit/s"] = {"1": [tube]}
    truth["nframes"]["sit/s"] = len(boxes)
    rows = [f"s,{n},sit,0.9,{','.join(map(str, box))}" for n, *box in tube]
    return truth, rows


def real_boxes() -> np.ndarray:
    rng = np.random.default_rng(0)
    near = rng.uniform(0, (200, 120), (60, 2))
    far = near + rng.uniform((40, 60), (120, 120), (60, 2))
    return np.round(np.concatenate([near, np.minimum(far, (319, 239))], 1), 1)


@pytest.mark.parametrize(
    ("change", "looks"),
    [
        (lambda b: b, None),
        (lambda b: b / [320, 240, 320, 240], "shares of the picture, 0 to 1; expected are pixels"),
        (lambda b: np.c_[b[:, :2], b[:, 2:] - b[:, :2]], "x, y, width, height; expected are"),
        (lambda b: b[:, [2, 3, 0, 1]], "corners with x2, y2 first"),
        (lambda b: b[:, [2, 1, 0, 3]], "corners of which one is swapped"),
        (lambda b: b[:, [1, 0, 3, 2]], "corners with y before x"),
        (lambda b: b * 2, "pictures of another size"),
        (lambda b: b / 2, "pictures of another size"),
    ],
)
def test_detections_of_another_unit_or_order(
    change: Callable[[np.ndarray], np.ndarray],
    looks: str | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    truth, _ = _many(real_boxes())
    _, rows = _many(change(real_boxes()))
    with caplog.at_level(logging.WARNING):
        run(tmp_path, rows, truth)
    if looks is None:
        assert caplog.text == ""
    else:
        assert f"found.csv: nearly all of the {len(rows)} boxes look like" in caplog.text
        assert looks in caplog.text


def test_ground_truth_of_another_unit_or_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    boxes = real_boxes()
    truth, _ = _many(boxes / [320, 240, 320, 240])
    run(tmp_path, [], truth)
    assert "truth.json: nearly all of the 62 boxes look like shares of the picture" in caplog.text
    truth, _ = _many(np.c_[boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    with pytest.raises(DataError, match=r"is no box .*Nearly all look like x, y, width, height"):
        run(tmp_path, [], truth)
    caplog.clear()
    path = ava(tmp_path, *(f"v,{902 + n},10,20,30,40,11" for n in range(30)))
    read_truth(path, SPLIT, MAP)
    assert "30 boxes look like pixels; expected are shares of the picture" in caplog.text


AS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "shares of the picture": lambda b: b / [320, 240, 320, 240],
    "x, y, width, height; expected": lambda b: np.c_[b[:, :2], b[:, 2:] - b[:, :2]],
    "corners that were read as x, y, width": lambda b: np.c_[b[:, :2], b[:, 2:] + b[:, :2]],
    "corners with x2, y2 first": lambda b: b[:, [2, 3, 0, 1]],
    "corners with y before x": lambda b: b[:, [1, 0, 3, 2]],
    "boxes of pictures of another size": lambda b: b * 1.5,
}


@needs_data
@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("jhmdb", "j-hmdb/JHMDB-GT.json.gz"),  # states its pictures' sizes
        ("jhmdb", "j-hmdb/yowo_groundtruths_jhmdb.csv.gz"),
    ],
)
def test_real_boxes_are_told_and_give_no_false_alarm(dataset: str, name: str) -> None:
    split = LabelSplit.read(Path(__file__).parents[1] / f"splits/{dataset}/st-clip/1.json")
    truth = read_truth(SHARED / name, split)[1]
    boxes = truth.boxes[BOX_COLUMNS].to_numpy(np.float64)
    sizes = truth.videos.loc[truth.boxes["video"], ["width", "height"]].to_numpy(np.float64)
    right = Looked(boxes, sizes)
    assert look(right) is None
    for rows in truth.boxes.groupby("class").indices.values():
        assert look(Looked(boxes[rows], sizes[rows]), like=right) is None
    for looks, change in AS.items():
        found = look(Looked(change(boxes), sizes), like=right)
        assert found is not None
        assert found.startswith(looks)
