"""J-HMDB from archives built here in the published layout, quirks included."""

import gzip
import io
import json
import logging
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat

from stclip.config import load_dataset
from stclip.errors import ConfigError, DataError
from stclip.pictures import read_clip, read_frame
from stclip.prepare import authors, jhmdb, store, tubes
from stclip.prepare.jhmdb import prepare
from stclip.records import BOX_COLUMNS, Boxes, Clips

ROOT = Path(__file__).parents[1]
HEIGHT, WIDTH = 12, 16
ODD = "Me_(100%)_@_home_+_friends!_clap_u_nm_np1_fr_med_0"


def png(shade: int, *, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    picture = np.full((height, width, 3), shade, np.uint8)
    picture[0, 0] = 255 - shade
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    return buffer.getvalue()


def with_pixels(content: bytes) -> bytes:
    """A PNG of right check sums whose pixel chunk holds `content`."""
    whole = png(1)
    chunk = b"IDAT" + content
    return (
        whole[:33]  # signature and header
        + struct.pack(">I", len(content))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + whole[-12:]  # the end chunk
    )


def rectangle(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    """Mask (H, W) whose first and last non-zero columns are x1 and x2, rows y1 and y2."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y1, x1] = mask[y2, x2] = 3  # two corners are enough for a tight box
    return mask


EMPTY = np.zeros((HEIGHT, WIDTH), np.uint8)


def mat(mask: np.ndarray, name: str = "part_mask") -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, {name: mask}, do_compression=True)
    return buffer.getvalue()


def moving(num_frames: int) -> np.ndarray:
    """Mask (H, W, T) whose box is (t, 1, t + 4, 10) in frame t."""
    return np.stack([rectangle(t, 1, t + 4, 10) for t in range(num_frames)], axis=-1)


@dataclass
class Raw:
    """The published archives, as dictionaries to spoil before they are written."""

    pictures: dict[str, bytes] = field(default_factory=dict)
    splits: dict[str, bytes] = field(default_factory=dict)
    masks: dict[str, bytes] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(folder / "Rename_Images.tar.gz", "w:gz") as tar:
            for name, content in self.pictures.items():
                info = tarfile.TarInfo(f"Rename_Images/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        for name, files in (("splits", self.splits), ("puppet_mask", self.masks)):
            with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
                archive.writestr(f"{name}/", "")
                for member, content in files.items():
                    archive.writestr(f"{name}/{member}", content)
        return folder


@pytest.fixture
def raw() -> Raw:
    """Three videos: 3 frames with 3 masks, 4 with 2 (it ends early), 3 with 3 of which 1 is empty.

    The pictures come last first, and what file managers leave behind lies among them.
    """
    raw = Raw()
    for action, clip, num_frames in (("wave", "w_1", 3), ("clap", ODD, 4), ("clap", "c_2", 3)):
        for number in range(num_frames, 0, -1):
            raw.pictures[f"{action}/{clip}/{number:05d}.png"] = png(number)
    raw.pictures |= {".DS_Store": b"x", "wave/w_1/._00001.png": b"x", "wave/w_1/Thumbs.db": b"x"}
    gap = moving(3)
    gap[:, :, 1] = EMPTY
    raw.masks = {
        "wave/w_1/puppet_mask.mat": mat(moving(3)),
        f"clap/{ODD}/puppet_mask.mat": mat(moving(2)),
        "clap/c_2/puppet_mask.mat": mat(gap),
        "clap/c_2/._puppet_mask.mat": b"x",
    }
    for number in (1, 2, 3):
        raw.splits[f"wave_test_split{number}.txt"] = f"w_1.avi {1 + (number > 1)}\n".encode()
        raw.splits[f"clap_test_split{number}.txt"] = f"{ODD}.avi 1 \r\nc_2.avi  2\r\n\r\n".encode()
    return raw


def run(raw: Raw, folder: Path, *, official_split: int = 1) -> Path:
    out = folder / "out"
    prepare(raw.write(folder / "raw"), out, licence="free", fps=30, official_split=official_split)
    return out


def box_of(out: Path, clip: str) -> list[list[float]]:
    boxes = Boxes.read(out / "boxes.parquet")
    return boxes.boxes_xyxy[(boxes.table["clip"] == clip).to_numpy()].tolist()


def test_clips(raw: Raw, tmp_path: Path) -> None:
    table = Clips.read(run(raw, tmp_path) / "clips.parquet").table
    assert table["clip"].tolist() == [ODD, "c_2", "w_1"]  # by class, then by name
    assert table["official_split"].tolist() == ["train", "test", "train"]
    assert table["num_frames"].tolist() == [4, 3, 3]
    assert [list(actions) for actions in table["actions"]] == [["clap"], ["clap"], ["wave"]]
    for column, value in {"height": 12, "width": 16, "fps": 30, "licence": "free"}.items():
        assert set(table[column]) == {value}


def test_another_official_split(raw: Raw, tmp_path: Path) -> None:
    table = Clips.read(run(raw, tmp_path, official_split=2) / "clips.parquet").table
    assert table["official_split"].tolist() == ["train", "test", "test"]


def test_frames_keep_their_pixels_and_count_from_zero(raw: Raw, tmp_path: Path) -> None:
    frames = run(raw, tmp_path) / "frames"
    assert sorted(p.name for p in frames.iterdir()) == sorted([f"{ODD}.npy", "c_2.npy", "w_1.npy"])
    for clip, num_frames in ((ODD, 4), ("c_2", 3), ("w_1", 3)):
        assert read_clip(frames, clip).shape == (num_frames, HEIGHT, WIDTH, 3)
        for number in range(1, num_frames + 1):
            published = np.asarray(Image.open(io.BytesIO(png(number))))
            assert np.array_equal(read_frame(frames, clip, number - 1), published)


def test_boxes_are_tight_with_inclusive_corners(raw: Raw, tmp_path: Path) -> None:
    out = run(raw, tmp_path)
    # Non-zero columns t..t+4 and rows 1..10 in frame t: x2 and y2 are the last non-zero ones.
    assert box_of(out, "w_1") == [[0, 1, 4, 10], [1, 1, 5, 10], [2, 1, 6, 10]]
    table = Boxes.read(out / "boxes.parquet").table
    assert table["frame"].tolist() == [0, 1, 2, 3, 0, 1, 2, 0, 1, 2]
    assert set(table["tube"]) == {0}
    assert [list(a) for a in table["actions"]] == [["clap"]] * 7 + [["wave"]] * 3


def test_a_box_may_touch_every_border(raw: Raw, tmp_path: Path) -> None:
    whole = np.stack([rectangle(0, 0, WIDTH - 1, HEIGHT - 1)] * 3, axis=-1)
    raw.masks["wave/w_1/puppet_mask.mat"] = mat(whole)
    assert box_of(run(raw, tmp_path), "w_1") == [[0, 0, 15, 11]] * 3


def test_missing_masks_repeat_the_last_box(
    raw: Raw, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw.masks["wave/w_1/puppet_mask.mat"] = mat(moving(5))  # two masks more than frames
    with caplog.at_level(logging.INFO):
        out = run(raw, tmp_path)
    assert box_of(out, ODD) == [[0, 1, 4, 10]] + [[1, 1, 5, 10]] * 3
    assert box_of(out, "c_2") == [[0, 1, 4, 10]] * 2 + [[2, 1, 6, 10]]
    assert len(box_of(out, "w_1")) == 3
    assert (
        "3 videos, 10 frames, 10 boxes; 3 boxes repeat a neighbour's (2 past the end of the mask, "
        "1 where it is empty); 2 masks past the last frame ignored"
    ) in caplog.text
    assert "Rename_Images.tar.gz: 3 files of other kinds ignored" in caplog.text


def test_an_empty_mask_at_the_start_takes_the_first_box(raw: Raw, tmp_path: Path) -> None:
    mask = moving(3)
    mask[:, :, :2] = 0
    raw.masks["wave/w_1/puppet_mask.mat"] = mat(mask)
    assert box_of(run(raw, tmp_path), "w_1") == [[2, 1, 6, 10]] * 3


def test_a_mask_of_one_frame(raw: Raw, tmp_path: Path) -> None:
    raw.masks["wave/w_1/puppet_mask.mat"] = mat(rectangle(3, 2, 5, 7))  # (H, W), no third axis
    assert box_of(run(raw, tmp_path), "w_1") == [[3, 2, 5, 7]] * 3


# Each spoils the archives in one way; the message must name the place and the finding.
SPOILED: dict[str, tuple[Callable[[Raw], object], str]] = {
    "frame missing": (
        lambda raw: raw.pictures.pop("wave/w_1/00002.png"),
        r"Rename_Images\.tar\.gz: wave/w_1: frames should be 1 to 3, missing is 2\.",
    ),
    "frame 0": (
        lambda raw: raw.pictures.update({"wave/w_1/00000.png": png(1)}),
        r"wave/w_1/00000\.png: pictures are called 00001\.png",
    ),
    "frame twice": (
        lambda raw: raw.pictures.update({"wave/w_1/2.png": png(1)}),
        r"wave/w_1/2\.png: is there twice",
    ),
    "frame without number": (
        lambda raw: raw.pictures.update({"wave/w_1/cover.png": png(1)}),
        r"wave/w_1/cover\.png: pictures are called 00001\.png",
    ),
    "frame outside a video": (
        lambda raw: raw.pictures.update({"00001.png": png(1)}),
        r"Rename_Images/00001\.png: expected <class>/<video>/00001\.png",
    ),
    "picture cut off": (
        lambda raw: raw.pictures.update({"wave/w_1/00002.png": png(2)[:-15]}),
        r"wave/w_1/00002\.png: does not decode as PNG or JPEG",
    ),
    "picture with a wrong byte": (
        lambda raw: raw.pictures.update(
            {"wave/w_1/00002.png": png(2)[:45] + b"?" + png(2)[46:]}  # byte 45: in the pixels
        ),
        r"wave/w_1/00002\.png: does not decode as PNG or JPEG",
    ),
    "picture whose pixels are no pixels": (
        lambda raw: raw.pictures.update({"wave/w_1/00002.png": with_pixels(b"not compressed")}),
        r"wave/w_1/00002\.png: does not decode as PNG or JPEG",
    ),
    "picture of no kind": (
        lambda raw: raw.pictures.update({"wave/w_1/00002.png": b"<html>"}),
        r"wave/w_1/00002\.png: does not decode as PNG or JPEG",
    ),
    "empty picture": (
        lambda raw: raw.pictures.update({"wave/w_1/00002.png": b""}),
        r"wave/w_1/00002\.png: does not decode as PNG or JPEG",
    ),
    "picture of another size": (
        lambda raw: raw.pictures.update({"wave/w_1/00002.png": png(2, width=20)}),
        r"wave/w_1/00002\.png: is 20x12, the clip's first picture 16x12",
    ),
    "video without frames": (
        lambda raw: [raw.pictures.pop(f"wave/w_1/0000{n}.png") for n in (1, 2, 3)],
        r"Rename_Images\.tar\.gz: 1 videos of the official split without frames, .*: wave/w_1",
    ),
    "frames without video": (
        lambda raw: raw.pictures.update({"wave/w_9/00001.png": png(1)}),
        r"Rename_Images\.tar\.gz: 1 videos with frames that .* does not list, .*: wave/w_9",
    ),
    "video without mask": (
        lambda raw: raw.masks.pop("wave/w_1/puppet_mask.mat"),
        r"puppet_mask\.zip: 1 videos of the official split without mask, .*: wave/w_1",
    ),
    "mask without video": (
        lambda raw: raw.masks.update({"wave/w_9/puppet_mask.mat": mat(moving(2))}),
        r"puppet_mask\.zip: 1 videos with mask that .* does not list, .*: wave/w_9",
    ),
    "mask without person": (
        lambda raw: raw.masks.update({"wave/w_1/puppet_mask.mat": mat(np.stack([EMPTY] * 3, -1))}),
        r"puppet_mask\.zip: wave/w_1: the mask is empty in all frames",
    ),
    "mask of another size": (
        lambda raw: raw.masks.update({"wave/w_1/puppet_mask.mat": mat(moving(3)[:-1])}),
        r"puppet_mask\.zip: wave/w_1: the mask is 16x11, the pictures are 16x12",
    ),
    "mask under another name": (
        lambda raw: raw.masks.update({"wave/w_1/puppet_mask.mat": mat(moving(3), "mask")}),
        r"wave/w_1/puppet_mask\.mat: has no variable part_mask",
    ),
    "mask of letters": (
        lambda raw: raw.masks.update({"wave/w_1/puppet_mask.mat": mat(np.array("mask"))}),
        r"wave/w_1/puppet_mask\.mat: part_mask should be whole numbers",
    ),
    "mask cut off": (
        lambda raw: raw.masks.update({"wave/w_1/puppet_mask.mat": mat(moving(3))[:-20]}),
        r"wave/w_1/puppet_mask\.mat: not a readable MATLAB file",
    ),
    "mask of no kind": (
        lambda raw: raw.masks.update({"wave/w_1/puppet_mask.mat": b"<html>"}),
        r"wave/w_1/puppet_mask\.mat: not a readable MATLAB file",
    ),
    "split line": (
        lambda raw: raw.splits.update({"wave_test_split1.txt": b"w_1.avi 1\nw_2.avi 3\n"}),
        r"wave_test_split1\.txt, line 2: expected `<video>\.avi <1 or 2>`, found 'w_2\.avi 3'",
    ),
    "video in two classes": (
        lambda raw: raw.splits.update({"wave_test_split1.txt": b"c_2.avi 1\n"}),
        r"splits\.zip: video 'c_2' is listed twice, under wave and clap",
    ),
    "no splits": (lambda raw: raw.splits.clear(), r"splits\.zip: has no <class>_test_split"),
    "way out": (
        lambda raw: raw.masks.update({"../../evil": b"x"}),
        r"puppet_mask\.zip: member 'puppet_mask/\.\./\.\./evil' points outside",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_spoiled_archives_are_named_and_nothing_is_written(
    name: str, raw: Raw, tmp_path: Path
) -> None:
    spoil, message = SPOILED[name]
    spoil(raw)
    with pytest.raises(DataError, match=message):
        run(raw, tmp_path)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_cut_off_archive_is_named(raw: Raw, tmp_path: Path) -> None:
    archive = raw.write(tmp_path / "raw") / "Rename_Images.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"Rename_Images\.tar\.gz: damaged or cut off.*download it"):
        prepare(tmp_path / "raw", tmp_path / "out", licence="free", fps=30)
    assert not list((tmp_path / "out").iterdir())


def test_a_missing_archive_is_named(raw: Raw, tmp_path: Path) -> None:
    (raw.write(tmp_path / "raw") / "puppet_mask.zip").unlink()
    with pytest.raises(DataError, match=r"puppet_mask\.zip: no such file; run the download stage"):
        prepare(tmp_path / "raw", tmp_path / "out", licence="free", fps=30)


def test_an_unknown_official_split_is_a_config_error(raw: Raw, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no official split 4, only \[1, 2, 3\]"):
        run(raw, tmp_path, official_split=4)


@pytest.mark.parametrize("dies_in", ["decode", "_boxes_table"])
def test_dying_midway_leaves_nothing_that_looks_whole(
    dies_in: str, raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"decode": store, "_boxes_table": jhmdb}[dies_in]
    real, calls = getattr(module, dies_in), 0

    def die(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == {"decode": 6, "_boxes_table": 1}[dies_in]:
            raise KeyboardInterrupt
        return real(*args)

    # kill -9 clears nothing up, so the temporary folder must not be in the way of the next run
    leftover = tmp_path / "out" / ".frames.tmp" / "old_video"
    leftover.mkdir(parents=True)
    monkeypatch.setattr(module, dies_in, die)
    with pytest.raises(KeyboardInterrupt):
        run(raw, tmp_path)
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.undo()
    leftover.mkdir(parents=True)
    out = run(raw, tmp_path)
    assert len(Clips.read(out / "clips.parquet")) == 3
    assert not (out / "frames" / "old_video").exists()


def test_dying_while_replacing_takes_the_sign_of_wholeness_away(
    raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = run(raw, tmp_path)

    def die(self: Boxes, path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Boxes, "write", die)
    with pytest.raises(KeyboardInterrupt):
        run(raw, tmp_path)
    assert not (out / "clips.parquet").exists()
    monkeypatch.undo()
    assert len(Clips.read(run(raw, tmp_path) / "clips.parquet")) == 3


def test_the_raw_archives_may_lie_in_the_prepared_folder(raw: Raw, tmp_path: Path) -> None:
    prepare(raw.write(tmp_path / "raw"), tmp_path, licence="free", fps=30)
    prepare(tmp_path / "raw", tmp_path, licence="free", fps=30)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "boxes.parquet",
        "clips.parquet",
        "frames",
        "raw",
    ]


# ---- the other forms of the same data


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
        target = partial(tubes.prepare, **REPACKAGED, **META)
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
    tubes.prepare(folder, tmp_path / "found", **REPACKAGED, **META)
    shapes = [read_clip(out / "frames", ODD).shape for out in (tmp_path / "found", expected)]
    assert shapes == [(4, HEIGHT, WIDTH, 3)] * 2


def test_the_flow_is_not_read(raw: Raw, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    truth = pickle.dumps(as_tubes(run(raw, tmp_path)))
    with caplog.at_level(logging.INFO):
        tubes.prepare(
            repackage(raw, truth, tmp_path / "tar"), tmp_path / "found", **REPACKAGED, **META
        )
    assert "JHMDB.tar.gz: 16 files of other kinds ignored" in caplog.text  # 13 flow, 3 others


def test_a_hostile_ground_truth_is_named_and_not_run(raw: Raw, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> object:
            return os.mkdir, (str(tmp_path / "PROOF"),)

    folder = repackage(raw, pickle.dumps(Evil()), tmp_path / "tar")
    with pytest.raises(DataError, match=r"JHMDB-GT\.pkl: the pickle asks for (posix|nt)\.mkdir"):
        tubes.prepare(folder, tmp_path / "found", **REPACKAGED, **META)
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
    "no video": (lambda d: d["gttubes"].pop("wave/w_1"), r"not built like .* 'wave/w_1'"),
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
        tubes.prepare(folder, tmp_path / "found", **REPACKAGED, **META)
    assert list((tmp_path / "found").iterdir()) == []


def test_a_missing_repackaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match=r"raw/JHMDB\.tar\.gz: no such file; run the download"):
        tubes.prepare(tmp_path / "raw", tmp_path / "found", **REPACKAGED, **META)


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


SPOILED_ANNOTATIONS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no key": (lambda d: d.pop("images"), r"not the annotations released .*'images'"),
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
    assert config.source == "official"
    assert set(config.archives) == {"Rename_Images.tar.gz", "splits.zip", "puppet_mask.zip"}
    for name, source in config.archives.items():
        assert source.url == f"https://files.is.tue.mpg.de/jhmdb/{name}"
    assert all((ROOT / f"splits/jhmdb/{name}.json").is_file() for name in config.splits)
