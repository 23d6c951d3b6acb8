"""What paper and official code of Vita-CLIP say of it, and input that does not fit."""

import math
from typing import Any

import open_clip
import pytest
import torch
from small_clip import gap
from torch import Tensor
from vitaclip_scene import (
    CONTEXT,
    EMBED,
    LABELS,
    LAYERS,
    LENGTHS,
    NUM_FRAMES,
    NUM_VECTORS,
    SIZE,
    WIDTH,
    Scene,
    placeholder_ids,
    small_method,
)  # fmt: skip

import baselines.vitaclip
from baselines.vitaclip import VitaCLIP
from stclip.config import TrainConfig
from stclip.config.target import make_config
from stclip.errors import ConfigError
from stclip.methods.clip.backbone import Backbone


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("frames"))


def test_many_clips_are_encoded_in_parts(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    method = small_method()
    batch, encoded = scene.batch(method), method.encode_labels(LABELS)
    with torch.no_grad():
        whole = method(batch, encoded)
        for at_once in (1, 2 * NUM_FRAMES):  # a clip at a time, two at a time
            monkeypatch.setattr(baselines.vitaclip, "AT_ONCE", at_once)
            assert gap(method(batch, encoded), whole) < 1e-12


def features(method: VitaCLIP, clips: Tensor) -> Tensor:
    with torch.no_grad():
        return method.encoder(method.backbone, clips)


def normalised_clips(count: int) -> Tensor:
    torch.manual_seed(5)
    return torch.randn(count, NUM_FRAMES, 3, *SIZE).double()


def test_without_prompts_and_time_it_is_clip_averaged_over_frames() -> None:
    method = small_method(use_global=False, use_local=False, use_summary=False)
    with torch.no_grad():
        method.encoder.time_embedding.zero_()
    clips = normalised_clips(2)
    with torch.no_grad():
        each = method.backbone.clip.encode_image(clips.flatten(0, 1)).unflatten(0, (2, -1))
    assert gap(features(method, clips), each.mean(1)) < 1e-12


def test_what_a_clip_shows_does_not_reach_another() -> None:
    method = small_method()
    clips = normalised_clips(3)
    changed = clips.clone()
    changed[1] = 0
    before, after = features(method, clips), features(method, changed)
    assert gap(after[[0, 2]], before[[0, 2]]) < 1e-12
    assert gap(after[1], before[1]) > 1e-3


def test_the_order_of_frames_counts_by_time_embedding_and_local_prompts_alone() -> None:
    method = small_method()
    clips, order = normalised_clips(2), [2, 0, 3, 1]
    tables = [method.encoder.time_embedding, *(x.local_prompts for x in method.encoder.layers)]
    assert gap(features(method, clips[:, order]), features(method, clips)) > 1e-4
    with torch.no_grad():
        for table in tables:
            table.copy_(table.mean(-2, keepdim=True).expand_as(table))
    assert gap(features(method, clips[:, order]), features(method, clips)) < 1e-12
    # Local prompts from the second block on: all class tokens enter the first one alike.
    for table in (tables[0], tables[2]):
        kept = table.detach().clone()
        with torch.no_grad():
            table.normal_()
        assert gap(features(method, clips[:, order]), features(method, clips)) > 1e-4
        with torch.no_grad():
            table.copy_(kept)


def test_a_frame_sees_all_local_prompts_and_every_frame_through_its_summary() -> None:
    for params in ({"use_summary": False}, {"use_local": False}):
        method = small_method(use_global=False, **params)
        clips = normalised_clips(1)
        changed = clips.clone()
        changed[0, 3] = 0
        outputs = []
        hook = method.backbone.clip.visual.ln_post.register_forward_pre_hook(
            lambda _, inputs, outputs=outputs: outputs.append(inputs[0])
        )
        features(method, clips)
        features(method, changed)
        hook.remove()
        assert gap(outputs[1][0], outputs[0][0]) > 1e-6  # frame 0, of which nothing changed


def test_a_block_sees_214_tokens_of_a_frame_and_computes_197(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At ViT-B/16's 196 patches with T = G = 8; the last block computes the class token alone."""
    clip = open_clip.CLIP(
        EMBED,
        {"image_size": 224, "patch_size": 16, "width": WIDTH, "layers": 2, "head_width": 32},
        {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    )
    method = VitaCLIP(Backbone(clip, open_clip.get_tokenizer("ViT-B-16")), VitaCLIP.Config())
    seen = []
    for block in method.backbone.blocks:
        whole = block.attention
        monkeypatch.setattr(
            block, "attention",
            lambda q, k, v, whole=whole: seen.append((q.shape[1], k.shape[1])) or whole(q, k, v),
        )  # fmt: skip
    with torch.no_grad():
        method.encoder(method.backbone, torch.zeros(1, 8, 3, 224, 224, dtype=torch.uint8))
    assert seen == [(197, 214), (1, 214)]


def test_gradients_reach_the_context_through_the_frozen_text_tower() -> None:
    method = small_method()
    text = method.text_features(method.encode_labels(LABELS))
    text.square().sum().backward()
    assert method.context is not None
    assert (method.context.grad.abs().amax(1) > 0).all()  # every vector
    assert all(p.grad is None for p in method.backbone.parameters())


def test_names_stand_where_the_official_string_has_them() -> None:
    method = small_method()
    names, ids = method.encode_labels(LABELS), placeholder_ids(method, LABELS)
    assert names.eot.tolist() == ids.argmax(1).tolist()
    table = method.backbone.clip.token_embedding.weight
    learned = names.learned[0].nonzero().flatten().tolist()
    assert learned == [1, 2, 3, 4, 5]
    for row, end in enumerate(names.eot.tolist()):
        kept = [0, *range(NUM_VECTORS + 1, end + 1)]
        assert torch.equal(names.embedded[row, kept], table[ids[row, kept]])
    assert ids[1, :9].tolist() == [49406, *[343] * 5, 1934, 269, 49407]  # X, "run", "."


def counted(backbone: str, **params: Any) -> int:
    """Trained parameters, without the memory for them."""
    with torch.device("meta"):
        clip = open_clip.CLIP(**open_clip.get_model_config(backbone))
        method = VitaCLIP(Backbone(clip, None), VitaCLIP.Config(**params))
    return sum(p.numel() for p in method.parameters() if p.requires_grad)


def test_counts_of_trained_parameters() -> None:
    assert counted("ViT-B-16") == 35_611_649  # the 35.61 M of Table 10
    assert counted("ViT-B-16", train_cls_proj=False) == 28_524_545  # as released
    assert counted("ViT-B-16", context_length=0) == 35_611_649 - 8 * 512
    assert counted("ViT-B-16", use_global=False) == 35_611_649 - 12 * 8 * 768
    assert counted("ViT-B-16", use_local=False) == 35_611_649 - 12 * 8 * 768
    assert counted("ViT-B-16", use_summary=False) == 35_611_649 - 28_366_848
    nothing = {"use_global": False, "use_local": False, "use_summary": False, "context_length": 0}
    assert counted("ViT-B-16", **nothing) == 8 * 768 + 1  # time embedding, logit scale
    assert counted("ViT-L-14") == 126_408_705
    assert counted("ViT-L-14", train_cls_proj=False) == 101_218_305


def test_new_parameters_start_as_in_the_official_code() -> None:
    torch.manual_seed(0)
    width, patch = 256, 16
    clip = open_clip.CLIP(
        EMBED,
        {"image_size": 32, "patch_size": patch, "width": width, "layers": 2, "head_width": 64},
        {"context_length": CONTEXT, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 1},
    )
    method = VitaCLIP(
        Backbone(clip, open_clip.get_tokenizer("ViT-B-16")), VitaCLIP.Config(num_global=64)
    )
    encoder = method.encoder

    def is_uniform(values: Tensor, bound: float) -> None:
        assert 0.98 * bound < values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)

    prompts = (6 / (3 * patch**2 + width)) ** 0.5
    is_uniform(encoder.global_prompts, prompts)
    for layer in encoder.layers:
        is_uniform(layer.local_prompts, prompts)
        is_uniform(layer.class_projection.weight, width**-0.5)
        is_uniform(layer.class_projection.bias, width**-0.5)
        attention = layer.summary_attention
        for weight in (*attention.in_proj_weight.chunk(3), attention.out_proj.weight):
            is_uniform(weight, (6 / (2 * width)) ** 0.5)  # Xavier
        assert not attention.in_proj_bias.any()
        assert not attention.out_proj.bias.any()
        assert (layer.summary_norm.weight == 1).all()
        assert not layer.summary_norm.bias.any()
    assert encoder.time_embedding.std().item() == pytest.approx(0.02, rel=0.05)
    assert method.context.std().item() == pytest.approx(0.02, rel=0.1)
    assert not torch.equal(encoder.layers[0].local_prompts, encoder.layers[1].local_prompts)
    assert method.backbone.logit_scale.item() == pytest.approx(1 / 0.07)


def test_the_logit_scale_may_start_from_clips_own_and_is_not_clamped(scene: Scene) -> None:
    method = small_method()
    batch, encoded = scene.batch(method), method.encode_labels(LABELS)
    scale = method.backbone.clip.logit_scale
    with torch.no_grad():
        once = method(batch, encoded) / scale.exp()
        scale.fill_(math.log(300))
        assert gap(method(batch, encoded), 300 * once) < 1e-9
    own = VitaCLIP(method.backbone, VitaCLIP.Config(logit_scale_init="clip"))
    assert own.backbone.logit_scale.item() == pytest.approx(300)
    assert own.backbone.clip.logit_scale.requires_grad


def test_frozen_class_projections_come_back_from_a_checkpoint(scene: Scene) -> None:
    method = small_method(train_cls_proj=False)
    batch, encoded = scene.batch(method), method.encode_labels(LABELS)
    state = {name: tensor.clone() for name, tensor in method.trained_state().items()}
    projections = {n for n in state if ".class_projection." in n}
    assert len(projections) == 2 * LAYERS
    assert not any(p.requires_grad for n, p in method.named_parameters() if n in projections)
    before = method(batch, encoded)
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if name in state:
                parameter.normal_()
    assert gap(method(batch, encoded), before) > 1e-3
    method.load_trained_state(state, where="test")
    assert torch.equal(method(batch, encoded), before)
    assert small_method().trained_state().keys() == state.keys()
    del state[min(projections)]
    with pytest.raises(ConfigError, match=r"missing \['encoder\.layers\.0\.class_projection"):
        method.load_trained_state(state, where="test")


def test_a_single_label_and_its_loss(scene: Scene) -> None:
    method = small_method()
    found = method(scene.batch(method), method.encode_labels(["run"]))
    assert found.shape == (len(LENGTHS), 1)
    loss = method.loss(
        found, torch.ones_like(found), config=TrainConfig(iterations=1, loss="ce"),
        exclusive=torch.tensor([True]), draws=torch.zeros(len(found), dtype=torch.long),
    )  # fmt: skip
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


def test_labels_that_do_not_fit_are_named() -> None:
    method = small_method()
    long = " ".join(["walk"] * 14)
    message = r"label 'walk.*walk' has 15 tokens with '\.'.*5 learned vectors leave room for 13"
    with pytest.raises(ConfigError, match=message):
        method.encode_labels(["run", long])
    with pytest.raises(ConfigError, match=r"\['run\.'\] are given twice"):
        method.encode_labels(["run", "walk", "run"])


def test_another_number_of_frames_is_refused(scene: Scene) -> None:
    eight = small_method(num_frames=8)
    method = small_method()
    encoded = method.encode_labels(LABELS)
    batch = scene.batch(small_method(num_frames=3))
    with pytest.raises(ConfigError, match=r"takes 4 frames of a clip .*, not 3"):
        method(batch, encoded)
    with pytest.raises(ConfigError, match=r"takes 8 frames of a clip .*, not 4"):
        eight(scene.batch(method), encoded)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_global": 0}, "num_global: .*greater than or equal to 1, found 0"),
        ({"context_length": -1}, "context_length: .*greater than or equal to 0, found -1"),
        ({"logit_scale_init": "ours"}, "logit_scale_init.*found 'ours'"),
    ],
)
def test_impossible_settings_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(VitaCLIP, params, where="test")
