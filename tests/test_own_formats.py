"""Each format of annotations gives the rows that it says; what is wrong in it is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from stclip.errors import ConfigError, DataError
from stclip.prepare.annotations.formats import FORMATS, listed_files, read_file
from stclip.prepare.annotations.found import Found, ReadAs
from stclip.records import BOX_COLUMNS

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><source>a.mp4</source></task></meta>
<track id="4" label="person"><box frame="3" outside="0" xtl="1" ytl="2.5" xbr="30" ybr="40">
 <attribute name="action">run</attribute></box>
 <box frame="4" outside="1" xtl="1" ytl="2" xbr="30" ybr="40"/>
 <polygon frame="5" points="1,2;3,4;5,6"/></track>
</annotations>"""
CVAT_IMAGES = """<annotations><image id="0" name="a/frame_000003.png" width="80" height="48">
<box label="run" xtl="1" ytl="2.5" xbr="30" ybr="40"/></image></annotations>"""
COCO = {
    "images": [{"id": 7, "file_name": "a_0003.jpg"}, {"id": "8", "video_id": 1, "frame_id": 5}],
    "videos": [{"id": 1, "name": "b.mkv"}],
    "categories": [{"id": 2, "name": "run"}],
    "annotations": [
        {"image_id": 7, "category_id": 2, "bbox": [1, 2.5, 29, 37.5], "track_id": 4},
        {"image_id": 8, "category_id": 2, "bbox": [0, 0, 5, 5], "attributes": {"action": "sit"}},
        {"image_id": 8, "category_id": 2, "bbox": [0, 0, 5, 5], "iscrowd": 1},
    ],
}
VIA_2 = (
    "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
    "region_attributes\n"
    'a_0003.jpg,9,{},2,0,"{""name"":""rect"",""x"":1,""y"":2.5,""width"":29,""height"":37.5}",'
    '"{""action"":""run""}"\n'
    'a_0004.jpg,9,{},1,0,"{""name"":""circle"",""cx"":1,""cy"":2,""r"":3}",{}\n'
    "a_0005.jpg,9,{},0,0,{},{}\n"
)
VIA_3 = (
    '# SHAPE_ID = {"POINT":1,"RECT":2,"CIRCLE":3,"ELLIPSE":4,"LINE":5,"POLYLINE":6,"POLYGON":7}\n'
    "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n"
    '"1_a","[""a.mp4""]",0,"[0.12]","[2,1,2.5,29,37.5]","{""1"":""run""}"\n'
    '"1_b","[""a.mp4""]",0,"[0,1.5]","[]","{""1"":""run""}"\n'
)
ROWS = "frame,video,class,x1,y1,x2,y2,score,person\n3,a.mp4,run,1,2.5,30,40,0.5,4\n"
AVA = "a,0.12,0.0125,0.052083,0.375,0.833333,run,4\nb,3\n"
BOX = [1, 2.5, 30, 40]


def read(tmp_path: Path, content: str, *, name: str | None = None, **read_as: object) -> Found:
    path = tmp_path / "file"
    path.write_text(content)
    return read_file(path, name, ReadAs(**read_as))[1]


def corners(found: Found) -> np.ndarray:
    boxes = found.rows[BOX_COLUMNS].to_numpy(copy=True)
    if found.box_format == "xywh":
        boxes[:, 2:] += boxes[:, :2]
    if found.unit == "fractions":
        boxes *= [80, 48, 80, 48]
    return boxes


@pytest.mark.parametrize(
    ("content", "format_", "video", "when", "person", "passed"),
    [
        (ROWS, "rows", "a.mp4", 3, "4", {}),
        (AVA, "ava", "a", 0.12, "4", {"seconds without a person": 1}),
        (json.dumps(COCO), "coco", "a", 3, "4", {"crowds (iscrowd)": 1}),
        (CVAT, "cvat", "a.mp4", 3, "4",
         {"boxes marked as outside": 1, "shapes that are no boxes": 1}),
        (CVAT_IMAGES, "cvat", "a", 3, "", {}),
        (VIA_2, "via", "a", 3, "",
         {"regions that are no rectangles": 1, "pictures without a region": 1}),
        (VIA_3, "via", "a.mp4", 0.12, "", {"stretches of time without a box": 1}),
    ],
)  # fmt: skip
def test_the_same_box_in_every_format(  # type: ignore[no-untyped-def]
    tmp_path, content, format_, video, when, person, passed
) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    attribute = {"label_attribute": "action"} if content == CVAT else {}
    told, found = read_file(path, None, ReadAs(**attribute))
    assert told.name == format_
    row = found.rows.iloc[0]
    assert (row["video"], row["label"], row["person"]) == (video, "run", person)
    assert when in (row["frame"], row["second"])
    np.testing.assert_allclose(corners(found)[0], BOX, atol=1e-3)
    assert {why: n for why, n in found.passed_over.items() if n} == passed
    assert row["place"].startswith(str(path))


