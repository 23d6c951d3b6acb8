"""Chance in the pictures of a training clip, as the video methods' official trainings have it.

What a clip draws (crop, mirroring, whether its colours change) is the same in all of its frames;
only the strengths of a change of colours are drawn for each frame, as the official code does.
"""

import random
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from torchvision.transforms import ColorJitter, RandomResizedCrop

from stclip.config import Augmentation, Preprocessing
from stclip.inputs.preprocess import INTERPOLATIONS, to_array, to_model

SCALES = (1.0, 0.875, 0.75, 0.66)  # of multi-scale crops, times the picture's shorter side
NEAR = 2  # pixels; a side so near to the wanted one becomes it
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.2, 0.1
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # of random resized crops


def augment(
    images: Sequence[Image.Image],
    size: tuple[int, int],
    augmentation: Augmentation,
    preprocessing: Preprocessing,
    rng: np.random.Generator,
) -> np.ndarray:
    """Bring the frames of a clip to `size` (height, width), changed by chance.

    Args:
        images: frames of one size.
        size: of the pictures that come back.
        augmentation: what may change.
        preprocessing: how a frame comes to its size where no crop is drawn.
        rng: decides; the same generator state gives the same pictures.

    Returns:
        uint8 (n, 3, height, width).
    """
    height, width = size
    frames = list(images)
    if augmentation.rand_augment:
        frames = _rand_augment(frames, augmentation.rand_augment, rng)
    if augmentation.crop != "none":
        box = _crop_box(frames[0].size, size, augmentation.crop, rng)
        how = INTERPOLATIONS["bilinear"]
        frames = [image.crop(box).resize((width, height), how) for image in frames]
    else:
        frames = [
            Image.fromarray(to_model(image, size, preprocessing).transpose(1, 2, 0))
            for image in frames
        ]
    if rng.random() < augmentation.flip:
        frames = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in frames]
    if rng.random() < augmentation.jitter:
        frames = _jitter(frames, rng)
    if rng.random() < augmentation.greyscale:
        frames = [image.convert("L").convert("RGB") for image in frames]
    return np.stack([to_array(image) for image in frames])


def _crop_box(
    picture: tuple[int, int], size: tuple[int, int], kind: str, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of the picture, whose width and height are given."""
    if kind == "random_resized":
        return _random_resized_box(picture, rng)
    width, height = _multi_scale_size(picture, size, rng)
    places = _positions(picture[0] - width, picture[1] - height, kind)
    left, top = places[int(rng.integers(len(places)))]
    return left, top, left + width, top + height


def _multi_scale_size(
    picture: tuple[int, int], size: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int]:
    """Width and height of a crop: two of the scales that are at most one apart."""
    base, (wanted_height, wanted_width) = min(picture), size
    sides = [int(base * scale) for scale in SCALES]
    pairs = [(i, j) for i in range(len(sides)) for j in range(len(sides)) if abs(i - j) <= 1]
    i, j = pairs[int(rng.integers(len(pairs)))]
    width = wanted_width if abs(sides[i] - wanted_width) <= NEAR else sides[i]
    height = wanted_height if abs(sides[j] - wanted_height) <= NEAR else sides[j]
    return min(width, picture[0]), min(height, picture[1])


def _positions(room_x: int, room_y: int, kind: str) -> list[tuple[int, int]]:
    """Left upper corners on a grid of quarters of the room: corners and centre; for 13 more."""
    x, y = room_x // 4, room_y // 4
    places = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2)]
    if kind == "multi_scale_13":
        places += [(0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]
    return [(i * x, j * y) for i, j in places]


def _random_resized_box(
    picture: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    seed = int(rng.integers(2**62))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        top, left, height, width = RandomResizedCrop.get_params(
            torch.empty(3, picture[1], picture[0]), list(AREA), list(ASPECT)
        )
    return left, top, left + width, top + height


def _jitter(frames: Sequence[Image.Image], rng: np.random.Generator) -> list[Image.Image]:
    change = ColorJitter(BRIGHTNESS, CONTRAST, SATURATION, HUE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        return [change(image) for image in frames]


def _rand_augment(
    frames: Sequence[Image.Image], notation: str, rng: np.random.Generator
) -> list[Image.Image]:
    """timm's, which draws from the global generators: they are set alike for every frame."""
    change = rand_augment_transform(
        notation, {"interpolation": Image.Resampling.BICUBIC, "translate_const": 10}
    )
    seed = int(rng.integers(2**32))
    before, before_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        changed = []
        for image in frames:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            changed.append(change(image))
        return changed
    finally:
        random.setstate(before)
        np.random.set_state(before_numpy)  # noqa: NPY002
