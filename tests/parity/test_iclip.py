"""The batched iCLIP against the slow reference, and its traps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from iclip_world import (
    Frames,
    idle,
    objects_of,
    official_name,
    official_weights,
    small_method,
)
from small_clip import LABELS, SIZE, gap
from torch import Tensor

from baselines.iclip import ICLIP, touching
from baselines.iclip_interaction import Grouping
from stclip.inputs.batch import Encoded, Objects, PersonSample, Pixels


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    return Frames(tmp_path_factory.mktemp("frames"))


SWITCHES: list[dict[str, Any]] = [
    {},
    {"mask_padding": True},
    {"skip_objects": "frame", "prompt_layers": 0},
    {"skip_objects": "batch", "prompt_layers": 1, "temperature": 0.1},
    {"units": "PHM", "memory_pool": "visited"},
    {"units": "HOPO", "object_slots": 2, "person_slots": 2, "context_slots": 3},
    {"units": "MM", "before": 2, "after": 1, "memory_slots": 3, "memory_pool": "visited"},
]


@pytest.mark.parametrize("params", SWITCHES, ids=str)
def test_logits_and_gradients_equal_the_reference(frames: Frames, params: dict[str, Any]) -> None:
    method = small_method(**params)
    weights = official_weights(method)
    samples = frames.samples
    if method.inputs.memory_pool == "visited":
        pools: list[set[int]] = [{19, 21, 22, 40}, set(), {0, 1, 31, 32}, {17}, {3}, {0}]
        samples = [replace(s, pool=frozenset(p)) for s, p in zip(samples, pools, strict=True)]
    found = method(frames.batch(method, samples), method.encode_labels(LABELS))
    expected = frames.reference(method, weights, samples)
    assert found.shape == expected.shape == (35, 4)
    assert expected.std() > 0.1  # the comparison below is not one of constants
    assert gap(found, expected) < 1e-9

    # A random direction: every logit of every person moves the gradient in its own way.
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).double()
    (found * direction).sum().backward()
    (expected * direction).sum().backward()
    trained = {n: p for n, p in method.named_parameters() if p.requires_grad}
    assert {n for n, p in weights.items() if p.requires_grad} == set(map(official_name, trained))
    for name, parameter in trained.items():
        reference = weights[official_name(name)].grad
        assert reference is not None, name
        alone = method.config.mask_padding and ".H" in name  # H has a single key, of weight 1
        if idle(name) or (alone and ("key" in name or "query" in name)):
            assert reference.abs().max() < 1e-12, f"{name} is not idle"
            assert parameter.grad is None or parameter.grad.abs().max() < 1e-12, name
            continue
        assert parameter.grad is not None, name
        assert reference.abs().max() > 1e-7, f"{name}: nothing to compare"
        assert gap(parameter.grad, reference.view_as(parameter)) < 1e-7, name


def logits(frames: Frames, method: ICLIP, samples: list[PersonSample]) -> Tensor:
    with torch.no_grad():
        return method(frames.batch(method, samples), method.encode_labels(LABELS))


def changed(frames: Frames, index: int, **changes: Any) -> list[PersonSample]:
    return [*frames.samples[:index], replace(frames.samples[index], **changes),
            *frames.samples[index + 1 :]]  # fmt: skip


COUNTS = [3, 2, 1, 1, 27, 1]  # persons of the frames


@pytest.mark.parametrize("params", [{}, {"mask_padding": True}, {"object_pick": "random"}], ids=str)
def test_no_other_frame_of_the_batch_moves_a_score(frames: Frames, params: dict[str, Any]) -> None:
    method = small_method(**params)
    together = logits(frames, method, frames.samples).split(COUNTS)
    for sample, rows in zip(frames.samples, together, strict=True):
        assert gap(logits(frames, method, [sample]), rows) < 1e-12


def test_as_released_a_frame_without_objects_depends_on_its_batch(frames: Frames) -> None:
    method = small_method(skip_objects="batch")
    empty = frames.samples[2]
    alone, beside = (logits(frames, method, s)[:1] for s in ([empty], [empty, frames.samples[0]]))
    assert gap(alone, beside) > 1e-3
    skips = small_method(skip_objects="frame")
    assert gap(logits(frames, skips, [empty]), alone) < 1e-12
    never = small_method()
    assert gap(logits(frames, never, [empty]), beside) < 1e-12


def kept(frames: Frames, **params: Any) -> list[list[int]]:
    """Per frame the places by score of the objects that a method looks at."""
    method = small_method(**params)
    batch = frames.batch(method)
    rows = method._choose(batch.objects, batch.boxes, Grouping(batch.box_sample, len(COUNTS)))
    first = torch.searchsorted(batch.objects.sample, batch.objects.sample)
    samples = batch.objects.sample[rows]
    return [sorted((rows - first[rows])[samples == s].tolist()) for s in range(len(COUNTS))]


def test_objects_count_if_they_touch_somebody_the_best_five_of_them(frames: Frames) -> None:
    # The first frame: all but the second touch one of the persons. The second: two pixels off; an
    # edge shared; a corner, 19.6 rounded to 20 and 29 within B; a corner of A.
    assert kept(frames) == [[0, 2, 3, 4, 5], [1, 2, 3], [], [], [0, 1], [0]]
    assert kept(frames, object_slots=1) == [[0], [1], [], [], [0], [0]]


def test_boxes_touch_at_an_edge_or_a_corner_of_whole_pixels() -> None:
    def touch(thing: list[float], person: list[float]) -> bool:
        boxes = torch.tensor([person, [90.0, 90.0, 99.0, 99.0]])  # another frame's person
        objects = objects_of([thing])
        there = frame_objects(objects.boxes_xyxy, objects.scores)
        return bool(touching(there, boxes, Grouping(torch.tensor([0, 1]), 2)))

    person = [10.0, 10.0, 20.0, 20.0]
    assert touch([20, 12, 30, 15], person)
    assert touch([20, 20, 30, 30], person)
    assert touch([20.4, 0, 30, 9.6], person)  # (20, 0, 30, 10)
    assert not touch([21, 12, 30, 15], person)
    assert not touch([20.6, 12, 30, 15], person)
    assert not touch([0, 0, 30, 9], person)
    assert not touch([90, 90, 99, 99], person)  # nobody of its own frame


def frame_objects(boxes: np.ndarray, scores: np.ndarray) -> Objects:
    return Objects(
        pictures=Pixels(torch.zeros(len(scores), 3, *SIZE)), boxes=torch.from_numpy(boxes),
        scores=torch.from_numpy(scores), sample=torch.zeros(len(scores), dtype=torch.long),
    )  # fmt: skip


def test_any_five_objects_are_the_same_five_in_every_scoring(frames: Frames) -> None:
    first = kept(frames, object_pick="random")
    assert first == kept(frames, object_pick="random")
    assert first != kept(frames)
    assert [len(f) for f in first] == [5, 3, 0, 0, 2, 1]
    assert 1 not in first[0]  # it touches nobody
    method = small_method(object_pick="random").train()
    batch = frames.batch(method)
    grouping = Grouping(batch.box_sample, len(COUNTS))
    torch.manual_seed(0)
    drawn = {tuple(method._choose(batch.objects, batch.boxes, grouping).tolist()) for _ in "abcd"}
    assert len(drawn) > 1


def test_persons_beyond_the_slots_are_scored_but_not_seen(frames: Frames) -> None:
    method, crowd = small_method(), frames.samples[4]
    first = crowd.boxes_xyxy
    whole = logits(frames, method, [crowd])
    other = first.copy()
    other[26] = (0, 0, 5, 30)
    moved = logits(frames, method, [replace(crowd, boxes_xyxy=other)])
    assert gap(moved[:26], whole[:26]) < 1e-12
    assert gap(moved[26], whole[26]) > 1e-3
    other = first.copy()
    other[24] = (0, 0, 5, 30)  # in the last slot
    moved = logits(frames, method, [replace(crowd, boxes_xyxy=other)])
    assert (moved - whole).abs().amax(1).min() > 1e-6


def test_persons_are_seen_by_those_of_their_frame_alone(frames: Frames) -> None:
    method = small_method(units="P")
    before = logits(frames, method, frames.samples).split(COUNTS)
    boxes = frames.samples[0].boxes_xyxy.copy()
    boxes[1] = (1, 1, 40, 9)
    after = logits(frames, method, changed(frames, 0, boxes_xyxy=boxes)).split(COUNTS)
    assert (after[0] - before[0]).abs().amax(1).min() > 1e-6
    assert all(torch.equal(a, b) for a, b in zip(after[1:], before[1:], strict=True))


def test_the_memory_reaches_thirty_frames_to_both_sides_of_the_clip(frames: Frames) -> None:
    method = small_method(units="M")
    batch = frames.batch(method)
    # Frame 20 of 40: 0 .. 19 (the first ten steps are before the clip) and 21 .. 39.
    assert batch.memory_mask[0].nonzero()[:, 0].tolist() == [*range(10, 49)]
    assert batch.memory_mask[2].sum() == 1 + 30  # frame 1: 0, 2 .. 31
    assert not batch.memory_mask[5].any()  # a clip of one frame
    assert not (batch.memory[0] == batch.key[0])[batch.memory_mask[0]].any()


def test_the_memory_may_count_seconds_instead(frames: Frames) -> None:
    """Of a film of which nine frames a second are stored, a step of the memory is nine frames."""
    method = small_method(units="M", before=2, after=2, memory_every="second")
    samples = [replace(frames.samples[0], memory_step=9)]  # frame 20 of 40
    batch = frames.batch(method, samples)
    every = frames.batch(small_method(units="M", before=18, after=18), frames.samples[:1])
    assert batch.memory_mask.all()
    steps = [0, 9, 26, 35]  # -18, -9, 9 and 18 of -18 .. -1, 1 .. 18
    assert isinstance(batch.pictures, Pixels)
    assert isinstance(every.pictures, Pixels)
    shown, expected = batch.pictures.images[batch.memory[0]], every.pictures.images[every.memory[0]]
    assert torch.equal(shown, expected[steps])
    assert not torch.equal(shown[0], shown[1])


def test_missing_steps_act_by_their_positions_or_not_at_all(frames: Frames) -> None:
    method, alone = small_method(), [frames.samples[5]]
    before = logits(frames, method, alone)
    with torch.no_grad():
        method.interaction.units["M1"].pos_v[3, :40] += 1  # type: ignore[index, operator]
    assert gap(logits(frames, method, alone), before) > 1e-4
    masked = small_method(mask_padding=True)
    before = logits(frames, masked, alone)
    with torch.no_grad():
        for p in masked.interaction.units["M1"].parameters():
            p += 1
    assert torch.equal(logits(frames, masked, alone), before)


def test_stored_features_give_what_pictures_give(frames: Frames) -> None:
    method = small_method()
    batch, text = frames.batch(method), method.encode_labels(LABELS)
    with torch.no_grad():
        stored = replace(
            batch,
            pictures=Encoded(method.image_features(batch.pictures)),
            crops=Encoded(method.image_features(batch.crops)),
            objects=replace(
                batch.objects, pictures=Encoded(method.image_features(batch.objects.pictures))
            ),
        )
        assert gap(method(stored, text), method(batch, text)) < 1e-12


def test_labels_neither_interact_nor_stay_behind(frames: Frames) -> None:
    method = small_method()
    batch = frames.batch(method)
    whole = method(batch, method.encode_labels(LABELS))
    few = method(batch, method.encode_labels(LABELS[2:]))
    assert gap(few, whole[:, 2:]) < 1e-12


def test_dropout_is_of_training_alone(frames: Frames) -> None:
    method = small_method()
    first, again = (logits(frames, method, frames.samples) for _ in "ab")
    assert torch.equal(first, again)
    method.train()
    torch.manual_seed(0)
    drawn, other = (logits(frames, method, frames.samples) for _ in "ab")
    torch.manual_seed(0)
    assert not torch.equal(drawn, other)
    assert torch.equal(logits(frames, method, frames.samples), drawn)
