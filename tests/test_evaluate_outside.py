"""A detection csv from elsewhere: values by hand, ground-truth formats, every kind of bad row."""

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stclip.errors import ConfigError, DataError
from stclip.evaluate.outside import evaluate_file
from stclip.records import LabelSplit

SPLIT = LabelSplit("toy", "1", base=("run",), unseen=("sit", "wave"), rule="test")
HEADER = "video,frame,class,score,x1,y1,x2,y2"
TUBES = {
    "labels": ["run", "sit", "wave"],
    "train_videos": [["sit/t"]],
    "test_videos": [["sit/s", "wave/w", "run/r"]],
    "nframes": {"sit/s": 2, "wave/w": 1, "run/r": 1, "sit/t": 1},
    "gttubes": {
        "sit/s": {"1": [[[1, 0, 0, 10, 10], [2, 0, 0, 10, 10]]]},
        "wave/w": {"2": [[[1, 0, 0, 10, 10]]]},
        "run/r": {"0": [[[1, 0, 0, 10, 10]]]},
        "sit/t": {"1": [[[1, 0, 0, 10, 10]]]},
    },
}
GOOD = [
    "s,1,sit,0.9,0,0,10,10",
    "s,2,sit,0.8,20,0,30,10",
    "r,1,wave,0.7,0,0,10,10",
    "w,1,wave,0.6,0,0,10,10",
    "r,1,run,0.9,0,0,10,10",
]


def run(folder: Path, rows: list[str], truth: Any = TUBES, **settings: Any) -> dict[str, Any]:
    csv, ground_truth = folder / "found.csv", folder / "truth.json"
    csv.write_text("\n".join([HEADER, *rows]) + "\n", "utf-8")
    ground_truth.write_text(json.dumps(truth), "utf-8")
    files = {"ground_truth": ground_truth, "detections": csv}
    return evaluate_file(**({"dataset": "toy", "split": SPLIT} | files | settings))


def test_values_and_counts_by_hand(tmp_path: Path) -> None:
    result = run(tmp_path, GOOD)
    # sit: TP, FP of 2 -> 1/2. wave: a false positive on a video of a base class, then TP -> 1/2.
    assert result["AP"] == {"sit": 0.5, "wave": 0.5}
    assert result["mAP"] == 0.5
    assert result["counts"] == {
        "rows": 5,
        "rows_of_base_classes_ignored": 1,
        "rows_in_frames_without_unseen_truth": 1,
        "degenerate_boxes": 0,
        "classes": 2,
        "test_videos": 3,
        "frames": 3,
        "frames_without_rows": 0,
        "gt_boxes": 3,
    }
    assert result["settings"]["protocol"] == "iclip"
    assert result["settings"]["ground_truth_format"].startswith("JHMDB-GT")


def test_gzip_is_told_by_content_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    csv = tmp_path / "packed"
    csv.write_bytes(gzip.compress("\n".join([HEADER, "", *GOOD, "", ""]).encode()))
    assert run(tmp_path, GOOD, detections=csv)["mAP"] == 0.5


def test_boxes_without_area_are_false_positives_and_counted(tmp_path: Path) -> None:
    rows = ["s,1,sit,1,5,0,5,10", "s,1,sit,1,9,0,2,10", *GOOD]
    result = run(tmp_path, rows)
    # FP, FP, TP, FP of 2 -> (1/3) / 2
    assert result["AP"]["sit"] == pytest.approx(1 / 6)
    assert result["counts"]["degenerate_boxes"] == 2


def test_iou_threshold_is_a_setting(tmp_path: Path) -> None:
    rows = ["w,1,wave,1,0,0,10,6"]  # IoU 0.6
    assert run(tmp_path, rows)["AP"]["wave"] == 1
    assert run(tmp_path, rows, iou=0.7)["AP"]["wave"] == 0
    with pytest.raises(ConfigError, match=r"iou 50\.0 is not in \(0, 1\]"):
        run(tmp_path, rows, iou=50.0)


