"""The batched A5 against the slow reference: logits, loss, gradients; its checkpoints."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from a5_reference import (
    cross_entropy,
    frame_feature,
    logits,
    scored_frames,
    text_feature,
    video_feature,
)
from conftest import ROOT, World
from small_clip import (
    HEADS,
    LABELS,
    LENGTHS,
    SETTINGS,
    Scene,
    double_precision,
    gap,
    meta_backbone,
    shaken,
    small_backbone,
)
from st_clip_reference import Settings
from torch import Tensor

from baselines.a5 import A5
from stclip.checkpoints.official import read_official
from stclip.config import MethodConfig, TrainConfig
from stclip.config.target import make_config
from stclip.errors import ConfigError, DataError
from stclip.inputs.batch import Encoded
from stclip.methods.build import build, import_state_dict, load_method
from stclip.train.import_run import import_weights

NAMES = [  # ours -> theirs
    (r"^backbone\.clip\.", "clipmodel."),
    (r"^prompts$", "embedding.weight"),
    (r"^temporal\.positions$", "temporalEmbedding.weight"),
    (r"^temporal\.blocks\.", "temporalModelling.resblocks."),
]
IDS = {  # CLIP's tokens
    "brush_hair": [8594, 318, 2225],
    "run": [1934],
    "Ice Dancing": [733, 6226],
    "shoot_ball": [3704, 318, 1069],
}


def official_name(name: str) -> str:
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def official_weights(method: A5) -> dict[str, Tensor]:
    """The weights under their official names, each a leaf of its own in float64."""
    return {
        official_name(name): p.detach().double().clone().requires_grad_(p.requires_grad)
        for name, p in method.named_parameters()
    }


def small_method(**params: Any) -> A5:
    torch.manual_seed(7)
    with double_precision():
        method = A5(small_backbone(), A5.Config(**params)).double()
    shaken(method)
    return method


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def method() -> A5:
    return small_method()


def expected_logits(scene: Scene, method: A5, weights: dict[str, Tensor]) -> list[Tensor]:
    """Of every clip of the scene, by the reference."""
    config, rows = method.config, []
    texts = [
        text_feature(weights, SETTINGS, IDS[label], prefix=config.prefix, postfix=config.postfix)
        for label in LABELS
    ]
    for clip, length in LENGTHS.items():
        features = {
            i: frame_feature(weights, SETTINGS, scene.pictures[clip][i])
            for i in scored_frames(length, config.num_frames)
        }
        frames = torch.stack([features[i] for i in scored_frames(length, config.num_frames)])
        video = video_feature(weights, frames, heads=HEADS)
        temperature = config.temperature if config.normalise else None
        rows.append(logits(video, texts, temperature=temperature))
    return rows


# --- against the reference ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"layers": 1},
        {"layers": 0},
        {"prefix": 0, "postfix": 3},
        {"num_frames": 6, "temperature": 0.2},
        {"normalise": False},
    ],
    ids=str,
)
def test_logits_loss_and_gradients_equal_the_reference(
    scene: Scene, params: dict[str, Any]
) -> None:
    method = small_method(**params)
    weights = official_weights(method)
    found = method(scene.batch(method), method.encode_labels(LABELS))
    expected = expected_logits(scene, method, weights)
    assert found.shape == (len(LENGTHS), len(LABELS))
    assert torch.stack(expected).std() > 0.1  # not one of constants
    assert gap(found, torch.stack(expected)) < 1e-9

    labels = [2, 0, 3, 0]
    truth = cross_entropy(expected, labels)
    loss = method.loss(
        found, torch.eye(len(LABELS))[labels], config=TrainConfig(iterations=1, loss="ce"),
        exclusive=torch.ones(len(LABELS), dtype=torch.bool), draws=torch.arange(4),
    )  # fmt: skip
    assert gap(loss, truth) < 1e-5  # fp32 on our side

    # The gradients of all logits at once, in a random direction each.
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).double()
    (found * direction).sum().backward()
    (torch.stack(expected) * direction).sum().backward()
    trained = {official_name(n): p for n, p in method.named_parameters() if p.requires_grad}
    assert {n for n, w in weights.items() if w.requires_grad} == trained.keys()
    assert not any(name.startswith("clipmodel.") for name in trained)
    for name, parameter in trained.items():
        assert parameter.grad is not None, name
        reference = weights[name].grad
        assert reference is not None, name
        assert reference.abs().max() > 1e-7, f"{name}: nothing to compare"
        assert gap(parameter.grad, reference) < 1e-8, name


def test_single_precision_and_autocast_are_close(scene: Scene) -> None:
    method = small_method()
    expected = method(scene.batch(method), method.encode_labels(LABELS))
    method = method.float()
    batch, encoded = scene.batch(method), method.encode_labels(LABELS)
    assert gap(method(batch, encoded), expected) < 1e-4
    with torch.autocast("cpu", torch.bfloat16):
        found = method(batch, encoded)
        bare = small_method(normalise=False).float()(batch, encoded)
    assert found.dtype == bare.dtype == torch.float32
    assert gap(found, expected) < 0.05


def test_stored_features_stand_for_pictures(scene: Scene, method: A5) -> None:
    batch, encoded = scene.batch(method), method.encode_labels(LABELS)
    stored = replace(batch, pictures=Encoded(method.image_features(batch.pictures)))
    assert torch.equal(method(stored, encoded), method(batch, encoded))


# --- the prompts --------------------------------------------------------------------------------


def test_a_name_of_m_tokens_ends_at_33_plus_m(method: A5) -> None:
    encoded = method.encode_labels(["run", "pullup", "brush_hair", "run " * 43])
    assert encoded.eot.tolist() == [34, 35, 36, 76]
    learned = [torch.nonzero(row).flatten().tolist() for row in encoded.learned]
    assert learned[0] == [*range(1, 17), *range(18, 34)]
    assert learned[1] == [*range(1, 17), *range(19, 35)]  # the same table, one row further
    assert learned[3] == [*range(1, 17), *range(60, 76)]
    start, end = (method.backbone.clip.token_embedding.weight[i] for i in (49406, 49407))
    filled = encoded.filled(method.prompts[:77])
    for row, eot in zip(filled, encoded.eot, strict=True):
        assert torch.equal(row[0], start)
        assert torch.equal(row[eot], end)
    assert torch.equal(filled[1, 19:35], method.prompts[19:35])


def test_only_rows_that_are_used_are_trained() -> None:
    """Names of one and of two tokens: rows 1-16, 18-33 and 19-34."""
    method = small_method()
    method.text_features(method.encode_labels(["run", "pullup"])).sum().backward()
    gradient = method.prompts.grad
    assert gradient is not None
    used = gradient.abs().amax(1).gt(0).nonzero().flatten().tolist()
    assert used == [*range(1, 17), *range(18, 35)]


def test_a_name_has_the_same_feature_beside_longer_ones(method: A5) -> None:
    alone = method.text_features(method.encode_labels(["run"]))
    beside = method.text_features(method.encode_labels(["shoot_ball run jump walk", "run"]))
    assert gap(beside[1:], alone) < 1e-9


def test_labels_that_cannot_be_read_are_named(method: A5) -> None:
    with pytest.raises(
        ConfigError, match=r"label 'run run .* has 44 tokens; 32 learned vectors leave room for 43"
    ):
        method.encode_labels(["walk", "run " * 44])
    with pytest.raises(ConfigError, match=r"labels \['run'\] are given twice"):
        method.encode_labels(["run", "walk", "run"])
    with pytest.raises(ConfigError, match="label ' ' has no tokens"):
        method.encode_labels([" "])


# --- the frames ---------------------------------------------------------------------------------


def test_a_clip_is_scored_alone_as_among_others(scene: Scene, method: A5) -> None:
    encoded = method.encode_labels(LABELS)
    together = method(scene.batch(method), encoded)
    alone = torch.cat([method(scene.batch(method, [s]), encoded) for s in scene.samples])
    assert gap(alone, together) < 1e-9


def test_only_the_positions_know_the_order_of_frames(scene: Scene) -> None:
    method = small_method()
    batch, encoded = scene.batch(method), method.encode_labels(LABELS)
    order = torch.arange(16)
    order[[3, 12]] = order[[12, 3]]
    turned = replace(batch, frames=batch.frames[:, order])
    assert gap(method(turned, encoded)[2:], method(batch, encoded)[2:]) > 1e-5
    assert method.temporal is not None
    with torch.no_grad():
        method.temporal.positions.zero_()
    assert gap(method(turned, encoded), method(batch, encoded)) < 1e-9


def test_views_are_rows_of_their_own(scene: Scene) -> None:
    method = small_method(sampling="a5", views=5)
    batch, encoded = scene.batch(method), method.encode_labels(LABELS)
    assert batch.frames.shape == (len(LENGTHS), 5 * 16)
    found = method(batch, encoded)
    assert found.shape == (len(LENGTHS), 5, len(LABELS))
    for view in range(5):
        part = slice(view * 16, view * 16 + 16)
        one = replace(batch, frames=batch.frames[:, part])
        assert gap(method(one, encoded), found[:, view]) < 1e-9


# --- size, start, bad input ---------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "expected"), [(2, 6_352_384), (1, 3_200_000)])
def test_trained_parameters(layers: int, expected: int) -> None:
    with torch.device("meta"):
        method = A5(meta_backbone("ViT-B-16"), A5.Config(layers=layers))
    trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == expected  # 6.35 M in the paper's Table 10
    assert method.prompts.shape == (77, 512)
    assert not any(name.startswith("backbone.") for name in trained)
    assert sum(p.numel() for p in method.backbone.parameters()) == 149_620_737
    assert method.temporal is not None
    assert method.temporal.positions.shape == (16, 512)
    assert method.temporal.blocks[0].attn.num_heads == 8
    assert method.temporal.blocks[0].ln_1.eps == 1e-5


def test_it_starts_as_released() -> None:
    torch.manual_seed(0)
    method = A5(small_backbone(), A5.Config())
    assert method.prompts.shape == (77, 32)  # in the text tower's width, not the joint one
    assert method.prompts.std().item() == pytest.approx(0.01, rel=0.05)
    assert method.prompts.abs().max() > 0.03  # normal, not uniform
    assert method.temporal is not None
    assert method.temporal.positions.std().item() == pytest.approx(0.01, rel=0.05)
    for block in method.temporal.blocks:
        xavier = math.sqrt(6 / (128 + 3 * 128))
        for weight, bound in (
            (block.attn.in_proj_weight, xavier),
            (block.attn.out_proj.weight, 128**-0.5),
            (block.mlp.c_fc.weight, 128**-0.5),
            (block.mlp.c_proj.weight, 512**-0.5),
        ):
            assert 0.98 * bound < weight.abs().max() <= bound
            assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert not block.attn.in_proj_bias.any()
        assert not block.attn.out_proj.bias.any()
        for norm in (block.ln_1, block.ln_2):
            assert bool((norm.weight == 1).all())
            assert not norm.bias.any()


@pytest.mark.parametrize(
    "params", [{"layers": -1}, {"prefix": -1}, {"postfix": -1}, {"temperature": 0.0}], ids=str
)
def test_params_without_meaning_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"params of A5: .*greater than .*0, found"):
        make_config(A5, params, where="method a5")


def test_another_number_of_frames_is_refused(scene: Scene, method: A5) -> None:
    batch = scene.batch(small_method(num_frames=8))
    with pytest.raises(ConfigError, match=r"A5 takes 16 frames of a clip .* not 8"):
        method(batch, method.encode_labels(LABELS))


def test_a_single_label_has_all_probability(scene: Scene, method: A5) -> None:
    found = method(scene.batch(method), method.encode_labels(["run"]))
    assert torch.equal(found.softmax(-1), torch.ones_like(found))


# --- official checkpoints -----------------------------------------------------------------------


def checkpoint(folder: Path, weights: dict[str, Tensor]) -> Path:
    path = folder / "HMDB_best.pth.tar"
    torch.save({"state_dict": weights, "optimizer": {"state": {}}, "iteration": 1100}, path)
    return path


def random_official(settings: MethodConfig) -> dict[str, Tensor]:
    torch.manual_seed(5)
    own = load_method(settings)
    shaken(own)
    return {official_name(name): t.detach().clone() for name, t in own.state_dict().items()}


def test_a_checkpoint_computes_what_its_formulas_say(world: World) -> None:
    settings = world.method("a5", iterations=1)
    weights = random_official(settings)
    state = import_state_dict("a5", read_official(checkpoint(world.folder, weights)))
    model = build("a5", labels=["run", "walk"], backbone=settings.backbone.model,
                  config=ROOT / "config", **settings.params)  # fmt: skip
    model.load_state_dict(state)
    frames = torch.randn(2, 16, 3, 32, 32)
    with torch.inference_mode():
        found = model(frames, key=torch.zeros(2, dtype=torch.long))
        features = model.method.backbone.encode_images(frames.flatten(0, 1)).unflatten(0, (2, 16))
    w = {name: t.double() for name, t in weights.items()}
    of_clip = Settings(
        patch=16, layers=2, heads=2, text_layers=1, text_heads=2, prompt_heads=1, lora_scale=0.0
    )
    texts = [text_feature(w, of_clip, ids, prefix=2, postfix=2) for ids in ([1934], [2374])]
    expected = [logits(video_feature(w, f.double(), heads=1), texts) for f in features]
    assert gap(found, torch.stack(expected)) < 1e-4


def test_a_checkpoint_of_one_layer_is_the_variants(world: World) -> None:
    one = world.method("a5+one_layer", iterations=1)
    file = checkpoint(world.folder, random_official(one))
    out = world.folder / "out.safetensors"
    import_weights(file, one, out)
    assert out.exists()
    with pytest.raises(DataError, match=r"HMDB_best\.pth\.tar: does not fit a5 .*blocks\.1\."):
        import_weights(file, world.method("a5", iterations=1), out)


def test_the_names_are_those_of_the_official_size() -> None:
    with torch.device("meta"):
        method = A5(meta_backbone("ViT-B-16"), A5.Config())
    ours = dict(method.state_dict())
    weights = {official_name(name): tensor for name, tensor in ours.items()}
    assert len(weights) == 328
    assert weights["embedding.weight"].shape == (77, 512)
    assert weights["temporalModelling.resblocks.1.mlp.c_fc.weight"].shape == (2048, 512)
    found = import_state_dict("a5", weights)
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in ours.items()}

    del weights["clipmodel.visual.proj"]
    weights["visual.proj"] = torch.zeros(1)
    with pytest.raises(DataError) as error:
        import_state_dict("a5", weights)
    assert "1 unknown names ['visual.proj']" in str(error.value)
    assert "1 missing ['clipmodel.visual.proj']" in str(error.value)
