"""Damaged and odd files that somebody else wrote."""

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside_annotations import MAP, ava, label_map, released, ucf
from test_evaluate_outside import GOOD, HEADER, SPLIT, TUBES, run

from stclip.errors import DataError
from stclip.evaluate.outside import evaluate_file
from stclip.evaluate.outside_truth import read_truth
from stclip.prepare.label_map import read_label_map
from stclip.storage.outside_files import content_of, csv_parts, csv_table, parse_json


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
    from stclip.prepare.ground_truth import load_ground_truth

    load_ground_truth(path)


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