def test_no_rows_at_all_is_zero(tmp_path: Path) -> None:
    result = run(tmp_path, [])
    assert (result["mAP"], result["counts"]["frames_without_rows"]) == (0, 3)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("s,1,sit,high,0,0,10,10", r"line 3: score 'high' is not a finite number"),
        ("s,1,sit,nan,0,0,10,10", r"line 3: score 'nan' is not a finite number"),
        ("s,1,sit,1,0,0,inf,10", r"line 3: x2 'inf' is not a finite number"),
        ("s,1,sit,1,0,0,10", r"line 3: y2 '' is not a finite number"),
        ("s,1,sti,1,0,0,10,10", r"line 3: class 'sti' is unknown; known are \['run', 'sit', 'wa"),
        ("sit/s,1,sit,1,0,0,10,10", r"line 3: video 'sit/s' is not among the 3 test videos"),
        ("t,1,sit,1,0,0,10,10", r"line 3: video 't' is not among the 3 test videos"),
        ("s,0,sit,1,0,0,10,10", r"line 3: frame '0' is below 1: frames count from 1"),
        ("s,3,sit,1,0,0,10,10", r"line 3: frame '3' is beyond the end"),
        ("s,1.5,sit,1,0,0,10,10", r"line 3: frame '1\.5' is not a whole number"),
        ("s,1,sit,1,0,0,10,10,7", r"not a csv file"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(tmp_path, [GOOD[0], row])


def test_rows_longer_than_the_header_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: has more fields than the header"):
        run(tmp_path, [f"{row},7" for row in GOOD])


def test_bad_files_are_named(tmp_path: Path) -> None:
    csv = tmp_path / "other.csv"
    csv.write_text("video,frame,class,x1,y1,x2,y2\n", "utf-8")
    with pytest.raises(DataError, match=r"other\.csv: columns \['score'\] are missing; found"):
        run(tmp_path, [], detections=csv)
    csv.write_bytes(gzip.compress(HEADER.encode() * 50)[:30])
    with pytest.raises(DataError, match=r"other\.csv: damaged or unreadable"):
        run(tmp_path, [], detections=csv)
    csv.write_bytes(b"")
    with pytest.raises(DataError, match=r"other\.csv: not a csv file"):
        run(tmp_path, [], detections=csv)
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        run(tmp_path, [], detections=tmp_path / "gone.csv")


def test_authors_annotations(tmp_path: Path) -> None:
    images = [
        {"id": 1, "movie": "s", "timestamp": "00001"},
        {"id": 2, "movie": "s", "timestamp": "00002"},
        {"id": 3, "movie": "w", "timestamp": "00001"},
        {"id": 4, "movie": "r", "timestamp": "00001"},
    ]
    actions = {1: 2, 2: 2, 3: 3, 4: 1}  # run, sit, wave in alphabetical order, from 1
    truth = {
        "images": images,
        "annotations": [
            {"image_id": image, "action_ids": [action], "bbox": [0, 0, 10, 10]}
            for image, action in actions.items()
        ],
    }
    result = run(tmp_path, GOOD, truth)
    assert result["AP"] == {"sit": 0.5, "wave": 0.5}
    assert result["counts"]["gt_boxes"] == 3


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({"tubes": {}}, r"unknown ground-truth format with keys \['tubes'\]; accepted are \(1\)"),
        ([], r"unknown ground-truth format with keys \[\]; accepted"),
        ({**TUBES, "nframes": {}}, r"looks like JHMDB-GT .* is not built like it \(KeyError"),
        (
            {
                "images": [{"id": 1, "movie": "s", "timestamp": "1"}],
                "annotations": [{"image_id": 1, "action_ids": [0], "bbox": [0, 0, 9, 9]}],
            },
            r"looks like ST-CLIP's .* is not built like it \(KeyError: 0",
        ),
        ({**TUBES, "labels": ["x", "y", "z"]}, r"no box of the unseen classes \['sit', 'wave'\]"),
    ],
)
def test_bad_ground_truth_is_named(tmp_path: Path, truth: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(tmp_path, GOOD, truth)


def test_ground_truth_that_is_no_data_is_named(tmp_path: Path) -> None:
    other = tmp_path / "truth.pkl"
    other.write_bytes(b"\x80\x04")
    with pytest.raises(DataError, match=r"truth\.pkl: neither JSON nor parquet .*accepted are"):
        run(tmp_path, GOOD, ground_truth=other)
    table = tmp_path / "table.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(table)
    with pytest.raises(DataError, match=r"table\.parquet: unknown ground-truth format"):
        run(tmp_path, GOOD, ground_truth=table)


def test_split_of_another_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="split 1 belongs to 'toy', not to 'jhmdb'"):
        run(tmp_path, GOOD, dataset="jhmdb")
