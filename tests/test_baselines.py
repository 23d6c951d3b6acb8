"""The untrained baselines against what open_clip itself computes."""

import pytest
import torch
from conftest import World
from test_contract import build
from torch import Tensor
from torch.nn import functional as F

from stclip.inputs.batch import PersonBatch, pixels_of
from stclip.methods.contract import Method


def similarity(method: Method, images: Tensor, text: Tensor) -> Tensor:
    """As in CLIP's own example: normalised features, their products, times the logit scale."""
    clip = method.backbone.clip
    features = F.normalize(clip.encode_image(method.backbone.normalise(images)), dim=-1)
    return clip.logit_scale.exp() * features @ F.normalize(text, dim=-1).T


def frames(method: Method, batch: PersonBatch, text: Tensor) -> Tensor:
    return similarity(method, pixels_of(batch.pictures)[batch.key], text)[batch.box_sample]


def crops(method: Method, batch: PersonBatch, text: Tensor) -> Tensor:
    return similarity(method, pixels_of(batch.crops), text)


EXPECTED = {
    "clip_frame": frames,
    "clip_crop": crops,
    "clip_frame_crop": lambda *args: (frames(*args) + crops(*args)) / 2,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_logits_are_clip_s(world: World, name: str) -> None:
    method, batch, _ = build(world, name)
    text = method.encode_labels(world.split.unseen)
    with torch.no_grad():
        torch.testing.assert_close(
            method(batch, text), EXPECTED[name](method, batch, text), rtol=1e-4, atol=1e-4
        )


def test_crops_are_cut_as_configured(world: World) -> None:
    """The crop mode and scale of the method reach the loader."""
    _, centre, _ = build(world, "clip_crop")
    path = world.config / "methods" / "clip_crop.yaml"
    path.write_text(path.read_text() + "preprocessing: { crop_mode: pad, crop_scale: 2.0 }\n")
    _, padded, _ = build(world, "clip_crop")
    assert isinstance(centre, PersonBatch)
    assert isinstance(padded, PersonBatch)
    ours, theirs = pixels_of(centre.crops), pixels_of(padded.crops)
    assert ours.shape == theirs.shape
    assert not torch.equal(ours, theirs)
