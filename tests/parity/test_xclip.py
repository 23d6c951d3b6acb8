"""The batched X-CLIP against the slow reference and against transformers' port, and its traps."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from conftest import World
from small_clip import gap
from test_train import run_training
from torch import Tensor, nn
from xclip_world import (
    EMBED,
    LABELS,
    LAYERS,
    SIZE,
    WIDTH,
    Videos,
    official_name,
    official_weights,
    small_method,
)

import baselines.xclip
from baselines.xclip import XCLIP, VideoPrompting, cross_frame
from stclip.errors import ConfigError
from stclip.inputs.batch import ClipBatch, Pixels, pixels_of
from stclip.methods.clip.backbone import Backbone


@pytest.fixture
def videos(tmp_path: Path) -> Videos:
    return Videos(tmp_path)


def video_batch(method: XCLIP, *, count: int = 2, seed: int = 0, views: int = 1) -> ClipBatch:
    """Videos of random normalised pictures, each frame another."""
    torch.manual_seed(seed)
    num_frames = views * method.config.num_frames
    frames = torch.arange(count * num_frames).view(count, num_frames)
    return ClipBatch(
        pictures=Pixels(torch.randn(count * num_frames, 3, *SIZE, dtype=torch.float64)),
        frames=frames,
        boxes=torch.zeros(count, 4),
        picture_boxes=torch.zeros(count, 4),
        box_sample=torch.arange(count),
    )


SWITCHES: list[dict[str, Any]] = [
    {},
    {"prompt_layers": 2, "alpha": 0.5},
    {"mit_layers": 2, "num_frames": 3},
    {"alpha": 1e-4, "sampling": "xclip"},
]


@pytest.mark.parametrize("params", SWITCHES, ids=str)
def test_logits_and_gradients_equal_the_reference(videos: Videos, params: dict[str, Any]) -> None:
    method = small_method(**params)
    weights = official_weights(method)
    found = method(videos.batch(method), method.encode_labels(LABELS))
    expected = videos.reference(method, weights)
    assert found.shape == expected.shape == (3, 4)
    assert expected.std() > 0.1  # the comparison below is not one of constants
    assert gap(found, expected) < 1e-9

    # A random direction: every logit of every video moves the gradient in its own way.
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


def test_videos_in_parts_and_alone_equal_all_at_once(
    videos: Videos, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = small_method()
    text = method.encode_labels(LABELS)
    together = method(videos.batch(method), text)
    alone = [method(videos.batch(method, slice(i, i + 1)), text) for i in range(3)]
    assert gap(torch.cat(alone), together) < 1e-12
    monkeypatch.setattr(baselines.xclip, "AT_ONCE", 9)  # two videos of four frames
    assert gap(method(videos.batch(method), text), together) < 1e-12


def test_another_video_in_the_batch_changes_nothing() -> None:
    method = small_method()
    text, batch = method.encode_labels(LABELS), video_batch(method)
    before = method(batch, text)
    images = pixels_of(batch.pictures).clone()
    images[4:] += torch.randn_like(images[4:])  # the second video
    after = method(replace(batch, pictures=Pixels(images)), text)
    assert torch.equal(after[0], before[0])
    assert gap(after[1], before[1]) > 1e-3


def test_the_order_of_frames_counts_by_positions_alone() -> None:
    method = small_method()
    text, batch = method.encode_labels(LABELS), video_batch(method)
    turned = replace(batch, frames=batch.frames[:, [2, 0, 3, 1]])
    assert gap(method(turned, text), method(batch, text)) > 1e-4
    nn.init.zeros_(method.integration.positions)
    assert gap(method(turned, text), method(batch, text)) < 1e-12


def test_a_frame_hears_of_the_others_in_every_block() -> None:
    method = small_method()
    block, message = method.backbone.blocks[0], method.messages[0]
    tokens = torch.randn(2, 4, 7, WIDTH, dtype=torch.float64)
    before = cross_frame(block, message, tokens)
    assert before.shape == tokens.shape  # the message is gone
    changed = tokens.clone()
    changed[0, 1, 0] += 1  # the class token of one frame
    moved = (cross_frame(block, message, changed) - before).abs().amax((2, 3)) > 1e-6
    assert moved.tolist() == [[True] * 4, [False] * 4]
    changed = tokens.clone()
    changed[0, 1, 3] += 1  # a patch makes no message
    moved = (cross_frame(block, message, changed) - before).abs().amax((2, 3)) > 1e-6
    assert moved.tolist() == [[False, True, False, False], [False] * 4]


def test_labels_neither_interact_nor_stay_behind() -> None:
    method = small_method()
    batch = video_batch(method)
    text = method.encode_labels(LABELS)
    whole = method(batch, text)
    few = method(batch, method.encode_labels(LABELS[2:]))  # another list for the same model
    assert gap(few, whole[:, 2:]) < 1e-12
    assert torch.equal(method(batch, text), whole)


def test_views_stand_between_samples_and_labels() -> None:
    method = small_method(views=2, sampling="a5")
    batch = video_batch(method, views=2)
    text = method.encode_labels(LABELS)
    found = method(batch, text)
    assert found.shape == (2, 2, 4)
    each = replace(batch, frames=batch.frames.reshape(4, 4))
    single = small_method()
    assert gap(found.flatten(0, 1), single(each, text)) < 1e-12


def test_bfloat16_autocast_gives_full_precision_logits_near_the_reference(videos: Videos) -> None:
    method = small_method()
    expected = videos.reference(method, official_weights(method)).detach()
    method = method.float()
    text = method.encode_labels(LABELS)
    assert gap(method(videos.batch(method), text), expected) < 1e-4
    with torch.autocast("cpu", torch.bfloat16):
        found = method(videos.batch(method), text)
    assert found.dtype == torch.float32
    assert gap(found, expected) < 0.05  # bfloat16 keeps 8 bits
    found.square().sum().backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


# ---- transformers' port


def port_of(method: XCLIP) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    from transformers.models.x_clip import XCLIPConfig, XCLIPModel

    transformers.logging.set_verbosity_error()
    config, text_width = method.config, 32
    settings = XCLIPConfig(
        text_config={
            "vocab_size": 49408, "hidden_size": text_width, "intermediate_size": 4 * text_width,
            "num_hidden_layers": 2, "num_attention_heads": 2,
            "max_position_embeddings": method.backbone.clip.context_length,
        },
        vision_config={
            "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": LAYERS,
            "num_attention_heads": method.backbone.heads, "image_size": 32, "patch_size": 16,
            "num_frames": config.num_frames, "mit_hidden_size": EMBED,
            "mit_intermediate_size": 4 * EMBED, "mit_num_attention_heads": EMBED // 64,
            "mit_num_hidden_layers": config.mit_layers,
        },
        projection_dim=EMBED, prompt_layers=config.prompt_layers, prompt_alpha=0.3,
        prompt_num_attention_heads=EMBED // 64,
    )  # fmt: skip
    return XCLIPModel(settings).double().eval()


TO_PORT = [  # beginnings of official names -> those of the port; the first that fits
    ("visual.conv1", "vision_model.embeddings.patch_embedding"),
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.ln_pre", "vision_model.pre_layernorm"),
    ("visual.ln_post", "vision_model.post_layernorm"),
    ("visual.transformer.resblocks", "vision_model.encoder.layers"),
    ("visual.proj", "visual_projection.weight"),
    ("text_projection", "text_projection.weight"),
    ("transformer.resblocks", "text_model.encoder.layers"),
    ("token_embedding", "text_model.embeddings.token_embedding"),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("ln_final", "text_model.final_layer_norm"),
    ("mit.positional_embedding", "mit.position_embedding"),
    ("mit.resblocks", "mit.encoder.layers"),
    ("prompts_generator.norm", "prompts_generator.layernorm"),
    ("prompts_visual_ln", "prompts_visual_layernorm"),
    ("prompts_visual_proj", "prompts_visual_projection"),
]
IN_BLOCK = [
    *((".attn.", ".self_attn."), (".ln_1.", ".layer_norm1."), (".ln_2.", ".layer_norm2.")),
    *((".mlp.c_fc.", ".mlp.fc1."), (".mlp.c_proj.", ".mlp.fc2.")),
]


def port_state(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Official tensors under the port's names."""
    state = {}
    for official, tensor in weights.items():
        name = next(
            (new + official.removeprefix(old) for old, new in TO_PORT if official.startswith(old)),
            official,
        )
        for old, new in IN_BLOCK:
            name = name.replace(old, new)
        if official in ("visual.proj", "text_projection"):
            tensor = tensor.T
        if ".in_proj_" in name:
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                state[name.replace("in_proj_", f"{part}_proj.")] = rows
        else:
            state[name] = tensor
    return state


