"""The batched ST-CLIP against the slow reference, from PNG files to logits and gradients.

A small random CLIP, LoRA switched on, key frames at both ends and inside of clips of several
lengths (also shorter than the window) with 1 to 5 persons, all in one batch.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from small_clip import gap
from st_clip_reference import Settings, encode_picture, encode_text, key_frame_logits
from torch import Tensor

from stclip.errors import ConfigError
from stclip.inputs.batch import PersonBatch, PersonSample, pixels_of
from stclip.inputs.frame_reader import FrameReader
from stclip.inputs.loader import assemble
from stclip.methods.clip.backbone import Backbone
from stclip.methods.st_clip.st_clip import STCLIP
from stclip.storage.frame_store import write_clip

PATCH, LAYERS, WIDTH, HEAD_WIDTH, EMBED = 16, 3, 64, 32, 32
LABELS = ["brush_hair", "run", "shoot_ball", "Ice Dancing"]
SIZES = [(64, 64), (48, 64)]  # height, width

# (clip, its length, 0-based key frame, persons): frame counts mixed on purpose, so that persons of
# one group are not neighbours in the batch; windows are clamped at the start, at the end, at both
# ends (9 frames) and shorter than nine slots (5 frames).
PLAN = [
    ("long", 12, 0, 2),
    ("short", 5, 1, 1),
    ("long", 12, 11, 5),
    ("long", 12, 5, 1),
    ("short", 5, 4, 3),
    ("nine", 9, 8, 4),
    ("long", 12, 2, 2),
]

# Our names -> names in the official checkpoint.
NAMES = [
    (r"^backbone\.clip\.", ""),
    (r"\.base_layer\.", "."),
    (r"\.lora_([AB])\.default\.weight$", r".lora_\1"),
    (
        r"\.parametrizations\.(\w+)\.original$",
        r".\1",
    ),  # LoRA on attention; not in the official code
    (r"\.parametrizations\.(\w+)\.0\.", r".\1."),
    (r"^adapter\.norm\.", "ln_person."),
    (r"^adapter\.mlp\.", "adapter."),
    (r"^temporal\.slots\.", "visual.temporalEmbedding."),
    (r"^temporal\.layers\.(\d+)\.norm\.", r"visual.temporalModelling.resblocks.\1.ln_1."),
    (r"^temporal\.layers\.(\d+)\.attention\.", r"visual.temporalModelling.resblocks.\1.attn."),
    (r"^prompting\.(\d+)\.projector\.", r"visual.transformer.projector.\1."),
    (r"^prompting\.(\d+)\.", r"visual.transformer.prompts_generator.\1."),
    (r"(prompts_generator\.\d+)\.rho$", r"\1.alpha"),
    (r"(prompts_generator\.\d+)\.norm_visual\.", r"\1.norm."),
    (r"(prompts_generator\.\d+)\.norm_text\.", r"\1.decoder.0.norm1."),
    (r"(prompts_generator\.\d+)\.norm_mlp\.", r"\1.decoder.0.norm3."),
    (r"(prompts_generator\.\d+)\.attention\.", r"\1.decoder.0.cross_attn."),
    (r"(prompts_generator\.\d+)\.mlp\.0\.", r"\1.decoder.0.mlp.0."),
    (r"(prompts_generator\.\d+)\.mlp\.2\.", r"\1.decoder.0.mlp.3."),
]


def official_name(name: str) -> str:
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def official_weights(method: STCLIP) -> dict[str, Tensor]:
    """The weights under their official names, each a leaf of its own in float64."""
    return {
        official_name(name): p.detach().double().clone().requires_grad_(p.requires_grad)
        for name, p in method.named_parameters()
    }


def with_attention_lora(weights: dict[str, Tensor], *, scale: float) -> dict[str, Tensor]:
    """The reference knows LoRA on linear layers alone: here W + scale B A takes the place of W."""
    low_rank = {name.removesuffix(".lora_A") for name in weights if name.endswith("weight.lora_A")}
    adapted = {
        name: weights[name] + scale * weights[f"{name}.lora_B"] @ weights[f"{name}.lora_A"]
        for name in low_rank
    }
    return weights | adapted


def small_method(size: tuple[int, int], **params: Any) -> STCLIP:
    """ST-CLIP on a small random CLIP, float64; no parameter is left at a value that hides it."""
    torch.manual_seed(7)
    torch.set_default_dtype(torch.float64)  # also for the constants of the normalisation
    try:
        clip = open_clip.CLIP(
            EMBED,
            {"image_size": size, "patch_size": PATCH, "width": WIDTH, "layers": LAYERS,
             "head_width": HEAD_WIDTH},
            {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
            quick_gelu=True,
        )  # fmt: skip
        backbone = Backbone(clip, open_clip.get_tokenizer("ViT-B-16"))
        method = STCLIP(backbone, STCLIP.Config(prompt_head_width=16, **params)).double()
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for p in method.parameters():  # zero biases, unit norms, LoRA B, rho: all become random
            p += 0.1 * torch.randn_like(p)
    return method


def settings_of(method: STCLIP) -> Settings:
    config = method.config
    return Settings(
        patch=PATCH,
        layers=LAYERS,
        heads=WIDTH // HEAD_WIDTH,
        text_layers=2,
        text_heads=2,
        prompt_heads=EMBED // config.prompt_head_width,
        lora_scale=config.lora_alpha / config.lora_rank if config.lora_rank else 0.0,
        image_residual=config.image_residual,
        prompt_persons_and_cls=config.prompt_tokens == "all",
        temporal=config.temporal,
        temporal_layers=config.temporal_layers,
        person_token=config.person_token,
        adapter=config.adapter,
        prompting=config.prompting,
        interest_tokens=config.interest_tokens,
    )


@pytest.fixture(params=SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


class Scene:
    """Frames of the plan's clips and the batch that the loader makes of them."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        height, width = size
        rng = np.random.default_rng(3)
        self.folder, self.size = folder, size
        self.clips: dict[str, list[Tensor]] = {}  # pictures (3, H, W) as they were drawn
        for clip, num_frames, _, _ in PLAN:
            if clip in self.clips:
                continue
            pictures = rng.integers(0, 256, (num_frames, height, width, 3), np.uint8)
            write_clip(folder, clip, pictures)
            self.clips[clip] = list(torch.from_numpy(pictures).permute(0, 3, 1, 2).double())
        self.samples = []
        for clip, num_frames, key_frame, num_people in PLAN:
            corner = rng.integers(0, min(size) // 2, (num_people, 2))
            sides = rng.integers(9, min(size) // 2, (num_people, 2))
            boxes = np.concatenate([corner, corner + sides], 1).astype(np.float32)
            rows = np.arange(num_people)
            self.samples.append(PersonSample(clip, num_frames, boxes, rows, key_frame=key_frame))

    def batch(self, method: STCLIP, samples: list[PersonSample] | None = None) -> PersonBatch:
        reader = FrameReader(self.folder, self.size)
        samples = self.samples if samples is None else samples
        batch = assemble(reader, method.inputs, samples, training=False)
        assert isinstance(batch, PersonBatch)
        return batch

    def reference(self, method: STCLIP, weights: dict[str, Tensor], text: Tensor) -> Tensor:
        """Reference logits of all boxes, key frame by key frame."""
        settings, rows = settings_of(method), []
        weights = with_attention_lora(weights, scale=settings.lora_scale)
        for sample in self.samples:
            crops = pixels_of(self.batch(method, [sample]).crops)
            rows.append(
                key_frame_logits(
                    weights, settings, self.clips[sample.clip], sample.key_frame + 1,
                    list(crops.double()), text,
                )
            )  # fmt: skip
        return torch.cat(rows)


@pytest.fixture
def scene(tmp_path: Path, size: tuple[int, int]) -> Scene:
    return Scene(tmp_path, size)


SWITCHES: list[dict[str, Any]] = [
    {},
    {"image_residual": False},
    {"prompt_tokens": "context"},
    {"lora_rank": 0},
    {"lora_rank": 4, "lora_alpha": 6},
    {"lora_placement": "c_fc"},
    {"lora_placement": "c_proj"},
    {"lora_placement": "attention"},
    {"lora_placement": "all", "lora_alpha": 4, "interest_tokens": 5},
    {"temporal_layers": 2},
    {"temporal": "average"},
    {"temporal": "key"},
    {"person_token": "patches"},
    {"adapter": "linear"},
    {"adapter": "none"},
    {"prompting": "last"},
    {"prompting": "none"},
    {"interest_tokens": 5},
    {"interest_tokens": 5, "prompt_tokens": "context"},
    {"interest_tokens": 3, "prompting": "last"},
    {"interest_tokens": 1000},  # more than there are: all of them
]


@pytest.mark.parametrize("params", SWITCHES, ids=str)
def test_logits_and_gradients_equal_the_reference(scene: Scene, params: dict[str, Any]) -> None:
    method = small_method(scene.size, **params)
    weights = official_weights(method)
    text = method.encode_labels(LABELS)
    found = method(scene.batch(method), text)
    expected = scene.reference(method, weights, text)
    assert found.shape == (2 + 1 + 5 + 1 + 3 + 4 + 2, len(LABELS))
    assert expected.abs().max() <= 1 / 0.07  # a cosine over the temperature
    assert expected.std() > 0.1  # the comparison below is not one of constants
    assert gap(found, expected) < 1e-9

    # A random direction: every logit of every person moves the gradient in its own way.
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
        assert gap(parameter.grad, reference) < 1e-7, name


@pytest.mark.parametrize("placement", ["mlp", "attention", "all"])
def test_merging_lora_changes_no_logit(scene: Scene, placement: str) -> None:
    method = small_method(scene.size, lora_placement=placement)
    text = method.encode_labels(LABELS)
    before = method(scene.batch(method), text)
    method.prepare_scoring()
    assert gap(method(scene.batch(method), text), before) < 1e-9
    assert not any(".attn." in n and p.requires_grad for n, p in method.named_parameters())


@pytest.mark.parametrize("placement", ["mlp", "attention", "all"])
def test_without_lora_at_test_it_is_as_if_there_were_none(scene: Scene, placement: str) -> None:
    method = small_method(scene.size, lora_at_test=False, lora_placement=placement)
    text = method.encode_labels(LABELS)
    weights = {n: w for n, w in official_weights(method).items() if "lora_" not in n}
    trained = method(scene.batch(method), text)
    method.prepare_scoring()
    found = method(scene.batch(method), text)
    assert gap(found, scene.reference(method, weights, text)) < 1e-9
    assert gap(found, trained) > 1e-3


@pytest.mark.parametrize("changes", [{"temporal_layers": 0}, {"interest_tokens": -1}])
def test_impossible_numbers_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(
        ConfigError, match=r"params of STCLIP: (temporal_layers|interest_tokens): .*greater"
    ):
        small_method((64, 64), **changes)


def test_trained_tensors_are_those_of_the_official_checkpoint() -> None:
    prompting = (
        "alpha", "norm.weight", "norm.bias", "decoder.0.cross_attn.q_proj.weight",
        "decoder.0.cross_attn.k_proj.weight", "decoder.0.cross_attn.v_proj.weight",
        "decoder.0.cross_attn.proj.weight", "decoder.0.cross_attn.proj.bias",
        "decoder.0.norm1.weight", "decoder.0.norm1.bias", "decoder.0.norm3.weight",
        "decoder.0.norm3.bias", "decoder.0.mlp.0.weight", "decoder.0.mlp.0.bias",
        "decoder.0.mlp.3.weight", "decoder.0.mlp.3.bias",
    )  # fmt: skip
    lora = ("c_fc.lora_A", "c_fc.lora_B", "c_proj.lora_A", "c_proj.lora_B")
    block = "visual.temporalModelling.resblocks.0"
    expected = {
        *(f"{name}.{side}" for name in ("adapter.0", "adapter.2", "ln_person", f"{block}.ln_1")
          for side in ("weight", "bias")),
        *(f"{block}.attn.{name}" for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight",
                                              "out_proj.bias")),
        "visual.temporalEmbedding.weight",
    }  # fmt: skip
    for i in range(LAYERS):
        expected |= {f"visual.transformer.projector.{i}.{side}" for side in ("weight", "bias")}
        expected |= {f"visual.transformer.prompts_generator.{i}.{name}" for name in prompting}
        expected |= {f"visual.transformer.resblocks.{i}.mlp.{name}" for name in lora}
    assert {official_name(name) for name in small_method((64, 64)).trained_state()} == expected


def test_single_precision_is_close_to_the_reference(scene: Scene) -> None:
    method = small_method(scene.size)
    text = method.encode_labels(LABELS)
    expected = scene.reference(method, official_weights(method), text)
    method = method.float()
    found = method(scene.batch(method), method.encode_labels(LABELS))
    assert found.dtype == torch.float32
    assert gap(found, expected) < 1e-4


def test_bfloat16_autocast_gives_full_precision_logits_near_the_reference(scene: Scene) -> None:
    method = small_method(scene.size)
    text = method.encode_labels(LABELS)
    expected = scene.reference(method, official_weights(method), text)
    method = method.float()
    with torch.autocast("cpu", torch.bfloat16):
        found = method(scene.batch(method), text.float())
    assert found.dtype == torch.float32
    assert gap(found, expected) < 0.05  # bfloat16 keeps 8 bits
    found.square().sum().backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


def test_backbone_features_equal_the_reference(scene: Scene) -> None:
    method = small_method(scene.size)
    weights, settings = official_weights(method), settings_of(method)
    ids = method.backbone.tokenize(LABELS)
    texts = torch.stack([encode_text(weights, settings, row) for row in ids])
    assert gap(method.encode_labels(LABELS), texts) < 1e-9
    images = pixels_of(scene.batch(method).pictures)
    pictures = torch.stack([encode_picture(weights, settings, p.double()) for p in images])
    assert gap(method.backbone.encode(method.backbone.patches(images)), pictures) < 1e-9
