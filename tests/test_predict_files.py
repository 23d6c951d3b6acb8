"""What predictions write, what is left when it is done, and what cannot be read or written."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
from conftest import World
from own_videos import HEIGHT, WIDTH, Bright, encode, walkers
from PIL import Image
from predict_world import LABELS, predict_world, ready, two_walk

from stclip.errors import ConfigError, DataError
from stclip.evaluate.outside_rows import read_rows
from stclip.own_videos import predictor, video_overlay
from stclip.own_videos.predict import Asked, predict_videos
from stclip.own_videos.predictor import Predictor


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return predict_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_walk(tmp_path_factory.mktemp("video"))


@pytest.fixture(scope="module")
def own(world: World) -> Predictor:
    return ready(world)


# What is written


@pytest.fixture(scope="module")
def written(own: Predictor, walk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    (summary,) = predict_videos(own, [walk], Asked(labels=LABELS), out=out)
    assert [track.boxes for track in summary.tracks] == [5, 5]
    return out / "walk"


def test_the_csv_is_one_that_evaluate_file_reads(written: Path) -> None:
    videos = pd.DataFrame({"first": 1, "last": 45}, index=["walk"])
    rows, others = read_rows(written / "predictions.csv", videos, set(LABELS))
    assert others == 0
    assert len(rows) == 5 * 2 * 3
    assert sorted(rows["frame"].unique()) == [1, 11, 21, 31, 41]


def test_the_json_has_the_tracks(written: Path) -> None:
    content = json.loads((written / "predictions.json").read_text())
    assert content["labels"] == list(LABELS)
    assert (content["width"], content["height"]) == (WIDTH, HEIGHT)
    assert [track["track"] for track in content["tracks"]] == [0, 1]
    boxes = content["tracks"][0]["boxes"]
    assert [box["frame"] for box in boxes] == [1, 11, 21, 31, 41]
    assert sum(boxes[0]["probabilities"]) == pytest.approx(1, abs=1e-4)
    rows = pd.read_csv(written / "predictions.csv")
    first = rows[(rows["frame"] == 1) & (rows["class"] == "walk")].iloc[0]
    assert first["score"] == pytest.approx(
        boxes[0]["probabilities"][0] * boxes[0]["detector_score"], abs=1e-4
    )


def test_the_overlay_shows_every_frame_with_boxes_that_move(written: Path) -> None:
    with av.open(str(written / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(pictures) == 45
    assert pictures[0].shape == (360, 600, 3)  # 3.75 times 96 x 160
    assert stream.codec_context.name == ("h264" if "264" in video_overlay.encoder() else "mpeg4")
    # The left edge of the walker's box, in its colour (orange), at the middle of a person's height.
    lefts = []
    for picture in (pictures[0], pictures[25], pictures[40]):
        row = picture[250].astype(int)
        orange = (abs(row - [0xE6, 0x9F, 0]).sum(1) < 120).nonzero()[0]
        lefts.append(int(orange[0]))
    assert lefts[0] == pytest.approx(3.75 * 8, abs=10)
    # At 2.5 s, between two key frames, it is between their places.
    assert lefts[1] == pytest.approx((lefts[0] + (lefts[2] - lefts[0]) * 25 / 40), abs=15)


def test_the_sheet_shows_the_key_frames(written: Path) -> None:
    with Image.open(written / "sheet.png") as sheet:
        assert sheet.width == 16 + 4 * (320 + 16)  # four in a row, the fifth below
        assert sheet.height > 2 * 240
        colours = {colour for _, colour in sheet.getcolors(1 << 20)}
    assert (0xE6, 0x9F, 0) in colours
    assert (0x56, 0xB4, 0xE9) in colours


def test_nobody_is_no_error(own: Predictor, tmp_path: Path) -> None:
    empty = encode(tmp_path / "empty.mp4", [np.full((64, 64, 3), 20, np.uint8)] * 15)
    (summary,) = predict_videos(own, [empty], Asked(labels=LABELS), out=tmp_path / "out")
    assert summary.tracks == ()
    assert summary.key_frames == 2
    lines = (tmp_path / "out" / "empty" / "predictions.csv").read_text().splitlines()
    assert lines == ["video,frame,class,score,x1,y1,x2,y2"]
    assert (tmp_path / "out" / "empty" / "overlay.mp4").stat().st_size > 0
    assert own.predict(empty, LABELS).table.empty


def test_what_is_done_is_left_and_other_labels_make_it_anew(
    own: Predictor, walk: Path, tmp_path: Path
) -> None:
    asked = Asked(labels=LABELS, overlay=False)
    first = predict_videos(own, [walk], asked, out=tmp_path)
    Bright.frames.clear()
    again = predict_videos(own, [walk], asked, out=tmp_path)
    assert Bright.frames == []
    assert [t.track for t in again[0].tracks] == [t.track for t in first[0].tracks]
    assert again[0].tracks[0].best[0][1] == pytest.approx(first[0].tracks[0].best[0][1], abs=1e-4)
    predict_videos(own, [walk], replace(asked, labels=("sit", "run")), out=tmp_path)
    assert len(Bright.frames) == 5


def test_an_interrupted_video_goes_on_and_ends_with_the_same_bytes(
    world: World, walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, asked = ready(world, part_key_frames=2), Asked(labels=LABELS, overlay=False)
    predict_videos(own, [walk], asked, out=tmp_path / "at_once")
    real, parts = predictor.score_boxes, []

    def dies(*args: Any, **keywords: Any) -> np.ndarray:
        parts.append(1)
        if len(parts) == 2:
            raise KeyboardInterrupt
        return real(*args, **keywords)

    monkeypatch.setattr(predictor, "score_boxes", dies)
    with pytest.raises(KeyboardInterrupt):
        predict_videos(own, [walk], asked, out=tmp_path / "twice")
    Bright.frames.clear()
    predict_videos(own, [walk], asked, out=tmp_path / "twice")
    assert len(Bright.frames) == 3  # of five key frames two were done
    for name in ("predictions.csv", "predictions.json", "sheet.png"):
        one, other = (tmp_path / part / "walk" / name for part in ("at_once", "twice"))
        assert one.read_bytes() == other.read_bytes(), name
    assert not list((tmp_path / "twice").glob(".*"))


# Bad input


def test_a_video_that_cannot_be_read_does_not_stop_the_others(
    own: Predictor, walk: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"1 of 2 videos cannot be read.*broken\.mp4"):
        predict_videos(
            own, [broken, walk], Asked(labels=LABELS, overlay=False), out=tmp_path / "out"
        )
    assert (tmp_path / "out" / "walk" / "predictions.json").exists()


def test_what_is_lost_of_a_video_is_named_in_what_is_written(
    own: Predictor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = encode(tmp_path / "cut.mkv", walkers(100))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    predict_videos(own, [path], Asked(labels=LABELS, overlay=False), out=tmp_path)
    content = json.loads((tmp_path / "cut" / "predictions.json").read_text())
    assert re.search(r"cannot be read beyond [2-7]\.\d s of 10\.0 s", content["problems"][-1])
    assert content["tracks"]
    assert "what was read is kept" in caplog.text


def test_output_that_cannot_be_written_is_told_before_any_work(
    own: Predictor, walk: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"--out .*file/out: cannot be written \(Not a dir"):
        predict_videos(own, [walk], Asked(labels=LABELS), out=tmp_path / "file" / "out")
    with pytest.raises(ConfigError, match="have the same name"):
        predict_videos(own, [walk, tmp_path / "walk.mp4"], Asked(labels=LABELS), out=tmp_path)


def test_videos_of_one_name_keep_their_suffix(own: Predictor, tmp_path: Path) -> None:
    pair = [encode(tmp_path / name, walkers(2)) for name in ("a.mp4", "a.avi")]
    asked = Asked(labels=LABELS, overlay=False)
    found = predict_videos(own, pair, asked, out=tmp_path / "out")
    assert [summary.name for summary in found] == ["a.mp4", "a.avi"]


def test_without_h264_overlays_are_mpeg4_and_without_that_an_error(
    own: Predictor, walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level("INFO")
    monkeypatch.setattr(video_overlay, "ENCODERS", ("libnone", "mpeg4"))
    predict_videos(own, [walk], Asked(labels=LABELS), out=tmp_path)
    with av.open(str(tmp_path / "walk" / "overlay.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert "no H.264 encoder in this PyAV" in caplog.text
    monkeypatch.setattr(video_overlay, "ENCODERS", ("libnone",))
    with pytest.raises(ConfigError, match=r"none of the encoders \['libnone'\].*--no-overlay"):
        predict_videos(own, [walk], Asked(labels=LABELS), out=tmp_path / "other")
