"""Files that somebody else wrote: numbers cut off or shifted, names misspelt, damage, units."""

import csv
import gzip
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_evaluate_outside import GOOD, HEADER, SPLIT, TUBES, run

from stclip.boxes.looks import Looked, look
from stclip.errors import ConfigError, DataError
from stclip.evaluate.outside import evaluate_file
from stclip.evaluate.outside_truth import read_truth
from stclip.prepare.label_map import read_label_map
from stclip.records import BOX_COLUMNS, Boxes, Clips, LabelSplit
from stclip.storage.files import digest
from stclip.storage.name_matching import match_names
from stclip.storage.numbers import as_id, as_numbers, as_whole, plain
from stclip.storage.outside_files import content_of, csv_parts, csv_table, parse_json

SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the annotations in {SHARED}")
MAP = {11: "sit", 12: "wave"}
FULL_MAP = MAP | {13: "run"}


def label_map(folder: Path, names: dict[int, str] = MAP) -> Path:
    path = folder / "labels.pbtxt"
    blocks = (f'label {{\n name: "{name}"\n label_id: {n}\n}}\n' for n, name in names.items())
    path.write_text("".join(blocks), "utf-8")
    return path


def ava(folder: Path, *lines: str, name: str = "ava.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def released(**changes: Any) -> dict[str, Any]:
    """Two images and annotations like those released with ST-CLIP."""
    images = [{"id": n, "movie": "s", "timestamp": f"{n:05d}"} for n in (1, 2)]
    boxes = [{"image_id": n, "action_ids": [2], "bbox": [0, 0, 10, 10]} for n in (1, 2)]
    found: dict[str, Any] = {"images": images, "annotations": boxes}
    for path, value in changes.items():
        key, name = path.split("__")
        found[key][0][name] = value
    return found


def ucf(*, train: list[str] | None = None, numf: Any = 5, **tube: Any) -> dict[str, Any]:
    """A training and a test video like those of the corrected UCF101-24 annotations."""
    own = {"label": 1, "sf": 0, "ef": 2, "boxes": [[1, 1, 10, 10], [1, 1, 10, 10]]} | tube
    return {
        "classes": ["run", "sit", "wave"],
        "trainvideos": ["sit/t"] if train is None else train,
        "db": {key: {"numf": numf, "label": 1, "annotations": [own]} for key in ("sit/s", "sit/t")},
    }


# ---- numbers


def test_numbers_that_count_are_whole_and_keep_their_type() -> None:
    assert as_whole(["00014", 3, 2.0, np.uint8(7)], "frame", "f").tolist() == [14, 3, 2, 7]
    assert as_whole(pd.Series(["902", "0903.0"], dtype="str"), "second", "f").tolist() == [902, 903]
    assert as_numbers(pd.Series(["0.1", "1e3"], dtype="str"), "x1", "f").tolist() == [0.1, 1000]
    assert plain([np.float64(1.5), np.str_("a")]) == [1.5, "a"]
    assert (as_id("5", "f"), as_id(5.0, "f"), as_id("a5", "f")) == (5, 5, "a5")
    assert as_id(2**60 + 1, "f") == as_id(str(2**60 + 1), "f") == 2**60 + 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, r"f: frame 1\.5 is not a whole number"),
        (np.float32(902.5), r"f: frame 902\.5 is not a whole number"),
        ("902.7", r"f: frame '902\.7' is not a whole number"),
        ("1_0", "f: frame '1_0' is not a finite number"),
        ("soon", "f: frame 'soon' is not a finite number"),
        (True, "f: frame True is not a finite number"),
        (None, "f: frame None is not a finite number"),
        ([1], r"f: frame \[1\] is not a finite number"),
        (float("inf"), "f: frame inf is not a finite number"),
        (2.0**60, "is not a whole number"),
    ],
)
def test_what_is_no_whole_number_is_named(value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_whole([1, value], "frame", "f")


def test_a_table_casts_no_fraction(tmp_path: Path) -> None:
    row = {"clip": "a", "frame": 1.5, "tube": 0, "actions": [["sit"]]}
    with pytest.raises(DataError, match=r"Boxes: row 0: frame 1\.5 is not a whole number"):
        Boxes(pd.DataFrame(row | dict.fromkeys(("x1", "y1", "x2", "y2"), 1.0)))
    with pytest.raises(DataError, match=r"frame 4294967296 is not in -2147483648 to"):
        Boxes(pd.DataFrame(row | dict.fromkeys(("x1", "y1", "x2", "y2"), 1.0) | {"frame": 2**32}))


CUT_OFF: dict[str, tuple[Any, str]] = {
    "timestamp": (released(images__timestamp=1.5), r"images\[0\]: timestamp 1\.5 is not a whole"),
    "action": (released(annotations__action_ids=[2.5]), r"annotations\[0\]: action_ids 2\.5 is"),
    "box": (ucf(boxes=[[1, 1, 10.5, 10]] * 2), r"sit/s: annotations\[0\]: .* 10\.5 is not a whole"),
    "start": (ucf(sf=0.5), r"sit/s: annotations\[0\]: sf 0\.5 is not a whole"),
    "length": (ucf(numf=4.5), r"sit/s: numf 4\.5 is not a whole"),
    "frames": (
        TUBES | {"nframes": dict.fromkeys(TUBES["nframes"], 2.5)},
        r"run/r: nframes 2\.5 is not a whole",
    ),
}


@pytest.mark.parametrize("name", CUT_OFF)
def test_no_number_of_an_annotation_is_cut_off(name: str, tmp_path: Path) -> None:
    content, message = CUT_OFF[name]
    with pytest.raises(DataError, match=rf"truth\.json: .*{message}"):
        run(tmp_path, GOOD[:2], content)


def test_fractions_of_csv_are_named_with_their_line(tmp_path: Path) -> None:
    truth = ava(tmp_path, "v,0902,0,0,1,1,11", "v,902.7,0,0,1,1,11")
    with pytest.raises(DataError, match=r"ava\.csv: line 2: second '902\.7' is not a whole number"):
        run(tmp_path, [], ground_truth=truth, label_map=label_map(tmp_path))
    excluded = ava(tmp_path, "s,1", "s,1.5", name="out.csv")
    with pytest.raises(DataError, match=r"out\.csv: line 2: second '1\.5' is not a whole number"):
        run(tmp_path, GOOD, exclude=excluded)
    truth = ava(tmp_path, "file_stem,class_id,x1,y1,x2,y2", "sit_s_00001,2.5,0,0,9,9")
    with pytest.raises(DataError, match=r"ava\.csv: line 2: class_id '2\.5' is not a whole number"):
        run(tmp_path, [], ground_truth=truth)


def test_a_fraction_in_a_table_of_boxes_names_its_file(tmp_path: Path) -> None:
    clip = {"clip": "s", "official_split": "test", "num_frames": 9, "height": 9, "width": 9}
    clips = Clips(pd.DataFrame([clip | {"fps": 1, "licence": "", "actions": ["sit"]}]))
    clips.write(tmp_path / "clips.parquet")
    box = {"clip": "s", "frame": 1.5, "tube": 0, "actions": ["sit"]}
    path = tmp_path / "boxes.parquet"
    pd.DataFrame([box | dict.fromkeys(("x1", "y1", "x2", "y2"), 1.0)]).to_parquet(path)
    with pytest.raises(DataError, match=r"boxes\.parquet: Boxes: row 0: frame 1\.5 is not a whole"):
        run(tmp_path, [], ground_truth=path)


# ---- class numbers


def test_json_follows_the_label_map_and_counts_what_it_lacks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    truth = released(annotations__action_ids=[11, 12])
    truth["annotations"][1]["action_ids"] = [11, 77]
    rows = ["s,1,sit,0.9,0,0,10,10", "s,2,sit,0.8,0,0,10,10", "s,1,wave,0.7,0,0,10,10"]
    result = run(tmp_path, rows, truth, label_map=label_map(tmp_path))
    assert result["AP"] == {"sit": 1.0, "wave": 1.0}
    assert result["counts"]["gt_rows_of_unlisted_classes"] == 1
    assert "1 rows are of actions that the label map lacks" in caplog.text
    with pytest.raises(ConfigError, match=r"annotations\[0\]: has several action_ids.*--label-map"):
        run(tmp_path, rows, truth)


@pytest.mark.parametrize(
    ("number", "names", "message"),
    [
        ("0", MAP, "class 0 is the number of no class of the label map"),
        ("-1", MAP, "class -1 is the number of no class"),
        ("14", FULL_MAP, "class 14 is the number of no class of the label map: 11 is 'sit', 13 is"),
        ("77", MAP, "none of the 1 rows is of a class of the label map"),
    ],
)
def test_numbers_of_no_class_are_refused_in_csv_and_json(
    number: str, names: dict[int, str], message: str, tmp_path: Path
) -> None:
    labels = label_map(tmp_path, names)
    truth = ava(tmp_path, f"v,0902,0,0,1,1,{number}")
    with pytest.raises(DataError, match=rf"ava\.csv: line 1: {message}"):
        run(tmp_path, [], ground_truth=truth, label_map=labels)
    content = released(annotations__action_ids=[int(number)])
    del content["annotations"][1]
    with pytest.raises(DataError, match=rf"truth\.json: annotations\[0\]: {message}"):
        run(tmp_path, [], content, label_map=labels)


def test_a_number_below_the_first_class_is_not_the_last(tmp_path: Path) -> None:
    truth = ava(tmp_path, "file_stem,class_id,x1,y1,x2,y2", "wave_w_00001,-1,0,0,9,9")
    with pytest.raises(DataError, match=r"line 2: class -1 is the number of no class as the split"):
        run(tmp_path, [], ground_truth=truth)
    with pytest.raises(DataError, match=r"annotations\[0\]: label -1 is not among 0 to 2"):
        run(tmp_path, [], ucf(label=-1))


def test_shifted_numbers_of_yowo_do_not_fit_its_names(tmp_path: Path) -> None:
    truth = ava(tmp_path, "file_stem,class_id,x1,y1,x2,y2", "sit_s_00001,1,0,0,9,9")
    with pytest.raises(DataError, match=r"line 2: file_stem 'sit_s_00001' is not <class>_<video>_"):
        run(tmp_path, [], ground_truth=truth)


# ---- names


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


# ---- frames that are listed


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


# ---- damaged and odd files


def test_a_damaged_gzip_is_named(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(json.dumps(TUBES).encode() * 3))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / "a.gz"
    for content in (bytes(packed), bytes(packed[:-20]), b"\x1f\x8bno"):
        path.write_bytes(content)
        for read in READERS.values():
            with pytest.raises(DataError, match=r"a\.gz: damaged gzip, or not the whole file"):
                read(path)
    with pytest.raises(DataError, match="cannot be read"):
        content_of(tmp_path)


def _detections(path: Path) -> None:
    from stclip.storage.outside_files import read_json_file

    read_json_file(path)


def _annotations(path: Path) -> None:
    from stclip.prepare.authors import _read_file

    _read_file(path)


def _tubes(path: Path) -> None:
    from stclip.prepare.gttubes import load_tubes

    load_tubes(path)


READERS: dict[str, Callable[[Path], object]] = {
    "ground truth": lambda path: read_truth(path, SPLIT),
    "rows": lambda path: evaluate_file(
        dataset="toy", split=SPLIT, ground_truth=_good_truth(path.parent), detections=path
    ),
    "detector": _detections,
    "authors": _annotations,
    "tubes": _tubes,
    "label map": read_label_map,
}


def _good_truth(folder: Path) -> Path:
    path = folder / "good.json"
    path.write_text(json.dumps(TUBES))
    return path


def test_gzip_of_others_is_opened_in_one_place() -> None:
    """A streamed archive is the other, and its damage is told in tests of archives."""
    package = Path(__file__).parents[1] / "stclip"
    opens = [p for p in package.rglob("*.py") if "gzip.decompress(" in p.read_text("utf-8")]
    assert [p.name for p in opens] == ["outside_files.py"]


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    truth, found = tmp_path / "mark.json", tmp_path / "mark.csv"
    truth.write_bytes(mark + json.dumps(TUBES).encode())
    found.write_bytes(mark + "\n".join([HEADER, *GOOD]).encode())
    assert run(tmp_path, GOOD, ground_truth=truth, detections=found)["mAP"] == 0.5
    labels = label_map(tmp_path)
    labels.write_bytes(mark + labels.read_bytes())
    assert read_label_map(labels) == MAP
    labels.write_bytes(mark + b"id,name\n11,sit\n12,wave\n")
    assert read_label_map(labels) == MAP
    path = ava(tmp_path, "\ufeffv,0902,0,0,1,1,11")
    assert read_truth(path, SPLIT, MAP)[1].videos.index.tolist() == ["v"]


@pytest.mark.parametrize("name", ["NA", "null", "nan", "None"])
def test_videos_may_be_called_as_missing_values_are(name: str, tmp_path: Path) -> None:
    truth = ava(tmp_path, f"{name},0902,0,0,1,1,11", "v,0902,0,0,1,1,11")
    rows = [f"{name},902,sit,0.9,0,0,1,1", "v,902,sit,0.9,0,0,1,1"]
    result = run(tmp_path, rows, ground_truth=truth, label_map=label_map(tmp_path))
    assert result["AP"]["sit"] == 1
    truth = ava(tmp_path, "file_stem,class_id,x1,y1,x2,y2", f"sit_{name}_00001,2,0,0,9,9")
    assert run(tmp_path, [f"{name},1,sit,1,0,0,9,9"], ground_truth=truth)["AP"]["sit"] == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["v,0902,0,0,1,high,11"], "line 1: y2 'high' is not a finite number"),
        (["v,0902,0,0,1,1,eleven"], "line 1: action 'eleven' is not a finite number"),
        (["v,0902,0,0,1"], "line 1: y2 '' is not a finite number"),
        (["v,0902,0,0,1,1,11,0,7"], "line 1: has more than 8 fields"),
        (["v,2000,0,0,1,1,11"], "line 1: second '2000' is not among 902 to 1798"),
        (["video,second,x1,y1,x2,y2,action"], "line 1: second 'second' .* has no header line"),
        (["v,0902,0,0,1,1,11", "v,soon,0,0,1,1,11"], "line 2: second 'soon' is not a finite"),
    ],
)
def test_bad_lines_of_ava_are_named(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"ava\.csv: .*{message}"):
        read_truth(ava(tmp_path, *lines), SPLIT, MAP)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file_stem,class_id,x1,y1,x2", "sit_s_00001,2,0,0,9"], r"columns \['y2'\] are missing"),
        (
            ["file_stem,class_id,x1,y1,x2,y2", "sit_s_00001,2,0,0,9,x"],
            "line 2: y2 'x' is not a fin",
        ),
        (
            ["file_stem,class_id,x1,y1,x2,y2", "sit_s_00001,two,0,0,9,9"],
            "line 2: class_id 'two' is",
        ),
        (["file_stem,class_id,x1,y1,x2,y2", "sit_s_1,2,0,0,9,9"], "line 2: file_stem 'sit_s_1' is"),
    ],
)
def test_bad_lines_of_yowo_are_named(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"yowo\.csv: {message}"):
        read_truth(ava(tmp_path, *lines, name="yowo.csv"), SPLIT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (released(annotations__bbox=[0, 0, 10, "x"]), r"annotations\[0\]: bbox 'x' is not a fin"),
        (
            released(annotations__bbox=[0, 0, 10]),
            r"annotations\[0\]: bbox \[0, 0, 10\] is not four",
        ),
        (released(annotations__bbox=7), r"annotations\[0\]: bbox 7 is not four"),
        (released(annotations__action_ids=2), r"annotations\[0\]: action_ids 2 is no list"),
        (released(annotations__image_id=[1]), r"annotations\[0\]: id \[1\] is neither"),
        (released(annotations__image_id=9), r"annotations\[0\]: image_id 9 is the id of no image"),
        (released(annotations__person_id="x"), r"annotations\[0\]: person_id 'x' is not a finite"),
        (released(images__id=[1]), r"images\[0\]: id \[1\] is neither"),
        (released(images__id=2), r"images\[1\]: id 2 is there twice"),
        (released(images__timestamp="x"), r"images\[0\]: timestamp 'x' is not a finite number"),
        ({"images": [7], "annotations": []}, r"images\[0\]: has no \['id', 'movie', 'timestamp'\]"),
    ],
)
def test_bad_entries_of_released_annotations_are_named(
    content: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=rf"truth\.json: {message}"):
        run(tmp_path, [], content)


