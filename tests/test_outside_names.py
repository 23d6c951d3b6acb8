"""Names and frames in files that somebody else wrote: misspelt, unknown, unlisted."""

import csv
from pathlib import Path
from typing import Any

import pytest
from outside_annotations import SHARED, ava, label_map, needs_data, released, ucf
from test_evaluate_outside import GOOD, HEADER, TUBES, run

from stclip.errors import DataError
from stclip.evaluate.outside import evaluate_file
from stclip.records import LabelSplit
from stclip.storage.files import digest
from stclip.storage.name_matching import match_names


def test_names_none_known_is_an_error_some_a_counted_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def match(*names: str) -> list[bool]:
        known = ["sit", "wave"]
        return match_names(names, known, where="f", what="rows", among="labels").tolist()

    assert match() == []
    assert match("sit", "wave", "sit") == [True, True, True]
    assert caplog.text == ""
    assert match("sit", "sits", "x/wave", "q", "r") == [True, False, False, False, False]
    assert "f: 4 of 5 rows match none of the labels and do not count: 'sits' (is it 'sit'?), " in (
        caplog.text
    )
    assert "'x/wave' (is it 'wave'?), 'q' and 1 more" in caplog.text
    with pytest.raises(DataError, match=r"f: none of the 1 rows matches any of the labels: 'q'\."):
        match("q")


def test_a_label_map_is_compared_with_the_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    truth = ava(tmp_path, "v,0902,0,0,1,1,11")
    rows = ["v,902,sit,0.9,0,0,1,1", "v,902,wave,0.9,0,0,1,1"]
    labels = label_map(tmp_path, {11: "sit", 12: "waves"})
    result = run(tmp_path, rows, ground_truth=truth, label_map=labels)
    assert "2 of 3 classes match none of the classes of " in caplog.text
    assert "'wave' (is it 'waves'?)" in caplog.text
    counts = result["counts"]
    assert (counts["unlisted_classes"], counts["rows_of_unlisted_classes"]) == (2, 1)
    assert result["settings"]["label_map"] == "labels.pbtxt"
    assert result["settings"]["label_map_sha256"] == digest(labels)
    with pytest.raises(DataError, match=r"labels\.pbtxt: has none of the 1 base classes"):
        run(tmp_path, rows, ground_truth=truth, label_map=labels, labels="base")
    other = label_map(tmp_path, {11: "stand"})
    with pytest.raises(DataError, match="none of the 3 classes matches any of the classes of"):
        run(tmp_path, rows, ground_truth=truth, label_map=other)


def test_classes_of_the_ground_truth_are_compared_with_the_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, GOOD, TUBES | {"labels": ["run", "sit", "waves"]})
    assert "1 of 3 classes match none of the classes of split 1" in caplog.text
    assert "'waves' (is it 'wave'?)" in caplog.text


