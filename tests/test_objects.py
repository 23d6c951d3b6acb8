"""Boxes of objects: from the props that the miniature draws to the file that the stage writes."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, key_frames
from small_project import edit, make_project, planned, run_in, snakemake

from stclip.mini import jhmdb_archives
from stclip.mini.choreography import ACTIONS, load_repertoire
from stclip.mini.drawing import tight_box
from stclip.mini.props import BEHIND
from stclip.mini.render import SeenProp, Video, render
from stclip.mini.scenery import STILL, VIDEO, Sensor
from stclip.prepare.jhmdb import prepare
from stclip.records import Boxes, Clips, Detections

REPERTOIRE = load_repertoire()


def still(action: str, seed: int = 0, *, props: float = 1) -> Video:
    style, rng = replace(STILL, props=props), np.random.default_rng([5, seed])
    return render(action, REPERTOIRE, style=style, num_frames=1, rng=rng, still=True)


def corners(boxes: list[np.ndarray]) -> np.ndarray:
    """The box around all."""
    table = np.array(boxes)
    return np.concatenate([table[:, :2].min(0), table[:, 2:].max(0)])


@pytest.mark.parametrize("seed", range(3))
def test_boxes_lie_around_the_pixels_that_differ_without_the_props(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The pictures as drawn: the sensor adds noise and rounds the faintest edges away.
    monkeypatch.setattr(Sensor, "expose", lambda self, rng, image: image)
    shown = 0
    for action in ACTIONS:
        video, without = still(action, seed), still(action, seed, props=0)
        assert without.props == ((),)
        box = tight_box((video.frames != without.frames).any(-1)[0].astype(np.uint8))
        (props,) = video.props
        if box is None:
            assert props == (), action
            continue
        shown += 1
        assert corners([p.box_xyxy for p in props]).tolist() == box.tolist(), action
        drawn = {prop.kind for prop in REPERTOIRE.actions[action].props}
        assert {prop.kind for prop in props} <= drawn
        assert len(props) <= len(drawn)
    assert shown >= 14, "of the 16 classes that are done with something"


def paint(monkeypatch: pytest.MonkeyPatch, rows: slice, columns: slice) -> tuple[SeenProp, ...]:
    """What is seen of a chair that is this patch of green, drawn before the person."""

    def draw(stage, prop) -> None:  # type: ignore[no-untyped-def]
        stage.canvas.image[rows, columns] = (0, 255, 0)

    monkeypatch.setitem(BEHIND, "chair", draw)
    return still("sit").props[0]


def test_a_prop_has_the_box_of_its_pixels_inside_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (prop,) = paint(monkeypatch, slice(20, 31), slice(0, 5))  # rows 20 to 30, columns 0 to 4
    assert (prop.kind, prop.box_xyxy.tolist()) == ("chair", [0, 20, 4, 30])
    (prop,) = paint(monkeypatch, slice(90, 200), slice(120, 300))  # the picture ends at 127, 95
    assert prop.box_xyxy.tolist() == [120, 90, 127, 95]


def test_a_prop_out_of_the_picture_or_behind_the_person_has_no_box(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert paint(monkeypatch, slice(200, 210), slice(0, 5)) == ()
    rows, columns = np.nonzero(still("sit").masks[0])
    # Where the person is three pixels deep on every side, no edge lets anything shine through.
    inside = [
        (y, x)
        for y, x in zip(rows.tolist(), columns.tolist(), strict=True)
        if still("sit").masks[0][y - 3 : y + 4, x - 3 : x + 4].all()
    ]
    y, x = inside[len(inside) // 2]
    assert paint(monkeypatch, slice(y, y + 1), slice(x, x + 1)) == ()
    # Two columns further to the left than the person reaches it is seen, the rest is hidden.
    left = int(columns[rows == y].min()) - 4
    (prop,) = paint(monkeypatch, slice(y, y + 1), slice(left - 1, left + 1))
    assert prop.box_xyxy.tolist() == [left - 1, y, left, y]


def test_a_ball_that_flies_out_of_the_picture_has_boxes_until_then() -> None:
    rng, style = np.random.default_rng(0), replace(VIDEO, props=1)
    video = render("golf", REPERTOIRE, style=style, num_frames=30, rng=rng)
    seen = ["ball" in {prop.kind for prop in props} for props in video.props]
    assert any(seen)
    assert seen == sorted(seen, reverse=True), "it does not come back"
    assert not seen[-1]


def test_boxes_change_no_pixel_of_frames_and_masks() -> None:
    """The digest is that of the drawings before boxes were recorded.

    It changes with the drawing alone, and then the tiny CLIP has to be trained anew (docs/mini.md).
    """
    drawn = hashlib.sha256()
    for index, action in enumerate(ACTIONS):
        for style, is_still in ((VIDEO, False), (STILL, True)):
            rng = np.random.default_rng([17, index])
            video = render(action, REPERTOIRE, style=style, num_frames=3, rng=rng, still=is_still)
            drawn.update(video.frames.tobytes())
            drawn.update(video.masks.tobytes())
    assert drawn.hexdigest() == "7bb072742ecdc88f3ede7e4ccc2b668869338deeeced190b467e7173819cc508"


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the miniature is drawn and prepared, as far as objects need it."""
    folder = tmp_path_factory.mktemp("mini")
    source = folder / "data/mini/source/jhmdb"
    jhmdb_archives.render_jhmdb(source, seed=0, train_videos=1, test_videos=1)
    prepared = folder / "data/mini/jhmdb"
    prepare(source, prepared, licence="none", fps=30)
    clips, boxes = Clips.read(prepared / "clips.parquet"), Boxes.read(prepared / "boxes.parquet")
    key_frames(clips, boxes, every=5).write(prepared / "key_frames.parquet")
    return folder


