"""The batched ActionCLIP against the slow reference: scores, loss, gradients; size and start."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from actionclip_reference import (
    batch_loss,
    probabilities,
    scored_frames,
    similarity,
    video_feature,
)
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
from st_clip_reference import encode_picture, encode_text
from torch import Tensor

from baselines.actionclip import ActionCLIP, symmetric_kl
from baselines.actionclip_config import TEMPLATES
from stclip.config import TrainConfig
from stclip.config.target import make_config
from stclip.errors import ConfigError
from stclip.inputs.batch import Encoded, pixels_of
from stclip.methods.label_semantics import probabilities as likely

NAMES = [  # ours -> theirs
    (r"^backbone\.clip\.", ""),
    (r"^temporal\.positions$", "module.frame_position_embeddings.weight"),
    (r"^temporal\.blocks\.", "module.transformer.resblocks."),
]


def official_name(name: str) -> str:
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def official_weights(method: ActionCLIP) -> dict[str, Tensor]:
    """The weights under their official names, each a leaf of its own in float64."""
    return {
        official_name(name): p.detach().double().clone().requires_grad_(p.requires_grad)
        for name, p in method.named_parameters()
    }


def small_method(**params: Any) -> ActionCLIP:
    torch.manual_seed(7)
    with double_precision():
        method = ActionCLIP(small_backbone(), ActionCLIP.Config(**params)).double()
    shaken(method)
    return method


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def method() -> ActionCLIP:
    return small_method()


def texts_of(
    method: ActionCLIP, weights: dict[str, Tensor], labels: Sequence[str]
) -> list[list[Tensor]]:
    """Features of every template (outer) and label (inner), by the reference."""
    tokenizer = method.backbone.tokenizer
    return [
        [encode_text(weights, SETTINGS, tokenizer(t.format(label))[0]) for label in labels]
        for t in method.config.templates
    ]


# --- against the reference ----------------------------------------------------------------------


def test_scores_equal_the_reference(scene: Scene, method: ActionCLIP) -> None:
    weights = official_weights(method)
    features, texts = scene.features(weights), texts_of(method, weights, LABELS)
    logits = method(scene.batch(method), method.encode_labels(LABELS))
    assert logits.shape == (len(LENGTHS), 16, len(LABELS))
    found = likely(logits).mean(1)
    for row, (clip, length) in enumerate(LENGTHS.items()):
        frames = features[clip][scored_frames(length, 8)]
        video = video_feature(weights, frames, heads=HEADS)
        expected = torch.stack([torch.stack([similarity(weights, video, t) for t in of_template])
                                for of_template in texts])  # fmt: skip
        assert expected.std() > 0.1  # not one of constants
        assert gap(logits[row], expected) < 1e-9
        assert gap(found[row], probabilities(weights, video, texts)) < 1e-5  # fp32 on our side


def test_loss_and_gradients_equal_the_reference(scene: Scene) -> None:
    method = small_method()
    draws, labels = [2**61 + 5, 35, 7, 16], [1, 0, 1, 3]
    batch = scene.batch(method, scene.training(draws), training=True)
    targets = torch.eye(len(LABELS))[labels]
    loss = method.loss(
        method(batch, method.encode_labels(LABELS)), targets, config=TrainConfig(
            iterations=1, loss="ce"), exclusive=torch.ones(4, dtype=torch.bool),
        draws=torch.tensor(draws),
    )  # fmt: skip

    weights = official_weights(method)
    images = pixels_of(batch.pictures)
    seen = torch.stack([encode_picture(weights, SETTINGS, p.double()) for p in images])
    seen = seen @ weights["visual.proj"]
    videos = [video_feature(weights, seen[rows], heads=HEADS) for rows in batch.frames]
    templates = [TEMPLATES[draw % 16] for draw in draws]
    assert templates == [TEMPLATES[5], TEMPLATES[3], TEMPLATES[7], TEMPLATES[0]]  # 2^61 = 16 n
    texts = [
        encode_text(weights, SETTINGS, method.backbone.tokenizer(t.format(LABELS[i]))[0])
        for t, i in zip(templates, labels, strict=True)
    ]
    expected = batch_loss(weights, videos, texts, labels)
    assert expected > 0.5
    assert gap(loss, expected) < 1e-9

    loss.backward()
    expected.backward()
    trained = {official_name(n): p for n, p in method.named_parameters() if p.requires_grad}
    assert {n for n, w in weights.items() if w.requires_grad} == trained.keys()
    assert all(name.startswith("module.") for name in trained)
    for name, parameter in trained.items():
        assert parameter.grad is not None, name
        reference = weights[name].grad
        assert reference is not None, name
        if name.endswith("in_proj_bias"):  # that of the keys moves no softmax
            width = len(reference) // 3
            assert reference[width : 2 * width].abs().max() < 1e-12
        assert reference.abs().max() > 1e-7, f"{name}: nothing to compare"
        assert gap(parameter.grad, reference) < 1e-8, name


def test_single_precision_and_autocast_are_close(scene: Scene) -> None:
    method = small_method()
    expected = method(scene.batch(method), method.encode_labels(LABELS))
    method = method.float()
    batch, text = scene.batch(method), method.encode_labels(LABELS)
    assert gap(method(batch, text), expected) < 1e-4
    with torch.autocast("cpu", torch.bfloat16):
        found = method(batch, text)
    assert found.dtype == torch.float32
    assert gap(found, expected) < 0.05


def test_stored_features_stand_for_pictures(scene: Scene, method: ActionCLIP) -> None:
    batch, text = scene.batch(method), method.encode_labels(LABELS)
    stored = replace(batch, pictures=Encoded(method.image_features(batch.pictures)))
    assert torch.equal(method(stored, text), method(batch, text))


# --- what surrounds it --------------------------------------------------------------------------


def test_a_clip_is_scored_alone_as_among_others(scene: Scene, method: ActionCLIP) -> None:
    text = method.encode_labels(LABELS)
    together = method(scene.batch(method), text)
    alone = torch.cat([method(scene.batch(method, [s]), text) for s in scene.samples])
    assert gap(alone, together) < 1e-9


def test_only_the_positions_know_the_order_of_frames(scene: Scene) -> None:
    method = small_method()
    batch, text = scene.batch(method), method.encode_labels(LABELS)
    turned = replace(batch, frames=batch.frames.flip(1))
    assert gap(method(turned, text)[2:], method(batch, text)[2:]) > 1e-3
    with torch.no_grad():
        method.temporal.positions.zero_()
    assert gap(method(turned, text), method(batch, text)) < 1e-9


def test_views_stand_beside_templates(scene: Scene) -> None:
    method = small_method(views=2, sampling="a5")
    batch, text = scene.batch(method), method.encode_labels(LABELS)
    assert batch.frames.shape == (len(LENGTHS), 16)
    found = method(batch, text)
    assert found.shape == (len(LENGTHS), 2 * 16, len(LABELS))
    second = replace(batch, frames=batch.frames[:, 8:])
    assert gap(found[:, 16:], method(second, text)) < 1e-9


def test_further_rows_of_the_table_are_dead(scene: Scene) -> None:
    method = small_method(positions=77)
    method(scene.batch(method), method.encode_labels(LABELS)).square().sum().backward()
    gradient = method.temporal.positions.grad
    assert gradient is not None
    assert bool(gradient[:8].abs().amax(1).gt(0).all())
    assert not gradient[8:].any()


# --- the loss -----------------------------------------------------------------------------------


def test_targets_are_soft_and_of_the_same_label() -> None:
    # KL to uniform rows of 8: log 8 - H(Q). One positive: Q is 0.99968 and seven times 4.5e-5.
    q, rest = math.exp(10) / (math.exp(10) + 7), 1 / (math.exp(10) + 7)
    assert (round(q, 5), round(rest, 6)) == (0.99968, 4.5e-5)
    expected = math.log(8) + q * math.log(q) + 7 * rest * math.log(rest)
    found = symmetric_kl(torch.zeros(8, 8), torch.arange(8))
    assert found.item() == pytest.approx(expected, rel=1e-5)
    # Two positives: about one half each, however they are ordered.
    twin = symmetric_kl(torch.zeros(8, 8), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3]))
    assert twin.item() == pytest.approx(math.log(8) - math.log(2), abs=0.01)


def test_one_clip_or_one_class_alone_costs_nothing() -> None:
    assert symmetric_kl(torch.tensor([[5.0]]), torch.tensor([3])).item() == 0
    assert symmetric_kl(torch.full((4, 4), 7.0), torch.zeros(4, dtype=torch.long)).item() == 0


def loss_of(
    method: ActionCLIP, logits: Tensor, targets: Tensor, draws: Sequence[int], **settings: Any
) -> Tensor:
    config = TrainConfig(iterations=1, **{"loss": "ce", **settings})
    exclusive = torch.ones(targets.shape[1], dtype=torch.bool)
    return method.loss(
        logits, targets, config=config, exclusive=exclusive, draws=torch.tensor(draws)
    )


def test_only_the_drawn_template_of_the_batchs_classes_is_read(method: ActionCLIP) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 16, 5, requires_grad=True)
    loss_of(method, logits, torch.eye(5)[[4, 1, 4]], [0, 17, 2]).backward()
    read = torch.zeros(16, 5, dtype=torch.bool)
    for template, label in ((0, 4), (1, 1), (2, 4)):
        read[template, label] = True
    assert logits.grad is not None
    assert torch.equal(logits.grad.ne(0), read.expand(3, 16, 5))


def test_a_clip_needs_exactly_one_label(method: ActionCLIP) -> None:
    logits = torch.zeros(2, 16, 3)
    for targets, counts in (([[1, 1, 0], [1, 0, 0]], [2, 1]), ([[0, 0, 0], [1, 0, 0]], [0, 1])):
        with pytest.raises(ConfigError, match=re.escape(f"of a batch have {counts} labels")):
            loss_of(method, logits, torch.tensor(targets).float(), [0, 1])


@pytest.mark.parametrize("settings", [{"loss": "focal"}, {"label_smoothing": 0.1}])
def test_a_loss_that_it_cannot_have_is_refused(
    method: ActionCLIP, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="set loss: ce, label_smoothing: 0"):
        loss_of(method, torch.zeros(1, 16, 2), torch.eye(2)[:1], [0], **settings)


# --- size, start, bad input ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "positions", "expected"),
    [
        ("ViT-B-16", 8, 18_918_400),  # 18.92 M in the paper's Table 10
        ("ViT-B-16", 77, 18_953_728),
        ("ViT-L-14", 8, 42_533_376),
    ],
)
def test_trained_parameters(backbone: str, positions: int, expected: int) -> None:
    with torch.device("meta"):
        method = ActionCLIP(meta_backbone(backbone), ActionCLIP.Config(positions=positions))
    trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == expected
    assert all(name.startswith("temporal.") for name in trained)
    block = method.temporal.blocks[0]
    assert block.attn.num_heads == method.backbone.embed_dim // 64
    assert (block.ln_1.eps, block.ln_2.eps) == (1e-12, 1e-12)


def test_the_head_starts_as_released() -> None:
    torch.manual_seed(0)
    temporal = ActionCLIP(small_backbone(), ActionCLIP.Config()).temporal
    assert temporal.positions.std().item() == pytest.approx(0.02, rel=0.1)
    for block in temporal.blocks:
        for layer in (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
            assert layer.weight.abs().max() > 0.06  # normal, not uniform
            assert not layer.bias.any()
        bound = math.sqrt(6 / (128 + 3 * 128))  # Xavier
        assert 0.98 * bound < block.attn.in_proj_weight.abs().max() <= bound
        assert not block.attn.in_proj_bias.any()
        for norm in (block.ln_1, block.ln_2):
            assert bool((norm.weight == 1).all())
            assert not norm.bias.any()


def test_blocks_may_begin_as_the_identity() -> None:
    torch.manual_seed(0)
    temporal = ActionCLIP(small_backbone(), ActionCLIP.Config(zero_init=True)).temporal
    frames = torch.randn(2, 8, 128)
    with torch.no_grad():
        expected = (2 * frames + temporal.positions).mean(1)
        assert gap(temporal(frames), expected) < 1e-6


def test_labels_that_cannot_be_read_are_named(method: ActionCLIP) -> None:
    assert method.encode_labels(["run"]).shape == (16, 1, 128)
    # The longest template adds 7 tokens, start and end 2: 68 of 77 are left.
    assert method.encode_labels(["run " * 67 + "run"]).shape == (16, 1, 128)
    with pytest.raises(
        ConfigError, match=r"action of run run .* has 76 tokens; the text tower takes 75"
    ):
        method.encode_labels(["run " * 68 + "run"])
    with pytest.raises(ConfigError, match=r"labels \['a photo of action run'\] are given twice"):
        method.encode_labels(["run", "walk", "run"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"templates": ["{}", "a photo"]}, r"templates: \['a photo'\]: .*exactly one {}"),
        ({"templates": ["{} or {}"]}, r"\['{} or {}'\]: .*exactly one {}"),
        ({"templates": []}, "templates: List should have at least 1 item"),
        ({"templates": "{}"}, "templates: Input should be a valid list, found '{}'"),
        ({"templates": ["{}", "{}"]}, r"templates: .*\['{}'\] are given twice"),
        ({"num_frames": 16}, "positions is 8, num_frames is 16"),
        ({"layers": 0}, "layers: .*greater than or equal to 1, found 0"),
    ],
)
def test_params_that_do_not_fit_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(ActionCLIP, params, where="method actionclip")


def test_a_single_label_has_all_probability(scene: Scene, method: ActionCLIP) -> None:
    logits = method(scene.batch(method), method.encode_labels(["run"]))
    assert torch.equal(likely(logits), torch.ones(len(LENGTHS), 16, 1))
