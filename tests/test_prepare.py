"""J-HMDB from archives built here in the published layout, quirks included."""

import io
import logging
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jhmdb_archives import (
    EMPTY,
    HEIGHT,
    ODD,
    WIDTH,
    Raw,
    box_of,
    mat,
    moving,
    png,
    rectangle,
    run,
    with_pixels,
)
from PIL import Image

from stclip.errors import ConfigError, DataError
from stclip.prepare import jhmdb, store
from stclip.prepare.jhmdb import prepare
from stclip.prepare.store import decode, write_prepared
from stclip.records import BOX_COLUMNS, Boxes, Clips
from stclip.storage.frame_store import read_clip, read_frame


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


def as_jpeg(pixels: np.ndarray, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg", **settings)
    return buffer.getvalue()


NOISE = np.random.default_rng(0).integers(100, 150, (48, 64, 3), np.uint8)


@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("pixels", [NOISE, np.full((48, 64, 3), 128, np.uint8)])
def test_a_jpeg_cut_short_with_its_end_marker_is_refused(
    settings: dict[str, Any], pixels: np.ndarray
) -> None:
    content = as_jpeg(pixels, **settings)
    assert np.abs(decode(content, "f").astype(int) - pixels).mean() < 15
    if pixels is not NOISE and settings.get("progressive"):
        return  # too small to be cut
    start = content.rfind(b"\xff\xda")  # of the last scan
    for share in (0.3, 0.6, 0.9):
        kept = start + 14 + int(share * (len(content) - start - 16))
        cut = content[:kept].rstrip(b"\xff") + b"\xff\xd9"
        with pytest.raises(DataError, match=r"f: does not decode .*its end is missing"):
            decode(cut, "f")


def test_a_png_cut_short_with_its_end_chunk_is_refused() -> None:
    rows = zlib.compress(b"\x00" * (1 + 3 * WIDTH) * HEIGHT)
    assert decode(with_pixels(rows), "f").shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(DataError, match="does not decode"):
        decode(with_pixels(rows[: len(rows) // 2]), "f")


def test_grey_of_16_bits_is_scaled_to_8() -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "png")
    found = decode(buffer.getvalue(), "f")
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.repeat((grey // 257)[:, :, None], 3, axis=2))


@pytest.mark.parametrize("suffix", ["JPG", "jpeg", "JPEG", "Png"])
def test_pictures_may_have_any_usual_suffix(suffix: str, raw: Raw, tmp_path: Path) -> None:
    expected = box_of(run(raw, tmp_path / "plain"), "w_1")
    raw.pictures = {n.replace(".png", f".{suffix}"): c for n, c in raw.pictures.items()}
    out = run(raw, tmp_path)
    assert box_of(out, "w_1") == expected
    assert len(read_clip(out / "frames", "w_1")) == 3


def test_a_byte_order_mark_before_a_list_of_videos_is_no_name(raw: Raw, tmp_path: Path) -> None:
    name = "wave_test_split1.txt"
    raw.splits[name] = b"\xef\xbb\xbf" + raw.splits[name]
    assert len(box_of(run(raw, tmp_path), "w_1")) == 3


def test_boxes_that_are_no_pixels_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = {"clip": "a", "official_split": "test", "num_frames": 1, "height": 9, "width": 9}
    clips = Clips(pd.DataFrame([clip | {"fps": 1, "licence": "", "actions": ["sit"]}]))
    box = {"clip": "a", "frame": 0, "tube": 0, "actions": ["sit"]}
    corners = dict(zip(BOX_COLUMNS, (0.1, 0.1, 0.5, 0.9), strict=True))
    write_prepared(tmp_path, lambda _: (clips, Boxes(pd.DataFrame([box | corners]))))
    assert "boxes.parquet: nearly all of the 1 boxes look like shares of the pict" in caplog.text


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
