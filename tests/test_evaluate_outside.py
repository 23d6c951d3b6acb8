"""A detection csv from elsewhere: values by hand, ground-truth formats, every kind of bad row."""

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stclip.errors import ConfigError, DataError
from stclip.evaluate.outside import evaluate_file
from stclip.records import LabelSplit

SPLIT = LabelSplit("toy", "drawn", "1", base=("run",), unseen=("sit", "wave"), rule="test")
HEADER = "video,frame,class,score,x1,y1,x2,y2"
TUBES = {
    "labels": ["run", "sit", "wave"],
    "train_videos": [["sit/t"]],
    "test_videos": [["sit/s", "wave/w", "run/r"]],
    "nframes": {"sit/s": 2, "wave/w": 1, "run/r": 1, "sit/t": 1},
    "resolution": dict.fromkeys(("sit/s", "wave/w", "run/r", "sit/t"), (240, 320)),
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
        "rows_of_unknown_videos": 0,
        "rows_of_unlisted_classes": 0,
        "unlisted_classes": 0,
        "gt_rows_of_unlisted_classes": 0,
        "excluded_rows": 0,
        "excluded_boxes": 0,
        "rows_of_other_labels": 1,
        "rows_judged": 4,
        "rows_in_frames_without_truth": 1,
        "duplicate_rows": 0,
        "degenerate_boxes": 0,
        "boxes_outside_picture": 0,
        "classes": 2,
        "classes_without_truth": 0,
        "test_videos": 3,
        "videos_with_truth_without_rows": 0,
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
    counts = result["counts"]
    assert (result["mAP"], counts["rows"], counts["frames_without_rows"]) == (0, 0, 3)
    assert counts["videos_with_truth_without_rows"] == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("s,1,sit,high,0,0,10,10", r"line 3: score 'high' is not a finite number"),
        ("s,1,sit,nan,0,0,10,10", r"line 3: score 'nan' is not a finite number"),
        ("s,1,sit,1,0,0,inf,10", r"line 3: x2 'inf' is not a finite number"),
        ("s,1,sit,1,0,0,10", r"line 3: y2 '' is not a finite number"),
        ("s,1,sti,1,0,0,10,10", r"line 3: class 'sti' is unknown; known are \['run', 'sit', 'wa"),
        ("s,0,sit,1,0,0,10,10", r"line 3: frame '0' is below 1: frames count from 1"),
        ("s,3,sit,1,0,0,10,10", r"line 3: frame '3' is beyond the end"),
        ("s,1.5,sit,1,0,0,10,10", r"line 3: frame '1\.5' is not a whole number"),
        ("s,1,sit,1.5,0,0,10,10", r"line 3: score '1\.5' is outside 0\.\.1; squash"),
        ("s,1,sit,-3,0,0,10,10", r"line 3: score '-3' is outside 0\.\.1"),
        ("s,1,sit,1,0,0,10,10,7", r"line 3: has more than 8 fields"),
        ("s,1,sit,1,0,0,10,10,7,8", r"line 3: has 10 fields, more than 8"),
        ("s,1,sit,True,0,0,10,10", r"line 3: score 'True' is not a finite number"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(tmp_path, [GOOD[0], row])


def test_rows_longer_than_the_header_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: has more than 8 fields; 5 such lines"):
        run(tmp_path, [f"{row},7" for row in GOOD])


def test_bad_files_are_named(tmp_path: Path) -> None:
    csv = tmp_path / "other.csv"
    csv.write_text("video,frame,class,x1,y1,x2,y2\n", "utf-8")
    with pytest.raises(DataError, match=r"other\.csv: columns \['score'\] are missing; found"):
        run(tmp_path, [], detections=csv)
    csv.write_bytes(gzip.compress(HEADER.encode() * 50)[:30])
    with pytest.raises(DataError, match=r"other\.csv: damaged gzip, or not the whole"):
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
        ({**TUBES, "nframes": {}}, r"truth.json: .*not built like .* tubes \(KeyError"),
        (
            {
                "images": [{"id": 1, "movie": "s", "timestamp": "1"}],
                "annotations": [{"image_id": 1, "action_ids": [0], "bbox": [0, 0, 9, 9]}],
            },
            r"annotations\[0\]: class 0 is the number of no class as the split's .*: 1 is 'run'",
        ),
        (
            {**TUBES, "labels": ["x", "y", "z"]},
            r"none of the 3 classes matches any of .*: 'x', 'y'",
        ),
    ],
)
def test_bad_ground_truth_is_named(tmp_path: Path, truth: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(tmp_path, GOOD, truth)


def test_ground_truth_that_is_no_data_is_named(tmp_path: Path) -> None:
    other = tmp_path / "truth.pkl"
    other.write_bytes(b"\x80\x04")
    with pytest.raises(DataError, match=r"truth\.pkl: not a readable pickle"):
        run(tmp_path, GOOD, ground_truth=other)
    other.write_bytes(b"\xff\xd8 a picture")
    with pytest.raises(DataError, match=r"truth\.pkl: neither JSON nor pickle .*accepted are"):
        run(tmp_path, GOOD, ground_truth=other)
    table = tmp_path / "table.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(table)
    with pytest.raises(DataError, match=r"table\.parquet: unknown ground-truth format"):
        run(tmp_path, GOOD, ground_truth=table)


def test_pickled_ground_truth(tmp_path: Path) -> None:
    pickled = tmp_path / "JHMDB-GT.pkl"
    tubes = {
        video: {int(label): [np.array(tube, np.float32) for tube in many]}
        for video, labels in TUBES["gttubes"].items()
        for label, many in labels.items()
    }
    pickled.write_bytes(pickle.dumps(TUBES | {"gttubes": tubes}, protocol=2))
    assert run(tmp_path, GOOD, ground_truth=pickled)["mAP"] == run(tmp_path, GOOD)["mAP"]


def test_split_of_another_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="split 1 belongs to 'toy', not to 'jhmdb'"):
        run(tmp_path, GOOD, dataset="jhmdb")


