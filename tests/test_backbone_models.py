"""A backbone is the model that its configuration says, or is refused in words."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from stclip.config import BackboneConfig
from stclip.errors import ConfigError
from stclip.methods.build import build, load_official
from stclip.methods.clip.backbone import Backbone, load_backbone
from stclip.methods.layers.name_prompt import place_names

LABELS = ["run", "brush hair", "kick ball"]
CLASS_TOKEN = "Only ViT CLIPs with a class token can be used"
Change = Callable[[dict[str, Any]], object]


def write_config(folder: Path, *, name: str = "own", **changes: Any) -> Path:
    """A small model config; `vision__x` and `text__x` change the towers' sections."""
    content: dict[str, Any] = {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": [32, 48], "layers": 2, "width": 64, "patch_size": 16, "head_width": 32,
        },
        "text_cfg": {
            "context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2,
        },
    }  # fmt: skip
    for key, value in changes.items():
        section, _, part = key.partition("__")
        if part:
            content[f"{section}_cfg"][part] = value
        else:
            content[key] = value
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


def random_backbone(path: Path | str, *, seed: int = 0) -> Backbone:
    """With no parameter at a value that hides it."""
    torch.manual_seed(seed)
    backbone = load_backbone(BackboneConfig(model=str(path), weights=None))
    with torch.no_grad():
        for parameter in backbone.clip.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return backbone


def of_open_clip(
    path: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> tuple[open_clip.CLIP, Any]:
    """What open_clip itself makes of the configuration, with the backbone's weights; tokenizer."""
    content = json.loads(path.read_text())
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, path.stem, content)
    clip = open_clip.create_model(path.stem, precision="fp32").eval()
    clip.load_state_dict(backbone.clip.state_dict())
    return clip, open_clip.get_tokenizer(path.stem)


def words(folder: Path) -> str:
    """A tokenizer of transformers with a start token, an end token and padding, in a folder."""
    names = ["<s>", "<pad>", "</s>", "<unk>", "run", "brush", "hair", "kick", "ball", "a", "b"]
    made = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    ).save_pretrained(folder / "words")
    return str(folder / "words")


FOLLOWED: dict[str, dict[str, Any]] = {
    "gelu": {},
    "quickgelu": {"quick_gelu": True},
    "tanh": {"vision__act_kwargs": {"approximate": "tanh"}},
    "eps": {"vision__norm_kwargs": {"eps": 0.1}, "text__norm_kwargs": {"eps": 0.1}},
    "mlp_ratio": {"vision__mlp_ratio": 2.5, "text__mlp_ratio": 3.0},
    "layer_scale": {"vision__ls_init_value": 0.3, "text__ls_init_value": 0.3},
    "no_ln_pre": {"vision__no_ln_pre": True},
    "ln_after_pool": {"vision__final_ln_after_pool": True},
    "patch_dropout": {"vision__patch_dropout": 0.5},
    "sines": {"vision__pos_embed_type": "sin_cos_2d", "vision__image_size": 32},
    "clean": {"text__tokenizer_kwargs": {"clean": "canonicalize"}},
    "eos": {"text__pool_type": "eos", "text__eos_id": 49407},
}


@pytest.mark.parametrize("case", FOLLOWED)
def test_features_are_open_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    path = write_config(tmp_path, **FOLLOWED[case])
    backbone = random_backbone(path)
    theirs, tokenizer = of_open_clip(path, backbone, monkeypatch)
    pictures = torch.randint(0, 256, (3, 3, *backbone.image_size), dtype=torch.uint8)
    with torch.no_grad():
        expected = theirs.encode_image(backbone.normalise(pictures))
        same(backbone.encode_images(pictures), expected)
        same(backbone.encode_text(LABELS), theirs.encode_text(tokenizer(LABELS)))


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_two_activations_are_two_models(tmp_path: Path) -> None:
    found = []
    pictures = torch.randint(0, 256, (1, 3, 32, 48), dtype=torch.uint8)
    for quick in (False, True):
        backbone = random_backbone(write_config(tmp_path, quick_gelu=quick))
        blocks: list[Any] = [*backbone.blocks, *backbone.clip.transformer.resblocks]
        kinds = {type(block.mlp.gelu) for block in blocks}
        assert kinds == {QuickGELU if quick else nn.GELU}
        assert backbone.quick_gelu == quick
        found.append(backbone.encode_images(pictures))
    assert (found[0] - found[1]).abs().max() > 1e-3