def test_the_files_list_every_frame_and_every_box_once(mini: Path) -> None:
    source, clips = mini / "data/mini/source/jhmdb", mini / "data/mini/jhmdb/clips.parquet"
    listed = json.loads((source / "props_images.json").read_text())
    names = [image["file_name"] for image in listed["images"]]
    assert [image["id"] for image in listed["images"]] == list(range(1, len(names) + 1))
    assert len(set(names)) == len(names) == Clips.read(clips).table["num_frames"].sum()
    categories = {c["id"]: c["name"] for c in listed["categories"]}
    assert 1 not in categories, "1 are persons"
    drawn = {a: {prop.kind for prop in REPERTOIRE.actions[a].props} for a in ACTIONS}
    rows = json.loads((source / "props.json").read_text())
    assert all(row.keys() == {"image_id", "category_id", "bbox", "score"} for row in rows)
    found = [(names[row["image_id"] - 1], categories[row["category_id"]]) for row in rows]
    assert len(set(found)) == len(found), "no class draws two things of a kind"
    assert all(kind in drawn[name.split("/")[0]] for name, kind in found)
    for row in rows:
        x, y, width, height = row["bbox"]
        assert 0 <= x < x + width <= 128
        assert 0 <= y < y + height <= 96
        assert row["score"] == 1


def test_the_stage_writes_them_for_training_clips_and_key_frames(mini: Path) -> None:
    folder = "data/mini/jhmdb"
    command = [
        "stclip", "detect", "--detector", "props", "--dataset", "jhmdb", "--scale",
        "mini", "--train-clips", "--clips", f"{folder}/clips.parquet", "--key-frames",
        f"{folder}/key_frames.parquet", "--frames", f"{folder}/frames",
        "--out", "props.parquet", "--config", str(ROOT / "config"),
    ]  # fmt: skip
    done = run_in(mini, *command)
    assert done.returncode == 0, done.stderr
    assert "have none and show no object" in done.stderr
    assert "missed" not in done.stderr
    table = Detections.read(mini / "props.parquet").table
    expected = []
    for row in Clips.read(mini / folder / "clips.parquet").table.itertuples():
        seed, index = 0, int(row.clip.rsplit("_", 1)[1])
        packed = jhmdb_archives._pack(jhmdb_archives._Job(seed, row.actions[0], index, 40, 96))
        assert packed.name == row.clip
        stride = 1 if row.official_split == "train" else 5
        for frame in range(0, row.num_frames, stride):
            for _, (x, y, width, height) in packed.props[frame]:
                expected.append((row.clip, frame, x, y, x + width, y + height, 1))
    columns = list(table.columns)
    wanted = Detections(pd.DataFrame(expected, columns=columns)).table
    pd.testing.assert_frame_equal(table, wanted)
    assert set(table["clip"].str.contains("_golf_|_sit_")) == {True, False}


def test_the_boxes_of_objects_are_a_target(tmp_path: Path) -> None:
    """At both scales; no table asks for them, nor for the detectors that find them."""
    project, dry = make_project(tmp_path), ("-n", "-p", "--quiet", "host", "--config")
    for scale, detector in (("mini", "props"), ("paper", "coco_objects")):
        target = f"data/{scale}/jhmdb/objects/{detector}.parquet"
        done = snakemake(project, *dry, f"scale={scale}", "--", target)
        jobs = planned(done)
        assert jobs["objects"] == 1
        assert not {"detect", "train"} & jobs.keys()
        commands = (done.stdout + done.stderr).splitlines()
        (line,) = [x for x in commands if f"detect --detector {detector} " in x]
        assert " --train-clips " in line
        assert f"--out {target}" in line
        of_persons = target.replace(f"objects/{detector}", f"detections/{detector}/all")
        wrong = snakemake(project, "-n", of_persons, "--config", f"scale={scale}")
        assert "MissingRuleException" in wrong.stdout + wrong.stderr
    done = snakemake(project, *dry, "scale=mini", "--", "results/detectors.csv")
    assert "objects" not in planned(done)
    assert "--detector props" not in done.stdout
    assert "props:1=" not in done.stdout
    assert "tiny:1=" in done.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects": "yolo"}, "for the objects of jhmdb: 'yolo'; known are ['ava_props', "),
        ({"objects": "tiny"}, "for the objects of jhmdb: 'tiny'; known are ['ava_props', "),
        ({"detector": "props"}, "unknown detector 'props'; known are ['tiny', 'tiny_films', "),
    ],
)
def test_a_detector_of_another_kind_stops_before_any_job(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    project = make_project(tmp_path)
    path = project / "config" / "scales" / "mini.yaml"
    edit(path, lambda c: c["datasets"]["jhmdb"].update(change))
    done = snakemake(project, "-n")
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