def test_a_video_without_rows_counts_as_missed(tmp_path: Path) -> None:
    result = run(tmp_path, GOOD[:2])
    assert result["AP"] == {"sit": 0.5, "wave": 0.0}
    assert result["counts"]["videos_with_truth_without_rows"] == 1


def test_boxes_outside_the_picture_stay_as_they_are_and_are_counted(tmp_path: Path) -> None:
    truth = TUBES | {"resolution": {key: [12, 20] for key in TUBES["nframes"]}}
    rows = ["s,1,sit,0.9,0,0,10,10", "s,2,sit,0.9,-4,0,10,10", "w,1,wave,0.9,0,0,21,10"]
    result = run(tmp_path, rows, truth)
    # IoU 10 / 14 with the box that sticks out to the left, 10 / 21 with the one to the right
    assert result["AP"] == {"sit": 1.0, "wave": 0.0}
    assert result["counts"]["boxes_outside_picture"] == 2


def test_a_row_given_twice_is_a_duplicate_and_counted(tmp_path: Path) -> None:
    result = run(tmp_path, [GOOD[0], GOOD[0], "s,2,sit,0.5,0,0,10,10"])
    # TP, FP, TP of 2 -> (1 + 2/3) / 2
    assert result["AP"]["sit"] == pytest.approx(5 / 6)
    assert result["counts"]["duplicate_rows"] == 1


