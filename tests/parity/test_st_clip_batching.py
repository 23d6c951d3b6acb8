"""However frames and persons are batched, ST-CLIP gives each the same logits."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from small_clip import gap
from test_st_clip import LABELS, SIZES, Scene, small_method
from torch import Tensor

from stclip.inputs.batch import PersonSample


@pytest.fixture(params=SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return Scene(tmp_path, request.param)


def test_one_frame_at_a_time_gives_the_same_logits(scene: Scene) -> None:
    method = small_method(scene.size)
    text = method.encode_labels(LABELS)
    together = method(scene.batch(method), text)
    alone = torch.cat([method(scene.batch(method, [s]), text) for s in scene.samples])
    assert gap(together, alone) < 1e-9


def test_parts_of_a_batch_give_the_same_logits(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few pictures, windows and persons go through the model at once."""
    method = small_method(scene.size)
    text = method.encode_labels(LABELS)
    together = method(scene.batch(method), text)
    monkeypatch.setattr("stclip.methods.st_clip.st_clip.AT_ONCE", 2)
    assert gap(method(scene.batch(method), text), together) < 1e-9


def test_equal_windows_are_mixed_once(scene: Scene) -> None:
    """A clip of 12 frames has 4 windows of 9: key frames 1-5, 6, 7 and 8-12, counted from 1."""
    method = small_method(scene.size)
    mixed: list[int] = []
    method.temporal.register_forward_hook(lambda *args: mixed.append(len(args[2])))
    boxes = np.array([[2, 3, 30, 40]], np.float32)
    samples = [
        PersonSample("long", 12, boxes, np.arange(1), key_frame=frame) for frame in range(12)
    ]
    method(scene.batch(method, samples), method.encode_labels(LABELS))
    assert mixed == [4]


def _shuffled(scene: Scene) -> tuple[list[PersonSample], Tensor]:
    """The persons of every frame in another order, and where each row went."""
    rng = np.random.default_rng(5)
    samples, order, start = [], [], 0
    for sample in scene.samples:
        within = rng.permutation(len(sample.rows))
        boxes = sample.boxes_xyxy[within]
        samples.append(replace(sample, boxes_xyxy=boxes))
        order.append(torch.from_numpy(start + within))
        start += len(within)
    return samples, torch.cat(order)


def _reversed(scene: Scene) -> tuple[list[PersonSample], Tensor]:
    """The frames in the opposite order, and where each row went."""
    starts = np.cumsum([0] + [len(s.rows) for s in scene.samples])
    rows = [torch.arange(a, b) for a, b in pairwise(starts)]
    return scene.samples[::-1], torch.cat(rows[::-1])


@pytest.mark.parametrize("rearrange", [_shuffled, _reversed])
def test_rearranged_persons_and_frames_give_rearranged_logits(
    scene: Scene, rearrange: Callable[[Scene], tuple[list[PersonSample], Tensor]]
) -> None:
    method = small_method(scene.size)
    text = method.encode_labels(LABELS)
    before = method(scene.batch(method), text)
    samples, order = rearrange(scene)
    assert order.tolist() != sorted(order.tolist())
    assert gap(method(scene.batch(method, samples), text), before[order]) < 1e-9


def test_every_frame_sees_its_persons_only(scene: Scene) -> None:
    """Another person in a frame moves that frame's logits and no other's."""
    method = small_method(scene.size)
    text = method.encode_labels(LABELS)
    before = method(scene.batch(method), text)
    first = scene.samples[0]
    grown = np.concatenate([first.boxes_xyxy, first.boxes_xyxy[:1] + 3])
    more = replace(first, boxes_xyxy=grown, rows=np.arange(3))
    after = method(scene.batch(method, [more, *scene.samples[1:]]), text)
    assert gap(after[3:], before[2:]) < 1e-9  # 2 persons before, 3 now
    assert gap(after[:2], before[:2]) > 1e-3
