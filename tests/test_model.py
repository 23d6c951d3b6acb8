"""ST-CLIP at its real size: parameters, starting values, schedule; the frozen backbone."""

import logging
import math
from pathlib import Path

import open_clip
import pytest
import torch
from conftest import World
from safetensors.torch import save_file
from torch import Tensor, nn

from stclip.config import BackboneConfig, TrainConfig, load_method
from stclip.config.target import make_config
from stclip.errors import ConfigError, DataError
from stclip.methods.build import load_method as build_method
from stclip.methods.clip.backbone import Backbone, load_backbone
from stclip.methods.st_clip.context_prompt import ContextPrompting
from stclip.methods.st_clip.st_clip import STCLIP
from stclip.train.train import learning_rate

CONFIG = Path(__file__).parents[1] / "config"
TINY = "package:mini/tiny_clip/tiny-clip.json"


def uniform_bound(fan_in: int) -> float:
    """PyTorch's Linear: kaiming-uniform, a = sqrt 5, that is U(-1/sqrt(in), 1/sqrt(in))."""
    return fan_in**-0.5


def is_uniform(values: Tensor, bound: float) -> bool:
    """Fills (-bound, bound) to 2% of its edges, with the standard deviation bound / sqrt 3."""
    edge, spread = values.detach().abs().max().item(), values.detach().std().item()
    return 0.98 * bound < edge <= bound and abs(spread / (bound / math.sqrt(3)) - 1) < 0.05


@pytest.fixture(scope="module")
def vit() -> STCLIP:
    """ST-CLIP on a random ViT-B/16."""
    torch.manual_seed(0)
    backbone = load_backbone(BackboneConfig(model="ViT-B-16-quickgelu", weights=None))
    return STCLIP(backbone, STCLIP.Config())


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    """The tiny CLIP's architecture with random weights."""
    torch.manual_seed(0)
    return load_backbone(BackboneConfig(model=TINY, weights=None))


def trained(method: STCLIP) -> dict[str, Tensor]:
    return {name: p for name, p in method.named_parameters() if p.requires_grad}


# --- parameters and starting values -------------------------------------------------------------

# The paper counts 55.11 M = 55,109,376; of these 4,723,968 (an MLP and a norm behind the temporal
# attention that no output depends on) are not built here.
GROUPS = {
    "prompting": 12 * 3_152_384,
    "projectors": 4_724_736,
    "temporal": 7_087_872 - 4_723_968,
    "adapter": 4_723_968,
    "lora": 737_280,
    "slots": 6_912,
}


def group_of(name: str) -> str:
    if "lora_" in name:
        return "lora"
    if "projector" in name:
        return "projectors"
    if name.startswith("temporal.slots"):
        return "slots"
    return name.split(".")[0]


def test_trained_parameters_are_the_papers_group_by_group(vit: STCLIP) -> None:
    counts = dict.fromkeys(GROUPS, 0)
    for name, p in trained(vit).items():
        counts[group_of(name)] += p.numel()
    assert counts == GROUPS
    assert sum(counts.values()) == 55_109_376 - 4_723_968 == 50_385_408
    assert len(trained(vit)) == 283 - 6  # tensors; the six of the unused MLP and norm are missing


def test_of_clip_only_lora_on_the_image_mlps_is_trained(vit: STCLIP) -> None:
    inside = [name for name in trained(vit) if name.startswith("backbone.")]
    expected = {
        f"backbone.clip.visual.transformer.resblocks.{i}.mlp.{layer}.lora_{side}.default.weight"
        for i in range(12)
        for layer in ("c_fc", "c_proj")
        for side in "AB"
    }
    assert set(inside) == expected
    assert vit.trained_state().keys() == trained(vit).keys()


def test_lora_starts_without_effect_at_scale_an_eighth(vit: STCLIP) -> None:
    for block in vit.backbone.blocks:
        for layer in (block.mlp.c_fc, block.mlp.c_proj):
            assert layer.scaling["default"] == 1 / 8
            assert not layer.lora_B["default"].weight.any()
            a = layer.lora_A["default"].weight
            assert is_uniform(a, uniform_bound(a.shape[1]))


def test_prompting_starts_as_released(vit: STCLIP) -> None:
    for layer in vit.prompting:
        assert torch.equal(layer.rho, torch.full((512,), 0.2))
        assert layer.attention.heads == 8
        linears = [
            m
            for part in (layer.attention, layer.mlp)
            for m in part.modules()
            if isinstance(m, nn.Linear)
        ]
        assert len(linears) == 6
        for linear in linears:
            # N(0, 0.02), cut at +-2, which is 100 standard deviations away.
            weight = linear.weight.detach()
            assert weight.std().item() == pytest.approx(0.02, rel=0.01)
            assert abs(weight.mean().item()) < 2e-4
            assert weight.abs().max().item() > 0.07  # not uniform
            assert linear.bias is None or not linear.bias.any()
        biased = [linear.bias is not None for linear in linears]
        assert biased == [False, False, False, True, True, True]  # q k v; out, MLP
        assert is_uniform(layer.projector.weight, uniform_bound(768))
        for norm in (layer.norm_visual, layer.norm_text, layer.norm_mlp):
            assert bool((norm.weight == 1).all())
            assert not norm.bias.any()
            assert norm.eps == 1e-5
    biases = torch.cat([layer.projector.bias for layer in vit.prompting])
    assert is_uniform(biases, uniform_bound(768))


