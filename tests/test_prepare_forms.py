"""The other forms J-HMDB is passed around in give what its archives give."""

import gzip
import io
import json
import logging
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jhmdb_archives import HEIGHT, ODD, WIDTH, Raw, box_of, run
from PIL import Image

from stclip.config import load_dataset
from stclip.config.hashes import preparation_settings
from stclip.config.target import call_target
from stclip.errors import DataError
from stclip.prepare import authors, gttubes
from stclip.prepare.jhmdb import prepare
from stclip.records import BOX_COLUMNS, Boxes, Clips
from stclip.storage.frame_store import read_clip

ROOT = Path(__file__).parents[1]


def as_tubes(out: Path) -> dict[str, object]:
    """What `out` holds as the dict of JHMDB-GT; frames from 1."""
    clips, boxes = Clips.read(out / "clips.parquet").table, Boxes.read(out / "boxes.parquet").table
    labels = ["clap", "wave"]
    names = {c.clip: f"{c.actions[0]}/{c.clip}" for c in clips.itertuples()}
    sides = dict(zip(clips["clip"], clips["official_split"], strict=True))
    tubes = {}
    for clip, rows in boxes.groupby("clip"):
        tube = rows[["frame", *BOX_COLUMNS]].to_numpy(np.float32)
        label = labels.index(names[clip].split("/")[0])
        tubes[names[clip]] = {label: [tube + np.array([1, 0, 0, 0, 0], np.float32)]}
    return {
        "labels": labels,
        "gttubes": tubes,
        "nframes": {names[c.clip]: int(c.num_frames) for c in clips.itertuples()},
        "resolution": {name: (HEIGHT, WIDTH) for name in names.values()},
        "train_videos": [[names[c] for c in names if sides[c] == "train"]],
        "test_videos": [[names[c] for c in names if sides[c] == "test"]],
    }


def as_annotations(out: Path, side: str) -> dict[str, object]:
    """What `out` holds of one side as the authors' JSON, its wrong areas included."""
    clips, boxes = Clips.read(out / "clips.parquet").table, Boxes.read(out / "boxes.parquet").table
    mine = clips.loc[clips["official_split"] == side, "clip"].tolist()
    images, annotations = [], []
    for row in boxes[boxes["clip"].isin(mine)].iloc[::-1].itertuples():  # in no order
        number = 10_000 * (4 + mine.index(row.clip)) + row.frame + 1
        images.append(
            {
                "id": number,
                "img_path": f"{row.clip}/{row.frame + 1:05d}.png",
                "height": HEIGHT,
                "width": WIDTH,
                "movie": row.clip,
                "timestamp": f"{row.frame + 1:05d}",
            }
        )
        annotations.append(
            {
                "id": 1000 * number + 1,
                "image_id": number,
                "category_id": 1,
                "action_ids": [["clap", "wave"].index(row.actions[0]) + 1],
                "person_id": 1,
                "bbox": [int(row.x1), int(row.y1), int(row.x2), int(row.y2)],
                "area": int(row.x2 * row.y2),
                "keypoints": [],
                "iscrowd": 0,
            }
        )
    return {"categories": [], "annotations": annotations, "images": images}