def test_the_video_of_pictures_may_be_said(tmp_path: Path) -> None:
    of_task = CVAT_IMAGES.replace("<image", "<meta><source>c.mp4</source></meta><image", 1).replace(
        "a/frame_000003.png", "frame_000003"
    )
    assert read(tmp_path, of_task).rows[["video", "frame"]].to_numpy().tolist() == [["c.mp4", 3.0]]
    said = read(tmp_path, VIA_2.replace("a_0003.jpg", "0003.jpg"), video="d")
    assert said.rows[["video", "frame"]].to_numpy().tolist() == [["d", 3.0]]
    by_name = read(tmp_path, VIA_2, picture_names=r"(?P<video>.)_0+(?P<frame>\d)\.jpg")
    assert by_name.rows["video"].tolist() == ["a"]


def test_coco_of_videos_and_labels_of_attributes(tmp_path: Path) -> None:
    found = read(tmp_path, json.dumps(COCO), label_attribute="action")
    assert found.rows[["video", "frame", "label"]].to_numpy().tolist() == [
        ["a", 3.0, ""],
        ["b.mkv", 5.0, "sit"],
    ]


def test_labels_without_boxes_and_boxes_without_labels(tmp_path: Path) -> None:
    rows = read(tmp_path, "video,class\na,run\n").rows
    assert rows["label"].tolist() == ["run"]
    assert rows[["frame", "second", *BOX_COLUMNS]].isna().all(axis=None)
    rows = read(tmp_path, "video,frame,x1,y1,x2,y2\na,1,0,0,5,5\n").rows
    assert (rows["label"].tolist(), rows["frame"].tolist()) == ([""], [1.0])


BAD = [
    ("video,frame,class,x1,y1,x2,y2\na,1,run,0,0,x,5\n", {}, r"line 2: x2 'x' is not a finite"),
    ("video,frame,class,x1,y1,x2,y2\na,1.5,run,0,0,5,5\n", {}, r"line 2: frame '1\.5' is not a wh"),
    ("video,frame,class,x1,y1,x2,y2\na,,run,0,0,5,5\n", {}, r"line 2: frame '' is no number"),
    ("video,frame,second,class,x1,y1,x2,y2\n", {}, r"line 1: has both frame and second"),
    ("video,frame,x1,y1,x2\na,1,0,0,5\n", {}, r"line 1: of x1,y1,x2,y2 only"),
    ("a,1,0.1,0.1,inf2,0.5,run\n", {"name": "ava"}, r"line 1: x2 'inf2' is not a finite"),
    ("a,-1,0.1,0.1,0.2,0.5,run\n", {}, r"line 1: second -1\.0 is before the video"),
    ('{"images": 3}', {}, r"images: a list of objects is needed"),
    ('{"images": [], "annotations": [{"image_id": 3}]}', {}, r"annotations\[0\]: image_id 3 is of"),
    ('{"images": [{"id": 1, "file_name": "x.jpg"}], "annotations": []}', {}, r"--picture-names"),
    ("<annotations><track id='1'><box frame='1'/></track></annotations>", {}, r"--video NAME"),
    (CVAT.replace('xtl="1"', 'xtl="no"'), {}, r"track '4', frame '3': number of a box 'no'"),
    ("<html></html>", {}, r"its root is <html>"),
    ("<annotations>", {}, r"not XML \(no element found"),
    (VIA_3.replace("[0.12]", "[0.1,0.2]"), {}, r"line 3: temporal_coordinates is"),
    (VIA_2.replace('{""action"":""run""}', '{""a"":1,""b"":2}'), {}, r"--label-attribute NAME"),
    ("what is this", {}, r"of no known format; known are coco: .*; cvat: "),
]


@pytest.mark.parametrize(("content", "read_as", "message"), BAD)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, read_as: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(DataError, match=message):
        read(tmp_path, content, **read_as)


def test_xml_with_entities_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("run")
    head = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{secret}">]>'
    with pytest.raises(DataError, match=r"has a document type .* Remove it if you trust"):
        read(tmp_path, CVAT.replace("<annotations>", f"{head}<annotations>", 1), name="cvat")


def test_what_a_format_says_itself_cannot_be_given(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"format cvat .*: --unit cannot be given.* it takes --fi"
    ):
        read(tmp_path, CVAT, unit="fractions")
    with pytest.raises(ConfigError, match=r"unknown format of annotations 'coko'.*'coco'"):
        read(tmp_path, CVAT, name="coko")
    with pytest.raises(ConfigError, match=r"--picture-names '\(': no expression"):
        read(tmp_path, json.dumps(COCO), picture_names="(")
    with pytest.raises(ConfigError, match=r"has groups \['frame'\]; "):
        read(tmp_path, json.dumps(COCO), picture_names=r"(?P<frame>\d+)")


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    for name in ("b.xml", "a.csv.gz", "c.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in listed_files([tmp_path])] == ["a.csv.gz", "b.xml"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: has no files \*\.csv"):
        listed_files([tmp_path / "empty"])
    assert {its.name for its in FORMATS.values()} == set(FORMATS)