def test_person_context_modules_start_as_pytorch_does(vit: STCLIP) -> None:
    assert is_uniform(vit.adapter.mlp[0].weight, uniform_bound(768))
    assert is_uniform(vit.adapter.mlp[2].weight, uniform_bound(3072))
    slots = vit.temporal.slots.weight.detach()  # N(0, 1)
    assert slots.shape == (9, 768)
    assert slots.std().item() == pytest.approx(1, rel=0.05)
    attention = vit.temporal.layers[0].attention
    assert attention.num_heads == 12
    assert is_uniform(attention.in_proj_weight, math.sqrt(6 / (768 + 3 * 768)))  # Xavier
    assert is_uniform(attention.out_proj.weight, uniform_bound(768))
    assert not attention.in_proj_bias.any()
    assert not attention.out_proj.bias.any()


def test_trained_state_round_trip_and_refusal(tiny: Backbone) -> None:
    def small(**params: int) -> STCLIP:
        backbone = load_backbone(BackboneConfig(model=TINY, weights=None))
        return STCLIP(backbone, STCLIP.Config(prompt_head_width=32, **params))

    first, second = small(), small()
    state = first.trained_state()
    second.load_trained_state(state, where="here")
    assert all(torch.equal(second.trained_state()[k], v) for k, v in state.items())
    with pytest.raises(ConfigError, match=r"run/w: weights do not fit STCLIP: .*lora_A"):
        small(lora_rank=4).load_trained_state(state, where="run/w")
    del state["temporal.slots.weight"]
    with pytest.raises(ConfigError, match=r"missing \['temporal.slots.weight'\]"):
        second.load_trained_state(state, where="run/w")


def test_head_width_that_does_not_divide_is_refused(tiny: Backbone) -> None:
    with pytest.raises(ConfigError, match="prompt_head_width is 7; it must divide"):
        STCLIP(tiny, STCLIP.Config(prompt_head_width=7))


def test_unknown_params_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown params \['lora_rnak'\] for STCLIP.*lora_rank"):
        make_config(STCLIP, {"lora_rnak": 8}, where="method st_clip")


# --- schedule -----------------------------------------------------------------------------------


def test_learning_rate_on_jhmdb_at_paper_scale() -> None:
    config: TrainConfig = load_method(CONFIG, "st_clip", dataset="jhmdb", scale="paper").train
    rates = [learning_rate(config, step) for step in (0, 400, 800, 2999)]
    assert rates == pytest.approx([6.25e-5, 1.5625e-4, 2.5e-4, 2.5e-4], rel=1e-12)
    assert (config.iterations, config.batch_frames) == (3000, 8)


# --- backbone -----------------------------------------------------------------------------------

TOKENS = {
    "brush_hair": [8594, 318, 2225],
    "catch": [3042],
    "clap": [25546],
    "climb_stairs": [10649, 318, 9577],
    "golf": [3096],
    "jump": [6423],
    "kick_ball": [4289, 318, 1069],
    "pick": [3142],
    "pour": [8180],
    "pullup": [2469, 27413],
    "push": [6831],
    "run": [1934],
    "shoot_ball": [3704, 318, 1069],
    "shoot_bow": [3704, 318, 4040],
    "shoot_gun": [3704, 318, 3496],
    "sit": [4037],
    "stand": [2087],
    "swing_baseball": [7429, 318, 3470],
    "throw": [6293],
    "walk": [2374],
    "wave": [4535],
}


def test_labels_become_clips_tokens(vit: STCLIP) -> None:
    ids = vit.backbone.tokenize(list(TOKENS))
    assert ids.shape == (21, 77)
    for row, (label, tokens) in zip(ids.tolist(), TOKENS.items(), strict=True):
        expected = [49406, *tokens, 49407]
        assert row == expected + [0] * (77 - len(expected)), label


def test_label_that_does_not_fit_is_refused(vit: STCLIP) -> None:
    assert vit.backbone.tokenize(["run " * 75])[0, -1] == 49407  # 75 words, start and end: 77
    with pytest.raises(ConfigError, match="has 76 tokens; the text tower takes 75"):
        vit.backbone.tokenize(["walk", "run " * 76])
    with pytest.raises(ConfigError, match="label ' ' has no tokens"):
        vit.backbone.tokenize([" "])
    with pytest.raises(ConfigError, match=r"labels \[' Pull-Up ', 'pull-up'\] have the same"):
        vit.backbone.tokenize(["run", " Pull-Up ", "pull-up"])


