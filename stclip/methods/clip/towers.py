"""Which CLIPs can be a backbone, and building one: architecture, tokenizer, random weights.

The methods cut the image tower between its blocks, add tokens beside the class token, replace
token embeddings of the text tower and cut it behind the longest text. `check_towers` says what that
needs; everything else about a model (activation, sizes, layer scale, norms, end of text) follows
its configuration.
"""

import difflib
import inspect
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import open_clip
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn

from stclip.config.clip_models import read_model_config
from stclip.config.package_files import path_of
from stclip.errors import ConfigError

SUPPORTED = (
    "Only ViT CLIPs with a class token can be used: open_clip's own image transformer, read at its "
    "class token, beside a causal text transformer, read at the end of the text"
)


def model_config(model: str) -> dict[str, Any]:
    """The configuration of an open_clip model, or of a file of that form (.json).

    Raises:
        ConfigError: unknown, or no such file.
    """
    if model.endswith(".json"):
        return deepcopy(read_model_config(path_of(model))[0])
    if model.startswith(("hf-hub:", "local-dir:")):
        raise ConfigError(
            f"backbone model {model!r}: nothing is fetched on the way; save open_clip_config.json "
            "and the weights from there, and name both files as `model` and `weights`."
        )
    name = model.replace("/", "-")  # ViT-B/16, as papers write
    found: dict[str, Any] | None = open_clip.get_model_config(name)
    if found is None:
        known = open_clip.list_models()
        near = difflib.get_close_matches(name, known, n=5) or ["ViT-B-16", "ViT-B-16-quickgelu"]
        raise ConfigError(
            f"backbone model {model!r} is unknown to open_clip; near are {near}. A model of your "
            "own is the path of its config, .json."
        )
    return found


def checked_config(model: str) -> dict[str, Any]:
    """`model_config`, of a model that `check_towers` lets pass.

    Raises:
        ConfigError: unknown, wrongly configured, or refused.
    """
    config = model_config(model)
    _check_keys(config, where=model)
    _check_makers(config, where=model)
    try:
        with torch.device("meta"):  # shapes without values: a large one is refused at once
            shapes = _made(config)
    except Exception as error:  # sizes that do not fit raise almost anything
        raise ConfigError(f"backbone {model}: open_clip cannot build it: {error}") from None
    check_towers(shapes, where=model)
    return config


def build_clip(config: Mapping[str, Any], *, context_length: int | None = None) -> open_clip.CLIP:
    """A CLIP of a `checked_config` with random weights, fp32, on the CPU.

    `context_length`: of the text tower, where another than the configuration's.
    """
    text = dict(config["text_cfg"])
    if context_length is not None:
        text["context_length"] = context_length
    return _made({**config, "text_cfg": text})


def _made(config: Mapping[str, Any]) -> Any:
    own = {key: value for key, value in config.items() if key != "custom_text"}
    if "multimodal_cfg" in config:
        return open_clip.CoCa(**own)
    return (open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP)(**own)


def _check_keys(config: Mapping[str, Any], *, where: str) -> None:
    """Keys that open_clip does not know would end in its traceback."""
    known = {
        "": {*inspect.signature(open_clip.CLIP).parameters, "custom_text", "multimodal_cfg"},
        "vision_cfg": set(CLIPVisionCfg.__dataclass_fields__),
        "text_cfg": set(CLIPTextCfg.__dataclass_fields__),
    }
    for section, keys in known.items():
        unknown = sorted((config[section] if section else config).keys() - keys)
        if unknown:
            raise ConfigError(
                f"backbone {where}: {section or 'model config'} has keys that open_clip does not "
                f"know: {unknown}; it knows {sorted(keys)}."
            )


def _check_makers(config: Mapping[str, Any], *, where: str) -> None:
    """Towers of other libraries are not even built: that may take gigabytes, or the network."""
    found = []
    if config["vision_cfg"].get("timm_model_name"):
        found.append(f"an image tower of timm's, {config['vision_cfg']['timm_model_name']}")
    if config["text_cfg"].get("hf_model_name"):
        found.append(f"a text tower of transformers', {config['text_cfg']['hf_model_name']}")
    if found:
        raise _unsupported(found, where=where)


def check_towers(clip: Any, *, where: str) -> None:
    """Refuse a CLIP that methods would compute something else of than open_clip does.

    Raises:
        ConfigError: what it has, in words, and what it must have.
    """
    found = _of_image_tower(getattr(clip, "visual", None))
    if not isinstance(clip, open_clip.CLIP):
        kind = {"CoCa": "a CoCa, with a decoder of captions"}.get(type(clip).__name__)
        found.append(kind or "a text tower of a kind of its own (custom_text)")
    else:
        found += _of_text_tower(clip)
    if found:
        raise _unsupported(found, where=where)


def _of_image_tower(visual: Any) -> list[str]:
    if not isinstance(visual, VisionTransformer):
        name = {"ModifiedResNet": "ResNet"}.get(type(visual).__name__, type(visual).__name__)
        return [f"an image tower that is no such transformer but a {name}"]
    found = []
    if visual.attn_pool is not None:
        found.append("an image tower read by attention pooling (attentional_pool)")
    elif visual.pool_type != "tok":
        pool = visual.pool_type
        found.append(f"an image tower that is not read at its class token (pool_type: {pool})")
    if not _of_plain_blocks(visual.transformer):
        found.append("other blocks in the image tower (block_type, qk_norm, scale_...)")
    return found


def _of_text_tower(clip: open_clip.CLIP) -> list[str]:
    found = []
    if clip.attn_mask is None:
        found.append("a text tower that is not causal (no_causal_mask)")
    if clip.text_pool_type not in ("argmax", "eos"):
        found.append(
            "a text tower that is not read at the end of the text "
            f"(text_cfg.pool_type: {clip.text_pool_type})"
        )
    if len(clip.positional_embedding) != clip.context_length:
        found.append("a text tower with a class token (embed_cls)")
    if not isinstance(clip.text_projection, nn.Parameter):
        found.append("a text projection that is no matrix (proj_type, proj_bias)")
    if not _of_plain_blocks(clip.transformer):
        found.append("other blocks in the text tower (block_type, qk_norm, scale_...)")
    if clip.logit_bias is not None or clip.logit_scale.ndim:
        found.append("a logit bias or several logit scales, which no method computes with")
    return found


def _of_plain_blocks(transformer: Any) -> bool:
    return all(type(block) is ResidualAttentionBlock for block in transformer.resblocks)


def _unsupported(found: list[str], *, where: str) -> ConfigError:
    return ConfigError(f"backbone {where}: it has {' and '.join(found)}. {SUPPORTED}.")
