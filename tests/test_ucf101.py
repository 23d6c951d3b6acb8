"""UCF101-24 from videos and annotations drawn here in the published forms, quirks included."""

import io
import logging
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import ROOT
from outside_annotations import SHARED
from ucf101_files import (
    ANNOTATED,
    FOUR,
    ONE,
    THREE,
    TWO,
    UNANNOTATED,
    Raw,
    clip_of,
    number_of,
    numbers_in,
    packed_avi,
    prepared_in,
    run,
    shown_in,
)

from stclip.config import read_yaml
from stclip.prepare import gttubes
from stclip.prepare.videos import VideoFile, store_video
from stclip.records import BOX_COLUMNS, Boxes, Clips
from stclip.storage.frame_store import read_clip, read_pixels

REAL_VIDEO = SHARED / "clips" / "test.avi"


@pytest.fixture
def raw() -> Raw:
    return Raw()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_in(tmp_path_factory.mktemp("ucf"))


def test_clips(prepared: Path) -> None:
    table = Clips.read(prepared / "clips.parquet").table
    assert table["clip"].tolist() == [clip_of(name) for name in ANNOTATED]
    assert table["official_split"].tolist() == ["test", "train", "test", "train"]
    assert table["num_frames"].tolist() == [9, 8, 12, 10]
    assert [list(actions) for actions in table["actions"]] == [["Biking"]] * 2 + [["Diving"]] * 2
    for column, value in {"height": 32, "width": 320, "fps": 25, "licence": "free"}.items():
        assert set(table[column]) == {value}


def test_boxes_are_corners_from_zero_and_do_not_run_over(prepared: Path) -> None:
    table = Boxes.read(prepared / "boxes.parquet").table
    rows = table[table["clip"] == clip_of(ONE)]
    assert rows[["frame", "tube"]].to_numpy().tolist() == [
        [0, 1], [1, 1], [2, 0], [2, 1], [3, 0], [3, 1], [4, 0],
    ]  # fmt: skip
    # x 200 from 1, 100 wide: columns 199 to 299, of which uint8 would have made 43
    assert rows.loc[rows["tube"] == 0, BOX_COLUMNS].to_numpy().tolist() == [[199, 4, 299, 24]] * 3
    assert rows.loc[rows["tube"] == 1, BOX_COLUMNS].to_numpy().tolist() == [[0, 0, 319, 31]] * 4
    rows = table[table["clip"] == clip_of(THREE)]
    assert rows["frame"].tolist() == [1, 2, 6, 7]  # no box before, between and behind
    assert rows["tube"].tolist() == [0, 0, 1, 1]
    assert table["clip"].drop_duplicates().tolist() == [clip_of(name) for name in ANNOTATED]
    assert [list(a) for a in table["actions"]] == [["Biking"]] * 15 + [["Diving"]] * 13


def test_frames_are_those_of_the_decoder_in_its_order(prepared: Path) -> None:
    frames = prepared / "frames"
    assert sorted(path.name for path in frames.iterdir()) == [
        f"{clip_of(name)}.jpegs" for name in ANNOTATED
    ]
    for name in ANNOTATED:
        assert numbers_in(frames, name) == shown_in(name)


