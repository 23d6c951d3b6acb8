"""Multiply-adds: the paper's figures, and the shapes against torch's own counter."""

import pytest
import torch
from conftest import ROOT
from test_cli import run as command
from torch.utils.flop_counter import FlopCounterMode

from stclip.errors import ConfigError
from stclip.methods.build import build
from stclip.methods.layers.multiply_adds import Tower, block, norm, tower_of
from stclip.methods.st_clip.context_prompt import ContextPrompting
from stclip.methods.st_clip.cost import (
    INTERACTION,
    INTEREST,
    PROMPTING,
    _prompting,
    key_frame_macs,
    shared_flops,
)


def test_a_j_hmdb_video() -> None:
    """40 key frames, one person, the six labels of a split: the paper's 2431.51 G."""
    parts = key_frame_macs(tower_of("ViT-B-16"), persons=1, labels=6)
    assert 40 * sum(parts.values()) / 1e9 == pytest.approx(2431.51, abs=0.005)


def test_a_key_frame_of_ava() -> None:
    """ViT-L/14, three persons, 62 labels, 100 interest tokens: 583.04, 21.67 and 40.88 G."""
    tower = tower_of("ViT-L-14")
    parts = key_frame_macs(tower, persons=3, labels=62, interest_tokens=100)
    assert parts[INTERACTION] / 1e9 == pytest.approx(583.04, abs=0.005)
    assert parts[PROMPTING] / 1e9 == pytest.approx(21.67, abs=0.005)
    assert parts[INTEREST] / 1e9 == pytest.approx(40.88, abs=0.005)


@pytest.mark.parametrize(("persons", "expected"), [(1, 109.9), (2, 142.8), (3, 175.7), (5, 241.5)])
def test_the_floor_of_a_key_frame(persons: int, expected: float) -> None:
    """G operations, counted by hand: 32.70 to encode a picture, 35.08 for the joint pass."""
    found = shared_flops(tower_of("ViT-B-16"), persons=persons, labels=6)
    assert found / 1e9 == pytest.approx(expected, abs=0.05)


def test_the_floor_of_a_key_frame_of_ava() -> None:
    """What interest tokens add to it, by hand: three texts with 100 tokens for one with 260."""
    tower, d, e, labels, n = tower_of("ViT-L-14"), 1024, 768, 80, 260
    plain = shared_flops(tower, persons=3, labels=labels)
    spotting = shared_flops(tower, persons=3, labels=labels, interest_tokens=100)
    more_tokens = (300 - n) * (d * e + 2 * e * e + 2 * labels * e)
    assert spotting - plain == 2 * 24 * (more_tokens + 2 * labels * 10 * e * e + 3 * n * d)


def counted(module: torch.nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-adds of the matrix products that torch sees, two operations each."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("num_people", [1, 3])
def test_shapes_agree_with_what_torch_counts(num_people: int) -> None:
    """Parts without shortcuts: a CLIP block with LoRA, a prompting layer."""
    model = build("st_clip", labels=["run"], config=ROOT / "config")
    tower, n = tower_of("ViT-B-16"), 197 + num_people
    d, e = tower.width, tower.embed
    clip_block = model.method.backbone.blocks[0].train()  # in eval mode attention is one fused call
    assert counted(clip_block, torch.rand(1, n, d)) == block(n, d, lora_rank=8) - 2 * norm(n, d)
    layer = ContextPrompting(d, e, heads=8, rho=0.2)
    labels = 64  # with fewer the layer takes a shorter way
    norms = norm(n, e) + 2 * norm(labels, e)
    measured = counted(layer, torch.rand(1, labels, e), torch.rand(1, n, d))
    assert measured == _prompting(tower, n, labels) - norms
    assert counted(layer, torch.rand(1, 6, e), torch.rand(1, n, d)) < _prompting(tower, n, 6) * 0.8


def test_parameters_at_vit_l_14() -> None:
    """The paper's 22.97 M (with the idle MLP of the temporal block) and 189 M, by part."""
    model = build("st_clip", labels=["run"], backbone="ViT-L-14", config=ROOT / "config")
    counts = {"prompting": 0, "interaction": 0}
    for name, p in model.named_parameters():
        if p.requires_grad:
            part = "prompting" if ".prompting." in name else "interaction"
            counts[part] += p.numel()
    d = 1024
    idle = 2 * 4 * d * d + 4 * d + d + 2 * d  # MLP and norm that nothing passes through
    assert (counts["interaction"] + idle) / 1e6 == pytest.approx(22.97, abs=0.005)
    assert counts["prompting"] / 1e6 == pytest.approx(189.0, abs=0.05)


def test_on_the_command_line() -> None:
    done = command("complexity", "--key-frames", "40")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["2431.51", "G"]
    done = command("complexity", "--method", "clip_frame")
    assert "'clip_frame' does not say what it costs" in done.stderr


def test_a_model_config_has_sizes_too() -> None:
    tiny = Tower(width=128, layers=4, patch=8, num_patches=6 * 8, embed=128)
    assert tower_of("package:mini/tiny_clip/tiny-clip.json") == tiny


def test_unknown_backbones_are_named() -> None:
    with pytest.raises(ConfigError, match="'EVA02-B-16': no open_clip model with a vision"):
        tower_of("EVA02-B-16")
    with pytest.raises(ConfigError, match="'RN50': no open_clip model with a vision transformer"):
        tower_of("RN50")
    with pytest.raises(ConfigError, match="'ViT-Z'"):
        tower_of("ViT-Z")