def prompted(backbone: Backbone) -> Tensor:
    """Learned prompts that stand at the embeddings of "a b": as the texts "a b NAME"."""
    placed = place_names(backbone, LABELS, before=2)
    ids = backbone.tokenize(["a b"])
    rows = backbone.clip.token_embedding(ids)[0, : placed.learned.shape[1]]
    return backbone.encode_embedded(placed.filled(rows), placed.eot)


@pytest.mark.parametrize("pool", ["argmax", "eos"])
def test_learned_prompts_are_read_where_open_clip_reads_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    changes: dict[str, Any] = {"text__pool_type": pool, "text__eos_id": 49407}
    if pool == "eos":  # as MetaCLIP 2: another tokenizer, whose end token has not the largest id
        changes = {
            "text__pool_type": "eos", "text__eos_id": 2, "text__vocab_size": 11,
            "text__hf_tokenizer_name": words(tmp_path),
        }  # fmt: skip
    path = write_config(tmp_path, **changes)
    backbone = random_backbone(path)
    theirs, tokenizer = of_open_clip(path, backbone, monkeypatch)
    texts = [f"a b {label}" for label in LABELS]
    with torch.no_grad():
        expected = theirs.encode_text(tokenizer(texts))
        same(prompted(backbone), expected)
        same(backbone.encode_text(texts), expected)
    with pytest.raises(ConfigError, match="has 11 tokens; the text tower takes 10"):
        backbone.tokenize(["run " * 11])
    assert backbone.tokenize([("run " * 10).strip()]).shape == (1, 12)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "avg": ({"vision__pool_type": "avg"}, r"not read at its class token \(pool_type: avg\)"),
    "attention": ({"vision__attentional_pool": True}, "attention pooling"),
    "last": ({"text__pool_type": "last"}, r"not read at the end of the text .*pool_type: last"),
    "first": ({"text__pool_type": "first"}, r"text_cfg\.pool_type: first"),
    "not_causal": ({"text__no_causal_mask": True}, "text tower that is not causal"),
    "qk_norm": ({"vision__qk_norm": True}, "other blocks in the image tower"),
    "text_blocks": ({"text__scale_fc": True}, "other blocks in the text tower"),
    "proj_bias": ({"text__proj_bias": True}, "text projection that is no matrix"),
    "no_proj": ({"text__proj_type": "none"}, "text projection that is no matrix"),
    "cls": ({"text__embed_cls": True}, r"class token \(embed_cls\)"),
    "bias": ({"init_logit_bias": -10}, "logit bias"),
    "custom": ({"custom_text": True}, r"text tower of a kind of its own \(custom_text\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_methods_cannot_do_is_refused(tmp_path: Path, case: str) -> None:
    changes, message = REFUSED[case]
    path = write_config(tmp_path, **changes)
    with pytest.raises(ConfigError, match=rf"own\.json: it has .*{message}.*{CLASS_TOKEN}"):
        load_backbone(BackboneConfig(model=str(path), weights=None))
    with pytest.raises(ConfigError, match=message):
        build("clip_frame", labels=LABELS, backbone=str(path))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("EVA02-B-16", "an image tower of timm's, eva02_base_patch16_clip_224"),
        ("RN50", "an image tower that is no such transformer but a ResNet"),
        ("RN50x64-quickgelu", "ResNet"),
        ("coca_ViT-B-32", "attention pooling .* and a CoCa"),
        ("coca_roberta-ViT-B-32", "a text tower of transformers', roberta-base"),
        ("convnext_base", "an image tower of timm's, convnext_base"),
        ("MobileCLIP-S1", "an image tower of timm's, fastvit_mci1"),
        ("ViT-B-16-SigLIP", "an image tower of timm's, vit_base_patch16_siglip_224"),
        ("roberta-ViT-B-32", "a text tower of transformers', roberta-base"),
        ("nllb-clip-base", "a text tower of transformers', facebook/nllb"),
        ("ViT-bigG-14-CLIPA", r"pool_type: avg.*not causal"),
    ],
)
def test_other_models_of_open_clip_are_refused_at_once(model: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"backbone {model}: it has .*{message}.*{CLASS_TOKEN}"):
        load_backbone(BackboneConfig(model=model, weights="before/weights/are/read.pt"))