FORMS: dict[str, tuple[Callable[[Raw, Path], Path], str]] = {
    "rar": (Raw.in_rar, "UCF101.rar"),
    "folder per class": (Raw.in_folders, "UCF101.rar"),
    "one folder": (Raw.in_one_folder, "UCF101_videos.zip"),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_same(form: str, prepared: Path, raw: Raw, tmp_path: Path) -> None:
    write, videos_file = FORMS[form]
    out = run(write(raw, tmp_path / "raw"), tmp_path / "out", videos=videos_file)
    for table in (Clips, Boxes):
        name = f"{table.__name__.lower()}.parquet"
        assert table.read(out / name).content() == table.read(prepared / name).content()
    for name in ANNOTATED:
        clip = clip_of(name)
        pictures = (read_clip(folder / "frames", clip) for folder in (out, prepared))
        assert np.array_equal(*pictures)


def test_the_frames_and_tubes_of_the_moc_detector(
    prepared: Path, raw: Raw, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = read_yaml(ROOT / "config" / "datasets" / "ucf101_24.yaml")
    params = settings["params"] | settings["forms"]["moc"]["params"]
    out = tmp_path / "out"
    with caplog.at_level(logging.INFO):
        gttubes.prepare(raw.as_moc(tmp_path / "raw"), out, frame_store="jpeg", **params)
    assert f"UCF101v2-GT.pkl does not list 1 videos, left out: {UNANNOTATED}" in caplog.text
    found, expected = (Clips.read(folder / "clips.parquet").table for folder in (out, prepared))
    assert found.drop(columns="licence").equals(expected.drop(columns="licence"))
    boxes = [Boxes.read(folder / "boxes.parquet").content() for folder in (out, prepared)]
    assert boxes[0] == boxes[1]
    assert sorted(path.name for path in (out / "frames").iterdir()) == [
        f"{clip_of(name)}.jpegs" for name in ANNOTATED
    ]
    assert numbers_in(out / "frames", ONE) == shown_in(ONE)


def test_decoded_frames(raw: Raw, tmp_path: Path) -> None:
    out = run(raw.zipped(tmp_path / "raw"), tmp_path / "out", frame_store="decoded")
    assert (out / "frames" / f"{clip_of(ONE)}.npy").is_file()
    assert numbers_in(out / "frames", ONE) == shown_in(ONE)


def test_what_is_passed_over_and_what_differs_is_told(
    raw: Raw, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw.annotations[TWO]["numf"] = 9  # of 8
    raw.annotations[FOUR]["numf"] = 7  # of 10
    raw.annotations[THREE]["numf"] = 11  # of 12
    raw.tested.append(UNANNOTATED)
    with caplog.at_level(logging.INFO):
        run(raw.zipped(tmp_path / "raw"), tmp_path / "out")
    assert f"1 of their classes without annotation passed over ({clip_of(UNANNOTATED)})" in (
        caplog.text
    )
    assert "4 annotated videos; " in caplog.text
    assert "1 videos of other classes" in caplog.text
    assert (
        "3 of 4 videos decode to another number of frames than the annotators counted; the "
        f"extremes: {clip_of(TWO)} 8 of 9, {clip_of(FOUR)} 10 of 7"
    ) in caplog.text
    assert "UCF101-24: 4 videos, 39 frames, 28 boxes in 26 frames" in caplog.text
    assert "testlist01.txt: 1 of 3 test videos match none of the annotated videos" in caplog.text


def test_duplicate_boxes_are_kept(raw: Raw, tmp_path: Path) -> None:
    raw.annotations[TWO]["annotations"] *= 2
    out = run(raw.zipped(tmp_path / "raw"), tmp_path / "out")
    table = Boxes.read(out / "boxes.parquet").table
    rows = table[table["clip"] == clip_of(TWO)]
    assert rows["tube"].tolist() == [0, 1] * 8
    assert rows[BOX_COLUMNS].to_numpy().tolist() == [[9, 1, 39, 21]] * 16


def test_a_packed_video_of_one_key_frame(tmp_path: Path) -> None:
    """What other readers lose frames of: 164 pictures, two in a packet, times that do not rise."""
    content = packed_avi(164)
    with av.open(io.BytesIO(content)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    with av.open(io.BytesIO(content)) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    assert sum(packet.is_keyframe for packet in packets) == 1
    assert times != sorted(times)
    found = store_video(VideoFile("a", content, "a.avi"), tmp_path, "decoded")
    assert (found.num_frames, found.fps, found.num_damaged, found.is_cut) == (164, 25, 0, False)
    assert [number_of(pixels) for pixels in read_clip(tmp_path, "a")] == list(range(164))


@pytest.mark.skipif(not REAL_VIDEO.is_file(), reason=f"needs {REAL_VIDEO}")
def test_a_real_video(tmp_path: Path) -> None:
    content = REAL_VIDEO.read_bytes()
    found = store_video(VideoFile("a", content, "a.avi"), tmp_path, "jpeg")
    assert (found.num_frames, found.height, found.width, found.fps) == (164, 240, 320, 25)
    assert (found.num_damaged, found.is_cut) == (0, False)
    with av.open(io.BytesIO(content)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for number in (0, 77, 163):
        stored = read_pixels(tmp_path, "a", number).astype(int)
        assert np.abs(stored - shown[number]).mean() < 1.5  # grey levels that JPEG costs
    cut = store_video(VideoFile("b", content[: len(content) // 2], "b"), tmp_path, "jpeg")
    assert cut.is_cut
    assert cut.num_frames < 100
