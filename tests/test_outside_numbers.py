"""Numbers in files that somebody else wrote: cut off, shifted, of no class."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from outside_annotations import FULL_MAP, MAP, ava, label_map, released, ucf
from test_evaluate_outside import GOOD, TUBES, run

from stclip.errors import ConfigError, DataError
from stclip.records import Boxes, Clips
from stclip.storage.numbers import as_id, as_numbers, as_whole, plain


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
