"""Predictions of videos of one's own: the road's scores, own labels, what is written, bad input."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT, World, make_world
from own_videos import HEIGHT, WIDTH, Bright, encode, turn, walkers, write_images
from PIL import Image
from safetensors.torch import save_file
from stub_detectors import eager_tiny_detector
from typer.testing import CliRunner

import stclip
from stclip.cli import app
from stclip.config import BoxSource, load_detector, load_method
from stclip.detect.detect import detect
from stclip.errors import ConfigError, DataError
from stclip.evaluate.outside_rows import read_rows
from stclip.own_videos import predictor, video_overlay
from stclip.own_videos.given_labels import parse_labels, read_labels
from stclip.own_videos.predict import Asked, predict_videos
from stclip.own_videos.predictor import Predictor
from stclip.records import Scores
from stclip.score.score import score
from stclip.storage.frame_store import read_clip
from stclip.train.run_folder import write_untrained
from stclip.train.train import train

LABELS = ("walk", "sit", "wave")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small world with settings of predictions and detectors of pictures."""
    made = make_world(tmp_path_factory.mktemp("world"))
    path = made.config / "scales" / "small.yaml"
    scale = yaml.safe_load(path.read_text())
    scale["detectors"] = {
        name: {"target": f"own_videos:{name.title()}", "batch_frames": 4, "score_threshold": 0.0}
        for name in ("bright", "steady")
    }
    scale["datasets"] = {"jhmdb": {"detector": "bright"}}
    path.write_text(yaml.safe_dump(scale))
    settings = {"dataset": "jhmdb", "method": "clip_frame_crop"}
    (made.config / "predict.yaml").write_text(yaml.safe_dump(settings))
    return made


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two persons for 4.5 s, ten frames a second."""
    return encode(tmp_path_factory.mktemp("video") / "walk.mp4", walkers(45))


@pytest.fixture(scope="module")
def own(world: World) -> Predictor:
    """CLIP on frames and crops."""
    return ready(world)


def ready(world: World, method: str | None = None, **changes: Any) -> Predictor:
    return Predictor(method, scale="small", config=world.config, **changes)


# The same scores as the road's


def road(world: World, method: str) -> tuple[Path, Scores]:
    """Train, detect and score as the pipeline does; the run's folder and the unseen scores."""
    train_settings = {"iterations": 2, "batch_frames": 2, "lr": 0.05, "optimizer": "adamw"}
    config = world.method(method, **train_settings)
    name = method.partition("+")[0]
    if not load_method(ROOT / "config", method, dataset="jhmdb", scale="mini").train.iterations:
        config = world.method(method, iterations=0)
    out = world.folder / "runs" / name
    if config.train.iterations:
        train(config, world.data, split=world.split, seed=0, out=out)
    else:
        write_untrained(config, split=world.split, seed=0, out=out)
    data = world.with_key_frames(every=5)
    found = detect(
        load_detector(world.config, "steady", scale="small"), files={}, clips=world.clips,
        key_frames=data.key_frames, frames=world.frames, out=out / "found.parquet",
    )  # fmt: skip
    score(
        config, replace(data, detections=found), weights=out / "weights.safetensors",
        split=world.split, sources={"detected": BoxSource(source="detections")}, seed=0, out=out,
    )  # fmt: skip
    return out, Scores.read(out / "scores_detected_unseen.parquet")


# A window, a memory of frames, whole clips (with chance), views of tracks, nothing trained.
@pytest.mark.parametrize(
    "method", ["st_clip", "iclip+no_objects", "a5", "vitaclip", "xclip", "clip_frame_crop"]
)
def test_a_prepared_clip_gets_the_scores_of_the_road(
    world: World, method: str, tmp_path: Path
) -> None:
    run, scores = road(world, method)
    own = ready(
        world, weights=run, detector="steady", every_s=5 / 30, image_rate=30, within=None,
        min_score=0.0, part_key_frames=2,
    )  # fmt: skip
    assert own.choice.method.name == method
    for clip in world.split.unseen_clips:
        images = write_images(tmp_path / clip, list(read_clip(world.frames, clip)))
        found = own.predict(images, world.split.unseen)
        theirs = scores.table[scores.table["clip"] == clip]
        assert found.boxes["frame"].tolist() == theirs["frame"].tolist() == [0, 0, 5, 5, 10, 10]
        for side in ("x1", "y1", "x2", "y2", "detector_score"):
            assert found.boxes[side].to_numpy() == pytest.approx(theirs[side].to_numpy())
        expected = scores.probabilities[theirs.index]
        assert found.probabilities == pytest.approx(expected, abs=2e-5)
        assert np.ptp(expected) > 1e-3, "scores that differ"


# Labels