@pytest.mark.parametrize("layers", [1, 2])
def test_logits_equal_those_of_the_port_in_transformers(layers: int) -> None:
    method = small_method(size=(32, 32), prompt_layers=layers, mit_layers=layers)
    port = port_of(method)
    port.load_state_dict(port_state(official_weights(method)))  # strict
    frames = torch.randn(2, 4, 3, 32, 32, dtype=torch.float64)
    batch = replace(video_batch(method), pictures=Pixels(frames.flatten(0, 1)))
    with torch.no_grad():
        found = method(batch, method.encode_labels(LABELS))
        ids = method.backbone.tokenize(LABELS)
        expected = port(input_ids=ids, pixel_values=frames).logits_per_video
    assert expected.std() > 0.1
    assert gap(found, expected) < 1e-5


# ---- counts, initial values, bad input


def on_meta(name: str, **params: Any) -> XCLIP:
    """X-CLIP at its true size, without numbers."""
    settings = open_clip.get_model_config(name)
    with torch.device("meta"):
        clip = open_clip.CLIP(
            settings["embed_dim"], settings["vision_cfg"], settings["text_cfg"], quick_gelu=True
        )
        return XCLIP(Backbone(clip, None), XCLIP.Config(**params))


@pytest.mark.parametrize(
    ("name", "params", "messages", "integration", "prompting"),
    [
        ("ViT-B-16", {}, 35_453_952, 3_156_480, 3_150_848 + 1_536 + 394_752),
        ("ViT-B-16", {"prompt_layers": 2}, 35_453_952, 3_156_480, 6_301_696 + 1_536 + 394_752),
        ("ViT-L-14", {}, 126_001_152, 7_094_016, 7_085_568 + 2_304 + 788_480),
    ],
)
def test_trained_parameters(
    name: str, params: dict[str, Any], messages: int, integration: int, prompting: int
) -> None:
    counts = {"messages": 0, "integration": 0, "prompting": 0}
    model = on_meta(name, **params)
    for own, p in model.named_parameters():
        if p.requires_grad:
            counts[own.split(".")[0]] += p.numel()  # of nothing else
    assert counts == {"messages": messages, "integration": integration, "prompting": prompting}
    total = sum(counts.values())
    assert name != "ViT-B-16" or total == (45_308_416 if params else 42_157_568)
    if params:
        assert sum(p.numel() for p in model.parameters()) == 194_929_153


