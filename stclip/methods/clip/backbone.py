"""The frozen CLIP that every method builds on, through open_clip.

All parameters are frozen; a method un-freezes or adds what it trains. Shape letters: see
`stclip.methods`.
"""

import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import open_clip
import torch
from jaxtyping import Float, Integer, UInt8
from open_clip.transformer import QuickGELU
from torch import Tensor, nn
from torch.nn import functional as F

from stclip.config import BackboneConfig, MethodConfig, Statistics
from stclip.config.clip_models import STATISTICS, model_preprocessing
from stclip.config.clip_tags import QUICK, check_training_is_said, check_weights_path
from stclip.config.package_files import path_of
from stclip.errors import ConfigError
from stclip.methods.clip.tokens import (
    bare_ids,
    check_tokenizer,
    decoded,
    end_positions,
    make_tokenizer,
)
from stclip.methods.clip.towers import build_clip, check_towers, checked_config
from stclip.methods.clip.weights import ClipWeights, load_clip_weights, read_clip_weights
from stclip.methods.layers.frozen_attention import take_over
from stclip.methods.layers.partial_block import block_of_first

logger = logging.getLogger(__name__)
AT_ONCE = 64  # pictures, windows or persons in one pass: fills a GPU, bounds its memory


class Backbone(nn.Module):
    """CLIP's two towers, cut where the methods need them."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        clip: open_clip.CLIP,
        tokenizer: Any,
        *,
        known_tokens: set[int] | None = None,
        extra: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Take over a CLIP model.

        Args:
            clip: with its weights; one that `check_towers` lets pass.
            tokenizer: of its text tower.
            known_tokens: those with trained embeddings; None: all.
            extra: what came with the weights and is not CLIP's, for the method that can use it.

        Raises:
            ConfigError: methods would compute something else of this CLIP than open_clip does.
        """
        super().__init__()
        check_towers(clip, where=type(clip).__name__)
        self.extra = dict(extra or {})
        self.clip = clip.requires_grad_(False).eval()
        for block in (*clip.visual.transformer.resblocks, *clip.transformer.resblocks):
            take_over(block.attn)
        self.tokenizer = tokenizer
        self.known_tokens = known_tokens
        self.register_buffer("mean", torch.empty(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.empty(3, 1, 1), persistent=False)
        self.normalise_by("clip")

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the pictures in pixels."""
        return tuple(self.clip.visual.image_size)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches of a picture along y and x."""
        return tuple(self.clip.visual.grid_size)

    @property
    def width(self) -> int:
        """Width d of the image tower."""
        return self.clip.visual.conv1.out_channels

    @property
    def heads(self) -> int:
        """Attention heads of the image tower."""
        return self.clip.visual.transformer.resblocks[0].attn.num_heads

    @property
    def embed_dim(self) -> int:
        """Width e of the joint embedding."""
        return self.clip.visual.proj.shape[1]

    @property
    def quick_gelu(self) -> bool:
        """Whether the activation is OpenAI's, x sigmoid(1.702 x)."""
        return isinstance(self.clip.visual.transformer.resblocks[0].mlp.gelu, QuickGELU)

    @property
    def blocks(self) -> nn.ModuleList:
        """The residual attention blocks of the image tower."""
        return self.clip.visual.transformer.resblocks

    def shorten_context(self, length: int) -> None:
        """Cut the text tower to its first positions; it is causal, so shorter texts do not change.

        Texts that do not fit any more are refused by `tokenize`.
        """
        clip = self.clip
        clip.context_length = length
        clip.positional_embedding = nn.Parameter(
            clip.positional_embedding[:length].detach().clone(), requires_grad=False
        )
        clip.attn_mask = clip.attn_mask[:length, :length]

    def compile_blocks(self) -> None:
        """Let torch.compile fuse what the image tower's blocks do; the first batches compile.

        Without a C++ compiler, which torch calls, they stay as they are; the log says so.
        """
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        if shutil.which(compiler) is None:
            logger.warning(
                "no C++ compiler (%s) on this machine: blocks are not compiled, as `compile: true` "
                "asks; the numbers are the same but for rounding. Install one, or name it in CXX.",
                compiler,
            )
            return
        for block in self.blocks:
            block.compile()

    def normalise_by(self, statistics: str | Statistics) -> None:
        """Take another mean and standard deviation, perhaps those of a name in `STATISTICS`."""
        named = STATISTICS[statistics] if isinstance(statistics, str) else statistics
        for buffer, values in ((self.mean, named.mean), (self.std, named.std)):
            buffer.copy_(torch.tensor(values).view(3, 1, 1) * 255)

    def normalise(
        self, images: UInt8[Tensor, "U 3 H W"] | Float[Tensor, "U 3 H W"]
    ) -> Float[Tensor, "U 3 H W"]:
        """Pictures 0..255 to normalised floats; floats are taken for normalised."""
        if images.is_floating_point():
            return images
        return (images.to(self.mean.dtype) - self.mean) / self.std

    def patches(
        self, images: UInt8[Tensor, "U 3 H W"] | Float[Tensor, "U 3 H W"]
    ) -> Float[Tensor, "U N d"]:
        """Patch embeddings, without class token, position or norm."""
        return self.clip.visual.conv1(self.normalise(images)).flatten(2).transpose(1, 2)

    def embed(
        self, patches: Float[Tensor, "U N d"], *, added: Float[Tensor, "U d"] | None = None
    ) -> Float[Tensor, "U n d"]:
        """Prepend the class token, add the positions, apply `ln_pre`.

        `added` is added to all tokens of a picture, the class token too, before `ln_pre`.
        """
        visual = self.clip.visual
        cls = visual.class_embedding.expand(len(patches), 1, -1)
        tokens = torch.cat([cls, patches], 1) + visual.positional_embedding
        return visual.ln_pre(tokens if added is None else tokens + added[:, None])

    def encode(self, patches: Float[Tensor, "U N d"]) -> Float[Tensor, "U d"]:
        """Class token after all blocks and `ln_post`, before the projection.

        The last block is computed for the class token alone (`block_of_first`).
        """
        tokens = self.embed(patches)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        last: Any = self.blocks[-1]
        cls = block_of_first(last, tokens[:, :1], last.ln_1(tokens))
        return self.clip.visual.ln_post(cls[:, 0])

    def project(self, tokens: Float[Tensor, "*any d"]) -> Float[Tensor, "*any e"]:
        """Into the joint embedding; not normalised."""
        return tokens @ self.clip.visual.proj

    def encode_images(
        self, images: UInt8[Tensor, "U 3 H W"] | Float[Tensor, "U 3 H W"]
    ) -> Float[Tensor, "U e"]:
        """CLIP's image features, `AT_ONCE` pictures in one pass; not normalised."""
        parts = images.chunk(max(1, -(-len(images) // AT_ONCE)))
        return torch.cat([self.project(self.encode(self.patches(part))) for part in parts])

    def tokenize(self, labels: Sequence[str]) -> Integer[Tensor, "K context"]:
        """Token ids of the label texts.

        Raises:
            ConfigError: a text does not fit into the context, has no tokens or those of another.
        """
        context = self.clip.context_length
        twice = [label for label, count in Counter(labels).items() if count > 1]
        if twice:
            raise ConfigError(f"labels {twice} are given twice; every text must be another.")
        seen: dict[tuple[int, ...], str] = {}
        for label in labels:
            ids = bare_ids(self.tokenizer, label)
            if not ids:
                raise ConfigError(f"label {label!r} has no tokens; give it a name with letters.")
            if len(ids) + 2 > context:
                raise ConfigError(
                    f"label {label!r} has {len(ids)} tokens; the text tower takes {context - 2}."
                )
            same = seen.setdefault(tuple(ids), label)
            if same != label:
                raise ConfigError(
                    f"labels {[same, label]} have the same tokens; the tokenizer sees neither "
                    "capitals nor spaces. Every text must be another."
                )
            unknown = set(ids) - self.known_tokens if self.known_tokens is not None else ()
            if unknown:
                words = [decoded(self.tokenizer, i) for i in sorted(unknown)]
                logger.warning("label %r: this CLIP never saw the tokens %s", label, words)
        return self.tokenizer(list(labels), context_length=context)

    def ends(self, ids: Integer[Tensor, "K context"]) -> Integer[Tensor, " K"]:
        """Where each text ends: there the text tower is read."""
        return end_positions(ids, self.clip)

    def encode_text(self, labels: Sequence[str]) -> Float[Tensor, "K e"]:
        """Features of the label texts as they stand, no template; not normalised."""
        ids = self.tokenize(labels).to(self.mean.device)
        with torch.no_grad():
            return self.clip.encode_text(ids)

    def encode_embedded(
        self, embedded: Float[Tensor, "K n w"], eot: Integer[Tensor, " K"]
    ) -> Float[Tensor, "K e"]:
        """Features of embedded texts; not normalised.

        The text tower is causal, so positions behind a text's end do not matter: n may be the
        length of the longest text instead of the whole context. The same features come out:
        `tests/parity/test_fast_forms.py`, `test_texts_cut_behind_the_longest`.

        Args:
            embedded: token embeddings without positions, from the first token on.
            eot: where each text ends; its feature is taken there.
        """
        clip, length = self.clip, embedded.shape[1]
        x = embedded + clip.positional_embedding[:length]
        x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask[:length, :length]))
        return x[torch.arange(len(x), device=x.device), eot] @ clip.text_projection

    @property
    def logit_scale(self) -> Tensor:
        """CLIP's own factor on cosine similarities (scalar)."""
        return self.clip.logit_scale.exp()


def cosine(
    visual: Float[Tensor, "*any R e"], text: Float[Tensor, "*any K e"], *, dtype: torch.dtype
) -> Float[Tensor, "*any R K"]:
    """Cosine similarities, computed in `dtype` even under autocast.

    bfloat16 would know the logits that follow, near 14 or 100, only to 1/16 or 1/2.
    """
    with torch.autocast(visual.device.type, enabled=False):
        visual = F.normalize(visual.to(dtype), dim=-1, eps=0)
        return visual @ F.normalize(text.to(dtype), dim=-1, eps=0).transpose(-1, -2)


def backbone_of(config: MethodConfig) -> Backbone:
    """The backbone of a resolved method, which normalises pictures as the settings say.

    Raises:
        ConfigError: as `load_backbone`, or its training has to be said. DataError: as there.
    """
    backbone = load_backbone(config.backbone)
    check_training_is_said(config.backbone, where=f"method {config.name}")
    backbone.normalise_by(config.preprocessing.statistics)
    return backbone


def load_backbone(config: BackboneConfig) -> Backbone:
    """Build a CLIP and load its weights, fp32, on the CPU.

    Activation, pooling, tokenizer and the statistics that pictures are normalised by are those of
    the model's configuration.

    Raises:
        ConfigError: unknown model, or one that no method can use; weights that are no path, or of
            another activation. DataError: weights missing, damaged or of another model.
    """
    model, file = config.model, config.weights
    content = checked_config(model)
    check_weights_path(config, where=f"backbone {model}")
    weights = None if file is None else read_clip_weights(path_of(file))
    clip = build_clip(content, context_length=weights.context_length if weights else None)
    tokenizer = make_tokenizer(content["text_cfg"], where=model)
    check_tokenizer(tokenizer, clip, where=model)
    known, extra = None, {}
    if weights is not None and file is not None:
        known = load_clip_weights(
            clip, weights, vocabulary=clip.vocab_size, where=file, model=model
        )  # fmt: skip
        extra = weights.extra
    backbone = Backbone(clip, tokenizer, known_tokens=known, extra=extra)
    backbone.normalise_by(model_preprocessing(config).statistics)
    if weights is not None:
        _check_activation(backbone, weights, where=f"backbone {model} with weights {file}")
    activation = "QuickGELU" if backbone.quick_gelu else "GELU"
    logger.info("%s: %s, weights %s", model, activation, file or "random")
    return backbone


def _check_activation(backbone: Backbone, weights: ClipWeights, *, where: str) -> None:
    """Weights load into either activation; with the wrong one they compute another function."""
    if weights.quick_gelu in (None, backbone.quick_gelu):
        return
    has, needs = ("GELU", "QuickGELU") if weights.quick_gelu else ("QuickGELU", "GELU")
    raise ConfigError(
        f"{where}: the model has {has}, these weights need {needs} ({weights.says}). Name the "
        f"model {'with' if weights.quick_gelu else 'without'} {QUICK!r} at the end of its name, as "
        f"ViT-B-16{QUICK if weights.quick_gelu else ''}; in a model config it is quick_gelu: "
        f"{'true' if weights.quick_gelu else 'false'}."
    )