def test_class_without_truth_is_undefined_left_out_and_counted(tmp_path: Path) -> None:
    truth = json.loads(json.dumps(TUBES))
    truth["gttubes"]["wave/w"] = {"1": truth["gttubes"]["wave/w"].pop("2")}
    result = run(tmp_path, GOOD, truth)
    assert result["AP"]["wave"] is None
    assert result["mAP"] == result["AP"]["sit"]
    counts = result["counts"]
    assert (counts["classes"], counts["classes_without_truth"]) == (1, 1)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("unseen", {"sit": 0.5, "wave": 0.5}),
        ("base", {"run": 1.0}),
        ("all", {"run": 1.0, "sit": 0.5, "wave": 0.5}),
    ],
)
def test_labels_that_are_evaluated(tmp_path: Path, labels: str, expected: dict[str, float]) -> None:
    assert run(tmp_path, GOOD, labels=labels)["AP"] == expected
    with pytest.raises(ConfigError, match=r"unknown labels 'seen'; known are \['unseen', 'base'"):
        run(tmp_path, GOOD, labels="seen")


def test_excluded_frames_count_on_neither_side(tmp_path: Path) -> None:
    listed = tmp_path / "excluded.csv"
    listed.write_text("s,2\nr,1\n", "utf-8")
    result = run(tmp_path, GOOD, exclude=listed)
    # frame 2 of s was missed, the row on r was a false positive
    assert result["AP"] == {"sit": 1.0, "wave": 1.0}
    counts = result["counts"]
    assert (counts["gt_boxes"], counts["excluded_rows"], counts["excluded_boxes"]) == (2, 3, 2)
    listed.write_text("s;2\n", "utf-8")
    with pytest.raises(DataError, match=r"excluded\.csv: line 1: video 's;2' stands alone; exp"):
        run(tmp_path, GOOD, exclude=listed)


def test_rows_beyond_the_best_of_a_frame_go_over_all_classes(tmp_path: Path) -> None:
    rows = ["s,1,run,0.95,0,0,10,10", *GOOD]
    result = run(tmp_path, rows, max_rows=1)
    # the row of the base class takes frame 1 of s; on r it is the base class too
    assert result["AP"] == {"sit": 0.0, "wave": 1.0}
    assert result["counts"]["dropped_beyond_max_rows"] == 2


def test_unannotated_frames_may_be_ignored(tmp_path: Path) -> None:
    truth = json.loads(json.dumps(TUBES))
    truth["nframes"]["wave/w"] = 2  # its second frame has no box
    rows = ["w,2,wave,0.9,0,0,10,10", "r,1,wave,0.8,0,0,10,10", "w,1,wave,0.7,0,0,10,10"]
    assert run(tmp_path, rows, truth)["AP"]["wave"] == pytest.approx(1 / 3)
    result = run(tmp_path, rows, truth, unannotated_frames="ignore")
    # frame 1 of r is annotated, with another class: it stays a false positive
    assert result["AP"]["wave"] == 0.5
    assert result["counts"]["dropped_in_unannotated_frames"] == 1


def test_what_hit_does_to_a_file(tmp_path: Path) -> None:
    # Corners are rounded, halves to even: 0.5 -> 0, 9.5 -> 10; scores to five decimals.
    rows = ["s,1,sit,0.9,0.5,0,9.5,10", "s,2,sit,0.000004,0,0,10,10"]
    result = run(tmp_path, rows, protocol="hit", iou=1.0)
    assert result["AP"]["sit"] == 0.5
    assert result["counts"]["dropped_zero_scores"] == 1
    # A tie ranks by <class>_<video>_<frame>: sit_s before wave_w, whatever the order in the file.
    tied = ["w,1,sit,0.5,0,0,10,10", "s,1,sit,0.5,0,0,10,10", "s,2,sit,0.5,0,0,10,10"]
    assert run(tmp_path, tied, protocol="hit")["AP"]["sit"] == 1.0
    assert run(tmp_path, tied)["AP"]["sit"] == pytest.approx(2 / 3)


def test_tf_drops_boxes_without_area(tmp_path: Path) -> None:
    rows = ["s,1,sit,1,5,0,5,10", *GOOD]
    result = run(tmp_path, rows, protocol="tf")
    assert result["AP"]["sit"] == 0.5
    assert result["counts"]["dropped_degenerate"] == 1