def test_ids_that_are_text_may_agree(tmp_path: Path) -> None:
    content = released()
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        image["id"] = annotation["image_id"] = f"s/{image['id']}"
    content["images"][1]["id"] = "2"
    content["annotations"][1]["image_id"] = 2
    assert run(tmp_path, ["s,1,sit,0.9,0,0,10,10"], content)["AP"]["sit"] == 0.5


def test_an_annotation_beyond_its_video_is_the_annotations_fault(tmp_path: Path) -> None:
    message = r"truth\.json: ground-truth box of video 's' frame 2 lies beyond the video.* 1 to 1"
    with pytest.raises(DataError, match=message):
        run(tmp_path, ["s,2,sit,0.9,0,0,10,10"], ucf(numf=1))
    with pytest.raises(DataError, match=r"annotations\[0\]: 2 boxes, but frames 0 to 3"):
        run(tmp_path, [], ucf(ef=3))


def test_a_column_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    path.write_text(f"{HEADER},score\n{GOOD[0]},0.1\n")
    with pytest.raises(DataError, match=r"twice\.csv: line 1: columns \['score'\] are there twice"):
        run(tmp_path, [], detections=path)
    path.write_text("id,name,name\n1,sit,wave\n")
    with pytest.raises(DataError, match=r"twice\.csv: line 1: columns \['name'\] are there twice"):
        read_label_map(path)