def repackage(raw: Raw, truth: bytes, folder: Path, *, suffix: str = "png") -> Path:
    """JHMDB.tar.gz: frames, flow and, last, the ground truth."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"Frames/{n.removesuffix('png')}{suffix}": c for n, c in raw.pictures.items()}
    files |= {f"FlowBrox04/{n.removesuffix('png')}jpg": b"flow" for n in raw.pictures}
    with tarfile.open(folder / "JHMDB.tar.gz", "w:gz") as tar:
        for name, content in (files | {"JHMDB-GT.pkl": truth}).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return folder


REPACKAGED = {"archive": "JHMDB.tar.gz", "frames": "Frames", "ground_truth": "JHMDB-GT.pkl"}
ANNOTATIONS = {"test": "jhmdb_test_gt_min.json", "train": "jhmdb_train_gt_min.json"}
AUTHORS = {"frames": "Rename_Images.tar.gz", "annotations": ANNOTATIONS}
META = {"licence": "free", "fps": 30}


def annotate(out: Path, raw: Path, *sides: str) -> Path:
    for side in sides:
        (raw / ANNOTATIONS[side]).write_text(json.dumps(as_annotations(out, side)))
    return raw


def unpacked(archives: Path, folder: Path) -> Path:
    folder.mkdir()
    for archive in archives.iterdir():
        if archive.suffix in (".gz", ".zip"):
            shutil.unpack_archive(archive, folder)
        else:
            shutil.copy(archive, folder)
    return folder


def assert_same(found: Path, expected: Path) -> None:
    for name in ("clips", "boxes"):
        tables = [pd.read_parquet(out / f"{name}.parquet") for out in (found, expected)]
        pd.testing.assert_frame_equal(*tables)
    files = [sorted(p.name for p in (out / "frames").iterdir()) for out in (found, expected)]
    assert files[0] == files[1]
    for name in files[0]:
        clip = name.removesuffix(".npy")
        assert np.array_equal(*(read_clip(out / "frames", clip) for out in (found, expected)))


@pytest.mark.parametrize("extracted", [False, True])
@pytest.mark.parametrize("form", ["official", "repackaged", "authors"])
def test_every_form_of_the_data_gives_the_same(
    form: str, extracted: bool, raw: Raw, tmp_path: Path
) -> None:
    expected = run(raw, tmp_path)
    archives = tmp_path / form
    if form == "official":
        raw.write(archives)
        target = partial(prepare, **META)
    elif form == "repackaged":
        repackage(raw, pickle.dumps(as_tubes(expected), 2), archives)
        target = partial(gttubes.prepare, **REPACKAGED, **META)
    else:
        annotate(expected, raw.write(archives), "test", "train")
        target = partial(authors.prepare, **AUTHORS, **META)
    if extracted:
        archives = unpacked(archives, tmp_path / "extracted")
        (archives / "joint_positions").mkdir()  # other parts may lie beside or be absent
        (archives / "joint_positions" / "joint_positions.mat").write_bytes(b"not looked at")
    target(archives, tmp_path / "found")
    assert_same(tmp_path / "found", expected)


def test_repackaged_frames_may_be_jpegs(raw: Raw, tmp_path: Path) -> None:
    expected = run(raw, tmp_path)
    for name, content in raw.pictures.items():
        if content != b"x":
            buffer = io.BytesIO()
            Image.open(io.BytesIO(content)).save(buffer, "jpeg", quality=95)
            raw.pictures[name] = buffer.getvalue()
    folder = repackage(raw, pickle.dumps(as_tubes(expected)), tmp_path / "tar", suffix="jpg")
    gttubes.prepare(folder, tmp_path / "found", **REPACKAGED, **META)
    shapes = [read_clip(out / "frames", ODD).shape for out in (tmp_path / "found", expected)]
    assert shapes == [(4, HEIGHT, WIDTH, 3)] * 2
    gttubes.prepare(folder, tmp_path / "jpeg", **REPACKAGED, **META, frame_store="jpeg")
    assert sorted(p.suffix for p in (tmp_path / "jpeg" / "frames").iterdir()) == [".jpegs"] * 3
    for clip in (ODD, "c_2", "w_1"):  # the files as they came: nothing is lost once more
        found = [read_clip(tmp_path / out / "frames", clip) for out in ("jpeg", "found")]
        assert np.array_equal(*found)


def test_the_frame_store_is_a_setting_that_prepares_anew(raw: Raw, tmp_path: Path) -> None:
    archives = raw.write(tmp_path / "raw")
    data = load_dataset(ROOT / "config", "jhmdb", scale="paper")
    other = data.model_copy(update={"frame_store": "jpeg"})
    assert preparation_settings(data) != preparation_settings(other)
    for settings, suffix in ((data, ".npy"), (other, ".jpegs")):
        call_target(
            settings.target, archives, tmp_path / "out",
            params=settings.params, where="here", frame_store=settings.frame_store,
        )  # fmt: skip
        assert {p.suffix for p in (tmp_path / "out" / "frames").iterdir()} == {suffix}


def test_the_flow_is_not_read(raw: Raw, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    truth = pickle.dumps(as_tubes(run(raw, tmp_path)))
    with caplog.at_level(logging.INFO):
        gttubes.prepare(
            repackage(raw, truth, tmp_path / "tar"), tmp_path / "found", **REPACKAGED, **META
        )
    assert "JHMDB.tar.gz: 16 files of other kinds ignored" in caplog.text  # 13 flow, 3 others


def test_a_hostile_ground_truth_is_named_and_not_run(raw: Raw, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> object:
            return os.mkdir, (str(tmp_path / "PROOF"),)

    folder = repackage(raw, pickle.dumps(Evil()), tmp_path / "tar")
    with pytest.raises(DataError, match=r"JHMDB-GT\.pkl: the pickle asks for (posix|nt)\.mkdir"):
        gttubes.prepare(folder, tmp_path / "found", **REPACKAGED, **META)
    assert not (tmp_path / "PROOF").exists()
    assert list((tmp_path / "found").iterdir()) == []


# Each spoils the repackaged form's ground truth in one way.
SPOILED_TUBES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no key": (lambda d: d.pop("nframes"), r"expected a dict of .*, missing \['nframes'\]"),
    "no such frames": (
        lambda d: d["nframes"].update({"wave/w_1": 2}),
        r"wave/w_1: tube 0 should have frames of 1 to 2, each once",
    ),
    "other number of frames": (
        lambda d: d["nframes"].update({"wave/w_1": 5}),
        r"wave/w_1: frames, height and width are \[3, 12, 16\], JHMDB-GT\.pkl says \[5, 12, 16\]",
    ),
    "on both sides": (
        lambda d: d["test_videos"][0].append("wave/w_1"),
        "wave/w_1 is listed for training and for testing",
    ),
    "no tubes": (lambda d: d["gttubes"].update({"wave/w_1": {}}), "wave/w_1 has no tubes"),
    "no video": (lambda d: d["gttubes"].pop("wave/w_1"), r"1 videos with frames that .*: wave/w_1"),
    "no label": (
        lambda d: d["gttubes"].update({"wave/w_1": {7: d["gttubes"]["wave/w_1"].pop(1)}}),
        "label 7 is not among 0 to 1",
    ),
    "shape": (
        lambda d: d["gttubes"]["wave/w_1"][1].append(np.zeros((2, 4), np.float32)),
        r"found shape \(2, 4\)",
    ),
    "a video more": (
        lambda d: d["train_videos"][0].remove("wave/w_1"),
        r"1 videos with frames that JHMDB-GT\.pkl does not list, the first: wave/w_1",
    ),
}


@pytest.mark.parametrize("name", SPOILED_TUBES)
def test_spoiled_tubes_are_named(name: str, raw: Raw, tmp_path: Path) -> None:
    spoil, message = SPOILED_TUBES[name]
    truth = as_tubes(run(raw, tmp_path))
    spoil(truth)
    folder = repackage(raw, pickle.dumps(truth), tmp_path / "tar")
    with pytest.raises(DataError, match=rf"JHMDB\.tar\.gz: .*{message}"):
        gttubes.prepare(folder, tmp_path / "found", **REPACKAGED, **META)
    assert list((tmp_path / "found").iterdir()) == []


def test_a_missing_repackaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match=r"raw/JHMDB\.tar\.gz: no such file; run the download"):
        gttubes.prepare(tmp_path / "raw", tmp_path / "found", **REPACKAGED, **META)


def test_the_authors_test_side_alone(
    raw: Raw, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = run(raw, tmp_path)
    folder = annotate(expected, tmp_path / "raw", "test")
    path = folder / ANNOTATIONS["test"]
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    with caplog.at_level(logging.INFO):
        authors.prepare(folder, tmp_path / "found", **AUTHORS, **META)
    table = Clips.read(tmp_path / "found" / "clips.parquet").table
    assert table[["clip", "official_split"]].to_numpy().tolist() == [["c_2", "test"]]
    assert [p.name for p in (tmp_path / "found" / "frames").iterdir()] == ["c_2.npy"]
    assert box_of(tmp_path / "found", "c_2") == box_of(expected, "c_2")
    assert "jhmdb_train_gt_min.json: not there, so nothing is annotated for train" in caplog.text
    assert "1 annotated videos, 3 frames, 3 boxes (0 frames have none); 2 videos without" in (
        caplog.text
    )


def test_a_listed_video_without_annotation_is_left_out(raw: Raw, tmp_path: Path) -> None:
    content = as_annotations(run(raw, tmp_path), "test")
    content["images"].append(content["images"][0] | {"id": 1, "movie": "nobody", "width": 7})
    (tmp_path / "raw" / ANNOTATIONS["test"]).write_text(json.dumps(content))
    authors.prepare(tmp_path / "raw", tmp_path / "found", **AUTHORS, **META)
    assert Clips.read(tmp_path / "found" / "clips.parquet").table["clip"].tolist() == ["c_2"]


SPOILED_ANNOTATIONS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no key": (lambda d: d.pop("images"), r"not the annotations released .*`images` is"),
    "twice": (
        lambda d: d["annotations"].append(d["annotations"][0]),
        "each person once in a frame; found 4, 0 below 1, 1 repeated",
    ),
    "another class": (
        lambda d: d["annotations"][0].update(action_ids=[2]),
        r"give c_2 the action_ids \[2\], its folder is clap/c_2",
    ),
    "late frame": (
        lambda d: d["images"][0].update(timestamp="00009"),
        "c_2: frame 9 is annotated, the video has 3",
    ),
    "another size": (
        lambda d: [i.update(width=2 * WIDTH, height=2 * HEIGHT) for i in d["images"]],
        "the annotations say that c_2 is 32x24, its pictures are 16x12: the boxes are of pictures",
    ),
    "half a frame": (
        lambda d: d["images"][0].update(timestamp=1.5),
        r"images\[0\]: timestamp 1\.5 is not a whole number",
    ),
    "unknown video": (
        lambda d: [i.update(movie="nobody") for i in d["images"]],
        "1 annotated videos without frames, the first: nobody",
    ),
}


@pytest.mark.parametrize("name", SPOILED_ANNOTATIONS)
def test_spoiled_annotations_are_named(name: str, raw: Raw, tmp_path: Path) -> None:
    spoil, message = SPOILED_ANNOTATIONS[name]
    content = as_annotations(run(raw, tmp_path), "test")
    spoil(content)
    (tmp_path / "raw" / ANNOTATIONS["test"]).write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        authors.prepare(tmp_path / "raw", tmp_path / "found", **AUTHORS, **META)


def test_the_authors_form_without_annotations_is_named(raw: Raw, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has none of \['jhmdb_test_gt_min\.json'"):
        authors.prepare(raw.write(tmp_path / "raw"), tmp_path / "found", **AUTHORS, **META)


def test_config_names_the_publisher_s_archives() -> None:
    config = load_dataset(ROOT / "config", "jhmdb", scale="paper")
    assert config.form == "official"
    assert set(config.archives) == {"Rename_Images.tar.gz", "splits.zip", "puppet_mask.zip"}
    for name, source in config.archives.items():
        assert source.url == f"https://files.is.tue.mpg.de/jhmdb/{name}"
    folder = ROOT / "splits" / "jhmdb" / config.family
    assert all((folder / f"{name}.json").is_file() for name in config.splits)