def test_initial_values_are_those_of_the_released_code() -> None:
    method = small_method(perturbed=False, num_frames=64).requires_grad_(False)
    uniform = WIDTH**-0.5
    for message in method.messages:
        assert message.fc.weight.std() == pytest.approx(uniform / 3**0.5, rel=0.05)
        assert message.fc.bias.std() == pytest.approx(uniform / 3**0.5, rel=0.3)
        xavier = (6 / (WIDTH + 3 * WIDTH)) ** 0.5
        assert message.attention.in_proj_weight.std() == pytest.approx(xavier / 3**0.5, rel=0.05)
        out = message.attention.out_proj
        assert out.weight.abs().max() <= uniform
        assert out.weight.std() == pytest.approx(uniform / 3**0.5, rel=0.05)
        assert not message.attention.in_proj_bias.any()
        assert not out.bias.any()
    mit = method.integration
    assert mit.positions.std() == pytest.approx(0.02, rel=0.05)
    block = mit.blocks[0]
    for layer in (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj):
        assert layer.weight.std() == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()
    xavier = (6 / (EMBED + 3 * EMBED)) ** 0.5
    assert block.attn.in_proj_weight.std() == pytest.approx(xavier / 3**0.5, rel=0.05)
    assert method.prompting.projection.std() == pytest.approx(1, rel=0.05)
    for name, p in method.prompting.layers.named_parameters():
        if p.ndim == 2:
            assert p.std() == pytest.approx(0.02, rel=0.05), name
        elif "norm" not in name:
            assert not p.any(), name
    assert (method.prompting.alpha == 0.1).all()


def test_prompting_begins_as_a_small_change_of_direction() -> None:
    torch.manual_seed(0)
    prompting = VideoPrompting(96, 512, layers=2, alpha=0.1)
    text = torch.randn(5, 512)
    with torch.no_grad():
        prompted = prompting(text, torch.randn(2, 4, 9, 96))
    cosine = nn.functional.cosine_similarity(prompted, text.expand_as(prompted), dim=-1)
    assert cosine.min() > 0.99
    assert (prompted.norm(dim=-1) / text.norm(dim=-1)).mean() == pytest.approx(1.1, abs=0.02)


def test_bad_input_is_named() -> None:
    method = small_method()
    assert method(video_batch(method), method.encode_labels(["run"])).shape == (2, 1)
    with pytest.raises(ConfigError, match=r"label 'run run .*has 15 tokens; .*takes 14"):
        method.encode_labels([" ".join(["run"] * 15)])
    with pytest.raises(ConfigError, match=r"labels \['run'\] are given twice"):
        method.encode_labels(["run", "jump", "run"])
    batch = video_batch(method)
    short = replace(batch, frames=batch.frames[:, :3])
    with pytest.raises(ConfigError, match=r"XCLIP takes 4 frames .*not 3; repeat frames"):
        method(short, method.encode_labels(LABELS))
    for name in ("prompt_layers", "mit_layers"):
        with pytest.raises(ConfigError, match=f"{name}: .*greater than or equal to 1, found 0"):
            small_method(**{name: 0})


def test_training_moves_every_trained_tensor_and_nothing_else(world: World) -> None:
    short = {"iterations": 2, "batch_frames": 2, "lr": 1e-3, "optimizer": "adamw"}
    after = run_training(world, "xclip+official", "a", **short)
    before = run_training(world, "xclip+official", "b", **(short | {"iterations": 1, "lr": 1e-12}))
    assert [name for name in after if torch.equal(after[name], before[name])] == []
    assert {name.split(".")[0] for name in after} == {"messages", "integration", "prompting"}
