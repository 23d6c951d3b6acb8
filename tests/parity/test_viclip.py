"""The batched ViCLIP against the slow reference, and its traps."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import World
from small_clip import gap, meta_backbone
from test_contract import scores_of
from test_train import run_training
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from viclip_reference import video_feature, video_tokens
from viclip_world import (
    COVER,
    EMBED,
    GRID,
    LABELS,
    SETTINGS,
    SIZE,
    Videos,
    covered,
    official_name,
    official_weights,
    small_method,
    squashed,
)

import baselines.viclip
from baselines.viclip import ViCLIP
from baselines.viclip_encoder import mean_map
from stclip.errors import ConfigError
from stclip.inputs.batch import Batch, ClipBatch, Pixels
from stclip.methods.build import build


@pytest.fixture
def videos(tmp_path: Path) -> Videos:
    return Videos(tmp_path)


def placed_boxes(batch: Batch) -> list[list[list[float]]]:
    """The boxes of each video as the loader placed them, float32 numbers."""
    counts = batch.box_sample.bincount().tolist()
    return [boxes.tolist() for boxes in batch.picture_boxes.split(counts)]


SWITCHES: list[dict[str, Any]] = [
    {},
    {"project": "before"},
    {"around": "key_frame", "num_frames": 5},
    {"learn_temperature": True, "temperature": 0.02, "num_frames": 2},
]


@pytest.mark.parametrize("params", SWITCHES, ids=str)
def test_logits_and_gradients_equal_the_reference(videos: Videos, params: dict[str, Any]) -> None:
    method = small_method(**params)
    weights = official_weights(method)
    batch = videos.batch(method)
    placed = placed_boxes(batch)
    assert [len(boxes) for boxes in placed] == [3, 1, 2]
    for ours, scaled in zip(placed, squashed(), strict=True):
        assert np.array(ours) == pytest.approx(np.array(scaled), abs=1e-5)
    found = method(batch, method.encode_labels(LABELS))
    expected = videos.reference(method, weights, placed)
    assert found.shape == expected.shape == (6, 4)
    assert expected.std() > 0.1  # the comparison below is not one of constants
    assert gap(found, expected) < 1e-9

    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).double()
    (found * direction).sum().backward()
    (expected * direction).sum().backward()
    trained = {official_name(n): p for n, p in method.named_parameters() if p.requires_grad}
    assert {n for n, p in weights.items() if p.requires_grad} == trained.keys()
    for name, parameter in trained.items():
        assert parameter.grad is not None, name
        reference = weights[name].grad
        assert reference is not None, name
        assert reference.abs().max() > 1e-7, f"{name}: nothing to compare"
        assert gap(parameter.grad, reference.view_as(parameter)) < 1e-7, name


def test_boxes_follow_the_frame_where_its_sides_are_cut_off(tmp_path: Path) -> None:
    videos, method = Videos(tmp_path, preprocessing=COVER), small_method()
    found = method(videos.batch(method), method.encode_labels(LABELS))
    assert gap(found, videos.reference(method, official_weights(method), covered())) < 1e-6


def test_videos_and_persons_in_parts_and_alone_equal_all_at_once(
    videos: Videos, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = small_method()
    text = method.encode_labels(LABELS)
    together = method(videos.batch(method), text)
    alone = [method(videos.batch(method, slice(i, i + 1)), text) for i in range(3)]
    assert gap(torch.cat(alone), together) < 1e-12
    monkeypatch.setattr(baselines.viclip, "AT_ONCE", 9)  # two videos of four frames
    monkeypatch.setattr(baselines.viclip, "PERSONS_AT_ONCE", 4)
    assert gap(method(videos.batch(method), text), together) < 1e-12


# ---- the encoder


def clips(count: int, num_frames: int) -> Tensor:
    """Normalised random pictures (count, num_frames, 3, H, W)."""
    torch.manual_seed(0)
    return torch.randn(count, num_frames, 3, *SIZE, dtype=torch.float64)


def test_of_one_frame_without_positions_in_time_it_is_clips_image_encoder() -> None:
    method = small_method(perturbed=False)
    assert not method.encoder.temporal.any()
    pictures = clips(3, 1)
    cls = method.encoder(method.backbone, pictures)[:, 0]
    expected = method.backbone.encode_images(pictures[:, 0])
    assert gap(method.backbone.project(cls), expected) < 1e-12


def test_a_picture_stands_at_the_mean_of_the_positions_in_time() -> None:
    method, pictures = small_method(), clips(1, 1)
    before = method.encoder(method.backbone, pictures)
    with torch.no_grad():
        method.encoder.temporal.copy_(method.encoder.temporal[[2, 0, 3, 1]])
    assert gap(method.encoder(method.backbone, pictures), before) < 1e-12
    with torch.no_grad():
        method.encoder.temporal.copy_(method.encoder.temporal.mean(0).expand(4, -1))
    assert gap(method.encoder(method.backbone, pictures), before) < 1e-12


def test_tokens_stand_by_position_and_for_each_by_time() -> None:
    method, seen = small_method(), []
    method.backbone.clip.visual.ln_pre.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    pictures, (t, row, column) = clips(1, 4), (2, 5, 7)
    method.encoder(method.backbone, pictures)
    pictures[0, t, :, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] += 1
    tokens = method.encoder(method.backbone, pictures)
    moved = (seen[1] - seen[0]).abs().amax((0, 2)).nonzero().flatten().tolist()
    assert moved == [1 + (row * GRID[1] + column) * 4 + t]
    assert tokens.shape[1] == 1 + 4 * GRID[0] * GRID[1]
    found = mean_map(tokens, grid=GRID, num_frames=4)[0, :, row, column]
    first = 1 + (row * GRID[1] + column) * 4
    assert gap(found, tokens[0, first : first + 4].mean(0)) < 1e-12


def test_the_first_token_projected_is_the_feature_of_the_video(videos: Videos) -> None:
    method = small_method()
    weights, frames = official_weights(method), videos.pictures[0][:4]
    pictures = torch.stack(frames).to(torch.uint8)
    tokens = method.encoder(method.backbone, pictures[None])
    assert gap(tokens[0], video_tokens(weights, SETTINGS, frames)) < 1e-9
    feature = method.backbone.project(tokens[:, 0])[0]
    assert gap(feature, video_feature(weights, SETTINGS, frames)) < 1e-9


def test_projection_and_mean_over_time_may_be_swapped_but_not_with_the_maximum() -> None:
    method = small_method()
    tokens = method.encoder(method.backbone, clips(2, 4))
    projected = mean_map(method.backbone.project(tokens), grid=GRID, num_frames=4)
    mean = mean_map(tokens, grid=GRID, num_frames=4)
    after = method.backbone.project(mean.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert gap(projected, after) < 1e-12
    apart = method.backbone.project(mean.amax((2, 3))) - after.amax((2, 3))
    assert apart.abs().max() > 1e-3


def test_a_still_video_is_near_to_its_frame_but_not_the_same() -> None:
    method = small_method(perturbed=False, num_frames=8)
    still = clips(1, 1).expand(-1, 8, -1, -1, -1)
    video = method.backbone.project(method.encoder(method.backbone, still)[:, 0])[0]
    frame = method.backbone.encode_images(still[:, 0])[0]
    assert torch.cosine_similarity(video, frame, dim=0) > 0.9
    assert gap(video, frame) > 1e-6


def test_paths_are_dropped_ever_more_often_and_only_in_training() -> None:
    method = small_method(drop_path=0.5)
    rates = [(b.ls_1.drop_prob, b.ls_2.drop_prob) for b in method.backbone.blocks]
    assert rates == [(0, 0), (0.5, 0.5)]
    pictures = clips(6, 4)
    still = method.encoder(method.backbone, pictures)
    method.train()
    dropped = method.encoder(method.backbone, pictures)
    assert gap(dropped, still) > 1e-3
    steady = small_method(drop_path=0.0).train()
    assert gap(steady.encoder(steady.backbone, pictures), still) < 1e-12


# ---- persons


def scene(boxes: list[list[float]], *, count: int = 1) -> Batch:
    """Videos of random normalised pictures without the size of their frames."""
    frames = torch.arange(count * 4).view(count, 4)
    return ClipBatch(
        pictures=Pixels(clips(count, 4).flatten(0, 1)),
        frames=frames,
        boxes=torch.tensor(boxes),
        picture_boxes=torch.tensor(boxes),
        box_sample=torch.zeros(len(boxes), dtype=torch.long),
    )


def test_a_person_without_area_or_outside_the_picture_has_the_nearest_cell() -> None:
    method = small_method()
    height, width = SIZE
    inside = [[4.0, 8, 8, 12], [44, 28, 48, 32], [44, 8, 48, 12], [0, 0, 4, 4]]
    odd = [[4.0, 8, 4, 8], [width + 9, height + 9, width + 30, height + 9.5]]
    odd += [[width - 0.5, 8, width, 12], [-20, -9, -3, -1]]
    text = method.encode_labels(LABELS)
    expected = method(scene(inside), text)
    found = method(scene(odd), text)
    assert torch.isfinite(found).all()
    assert gap(found, expected) < 1e-12
    assert gap(found[:1], expected[1:2]) > 1e-3


def test_another_person_and_another_video_change_nothing() -> None:
    method = small_method()
    text, boxes = method.encode_labels(LABELS), [[3.0, 4, 20, 30], [8.0, 0, 40, 31]]
    both, one = method(scene(boxes), text), method(scene(boxes[:1]), text)
    assert gap(both[:1], one) < 1e-12
    assert gap(both[1:], one) > 1e-3
    assert gap(method(scene(boxes, count=2), text), both) < 1e-12


def test_frames_of_a_short_window_repeat_the_last_whatever_else_is_in_the_batch(
    tmp_path: Path,
) -> None:
    videos, method = Videos(tmp_path), small_method(around="key_frame")
    text = method.encode_labels(LABELS)
    together, alone = videos.batch(method), videos.batch(method, slice(2, 3))
    assert (together.frames.shape[1], alone.frames.shape[1]) == (4, 1)
    assert gap(method(alone, text), method(together, text)[4:]) < 1e-12


def test_more_frames_than_it_takes_are_refused() -> None:
    batch, method = scene([[0.0, 0, 9, 9]]), small_method(num_frames=3)
    text = method.encode_labels(LABELS)
    with pytest.raises(ConfigError, match=r"ViCLIP takes 3 frames, not 4; set num_frames"):
        method(batch, text)


def test_built_on_its_own_it_takes_boxes_of_its_pictures(world: World) -> None:
    torch.manual_seed(0)
    settings = world.method("viclip", iterations=0)
    model = build("viclip", labels=LABELS, backbone=settings.backbone.model, num_frames=2)
    boxes = torch.tensor([[0.0, 0, 16, 16], [16, 16, 32, 32], [0, 0, 32, 32]])
    with torch.no_grad():
        logits = model(
            torch.randn(2, 2, 3, 32, 32), key=torch.zeros(2, dtype=torch.long), boxes=boxes,
            box_sample=torch.tensor([0, 0, 1]),
        )  # fmt: skip
    assert logits.shape == (3, 4)
    assert not torch.allclose(logits[0], logits[1])


# ---- counts, values, settings


@pytest.mark.parametrize(
    ("name", "params", "trained"),
    [
        ("ViT-B-16", {}, 86_198_784),
        ("ViT-L-14", {}, 303_974_400),
        ("ViT-B-16", {"learn_temperature": True}, 86_198_785),
    ],
)
def test_trained_parameters(name: str, params: dict[str, Any], trained: int) -> None:
    backbone = meta_backbone(name)
    with torch.device("meta"):
        method = ViCLIP(backbone, ViCLIP.Config(num_frames=8, **params))
    counts = {n: p.numel() for n, p in method.named_parameters() if p.requires_grad}
    assert sum(counts.values()) == trained
    if name == "ViT-B-16":
        visual = "backbone.clip.visual."
        ours = ["conv1.weight", "class_embedding", "positional_embedding", "proj"]
        assert [counts[visual + n] for n in ours] == [589_824, 768, 151_296, 393_216]
        assert counts["encoder.temporal"] == 6_144
        first = sum(
            n for k, n in counts.items() if k.startswith(f"{visual}transformer.resblocks.0")
        )
        assert first == 7_087_872


@pytest.mark.parametrize(
    ("name", "patch", "giga"),
    [("ViT-B-16", 16, 133.26 + 45.38 + 0.92), ("ViT-L-14", 14, 826.90 - 0.52)],
)
def test_the_encoder_costs_what_was_measured_of_the_official_one(
    name: str, patch: int, giga: float
) -> None:
    """Multiply-adds of 8 frames of 224 x 224, without norms."""
    backbone = meta_backbone(name)
    with torch.device("meta"):
        method = ViCLIP(backbone, ViCLIP.Config())
        pictures = torch.zeros(1, 8, 3, 224, 224)
    with FlopCounterMode(display=False) as counted:
        tokens = method.encoder(backbone, pictures)
    assert tokens.shape[1] == 1 + 8 * (224 // patch) ** 2
    assert counted.get_total_flops() / 2e9 == pytest.approx(giga, abs=0.01)


def test_it_begins_at_clip_with_the_temperature_of_a_hundredfold_cosine() -> None:
    method = small_method(perturbed=False)
    assert not method.encoder.temporal.any()
    assert float(method.temperature) == 0.01
    text = method.encode_labels(LABELS)
    assert not text.requires_grad
    assert text.shape == (4, EMBED)
    logits = method(scene([[0.0, 0, 20, 20]]), text)
    assert logits.abs().max() <= 100


def test_a_learned_temperature_never_falls_below_a_hundredth() -> None:
    method = small_method(learn_temperature=True)
    batch, text = scene([[0.0, 0, 20, 20]]), method.encode_labels(LABELS)
    expected = method(batch, text)
    with torch.no_grad():
        method.temperature.fill_(-3)
    assert gap(method(batch, text), expected) < 1e-12


@pytest.mark.parametrize(
    "params",
    [{"num_frames": 0}, {"temperature": 0.0}, {"drop_path": 1.0}, {"around": "video"},
     {"project": "never"}],
    ids=str,
)  # fmt: skip
def test_settings_outside_their_range_are_named(params: dict[str, Any]) -> None:
    name, value = next(iter(params.items()))
    with pytest.raises(ConfigError, match=f"{name}: .*, found {value!r}"):
        ViCLIP.Config(**params)


def test_training_moves_every_trained_tensor_and_nothing_else(world: World) -> None:
    short = {"iterations": 2, "batch_frames": 2, "lr": 1e-3, "optimizer": "adamw", "max_boxes": 3}
    name = "viclip+learned_temperature"
    after = run_training(world, name, "a", **short)
    before = run_training(world, name, "b", **(short | {"iterations": 1, "lr": 1e-12}))
    assert [n for n in after if np.array_equal(after[n], before[n])] in ([], ["temperature"])
    assert {n.partition(".")[0] for n in after} == {"backbone", "encoder", "temperature"}
    assert all(n.startswith("backbone.clip.visual.") for n in after if n.startswith("backbone."))


def test_a_video_has_one_map_or_each_key_frame_has_its_own(world: World) -> None:
    """Detected persons of a clip do not move: only what they are pooled from can differ."""
    for name, one_map in (("viclip", True), ("viclip+key_frame", False)):
        found = scores_of(world, world.method(name, iterations=2, batch_frames=2))
        first = found.table[found.table["x1"] == 11].groupby("clip")
        columns = [column for column in found.table if column.startswith("score:")]
        assert len(first) == 2
        assert first.size().min() > 9
        assert (first[columns].nunique() == 1).all(axis=None) == one_map


def test_the_same_seed_drops_the_same_paths(world: World) -> None:
    short = {"iterations": 2, "batch_frames": 2, "lr": 1e-2}
    first, again = (run_training(world, "viclip", folder, **short) for folder in "ab")
    assert all(torch.equal(first[n], again[n]) for n in first)


def test_boxes_of_the_batch_stay_as_they_are(videos: Videos) -> None:
    method = small_method()
    batch = videos.batch(method)
    text = method.encode_labels(LABELS)
    unplaced = replace(batch, picture_boxes=batch.boxes)  # as if they were of the pictures
    assert gap(method(unplaced, text), method(batch, text)) > 1e-3
    moved = replace(batch, boxes=batch.boxes + 1)
    assert torch.equal(method(moved, text), method(batch, text))
