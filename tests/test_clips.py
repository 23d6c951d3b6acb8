"""Clips and persons' tracks as samples: which frames, which pictures, what chance changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import World
from PIL import Image

from stclip.boxes.select import select_boxes
from stclip.config import Augmentation, BoxSource, Preprocessing, TrainConfig
from stclip.inputs.augment import augment
from stclip.inputs.batch import Inputs, Sample, TrackSample, pixels_of
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import assemble
from stclip.inputs.person_tracks import tracks
from stclip.inputs.preprocess import crop_box, to_model
from stclip.inputs.samples import make_samples
from stclip.storage.frame_store import read_frame, write_clip
from stclip.train.train import plan_batches

SIZE = (24, 32)
CLIP = Inputs(unit="clip", num_frames=4)


def noise_clip(folder: Path, clip: str, num_frames: int) -> None:
    rng = np.random.default_rng(num_frames)
    write_clip(folder, clip, rng.integers(0, 256, (num_frames, 60, 80, 3), np.uint8))


def clip_sample(clip: str, num_frames: int, **changes: object) -> Sample:
    box = np.array([[5, 5, 30, 40]], np.float32)
    return replace(Sample(clip, num_frames, box, np.arange(1)), **changes)


def shown(folder: Path, clip: str, frames: list[int]) -> np.ndarray:
    return np.stack([to_model(read_frame(folder, clip, f), SIZE) for f in frames])


# --- frames -------------------------------------------------------------------------------------


def test_views_stand_one_after_the_other_and_training_has_one(tmp_path: Path) -> None:
    noise_clip(tmp_path, "a", 40)
    inputs = replace(CLIP, sampling="a5", views=3)
    reader = FrameReader(tmp_path, SIZE)
    scored = assemble(reader, inputs, [clip_sample("a", 40)], training=False)
    assert scored.frames.shape == (1, 12)
    drawn = scored.frames.view(3, 4).tolist()
    assert len(set(map(tuple, drawn))) > 1  # three drawings of the same clip
    trained = assemble(reader, inputs, [clip_sample("a", 40, draw=1)], training=True)
    assert trained.frames.shape == (1, 4)


def test_the_draw_of_a_sample_alone_decides_its_frames(tmp_path: Path) -> None:
    noise_clip(tmp_path, "a", 40)
    reader = FrameReader(tmp_path, SIZE)
    pictures = [
        pixels_of(assemble(reader, CLIP, [clip_sample("a", 40, draw=d)], training=True).pictures)
        for d in (1, 1, 2)
    ]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_every_sample_of_a_training_has_a_draw_of_its_own() -> None:
    samples = [clip_sample(str(i), 20) for i in range(6)]
    config = TrainConfig(iterations=6, batch_frames=3)
    batches = plan_batches(samples, config, inputs=CLIP, seed=0)
    draws = [s.draw for batch in batches for s in batch]
    assert len(set(draws)) == len(draws) == 18
    again = plan_batches(samples, config, inputs=CLIP, seed=0)
    assert [s.draw for batch in again for s in batch] == draws


def test_whole_frames_are_enlarged_before_their_centre_is_cut(tmp_path: Path) -> None:
    noise_clip(tmp_path, "a", 4)
    look = Preprocessing(enlarge=1.25, interpolation="bilinear")
    reader = FrameReader(tmp_path, SIZE, preprocessing=look)
    batch = assemble(reader, CLIP, [clip_sample("a", 4)], training=False)
    # 60 x 80 covers 30 x 40 exactly; of that the middle 24 x 32.
    wanted = read_frame(tmp_path, "a", 0).resize((40, 30), Image.Resampling.BILINEAR)
    wanted = wanted.crop((4, 3, 36, 27))
    assert np.array_equal(
        pixels_of(batch.pictures)[0].numpy().transpose(1, 2, 0), np.asarray(wanted)
    )


# --- tracks -------------------------------------------------------------------------------------


def table_of(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    """clip, frame, x1, score; boxes are 20 x 40."""
    table = pd.DataFrame(rows, columns=["clip", "frame", "x1", "detector_score"])
    table = table.assign(y1=5.0, x2=table["x1"] + 20.0, y2=45.0)
    return table.assign(origin="detections", stored=table.index)


FPS = {"a": 30.0, "b": 30.0}


def test_boxes_that_overlap_from_frame_to_frame_are_one_track() -> None:
    table = table_of(
        [
            ("a", 0, 10, 0.9), ("a", 0, 50, 0.8), ("a", 1, 12, 0.7), ("a", 1, 49, 0.9),
            ("a", 2, 15, 0.9), ("a", 3, 47, 0.9), ("b", 0, 10, 0.9), ("a", 2, 15, 0.9),
        ]
    )  # fmt: skip
    found = tracks(table, fps=FPS).tolist()
    left, right = found[0], found[1]
    assert found[2] == left
    assert [found[i] for i in (3, 5)] == [right, right]  # frame 2 lacks it
    (other,) = {found[4], found[7]} - {left}  # of two equal boxes one is another person
    assert len({left, right, other}) == 3
    assert found[6] == 0  # numbers begin anew in every clip


def test_annotated_tubes_are_kept_and_box_sources_do_not_mix() -> None:
    table = table_of([("a", 0, 10, 1.0), ("a", 1, 10, 1.0), ("a", 0, 10, 0.5), ("a", 1, 10, 0.5)])
    table = table.assign(source=["gt", "gt", "detected", "detected"], tube=[4, 7, None, None])
    assert tracks(table, fps=FPS).tolist() == [4, 7, 0, 0]


def test_a_track_is_seen_from_its_first_to_its_last_frame(world: World, tmp_path: Path) -> None:
    noise_clip(tmp_path, "clip_5", 11)
    rows = [("clip_5", 8, 30, 0.9), ("clip_5", 2, 6, 0.9), ("clip_5", 4, 14, 0.9)]
    table = table_of(rows).assign(tube=0)
    (sample,) = make_samples(table, world.clips, inputs=Inputs(unit="tracklet"))
    assert sample.rows.tolist() == [1, 2, 0]  # by frame
    assert isinstance(sample, TrackSample)
    assert sample.box_frames.tolist() == [2, 4, 8]
    inputs = Inputs(unit="tracklet", num_frames=7, crops=True)
    squashed = FrameReader(tmp_path, SIZE, preprocessing=Preprocessing(crop_mode="squash"))
    batch = assemble(squashed, inputs, [sample], training=False)
    # Frames 2..8; x1 is 6, 10, 14, then 4 more a frame up to 30.
    wanted = [
        crop_box(
            read_frame(tmp_path, "clip_5", frame), np.array([x, 5, x + 20, 45]), SIZE,
            Preprocessing(crop_mode="squash"),
        )
        for frame, x in zip(range(2, 9), (6, 10, 14, 18, 22, 26, 30), strict=True)
    ]  # fmt: skip
    assert np.array_equal(pixels_of(batch.pictures), wanted)
    inputs = replace(inputs, crops=False)
    whole = assemble(FrameReader(tmp_path, SIZE), inputs, [sample], training=False)
    assert np.array_equal(pixels_of(whole.pictures), shown(tmp_path, "clip_5", list(range(2, 9))))


def test_two_persons_of_a_clip_are_two_tracklets_with_pictures_of_their_own(world: World) -> None:
    table = select_boxes(BoxSource(source="detections"), world.data, names=["clip_8"])
    samples = make_samples(table, world.clips, inputs=Inputs(unit="tracklet"))
    assert len(samples) == 2  # one in all frames, one in every second
    assert sorted(np.concatenate([s.rows for s in samples]).tolist()) == list(range(len(table)))
    inputs = Inputs(unit="tracklet", num_frames=4, crops=True)
    batch = assemble(FrameReader(world.frames, SIZE), inputs, samples, training=False)
    assert set(batch.frames[0].tolist()).isdisjoint(batch.frames[1].tolist())


# --- chance in the pictures ---------------------------------------------------------------------

FRAMES = [
    Image.fromarray(np.random.default_rng(i).integers(0, 256, (60, 80, 3), np.uint8))
    for i in range(3)
]
KINDS = {
    "multi_scale_5": {"crop": "multi_scale_5"},
    "multi_scale_13": {"crop": "multi_scale_13"},
    "random_resized": {"crop": "random_resized"},
    "flip": {"flip": 1.0},
    "jitter": {"jitter": 1.0},
    "greyscale": {"greyscale": 1.0},
    "rand_augment": {"rand_augment": "rand-m7-n4-mstd0.5-inc1"},
}


def changed(seed: int, frames: list[Image.Image] | None = None, **kind: object) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return augment(frames or FRAMES, SIZE, Augmentation(**kind), Preprocessing(), rng)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_draws_give_equal_pictures_and_others_others(kind: str) -> None:
    plain = np.stack([to_model(image, SIZE) for image in FRAMES])
    results = [changed(seed, **KINDS[kind]) for seed in range(12)]
    assert results[0].shape == (3, 3, *SIZE)
    assert results[0].dtype == np.uint8
    assert np.array_equal(results[0], changed(0, **KINDS[kind]))
    assert any(not np.array_equal(result, plain) for result in results)
    if kind not in ("flip", "greyscale"):
        assert any(not np.array_equal(result, results[0]) for result in results)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "jitter"])
def test_all_frames_of_a_clip_change_alike(kind: str) -> None:
    for seed in range(6):
        result = changed(seed, [FRAMES[0]] * 3, **KINDS[kind])
        assert np.array_equal(result[0], result[1])
        assert np.array_equal(result[0], result[2])


def test_colours_change_in_each_frame_otherwise() -> None:
    result = changed(0, [FRAMES[0]] * 2, jitter=1.0)
    assert not np.array_equal(result[0], result[1])


def test_mirroring_and_grey_do_what_they_say() -> None:
    plain = np.stack([to_model(image, SIZE) for image in FRAMES])
    assert np.array_equal(changed(0, flip=1.0), plain[..., ::-1])
    grey = changed(0, greyscale=1.0)
    assert np.array_equal(grey[:, 0], grey[:, 1])


@pytest.mark.parametrize("crop", ["multi_scale_5", "multi_scale_13"])
def test_multi_scale_crops_come_from_the_published_places(crop: str) -> None:
    """On a picture of coordinates the drawn box can be read back: 60 x 80, shorter side 60."""
    y, x = np.mgrid[:60, :80]
    picture = Image.fromarray(np.stack([x, y, 0 * x], -1).astype(np.uint8))
    found = set()
    for seed in range(300):
        (red, green, _) = changed(seed, [picture], crop=crop)[0].astype(int)
        found.add((red.min(), red.max(), green.min(), green.max()))
    widths = {right - left for left, right, _, _ in found}
    assert len(widths) == 4  # of 60 pixels times 1, 0.875, 0.75, 0.66
    places = {(left, top) for left, _, top, _ in found}
    assert (0, 0) in places
    assert len(places) > (20 if crop == "multi_scale_13" else 8)
    assert all(bottom < 60 and right < 80 for _, right, _, bottom in found)


def test_only_training_changes_pictures(tmp_path: Path) -> None:
    noise_clip(tmp_path, "a", 4)
    reader = FrameReader(tmp_path, SIZE, augmentation=Augmentation(flip=1.0))
    plain = shown(tmp_path, "a", [0, 1, 2, 3])
    samples = [clip_sample("a", 4, draw=3)]
    scored = assemble(reader, CLIP, samples, training=False)
    trained = assemble(reader.part(1), CLIP, samples, training=True)
    assert np.array_equal(pixels_of(scored.pictures), plain)
    assert np.array_equal(pixels_of(trained.pictures), plain[..., ::-1])
