"""Stored features of frames and boxes: what encoding gives, and never those of something else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import World

from stclip.boxes.select import select_boxes
from stclip.config import BoxSource, MethodConfig, Preprocessing, TrainConfig
from stclip.config.hashes import crops_key, frames_key
from stclip.errors import ConfigError, DataError
from stclip.features.encode import write_box_features, write_frame_features
from stclip.inputs.batch import Encoded, PersonBatch
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import assemble
from stclip.inputs.preprocess import crop_box, to_model
from stclip.inputs.samples import make_samples
from stclip.inputs.stored_features import BoxFeatures, FrameFeatures
from stclip.methods.build import load_method
from stclip.methods.clip.backbone import Backbone, load_backbone
from stclip.methods.reading import make_reader
from stclip.records import Clips
from stclip.storage.frame_store import read_frame, write_clip

STRIDE = 4
CONTEXT = Preprocessing(crop_mode="context", crop_scale=1.5)


def settings(world: World, name: str = "clip_frame_crop", **changes: object) -> MethodConfig:
    config = world.method(name, iterations=0)
    kinds = {"features": ["frames", "boxes"], "preprocessing": CONTEXT}
    return config.model_copy(update=kinds | changes)


def seeded_backbone(config: MethodConfig) -> Backbone:
    torch.manual_seed(0)  # the small backbone's weights are random
    return load_backbone(config.backbone)


@pytest.fixture
def stored(world: World) -> dict[str, Path]:
    config, folder = settings(world), world.folder
    paths = {
        name: folder / f"{name}.safetensors" for name in ("frames", "ground_truth", "detections")
    }
    backbone = seeded_backbone(config)
    write_frame_features(backbone, config, world.clips, frames=world.frames, out=paths["frames"])
    for name in ("ground_truth", "detections"):
        encode_boxes(world, world.data.table_of(name), paths[name], every=STRIDE)
    return paths


def encode_boxes(
    world: World, table: pd.DataFrame, out: Path, *, every: int = 1, workers: int = 0
) -> None:
    config = settings(world)
    write_box_features(
        seeded_backbone(config), config, world.clips, table=table, frames=world.frames, out=out,
        key_frames=world.with_key_frames(every=every).key_frames, workers=workers,
    )  # fmt: skip


def test_worker_processes_write_the_same_bytes(world: World, stored: dict[str, Path]) -> None:
    config, out = settings(world), world.folder / "again.safetensors"
    backbone = seeded_backbone(config)
    write_frame_features(backbone, config, world.clips, frames=world.frames, out=out, workers=2)
    assert out.read_bytes() == stored["frames"].read_bytes()
    encode_boxes(world, world.boxes.table, out, every=STRIDE, workers=2)
    assert out.read_bytes() == stored["ground_truth"].read_bytes()


def encoded(backbone: Backbone, picture: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        images = backbone.normalise(torch.from_numpy(picture)[None])
        found: np.ndarray = backbone.clip.encode_image(images)[0].numpy()
    return found


def test_features_are_those_of_the_backbone(world: World, stored: dict[str, Path]) -> None:
    config = settings(world)
    backbone = seeded_backbone(config)
    of_frames = FrameFeatures(stored["frames"], clips=world.clips, config=config)
    for key in (("clip_0", 0), ("clip_3", 7), ("clip_9", 10)):
        picture = to_model(read_frame(world.frames, *key), backbone.image_size)
        expected = encoded(backbone, picture)
        np.testing.assert_allclose(of_frames.of([key])[0], expected, rtol=1e-4, atol=1e-5)
    of_boxes = BoxFeatures(stored["detections"], table=world.detections.table, config=config)
    for row in (0, 5, len(world.detections) - 1):
        box = world.detections.table.iloc[row]
        if box["frame"] % STRIDE and box["clip"] >= "clip_5":
            continue
        image = read_frame(world.frames, box["clip"], int(box["frame"]))
        corners = box[["x1", "y1", "x2", "y2"]].to_numpy(np.float32)
        picture = crop_box(image, corners, backbone.image_size, CONTEXT)
        expected = encoded(backbone, picture)
        np.testing.assert_allclose(of_boxes.of_rows(np.array([row]))[0], expected, atol=1e-5)


def test_boxes_of_test_clips_are_encoded_on_key_frames_alone(
    world: World, stored: dict[str, Path]
) -> None:
    config, table = settings(world), world.boxes.table
    found = BoxFeatures(stored["ground_truth"], table=table, config=config)
    trained_on = table["clip"].isin([f"clip_{i}" for i in range(5)])
    needed = trained_on | (table["frame"] % STRIDE == 0)
    assert len(found.of_rows(np.flatnonzero(needed))) == needed.sum()
    row = int(np.flatnonzero(~needed)[0])
    with pytest.raises(DataError, match=rf"ground_truth\.safetensors: no feature of row {row}"):
        found.of_rows(np.array([row]))


def test_boxes_without_area_in_the_picture_are_left_out(world: World) -> None:
    config, out = settings(world), world.folder / "some.safetensors"
    table = world.boxes.table.iloc[:3].copy()
    table.loc[1, ["x1", "x2"]] = [70.0, 90.0]  # the picture is 64 wide
    encode_boxes(world, table, out)
    found = BoxFeatures(out, table=table, config=config)
    assert len(found.of_rows(np.array([0, 2]))) == 2
    with pytest.raises(DataError, match="no feature of row 1"):
        found.of_rows(np.array([1]))


@pytest.mark.parametrize("source", ["ground_truth", "detections"])
def test_a_method_gives_the_same_from_features_and_from_pictures(
    world: World, stored: dict[str, Path], source: str
) -> None:
    config = settings(world)
    torch.manual_seed(0)
    method = load_method(config)
    data = world.with_key_frames(every=STRIDE)
    table = select_boxes(BoxSource(source=source), data, names=world.split.unseen_clips)  # type: ignore[arg-type]
    samples = make_samples(table, world.clips, inputs=method.inputs)
    logits = []
    for kinds in (["frames", "boxes"], ["frames"], ["boxes"], []):
        read = config.model_copy(update={"features": kinds})
        batch = assemble(reader(world, read, stored), method.inputs, samples, training=False)
        assert isinstance(batch, PersonBatch)
        assert isinstance(batch.pictures, Encoded) == ("frames" in kinds)
        assert isinstance(batch.crops, Encoded) == ("boxes" in kinds)
        logits.append(method(batch, method.encode_labels(world.split.unseen)))
    for found in logits[1:]:
        torch.testing.assert_close(found, logits[0], rtol=1e-5, atol=1e-4)


def reader(world: World, config: MethodConfig, features: dict[str, Path]) -> FrameReader:
    torch.manual_seed(0)
    data, kinds = replace(world.data, features=features), ["ground_truth", "detections"]
    return make_reader(load_method(config), config, data, kinds_of_boxes=kinds)


TINY_WEIGHTS = "package:mini/tiny_clip/weights.safetensors"


def other_backbone(config: MethodConfig) -> MethodConfig:
    backbone = config.backbone.model_copy(update={"weights": TINY_WEIGHTS})
    return config.model_copy(update={"backbone": backbone})


def other_statistics(config: MethodConfig) -> MethodConfig:
    return config.model_copy(update={"preprocessing": Preprocessing(statistics="imagenet")})


@pytest.mark.parametrize("change", [other_backbone, other_statistics])
def test_features_of_something_else_are_refused(
    world: World, stored: dict[str, Path], change: Callable[[MethodConfig], MethodConfig]
) -> None:
    config = settings(world)
    other = change(config)
    assert frames_key(config) != frames_key(other)
    assert crops_key(config) != crops_key(other)
    with pytest.raises(ConfigError, match=r"frames\.safetensors: features of .*asked for"):
        FrameFeatures(stored["frames"], clips=world.clips, config=other)
    with pytest.raises(ConfigError, match=r"detections\.safetensors: features of .*asked for"):
        BoxFeatures(stored["detections"], table=world.detections.table, config=other)


def test_features_of_a_backbone_whose_file_changed_are_refused(
    world: World, stored: dict[str, Path]
) -> None:
    config = settings(world)
    path = Path(config.backbone.model)
    path.write_text(path.read_text() + " ")
    with pytest.raises(ConfigError, match=r"frames\.safetensors: features of .*files .*asked for"):
        FrameFeatures(stored["frames"], clips=world.clips, config=config)
    with pytest.raises(ConfigError, match=r"detections\.safetensors: features of .*asked for"):
        BoxFeatures(stored["detections"], table=world.detections.table, config=config)


def test_frames_do_not_care_how_boxes_are_cut_nor_boxes_how_frames_are(world: World) -> None:
    config = settings(world)
    cut = config.model_copy(update={"preprocessing": Preprocessing(crop_scale=2.0)})
    larger = config.model_copy(
        update={"preprocessing": CONTEXT.model_copy(update={"enlarge": 1.2})}
    )
    assert frames_key(config) == frames_key(cut) != frames_key(larger)
    assert crops_key(config) == crops_key(larger) != crops_key(cut)


def test_features_of_other_clips_and_boxes_are_refused(
    world: World, stored: dict[str, Path]
) -> None:
    config = settings(world)
    fewer = Clips(world.clips.table.iloc[1:].reset_index(drop=True))
    with pytest.raises(DataError, match="features of other clips or boxes"):
        FrameFeatures(stored["frames"], clips=fewer, config=config)
    moved = world.detections.table.assign(x1=world.detections.table["x1"] + 1)
    with pytest.raises(DataError, match="features of other clips or boxes"):
        BoxFeatures(stored["detections"], table=moved, config=config)


def test_damaged_and_missing_features_are_told(world: World, stored: dict[str, Path]) -> None:
    config, path = settings(world), stored["frames"]
    found = FrameFeatures(path, clips=world.clips, config=config).of([("clip_1", 3)])
    content = bytearray(path.read_bytes())
    content[content.find(found.tobytes()) + 5] ^= 16
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"frames\.safetensors: damaged.*Delete it"):
        FrameFeatures(path, clips=world.clips, config=config)
    path.write_bytes(content[:-100])
    with pytest.raises(DataError, match=r"frames\.safetensors: damaged"):
        FrameFeatures(path, clips=world.clips, config=config)
    path.unlink()
    with pytest.raises(DataError, match="no such file; run the features stage"):
        FrameFeatures(path, clips=world.clips, config=config)


def test_features_cannot_stand_for_pictures_that_change(
    world: World, stored: dict[str, Path]
) -> None:
    config = settings(world)
    train = TrainConfig(iterations=0, augmentation={"flip": 0.5})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"frames as they are; set features: \[\]"):
        reader(world, config.model_copy(update={"train": train}), stored)
    with pytest.raises(ConfigError, match="give --features frames=FILE"):
        reader(world, config, {})
    with pytest.raises(ConfigError, match=r"works on pictures; set features: \[\]"):
        reader(world, settings(world, "st_clip"), stored)
    with pytest.raises(ConfigError, match="objects is True, the method itself says False"):
        reader(world, settings(world, objects=True), stored)


def test_a_missing_frame_stops_the_stage_without_a_file(world: World) -> None:
    write_clip(world.frames, "clip_4", np.zeros((1, 48, 64, 3), np.uint8))  # it has 12
    config, path = settings(world), world.folder / "features.safetensors"
    backbone = seeded_backbone(config)
    with pytest.raises(DataError, match=r"clip_4\.npy: frame 1 of clip 'clip_4' is missing"):
        write_frame_features(backbone, config, world.clips, frames=world.frames, out=path)
    assert not path.exists()
