"""The batched Vita-CLIP against the slow reference: logits and gradients, for every switch."""

from typing import Any

import pytest
import torch
from small_clip import gap
from vitaclip_reference import encode_class, encode_video, logits
from vitaclip_scene import (
    LABELS,
    LENGTHS,
    NUM_FRAMES,
    Scene,
    official_tensors,
    official_weights,
    placeholder_ids,
    settings_of,
    small_method,
)  # fmt: skip

from stclip.inputs.batch import pixels_of


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("frames"))


SWITCHES: list[dict[str, Any]] = [
    {},
    {"use_global": False},
    {"use_local": False},
    {"use_summary": False},
    {"use_global": False, "use_local": False, "use_summary": False},
    {"num_frames": 1},
    {"context_length": 0},
    {"train_cls_proj": False},
    {"spaced_names": True},
    {"logit_scale_init": "clip"},
]


@pytest.mark.parametrize("params", SWITCHES, ids=str)
def test_logits_and_gradients_equal_the_reference(scene: Scene, params: dict[str, Any]) -> None:
    method = small_method(**params)
    weights = official_weights(method)
    found = method(scene.batch(method), method.encode_labels(LABELS))
    expected = scene.reference(method, weights)
    assert found.shape == (len(LENGTHS), len(LABELS))
    assert expected.std() > 0.1  # the comparison below is not one of constants
    assert gap(found, expected) < 1e-9

    # A random direction: every logit of every clip moves the gradient in its own way.
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).double()
    (found * direction).sum().backward()
    (expected * direction).sum().backward()
    compared = set()
    for ours, parameter in method.named_parameters():
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None, ours
        for name, gradient in official_tensors(ours, parameter.grad).items():
            reference = weights[name].grad
            assert reference is not None, name
            compared.add(name)
            if "k_proj.bias" in name or params.get("num_frames") == 1:
                # moves all keys alike, so nothing; one frame attends to itself whatever it asks
                assert torch.allclose(gradient, reference, rtol=1e-7, atol=1e-10), name
                continue
            assert reference.abs().max() > 1e-9, f"{name}: nothing to compare"
            assert gap(gradient, reference) < 1e-7, name
    assert compared == {name for name, p in weights.items() if p.requires_grad}


def test_views_are_the_clip_seen_several_times(scene: Scene) -> None:
    method = small_method(sampling="vitaclip_dense", views=3)
    weights, settings = official_weights(method), settings_of(method)
    batch = scene.batch(method, ["long", "short"])
    with torch.no_grad():
        found = method(batch, method.encode_labels(LABELS))
    assert found.shape == (2, 3, len(LABELS))
    texts = [encode_class(weights, settings, row) for row in placeholder_ids(method, LABELS)]
    images = pixels_of(batch.pictures)
    for sample, frames in enumerate(batch.frames.unflatten(1, (3, NUM_FRAMES))):
        for view, rows in enumerate(frames):
            video = encode_video(weights, settings, list(images[rows].double()))
            assert gap(found[sample, view], logits(weights, video, texts)) < 1e-9


def test_single_precision_and_bfloat16_are_close_to_the_reference(scene: Scene) -> None:
    method = small_method()
    expected = scene.reference(method, official_weights(method))
    method = method.float()
    encoded, batch = method.encode_labels(LABELS), scene.batch(method)
    found = method(batch, encoded)
    assert found.dtype == torch.float32
    assert gap(found, expected) < 1e-4
    with torch.autocast("cpu", torch.bfloat16):
        coarse = method(batch, encoded)
    assert coarse.dtype == torch.float32
    assert gap(coarse, expected) < 0.05  # bfloat16 keeps 8 bits
    coarse.square().sum().backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)
