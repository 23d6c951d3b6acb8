"""Where the boxes of a frame lie in the model's picture of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import World
from PIL import Image

from stclip.config import Augmentation, Preprocessing
from stclip.errors import ConfigError
from stclip.inputs.batch import Inputs, PersonSample
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import assemble
from stclip.inputs.preprocess import boxes_to_model, to_model
from stclip.methods.build import load_method
from stclip.methods.reading import make_reader
from stclip.storage.frame_store import write_clip

HOW = [
    Preprocessing(frame_mode="squash"),
    Preprocessing(frame_mode="cover"),
    Preprocessing(frame_mode="cover", enlarge=256 / 224, interpolation="bilinear"),
]


@pytest.mark.parametrize("how", HOW, ids=["squash", "cover", "enlarged"])
@pytest.mark.parametrize("frame", [(240, 320), (320, 240), (200, 200), (96, 128)])
@pytest.mark.parametrize("size", [(224, 224), (48, 64)])
def test_a_box_shows_the_same_in_the_picture(
    how: Preprocessing, frame: tuple[int, int], size: tuple[int, int]
) -> None:
    height, width = frame
    box = np.array([[width * 0.4, height * 0.35, width * 0.65, height * 0.6]], np.float32).round()
    x1, y1, x2, y2 = box[0].astype(int)
    pixels = np.zeros((*frame, 3), np.uint8)
    pixels[y1:y2, x1:x2] = 255
    picture = to_model(Image.fromarray(pixels), size, how)[0]
    found = boxes_to_model(box, frame, size, how)[0]
    assert 0 <= found[0] < found[2] <= size[1]
    columns, rows = np.arange(size[1]), np.arange(size[0])
    across = np.clip(np.minimum(found[2], columns + 1) - np.maximum(found[0], columns), 0, 1)
    down = np.clip(np.minimum(found[3], rows + 1) - np.maximum(found[1], rows), 0, 1)
    inside = down[:, None] * across  # how much of each pixel the box covers
    assert np.abs(picture / 255 - inside).max() < 0.45  # resizing blurs the edges
    assert picture.sum() / 255 == pytest.approx(inside.sum(), rel=0.02)
    middle = [(picture.sum(0) @ columns) / picture.sum(), (picture.sum(1) @ rows) / picture.sum()]
    expected = [(found[0] + found[2] - 1) / 2, (found[1] + found[3] - 1) / 2]
    assert middle == pytest.approx(expected, abs=0.05)


def test_what_was_cut_off_lies_outside() -> None:
    box = np.array([[0, 0, 20, 240], [300, 0, 320, 240]], np.float32)
    found = boxes_to_model(box, (240, 320), (224, 224))  # 298 x 224, 37 off at each side
    scale = 298 / 320
    expected = [[-37, 0, 20 * scale - 37, 224], [300 * scale - 37, 0, 298 - 37, 224]]
    assert found == pytest.approx(np.array(expected), abs=1e-4)


def test_the_loader_places_boxes_beside_those_of_the_frame(world: World) -> None:
    write_clip(world.folder, "wide", np.zeros((5, 40, 80, 3), np.uint8))
    boxes = np.array([[8, 4, 40, 20], [0, 0, 79, 39]], np.float32)
    sample = PersonSample("wide", 5, boxes, np.arange(2), key_frame=2, size=(40, 80))
    squash = FrameReader(world.folder, (32, 32), preprocessing=HOW[0])
    for inputs in (Inputs(unit="person"), Inputs(unit="clip", boxes=True, num_frames=2)):
        samples = [sample, replace(sample, size=(0, 0))]
        batch = assemble(squash, inputs, samples, training=False)
        assert torch.equal(batch.boxes, torch.from_numpy(np.concatenate([boxes, boxes])))
        expected = [[3.2, 3.2, 16, 16], [0, 0, 31.6, 31.2]]
        assert batch.picture_boxes[:2].numpy() == pytest.approx(np.array(expected), abs=1e-5)
        assert torch.equal(batch.picture_boxes[2:], batch.boxes[2:])  # of no known size


def test_boxes_do_not_follow_augmented_clips(world: World) -> None:
    settings = world.method("viclip", iterations=1, augmentation={"flip": 0.5})
    assert settings.train.augmentation == Augmentation(flip=0.5)
    with pytest.raises(ConfigError, match=r"viclip: boxes do not follow .*train\.augmentation"):
        make_reader(load_method(settings), settings, world.data, kinds_of_boxes=[])