def test_other_columns_and_their_order_do_not_matter(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfnote,b,a,note\nx,2,1,y\n\n,4,3,\n"
    (part,) = csv_parts(content, "f", needed=["a", "b"])
    assert part.to_dict("index") == {2: {"a": "1", "b": "2"}, 4: {"a": "3", "b": "4"}}
    assert csv_table(b"v,1\n\nw\n", "f", columns=["a", "b"]).to_dict("index") == {
        1: {"a": "v", "b": "1"}, 3: {"a": "w", "b": ""},
    }  # fmt: skip
    with pytest.raises(DataError, match=r"f: not JSON .*; is the file whole"):
        parse_json(b'{"a": ', "f")
    with pytest.raises(DataError, match=r"f: not UTF-8 text \(byte 1 is 0xff\)"):
        parse_json(b"{\xff}", "f")


@pytest.mark.parametrize("protocol", range(6))
def test_ground_truth_pickled_in_every_protocol(protocol: int, tmp_path: Path) -> None:
    if protocol > pickle.HIGHEST_PROTOCOL:
        pytest.skip("unknown to this Python")
    path = tmp_path / "truth.pkl"
    path.write_bytes(pickle.dumps(TUBES, protocol=protocol))
    assert run(tmp_path, GOOD, ground_truth=path)["mAP"] == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nframes": {np.str_("sit/s"): np.float64(2.5)}}, r"nframes 2\.5 is not a whole number"),
        ({"resolution": {"sit/s": np.array([240.5, 320])}}, r"resolution 240\.5 is not a whole"),
        ({"test_videos": [[np.str_("sit/x")]]}, r"videos of test_videos .*: 'sit/x'"),
        ({"gttubes": {"sit/s": {np.int64(7): [[[1, 0, 0, 9, 9]]]}}}, "label 7 is not among 0 to 2"),
    ],
)
def test_messages_show_no_types_of_numpy(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    videos: dict[str, Any] = {"test_videos": [["sit/s"]], "train_videos": [[]]}
    path = tmp_path / "truth.pkl"
    path.write_bytes(pickle.dumps(TUBES | videos | changes, protocol=2))
    with pytest.raises(DataError, match=message) as error:
        run(tmp_path, GOOD, ground_truth=path)
    assert "np." not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('label {\n name: "a"\n label_id: 1.5\n}', r"entry 1: id '1\.5' is not a whole number"),
        ('label {\n name: "a"\n}', r"entry 1: id '' is not a finite number"),
        ("label {\n label_id: 1\n}", "found 1 entries with 1 numbers and 1 names"),
        ('item {\n name: "a"\n id: 1\n}item {\n name: "b"\n id: 1\n}', "2 entries with 1 numbers"),
        ("id,name\n1,a\nx,b\n", "row 2: id 'x' is not a finite number"),
    ],
)
def test_entries_of_a_label_map_are_checked(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"labels: .*{message}"):
        read_label_map(path)


# ---- boxes of another unit or order


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