def test_a_model_built_elsewhere_is_looked_at_too() -> None:
    clip = open_clip.CLIP(
        32, {"image_size": 32, "width": 64, "layers": 1, "pool_type": "avg"},
        {"width": 32, "heads": 2, "layers": 1},
    )  # fmt: skip
    with pytest.raises(ConfigError, match=rf"pool_type: avg.*{CLASS_TOKEN}"):
        Backbone(clip, None)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "key": ({"vision__pool_typ": "avg"}, r"vision_cfg has keys .*\['pool_typ'\]; it knows"),
    "top": ({"quickgelu": True}, r"model config has keys .*\['quickgelu'\]"),
    "size": ({"vision__layers": "two"}, "open_clip cannot build it"),
    "section": ({"vision_cfg": 3}, "vision_cfg is 3; a mapping is expected"),
    "vocabulary": ({"text__vocab_size": 100}, "tokenizer has 49408 tokens, .*vocab_size is 100"),
    "eos": ({"text__pool_type": "eos"}, r"position 0 of \[49406, 320, 49407, 0\], where no text"),
    "tokenizer": ({"text__hf_tokenizer_name": "./nowhere"}, "tokenizer ./nowhere cannot be had"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_configuration_is_told(tmp_path: Path, case: str) -> None:
    changes, message = WRONG[case]
    with pytest.raises(ConfigError, match=rf"own\.json: .*{message}"):
        random_backbone(write_config(tmp_path, **changes))


def test_a_tokenizer_that_does_not_fit_the_pooling_is_told(tmp_path: Path) -> None:
    changes = {"text__hf_tokenizer_name": words(tmp_path), "text__vocab_size": 11}
    with pytest.raises(ConfigError, match=r"read at position 1 of \[0, 9, 2, 1\], where no text"):
        random_backbone(write_config(tmp_path, **changes))  # argmax of ids that do not rise


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a readable model config"),
        ("[]", "are missing"),
        ('{"model_type": "clip", "text_config": {}}', r"\['embed_dim', 'vision_cfg', 'text_cfg'\]"),
    ],
)
def test_a_file_that_is_no_model_config_is_told(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=rf"own\.json: .*{message}"):
        random_backbone(path)
    path.unlink()
    with pytest.raises(ConfigError, match=r"own\.json: no such model config"):
        random_backbone(path)


def test_unknown_names_are_told_with_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"'ViT-B-16-quikgelu' .*'ViT-B-16-quickgelu'"):
        random_backbone("ViT-B-16-quikgelu")
    with pytest.raises(ConfigError, match=r"open_clip_config\.json"):
        random_backbone("hf-hub:laion/CLIP-ViT-B-16-laion2B-s34B-b88K")


def test_a_model_config_does_not_change_open_clips_own(tmp_path: Path) -> None:
    """A file may have the name of a model."""
    before = open_clip.get_model_config("ViT-B-32")
    backbone = random_backbone(write_config(tmp_path, name="ViT-B-32"))
    assert backbone.width == 64
    assert open_clip.get_model_config("ViT-B-32") == before


def test_refusing_draws_no_random_numbers(tmp_path: Path) -> None:
    """The check builds a model of shapes alone; weights after it are those of the seed."""
    path = write_config(tmp_path)
    torch.manual_seed(3)
    ours = load_backbone(BackboneConfig(model=str(path), weights=None)).clip.state_dict()
    torch.manual_seed(3)
    theirs = open_clip.CLIP(**json.loads(path.read_text())).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_activation_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    random_backbone(write_config(tmp_path))
    random_backbone(write_config(tmp_path, quick_gelu=True))
    assert "own.json: GELU, weights random" in caplog.text
    assert "own.json: QuickGELU, weights random" in caplog.text


def test_official_checkpoints_ask_for_quick_gelu(tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    torch.save({"model": {"a": torch.zeros(1)}}, file)
    with pytest.raises(ConfigError, match=r"model\.pth: .*QuickGELU.*ViT-B-16-quickgelu"):
        load_official("actionclip", file, labels=LABELS, backbone=str(write_config(tmp_path)))