def test_label_with_tokens_the_clip_never_saw_is_told(
    tiny: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    knowing = Backbone(tiny.clip, tiny.tokenizer, known_tokens={1934})
    with caplog.at_level(logging.WARNING, logger="stclip.methods.clip.backbone"):
        knowing.tokenize(["run"])
        assert not caplog.records
        knowing.tokenize(["shoot_gun"])
    assert "label 'shoot_gun': this CLIP never saw the tokens" in caplog.text
    assert "shoot" in caplog.text


@pytest.mark.parametrize("size", [(64, 64), (48, 80)], ids=str)
def test_image_tower_in_parts_equals_open_clips(size: tuple[int, int]) -> None:
    torch.manual_seed(2)
    clip = open_clip.CLIP(
        32,
        {"image_size": size, "patch_size": 16, "width": 64, "layers": 2, "head_width": 32},
        {"context_length": 8, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1},
        quick_gelu=True,
    )
    backbone = Backbone(clip, None).double()
    assert backbone.image_size == size
    assert (backbone.width, backbone.heads, backbone.embed_dim) == (64, 2, 32)
    pictures = torch.randint(0, 256, (3, 3, *size), dtype=torch.uint8)
    patches = backbone.patches(pictures)
    assert patches.shape == (3, size[0] // 16 * size[1] // 16, 64)
    expected = clip.encode_image(backbone.normalise(pictures))
    found = backbone.project(backbone.encode(patches))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_vit_b_16_in_parts_equals_open_clips(vit: STCLIP) -> None:
    backbone = vit.backbone
    assert backbone.image_size == (224, 224)
    generator = torch.Generator().manual_seed(4)
    picture = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        expected = backbone.clip.encode_image(backbone.normalise(picture))
        found = backbone.project(backbone.encode(backbone.patches(picture)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_normalisation_is_clips(tiny: Backbone) -> None:
    # 51 / 255 = 0.2: red (0.2 - 0.48145466) / 0.26862954 = -1.047743,
    # green (0.2 - 0.4578275) / 0.26130258 = -0.986701, blue (0.2 - 0.40821073) / 0.27577711.
    pixel = torch.full((1, 3, 1, 1), 51, dtype=torch.uint8)
    expected = [-1.047743, -0.986701, -0.754996]
    assert tiny.normalise(pixel).flatten().tolist() == pytest.approx(expected, abs=1e-5)


def test_backbone_is_frozen(tiny: Backbone) -> None:
    fresh = load_backbone(BackboneConfig(model=TINY, weights=None))
    assert not any(p.requires_grad for p in fresh.parameters())
    assert not tiny.encode_text(["run"]).requires_grad


def test_unknown_model_and_bad_weights_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'ViT-B-61' is unknown to open_clip"):
        load_backbone(BackboneConfig(model="ViT-B-61", weights=None))

    def load(path: Path) -> Backbone:
        return load_backbone(BackboneConfig(model=TINY, weights=str(path)))

    with pytest.raises(DataError, match=r"gone\.pt: CLIP weights are missing; the download stage"):
        load(tmp_path / "gone.pt")
    other = tmp_path / "other.safetensors"
    save_file({"some": torch.zeros(1)}, other)
    with pytest.raises(DataError, match=r"other\.safetensors: not the weights of package:mini"):
        load(other)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(other.read_bytes()[:20])
    with pytest.raises(DataError, match=r"cut\.safetensors: .*no safetensors"):
        load(cut)


def test_merging_lora_for_scoring_changes_no_score(world: World) -> None:
    torch.manual_seed(0)
    method = build_method(world.method("st_clip", iterations=0)).eval()
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    pictures = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        apart = method.backbone.encode(method.backbone.patches(pictures))
        method.prepare_scoring()
        merged = method.backbone.encode(method.backbone.patches(pictures))
    assert torch.allclose(apart, merged, atol=1e-4)
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if "lora_B" in name:
                parameter.zero_()  # merged: the adapters are no longer read
        again = method.backbone.encode(method.backbone.patches(pictures))
    assert torch.equal(merged, again)


def test_labels_are_prompted_alike_however_many_there_are() -> None:
    """Few labels take the folded way, many the plain one; a label does not see the others."""
    torch.manual_seed(0)
    layer = ContextPrompting(64, 32, heads=4, rho=0.2).double()
    text, tokens = torch.randn(2, 8, 32).double(), torch.randn(2, 11, 64).double()
    together = layer(text, tokens)  # 8 labels x 4 heads are 32 queries: not fewer than the width
    few = torch.cat([layer(text[:, :3], tokens), layer(text[:, 3:], tokens)], 1)
    torch.testing.assert_close(few, together, rtol=1e-12, atol=1e-12)
