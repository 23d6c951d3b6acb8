"""Boxes from files: every format that is read, every mistake that is told."""

import gzip
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, World

from stclip.config import DetectorConfig, checked
from stclip.detect.backends.backend import load_backend
from stclip.detect.detect import detect
from stclip.errors import ConfigError, DataError

IMAGES = [
    {"id": 5, "movie": "clip_5", "timestamp": "00001"},
    {"id": 6, "img_path": "clip_6/00011.png"},
    {"id": 7, "file_name": "frames/wave/clip_7/00003.png"},
]
ROWS = [
    {"image_id": 5, "category_id": 1, "bbox": [10, 20, 30, 40], "score": "0.98"},
    {"image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5},
    {"image_id": 6, "category_id": 1, "bbox": [1.5, 2, 3, 4], "score": 1},
    {"image_id": 6, "category_id": 18, "bbox": [0, 0, 3, 4], "score": 0.9},
]


def settings(**params: object) -> DetectorConfig:
    content = {"target": "stclip.detect.backends.file:FileDetector", "params": params}
    return checked(DetectorConfig, content, "test")


def write(folder: Path, rows: object, images: object = None) -> dict[str, Path]:
    (folder / "found.json").write_text(rows if isinstance(rows, str) else json.dumps(rows))
    images = {"images": IMAGES} if images is None else images
    (folder / "images.json").write_text(images if isinstance(images, str) else json.dumps(images))
    return {"detections": folder / "found.json", "images": folder / "images.json"}


def find(world: World, rows: object, images: object = None, **params: object):  # type: ignore[no-untyped-def]
    files = write(world.folder, rows, images)
    backend = load_backend(settings(**params), files=files, clips=world.clips)
    return backend.find([("clip_5", 0), ("clip_6", 10), ("clip_7", 2)], [])


def test_every_way_to_name_an_image_and_text_as_score(world: World) -> None:
    first, second, third = find(world, ROWS)
    assert first.boxes_xyxy.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]]  # x + w, y + h
    assert first.scores.tolist() == [np.float32(0.98), 0.5]
    assert second.boxes_xyxy.tolist() == [[1.5, 2, 4.5, 6]]  # category 18 is no person
    assert len(third.scores) == 0
    corners = find(world, ROWS, box_format="xyxy")[0]
    assert corners.boxes_xyxy.tolist() == [[10, 20, 30, 40], [1, 2, 3, 4]]


def test_gzip_is_read(world: World) -> None:
    files = write(world.folder, ROWS)
    packed = world.folder / "found.json.gz"
    packed.write_bytes(gzip.compress(files["detections"].read_bytes()))
    backend = load_backend(settings(), files=files | {"detections": packed}, clips=world.clips)
    assert len(backend.find([("clip_5", 0)], [])[0].scores) == 2
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"found\.json\.gz: damaged gzip, or not the whole"):
        load_backend(settings(), files=files | {"detections": packed}, clips=world.clips)


