"""Predictions of videos of one's own: the road's scores, own labels, weights, parts."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, World
from own_videos import HEIGHT, WIDTH, encode, turn, walkers, write_images
from predict_world import LABELS, predict_world, ready, two_walk

from stclip.config import BoxSource, load_detector, load_method
from stclip.detect.detect import detect
from stclip.errors import ConfigError, DataError
from stclip.own_videos import predictor
from stclip.own_videos.given_labels import parse_labels, read_labels
from stclip.own_videos.predictor import Predictor
from stclip.records import Scores
from stclip.score.score import score
from stclip.storage.frame_store import read_clip
from stclip.train.run_folder import write_untrained
from stclip.train.train import train


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return predict_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_walk(tmp_path_factory.mktemp("video"))


@pytest.fixture(scope="module")
def own(world: World) -> Predictor:
    return ready(world)


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