def test_excluded_seconds_of_unknown_videos(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    excluded = ava(tmp_path, "s,2", "sit/s,1", name="out.csv")
    result = run(tmp_path, GOOD, exclude=excluded)
    counts = result["counts"]
    assert (counts["excluded_rows"], counts["excluded_boxes"], counts["gt_boxes"]) == (1, 1, 2)
    assert "out.csv: 1 of 2 excluded seconds match none of the test videos" in caplog.text
    with pytest.raises(DataError, match=r"none of the 1 excluded seconds .* 'sit/s' \(is it 's'\?"):
        run(tmp_path, GOOD, exclude=ava(tmp_path, "sit/s,1", name="out.csv"))


def test_rows_of_unknown_videos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = run(tmp_path, [*GOOD, "t,9,sit,0.9,0,0,10,10"])
    assert result["AP"] == {"sit": 0.5, "wave": 0.5}
    counts = result["counts"]
    assert (counts["rows"], counts["rows_of_unknown_videos"]) == (6, 1)
    assert "found.csv: 1 of 6 rows match none of the 3 test videos of the ground" in caplog.text
    rows = [f"sit/{row}" for row in GOOD[:2]]
    with pytest.raises(DataError, match=r"none of the 2 rows matches .* 'sit/s' \(is it 's'\?\)"):
        run(tmp_path, rows)


def test_lists_of_training_and_test_videos(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, [], ucf(train=["sit/t", "sit/gone"]))
    assert "1 of 2 videos of trainvideos match none of the annotated videos" in caplog.text
    with pytest.raises(DataError, match=r"none of the 1 videos of trainvideos .*is it 'sit/t'"):
        run(tmp_path, [], ucf(train=["t"]))
    caplog.clear()
    listed = TUBES["test_videos"][0]
    result = run(tmp_path, GOOD, TUBES | {"test_videos": [[*listed, "sit/gone"]]})
    assert result["AP"] == {"sit": 0.5, "wave": 0.5}
    assert "truth.json: 1 of 4 videos of test_videos match none of the annotated" in caplog.text
    bare = [name.split("/")[1] for name in listed]
    with pytest.raises(DataError, match=r"none of the 3 videos of test_videos .*is it 'sit/s'"):
        run(tmp_path, GOOD, TUBES | {"test_videos": [bare]})


def test_every_frame_of_the_file_is_annotated_with_whatever_class(tmp_path: Path) -> None:
    """ActivityNet's rule; a row of two fields is a frame without actions."""
    truth = ava(tmp_path, "v,0902,0,0,1,1,11", "v,0903,0,0,1,1,77", "v,0904", "w,0902,0,0,1,1,12")
    rows = [
        "v,903,sit,0.9,0,0,1,1", "v,904,sit,0.8,0,0,1,1", "v,905,sit,0.7,0,0,1,1",
        "v,902,sit,0.6,0,0,1,1",
    ]  # fmt: skip
    settings: dict[str, Any] = {"ground_truth": truth, "label_map": label_map(tmp_path)}
    # FP, FP, FP, TP
    assert run(tmp_path, rows, **settings)["AP"]["sit"] == 0.25
    result = run(tmp_path, rows, **settings, unannotated_frames="ignore")
    # second 905 does not occur in the file
    assert result["AP"]["sit"] == pytest.approx(1 / 3)
    assert result["counts"]["dropped_in_unannotated_frames"] == 1
    assert result["counts"]["gt_boxes"] == 2


def test_listed_images_without_annotation_are_frames_too(tmp_path: Path) -> None:
    content = released()
    content["images"].append({"id": 3, "movie": "s", "timestamp": 3})
    rows = ["s,3,sit,0.9,0,0,10,10", "s,1,sit,0.8,0,0,10,10", "s,2,sit,0.7,0,0,10,10"]
    result = run(tmp_path, rows, content, unannotated_frames="ignore")
    # FP, TP, TP
    assert result["AP"]["sit"] == pytest.approx(2 / 3)


@needs_data
def test_walk_and_sit_alone_on_real_annotations(tmp_path: Path) -> None:
    """All 81 boxes are detected in seconds that occur in the file: nothing is ignored."""
    truth = SHARED / "ava" / "ava_val_v2.2_excerpt.csv"
    with truth.open() as file:
        lines = [row[:6] for row in csv.reader(file)]
    boxes = sorted({tuple(line) for line in lines})
    assert len(boxes) == 81
    found = tmp_path / "found.csv"
    rows = [
        f"{video},{int(second)},{label},0.{50 + n % 50},{','.join(box)}"
        for n, (video, second, *box) in enumerate(boxes)
        for label in ("walk", "sit")
    ]
    found.write_text("\n".join([HEADER, *rows]) + "\n")
    split = LabelSplit.read(Path(__file__).parents[1] / "splits" / "ava" / "st-clip" / "1.json")
    results = [
        evaluate_file(
            dataset="ava", split=split, ground_truth=truth, detections=found, protocol="tf",
            labels="all", label_map=label_map(tmp_path, {14: "walk", 11: "sit"}),
            unannotated_frames=rule,
        )
        for rule in ("count", "ignore")
    ]  # fmt: skip
    counted, ignored = results
    assert ignored["AP"] == counted["AP"]
    assert 0 < ignored["mAP"] < 0.5  # 9 true boxes among 81 for each class
    assert ignored["counts"]["dropped_in_unannotated_frames"] == 0
    assert ignored["counts"]["gt_rows_of_unlisted_classes"] == 204 - ignored["counts"]["gt_boxes"]
