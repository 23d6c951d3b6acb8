"""Stored features of frames: the same numbers as encoding, and never those of something else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import World

from stclip.boxes import make_samples, select_boxes
from stclip.config import BoxSource, MethodConfig, Preprocessing, features_key
from stclip.errors import ConfigError, DataError
from stclip.features import Features, write_features
from stclip.frames import assemble, make_reader
from stclip.method import load_method
from stclip.model.backbone import load_backbone
from stclip.pictures import read_frame, write_clip
from stclip.preprocess import to_model
from stclip.records import Clips


def settings(world: World, name: str = "clip_frame", **changes: object) -> MethodConfig:
    config = world.method(name, iterations=0)
    return config.model_copy(update={"features": True, **changes})


@pytest.fixture
def stored(world: World) -> tuple[MethodConfig, Path]:
    config, path = settings(world), world.folder / "features.safetensors"
    torch.manual_seed(0)  # the small backbone's weights are random
    backbone = load_backbone(config.backbone)
    write_features(backbone, config, clips=world.clips, frames=world.frames, out=path)
    return config, path


def test_features_are_those_of_the_backbone(
    world: World, stored: tuple[MethodConfig, Path]
) -> None:
    config, path = stored
    torch.manual_seed(0)
    backbone = load_backbone(config.backbone)
    found = Features.read(path, clips=world.clips, config=config)
    for clip, frame in (("clip_0", 0), ("clip_3", 7), ("clip_9", 10)):
        picture = to_model(read_frame(world.frames, clip, frame), backbone.image_size)
        with torch.no_grad():
            expected = backbone.clip.encode_image(
                backbone.normalise(torch.from_numpy(picture)[None])
            )[0]
        np.testing.assert_allclose(found.of(clip, frame), expected, rtol=1e-4, atol=1e-5)


def test_a_method_scores_the_same_from_features_and_from_pictures(
    world: World, stored: tuple[MethodConfig, Path]
) -> None:
    config, path = stored
    torch.manual_seed(0)
    method = load_method(config)
    table = select_boxes(
        BoxSource(source="ground_truth"), ground_truth=world.boxes, detections=None,
        clips=world.clips, names=world.split.unseen_clips,
    )  # fmt: skip
    samples = make_samples(table, world.clips, unit=method.inputs.unit)
    logits = []
    for read in (config, config.model_copy(update={"features": False})):
        reader = make_reader(method, read, clips=world.clips, frames=world.frames, features=path)
        batch = assemble(reader, method.inputs, samples)
        assert (batch.images is None) == read.features
        logits.append(method(batch, method.encode_labels(world.split.unseen)))
    torch.testing.assert_close(*logits, rtol=1e-5, atol=1e-4)


def other_backbone(config: MethodConfig) -> MethodConfig:
    backbone = config.backbone.model_copy(update={"weights": "other.safetensors"})
    return config.model_copy(update={"backbone": backbone})


def other_look(config: MethodConfig) -> MethodConfig:
    return config.model_copy(update={"preprocessing": Preprocessing(enlarge=1.2)})


@pytest.mark.parametrize("change", [other_backbone, other_look])
def test_features_of_something_else_are_refused(
    world: World,
    stored: tuple[MethodConfig, Path],
    change: Callable[[MethodConfig], MethodConfig],
) -> None:
    config, path = stored
    assert features_key(config) != features_key(change(config))
    with pytest.raises(ConfigError, match=r"features\.safetensors: features of .*asked for"):
        Features.read(path, clips=world.clips, config=change(config))


def test_features_of_other_clips_are_refused(
    world: World, stored: tuple[MethodConfig, Path]
) -> None:
    config, path = stored
    fewer = Clips(world.clips.table.iloc[1:].reset_index(drop=True))
    with pytest.raises(DataError, match="features of other clips"):
        Features.read(path, clips=fewer, config=config)


def test_a_flipped_byte_is_told_with_its_clip(
    world: World, stored: tuple[MethodConfig, Path]
) -> None:
    config, path = stored
    found = Features.read(path, clips=world.clips, config=config).of("clip_1", 3)
    content = bytearray(path.read_bytes())
    place = content.find(found.tobytes())
    content[place + 5] ^= 16
    path.write_bytes(content)
    damaged = Features.read(path, clips=world.clips, config=config)
    damaged.of("clip_0", 3)
    with pytest.raises(DataError, match=r"damaged features of clip 'clip_1'; delete it"):
        damaged.of("clip_1", 0)
    path.write_bytes(content[:-100])
    with pytest.raises(DataError, match=r"features\.safetensors: damaged features"):
        Features.read(path, clips=world.clips, config=config)
    path.unlink()
    with pytest.raises(DataError, match="no features; run the features stage"):
        Features.read(path, clips=world.clips, config=config)


def test_features_cannot_stand_for_pictures_that_change(
    world: World, stored: tuple[MethodConfig, Path]
) -> None:
    config, path = stored
    torch.manual_seed(0)
    method = load_method(config)
    train = config.train.model_copy(update={"augmentation": {"flip": 0.5}})
    flipped = MethodConfig.model_validate(config.model_dump() | {"train": train.model_dump()})
    with pytest.raises(ConfigError, match="frames as they are; set features: false"):
        make_reader(method, flipped, clips=world.clips, frames=world.frames, features=path)
    with pytest.raises(ConfigError, match="give --features"):
        make_reader(method, config, clips=world.clips, frames=world.frames, features=None)
    st_clip = load_method(settings(world, "st_clip"))
    with pytest.raises(ConfigError, match="works on pictures; set features: false"):
        make_reader(
            st_clip, settings(world, "st_clip"), clips=world.clips, frames=world.frames,
            features=path,
        )  # fmt: skip


def test_a_missing_frame_stops_the_stage_without_a_file(world: World) -> None:
    write_clip(world.frames, "clip_4", np.zeros((1, 48, 64, 3), np.uint8))  # it has 12
    config, path = settings(world), world.folder / "features.safetensors"
    with pytest.raises(DataError, match=r"clip_4\.npy: frame 1 of clip 'clip_4' is missing"):
        write_features(
            load_backbone(config.backbone), config, clips=world.clips, frames=world.frames, out=path
        )
    assert not path.exists()