def test_labels_of_a_list_and_of_files(tmp_path: Path) -> None:
    assert parse_labels(" shake hands, argue ,wait,") == ["shake hands", "argue", "wait"]
    lines, listed, wrong = (tmp_path / name for name in ("a.txt", "a.yaml", "b.yaml"))
    lines.write_text("talk to (e.g., self)\n\n sit \n")
    assert read_labels(lines) == ["talk to (e.g., self)", "sit"]
    listed.write_text('- talk to (e.g., self)\n- "yes"\n')
    assert read_labels(listed) == ["talk to (e.g., self)", "yes"]
    wrong.write_text("labels: [a]\n")
    with pytest.raises(DataError, match=r"b\.yaml: expected a YAML list of texts"):
        read_labels(wrong)
    with pytest.raises(DataError, match=r"none\.txt: no such file"):
        read_labels(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([], "no labels"),
        (["walk", "sit", "Walk "], "labels 'walk' and 'Walk ' are the same to the tokenizer"),
        (["walk", "walk"], "labels 'walk' and 'walk' are the same"),
        (["walk", "?"], None),
        (["walk", " "], "label ' ' has no letters or digits"),
        (["one two three four five six seven eight nine ten one two three four five"],
         r"label 'one two .*' has at least 15 tokens, the text tower takes 14; shorten it"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_read_are_refused(
    world: World, labels: list[str], said: str | None
) -> None:
    own = SimpleNamespace(choice=SimpleNamespace(method=world.method("clip_frame")))
    if said is None:  # a sign is a token too
        Predictor.settings(own, labels, None)  # type: ignore[arg-type]
        return
    with pytest.raises(ConfigError, match=said):
        Predictor.settings(own, labels, None)  # type: ignore[arg-type]


def test_a_template_counts_for_the_length(world: World) -> None:
    own = SimpleNamespace(choice=SimpleNamespace(method=world.method("clip_frame")))
    template = "a b c d e f g h i j k l m {}"
    with pytest.raises(ConfigError, match=r"label 'sit down' in the template 'a b .*15 tokens"):
        Predictor.settings(own, ["sit down"], [template])  # type: ignore[arg-type]
    for wrong in (["no place"], ["{} and {}"], ["{}", "{}"]):
        with pytest.raises(ConfigError, match="each needs exactly one"):
            Predictor.settings(own, ["sit"], wrong)  # type: ignore[arg-type]


def test_labels_exclude_each_other_or_stand_alone(world: World, walk: Path) -> None:
    own = ready(world, "clip_crop")
    together = own.predict(walk, LABELS)
    assert together.probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    alone = own.predict(walk, LABELS, exclusive=False)
    # The softmax of logits and their sigmoids p: p / (1 - p) is exp(logit).
    odds = alone.probabilities.astype(float) / (1 - alone.probabilities.astype(float))
    assert odds / odds.sum(1, keepdims=True) == pytest.approx(together.probabilities, rel=0.02)
    mixed = own.predict(walk, LABELS, exclusive=["sit", "wave"])
    assert mixed.exclusive == (False, True, True)
    with pytest.raises(ConfigError, match=r"unknown label of `exclusive` 'sitt'.*nearest is 'sit'"):
        own.predict(walk, LABELS, exclusive=["sitt"])
    assert mixed.probabilities[:, 1:].sum(1) == pytest.approx(1, abs=1e-5)
    assert mixed.probabilities[:, 0] == pytest.approx(alone.probabilities[:, 0])


def test_one_label_and_five_hundred(world: World, walk: Path) -> None:
    own = ready(world, "clip_frame")
    assert own.predict(walk, ["walk"]).probabilities == pytest.approx(1)
    many = [f"action {n // 10} {'abcdefghij'[n % 10]}" for n in range(500)]
    assert own.predict(walk, many).probabilities.shape == (10, 500)


def test_templates_are_averaged(world: World, walk: Path) -> None:
    own = ready(world, "clip_crop")
    seen: list[list[str]] = []
    encode_text = own.method.backbone.encode_text
    own.method.backbone.encode_text = lambda texts: seen.append(list(texts)) or encode_text(texts)
    bare = own.predict(walk, ["sit", "walk"])
    several = own.predict(walk, ["sit", "walk"], templates=["a person {}", "{}"])
    assert seen == [["sit", "walk"], ["a person sit", "a person walk"], ["sit", "walk"]]
    assert not np.allclose(several.probabilities, bare.probabilities)


# Which method, which weights


def test_a_trained_method_without_weights_names_those_that_need_none(world: World) -> None:
    world.method("st_clip", iterations=3)
    with pytest.raises(
        ConfigError, match=r"'st_clip' is trained and needs weights.*'clip_crop', 'clip_frame'"
    ):
        ready(world, "st_clip")


@pytest.fixture(scope="module")
def st_clip_run(world: World) -> Path:
    config = world.method("st_clip", iterations=1, batch_frames=1)
    out = world.folder / "runs" / "of_one_step"
    train(config, world.data, split=world.split, seed=0, out=out)
    return out


def test_weights_of_another_method_are_refused(
    world: World, st_clip_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="weights of method 'st_clip', --method says 'a5'"):
        ready(world, "a5", weights=st_clip_run)
    alone = tmp_path / "alone.safetensors"
    shutil.copy(st_clip_run / "weights.safetensors", alone)
    world.method("a5", iterations=1)
    with pytest.raises(ConfigError, match=r"alone\.safetensors: weights do not fit A5"):
        ready(world, "a5", weights=alone)
    world.method("st_clip", iterations=1, batch_frames=1)
    assert ready(world, "st_clip", weights=alone).choice.weights == alone


def test_a_run_whose_seal_is_broken_is_refused(
    world: World, st_clip_run: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(st_clip_run, copy)
    content = bytearray((copy / "weights.safetensors").read_bytes())
    content[-100] ^= 1
    (copy / "weights.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"weights\.safetensors: damaged: its SHA-256"):
        ready(world, weights=copy)
    (copy / "config.yaml").unlink()
    with pytest.raises(DataError, match=r"config\.yaml: no such file; a run's folder holds"):
        ready(world, weights=copy)
    with pytest.raises(DataError, match="no such file or folder; --weights names a run"):
        ready(world, weights=tmp_path / "none")


def test_files_that_are_not_there_yet_are_named_with_the_command_that_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = "data/mini/models/tiny_films.safetensors"
    with pytest.raises(DataError, match=rf"{path}: no such file.*snakemake --cores 2 {path}"):
        Predictor(config=ROOT / "config")
    with pytest.raises(ConfigError, match="has its boxes from files of a data set"):
        Predictor(config=ROOT / "config", detector="props")
    with pytest.raises(ConfigError, match=r"device 'gpu7' cannot be used here"):
        Predictor(config=ROOT / "config", device="gpu7", detector="tiny_films")
    with pytest.raises(ConfigError, match=r"settings of predictions: every_s"):
        Predictor(config=ROOT / "config", every_s=0)


# Persons


def test_persons_keep_their_numbers_whatever_the_parts(world: World, walk: Path) -> None:
    whole = ready(world, part_key_frames=9).predict(walk, LABELS)
    parts = ready(world, part_key_frames=2).predict(walk, LABELS)
    assert [len(track.rows) for track in whole.tracks] == [5, 5]
    pd.testing.assert_frame_equal(whole.boxes, parts.boxes)
    assert whole.probabilities == pytest.approx(parts.probabilities, abs=1e-5)
    first, second = whole.tracks
    assert (first.first_s, first.last_s) == (0, 4)
    assert sum(first.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert first.best(2) == sorted(first.probabilities.items(), key=lambda p: -p[1])[:2]
    # The brighter one walks, the other stands.
    x1 = whole.boxes["x1"].to_numpy()
    assert np.diff(x1[list(first.rows)]).min() > 5
    assert np.ptp(x1[list(second.rows)]) <= 1
    person = whole.persons[0]
    assert person.box_xyxy == pytest.approx((8, 24, 27, 79), abs=2)
    assert person.best == max(LABELS, key=person.probabilities.__getitem__)


def test_boxes_are_in_pixels_of_the_upright_video(world: World, tmp_path: Path) -> None:
    large = encode(tmp_path / "large.mp4", walkers(2, size=(1280, 768)), rate=1)
    small = ready(world, short_side=96).predict(large, LABELS)
    assert small.size == (1280, 768)
    assert small.persons[0].box_xyxy == pytest.approx((64, 192, 223, 639), abs=17)
    phone = turn(encode(tmp_path / "phone.mp4", walkers(2), rate=1))
    upright = ready(world).predict(phone, LABELS)
    assert upright.size == (HEIGHT, WIDTH)
    # A quarter turn clockwise: x is the height minus what y was, y is what x was.
    x1, y1, x2, y2 = upright.persons[0].box_xyxy
    assert (y1, HEIGHT - 1 - x2, y2, HEIGHT - 1 - x1) == pytest.approx((8, 24, 27, 79), abs=2)


def test_a_full_device_gets_smaller_batches(
    own: Predictor, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, real = [], predictor.score_boxes

    def small_device(*args: Any, config: Any, **keywords: Any) -> np.ndarray:
        tried.append(config.score.batch_frames)
        if config.score.batch_frames > 8:
            raise torch.OutOfMemoryError("full")
        return real(*args, config=config, **keywords)

    monkeypatch.setattr(predictor, "score_boxes", small_device)
    assert len(own.predict(walk, LABELS).boxes) == 10
    assert tried == [32, 16, 8]
    own._batch_frames = 32


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


# The command, the Python call, other libraries


def test_the_command_predicts_with_what_the_project_ships(
    tmp_path: Path, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scale mini: the tiny CLIP, and a detector of the tiny one's form, here untrained."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "splits").symlink_to(ROOT / "splits")
    weights = tmp_path / "data/mini/models/tiny_detector.safetensors"
    weights.parent.mkdir(parents=True)
    save_file(eager_tiny_detector().state_dict(), weights)
    (tmp_path / "labels.txt").write_text("walk\nsit\n")
    done = CliRunner().invoke(
        app,
        ["predict", str(walk), "--labels-file", "labels.txt", "--detector", "tiny", "--every", "2",
         "--template", "a person {}", "--independent", "--no-overlay", "--out", "found"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "walk: 3 key frames, files in found/walk" in done.output
    assert re.search(r"0 +0\.0 - \d\.0 +\d +(walk|sit) \d\.\d\d, (walk|sit)", done.output)
    assert sorted(path.name for path in (tmp_path / "found" / "walk").iterdir()) == [
        "predictions.csv", "predictions.json", "sheet.png",
    ]  # fmt: skip
    for wrong in ([], ["--labels", "a", "--labels-file", "labels.txt"]):
        failed = CliRunner().invoke(app, ["predict", str(walk), *wrong])
        assert isinstance(failed.exception, ConfigError)


def test_importing_the_package_stays_light() -> None:
    code = (
        "import stclip, sys; assert {'predict', 'Predictor'} <= {*dir(stclip)}; "
        "assert not {'torch', 'av', 'pandas'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert stclip.predict is predictor.predict, "no room has its name"


def test_the_python_call_has_the_commands_defaults(world: World, walk: Path) -> None:
    found = stclip.predict(walk, LABELS, scale="small", config=world.config, device="cpu")
    assert found.method == "clip_frame_crop"
    table = found.table
    assert list(table)[:8] == ["video", "frame", "class", "score", "x1", "y1", "x2", "y2"]
    assert len(table) == 30
    assert table["score"].iloc[0] == pytest.approx(
        found.probabilities[0, 0] * found.boxes["detector_score"].iloc[0]
    )


class _Record:
    """Keeps what it is made of, by the names that the library's own class has."""

    names: tuple[str, ...] = ()

    def __init__(self, **given: Any) -> None:
        assert set(given) <= set(self.names), given
        self.__dict__.update(given)


def _library(name: str, **classes: tuple[str, ...]) -> SimpleNamespace:
    made = {c: type(c, (_Record,), {"names": fields}) for c, fields in classes.items()}
    return SimpleNamespace(__name__=name, **made)


def test_predictions_go_to_supervision(
    own: Predictor, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = own.predict(walk, LABELS)
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigError, match="supervision is not installed; install it"):
        stclip.to_supervision(found)
    fields = ("xyxy", "mask", "confidence", "class_id", "tracker_id", "data", "metadata")
    monkeypatch.setitem(sys.modules, "supervision", _library("supervision", Detections=fields))
    frames = stclip.to_supervision(found)
    assert list(frames) == [0, 10, 20, 30, 40]
    first = frames[0]
    assert first.xyxy.shape == (2, 4)
    assert first.xyxy.dtype == np.float32
    assert first.tracker_id.tolist() == [0, 1]
    best = found.probabilities[:2].argmax(1)
    assert first.class_id.tolist() == best.tolist()
    assert first.data["class_name"].tolist() == [LABELS[k] for k in best]
    assert first.confidence == pytest.approx(
        found.probabilities[:2].max(1) * first.data["detector_score"]
    )


def test_predictions_go_to_fiftyone(
    own: Predictor, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = own.predict(walk, LABELS)
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(ConfigError, match="fiftyone is not installed"):
        stclip.to_fiftyone(found)
    library = _library(
        "fiftyone", Detection=("label", "bounding_box", "confidence", "index"),
        Detections=("detections",), Frame=("predictions",),
    )  # fmt: skip
    library.Sample = lambda filepath: SimpleNamespace(filepath=filepath, frames={})
    monkeypatch.setitem(sys.modules, "fiftyone", library)
    sample = stclip.to_fiftyone(found)
    assert sample.filepath == str(walk)
    assert list(sample.frames) == [1, 11, 21, 31, 41]
    walker, stander = sample.frames[1].predictions.detections
    assert walker.bounding_box == pytest.approx([8 / 160, 24 / 96, 19 / 160, 55 / 96], abs=0.02)
    assert (walker.index, stander.index) == (0, 1)
    assert walker.label == found.persons[0].best