def test_video_map_links_the_rows(tmp_path: Path) -> None:
    box = [0, 0, 10, 10]
    truth = json.loads(json.dumps(TUBES))
    truth["nframes"] |= {"sit/s": 20, "wave/w": 20}
    for key, label in (("sit/s", "1"), ("wave/w", "2")):
        truth["gttubes"][key] = {label: [[[frame, *box] for frame in range(1, 21)]]}
    rows = [
        f"{v},{f},{c},0.9,0,0,10,10" for v, c in (("s", "sit"), ("w", "wave")) for f in range(1, 21)
    ]
    result = run(tmp_path, rows, truth, video_protocol="act")
    assert result["video_mAP"] == {"0.2": 1, "0.5": 1, "0.75": 1, "0.5:0.95": 1}
    # ten frames of wave are too few for a tube
    result = run(tmp_path, rows[:30], truth, video_protocol="act")
    assert result["video_mAP"]["0.2"] == 0.5
    with pytest.raises(ConfigError, match=r"unknown video protocol 'x'; known are \['act', 'mul"):
        run(tmp_path, rows, truth, video_protocol="x")


def test_report_of_a_file(tmp_path: Path) -> None:
    run(tmp_path, GOOD, report=tmp_path / "report")
    classes = pd.read_csv(tmp_path / "report" / "classes.csv", keep_default_na=False)
    assert classes["label"].tolist() == ["sit", "wave"]
    assert classes["AP"].tolist() == [0.5, 0.5]
    assert (tmp_path / "report" / "errors.png").read_bytes()[:4] == b"\x89PNG"


def test_ava_csv_needs_its_label_map(tmp_path: Path) -> None:
    truth, labels = tmp_path / "ava.csv", tmp_path / "labels.pbtxt"
    truth.write_text(
        "-5KQ,0902,0.1,0.1,0.5,0.9,11,0\n-5KQ,0902,0.1,0.1,0.5,0.9,12,0\n"
        "-5KQ,0903,0.2,0.1,0.6,0.9,99,0\n", "utf-8",
    )  # fmt: skip
    labels.write_text(
        'label {\n name: "sit"\n label_id: 11\n}\nlabel {\n name: "wave"\n label_id: 12\n}\n'
    )
    rows = [
        "-5KQ,902,sit,0.9,0.1,0.1,0.5,0.9",
        "-5KQ,903,sit,0.95,0.2,0.1,0.6,0.9",
        "-5KQ,902,wave,0.8,0.1,0.1,0.5,0.9",
        "-5KQ,902,run,0.99,0.1,0.1,0.5,0.9",
    ]
    with pytest.raises(ConfigError, match=r"AVA's csv numbers its actions; give the label map"):
        run(tmp_path, rows, ground_truth=truth, protocol="tf")
    result = run(tmp_path, rows, ground_truth=truth, protocol="tf", label_map=labels, labels="all")
    # Second 903 shows none of the label map's actions: its row is a false positive. "run" does not
    # exist in the label map.
    assert result["AP"] == {"sit": 0.5, "wave": 1.0}
    with pytest.raises(DataError, match=r"line 2: frame '901' is below 902: frames count from 902"):
        run(tmp_path, ["-5KQ,901,sit,1,0,0,1,1"], ground_truth=truth, label_map=labels)
    labels.write_text("id;name\n1;sit\n")
    with pytest.raises(DataError, match=r"labels\.pbtxt: not a label map"):
        run(tmp_path, rows, ground_truth=truth, label_map=labels)


@pytest.mark.parametrize("box", ["[0, 0, null, 10]", "[5, 0, 4, 10]"])
def test_ground_truth_boxes_must_be_boxes(tmp_path: Path, box: str) -> None:
    truth = json.loads(json.dumps(TUBES))
    truth["gttubes"]["sit/s"]["1"][0][1] = [2, *json.loads(box)]
    with pytest.raises(DataError, match=r"truth.json: .*(is no box|None is not a finite number)"):
        run(tmp_path, GOOD, truth)