def row(**changes: object) -> list[dict[str, object]]:
    return [ROWS[0] | changes]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", r"found\.json: not JSON"),
        ("[]", r"at least one row, found an empty one"),
        ("{}", r"expected a list of detections.*found dict"),
        ([{"image_id": 5}], r"row 0: expected image_id, category_id, bbox, score"),
        (row(image_id=99), r"row 0: image_id 99 is not in the list of images"),
        (row(bbox=[1, 2, 3]), r"row 0: bbox \[1, 2, 3\] is not four numbers"),
        (row(bbox=[1, 2, 3, "x"]), r"row 0: bbox 'x' is not a finite number"),
        (row(bbox=[1, 2, 3, float("nan")]), r"row 0: bbox nan is not a finite number"),
        (row(bbox=[1, 2, 3, float("inf")]), r"row 0: bbox inf is not a finite number"),
        (row(score="high"), r"row 0: score 'high' is not a finite number"),
        (row(score=None), r"row 0: score None is not a finite number"),
        (row(image_id=[5]), r"row 0: image_id: id \[5\] is neither a number nor a text"),
        (row(category_id={"a": 1}), r"row 0: category_id: id \{'a': 1\} is neither a number"),
        (row(category_id=1.5), r"row 0: category_id: id 1\.5 is not a whole number"),
        (row(score="1.02"), r"row 0: score '1.02' lies outside 0..1"),
        (row(score=-0.1), r"row 0: score -0.1 lies outside 0..1"),
        (row(score=float("nan")), r"row 0: score nan is not a finite number"),
        (row(category_id=0), r"no row is left for category 1.*categories \{0: 1\}.*params.person"),
        (row(score=0.01), r"no row is left for category 1 at score 0\.05"),
    ],
)
def test_mistakes_in_the_rows_are_told(world: World, rows: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find(world, rows)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("", r"images\.json: not JSON"),
        ([], r"images\.json: expected a COCO-like file whose `images`"),
        ({"images": []}, r"images\.json: expected a COCO-like file whose `images`"),
        ({"images": [{"id": 1}]}, r"expected `id`, and `movie`"),
        ({"images": [{"id": 1, "file_name": "a/b.png"}]}, r"images\[0\]: frame \(of.* 'b' is not"),
        ({"images": [{"id": [1], "file_name": "a/1.png"}]}, r"images\[0\]: id \[1\] is neither"),
        (
            {"images": [{"id": 1, "movie": "clip_5", "timestamp": 1.5}]},
            r"images\[0\]: timestamp 1\.5 is not a whole number",
        ),
        (
            {"images": [{"id": 1, "movie": "dance", "timestamp": 1}]},
            r"none of the 1 images matches any of the clips of clips\.parquet: 'dance'",
        ),
        (
            {"images": [IMAGES[0] | {"width": 640, "height": 480}]},
            r"image 5: width 640 is not the clip's, \d+: .* of another size",
        ),
        (
            {"images": [{"id": 1, "movie": "clip_5", "timestamp": 14}]},
            r"image 1 is frame 14 of clip 'clip_5', whose frames are 1 to 13",
        ),
        (
            {"images": [{"id": 1, "movie": "clip_5", "timestamp": 0}]},
            r"image 1 is frame 0 of clip 'clip_5', whose frames are 1 to 13",
        ),
        ({"images": [IMAGES[0], IMAGES[1] | {"id": 5}]}, r"two images have the id 5"),
    ],
)
def test_mistakes_in_the_images_are_told(world: World, images: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find(world, ROWS[:1], images)


def test_asked_for_objects_it_gives_every_category_but_persons(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [*ROWS, ROWS[3] | {"image_id": 5, "category_id": 0}]
    files = write(world.folder, rows)
    with caplog.at_level(logging.INFO):
        found = detect(
            settings(objects=True), files=files, clips=world.clips, frames=world.folder / "none",
            key_frames=world.with_key_frames(every=5).key_frames,
            out=world.folder / "found.parquet",
        )  # fmt: skip
    assert list(zip(found.table["clip"], found.table["frame"], strict=True)) == [
        ("clip_5", 0), ("clip_6", 10),
    ]  # fmt: skip
    assert found.boxes_xyxy.tolist() == [[0, 0, 3, 4]] * 2
    assert "read 5 rows, kept 2 on 2 of 3 listed images, dropped {'of persons': 3}" in caplog.text
    # Clips without objects are nothing to warn of: 15 key frames, 5 clips, two of each with a box.
    assert "2 boxes; 13 frames and 3 whole clips have none and show no object" in caplog.text
    assert "missed" not in caplog.text
    with pytest.raises(DataError, match=r"no row is left for categories other than 1 at score"):
        find(world, ROWS[:3], objects=True)


def test_ids_may_be_text_that_agrees_or_numbers_as_text(world: World) -> None:
    images = {"images": [IMAGES[0] | {"id": "a5"}, IMAGES[1] | {"id": "6"}]}
    rows = [ROWS[0] | {"image_id": "a5", "category_id": "1"}, ROWS[2]]
    first, second, _ = find(world, rows, images)
    assert (len(first.scores), len(second.scores)) == (1, 1)


def test_images_of_unknown_clips_are_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    images = {"images": [*IMAGES, {"id": 8, "movie": "clip_x", "timestamp": 99}]}
    with caplog.at_level(logging.INFO):
        first, *_ = find(world, [*ROWS, ROWS[0] | {"image_id": 8}], images)
    assert len(first.scores) == 2
    assert "1 of 4 images match none of the clips of clips.parquet and do not" in caplog.text
    assert "'of unknown clips': 1" in caplog.text


def test_corners_read_as_sides_are_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    width, height = world.clips.table.loc[0, ["width", "height"]].tolist()
    rng = np.random.default_rng(0)
    near = rng.uniform(0, (width / 2, height / 2), (40, 2))
    far = rng.uniform((width / 2, height / 2), (width, height), (40, 2))
    rows = [ROWS[0] | {"bbox": box} for box in np.concatenate([near, far], 1).tolist()]
    find(world, rows, box_format="xyxy")
    assert "look like" not in caplog.text
    find(world, rows, box_format="xywh")
    assert "found.json: nearly all of the 40 boxes look like corners that were read" in caplog.text
    caplog.clear()
    find(world, [ROWS[0] | {"bbox": [0.1, 0.1, 0.5, 0.6]}] * 3)
    assert "look like shares of the picture, 0 to 1; expected are pixels" in caplog.text


def test_a_missing_file_says_what_to_do_by_hand(world: World) -> None:
    with pytest.raises(ConfigError, match=r"needs `files.detections`, a path; none is given"):
        load_backend(settings(), files={}, clips=world.clips)
    by_hand = settings().model_copy(update={"by_hand": "fetch it from its authors"})
    files = {"detections": world.folder / "none.json", "images": world.folder / "none.json"}
    with pytest.raises(DataError, match=r"none\.json: no such file .*: fetch it from its authors"):
        load_backend(by_hand, files=files, clips=world.clips)


def test_an_unknown_format_is_refused(world: World) -> None:
    with pytest.raises(ConfigError, match=r"box_format: .*'xyxy' or 'xywh', found 'cxcywh'"):
        find(world, ROWS, box_format="cxcywh")


def test_duplicates_and_what_is_no_person_are_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        first, *_ = find(world, [*ROWS, ROWS[0] | {"score": 0.98}, ROWS[1] | {"score": 0.4}])
    # The first row again, its score now a number; another score for the same box is another box.
    assert first.scores.tolist() == [np.float32(0.98), 0.5, np.float32(0.4)]
    assert "read 6 rows, kept 4 on 2 of 3 listed images" in caplog.text
    assert "'of other categories': 1, 'exact duplicates': 1" in caplog.text


def test_clips_without_a_row_count_as_missed_and_are_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    files = write(world.folder, ROWS)
    with caplog.at_level(logging.INFO):
        found = detect(
            settings(), files=files, clips=world.clips, frames=world.folder / "no frames needed",
            key_frames=world.with_key_frames(every=5).key_frames,
            out=world.folder / "found.parquet",
        )  # fmt: skip
    # clips 5 and 6 have rows, on key frames 0 and 10
    assert list(zip(found.table["clip"], found.table["frame"], strict=True)) == [
        ("clip_5", 0), ("clip_5", 0), ("clip_6", 10),
    ]  # fmt: skip
    assert "3 boxes; 13 frames and 3 whole clips have none and count as missed" in caplog.text


WITHOUT_TORCH = """
import json, sys
from pathlib import Path

import stclip.cli
from stclip.config import DetectorConfig
from stclip.detect.backends.backend import files_of
from stclip.detect.detect import detect
from stclip.records import Clips, KeyFrames

folder = Path(sys.argv[1])
files = {name: str(folder / f"{name}.json") for name in ("found", "images")}
settings = DetectorConfig(
    target="stclip.detect.backends.file:FileDetector",
    files={"detections": files["found"], "images": files["images"]},
)
found = detect(
    settings, files=files_of(settings), clips=Clips.read(folder / "clips.parquet"),
    key_frames=KeyFrames.read(folder / "key_frames.parquet"), frames=folder / "frames",
    out=folder / "boxes.parquet", workers=2,
)
print(json.dumps([len(found), sorted({"torch", "open_clip"} & sys.modules.keys())]))
"""


def test_boxes_from_a_file_need_no_torch(world: World) -> None:
    """Its import takes longer than the whole detection."""
    write(world.folder, ROWS)
    world.clips.write(world.folder / "clips.parquet")
    world.with_key_frames(every=5).key_frames.write(world.folder / "key_frames.parquet")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(world.folder)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [3, []]
