"""Vita-CLIP's prompted image encoder: CLIP's frozen blocks, which also see learned tokens.

Shape letters: see `stclip.methods`; F = C * T frames, m tokens that a block sees (214 for
ViT-B/16), G global prompts, x prompts of a kind. The n tokens of a frame are 1 + N.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from stclip.methods.clip.backbone import Backbone
from stclip.methods.layers.partial_block import block_of_first


class BlockPrompts(nn.Module):
    """What a block sees of the other frames of a clip: local prompts and a summary token.

    Both build on the projected class tokens of the frames, which are not normed before.
    """

    def __init__(
        self, width: int, *, heads: int, num_frames: int, bound: float, local: bool, summary: bool
    ) -> None:
        """Draw it as the official code does.

        Args:
            width: d.
            heads: of the attention among the frames.
            num_frames: T.
            bound: of the uniform distribution of prompts.
            local: make local prompts.
            summary: make the summary token.
        """
        super().__init__()
        self.class_projection = nn.Linear(width, width) if local or summary else None
        self.local_prompts = uniform(1, num_frames, width, bound=bound) if local else None
        self.summary_attention = None
        if summary:
            self.summary_norm = nn.LayerNorm(width)
            attention = nn.MultiheadAttention(width, heads, batch_first=True)
            # Queries, keys and values are drawn each for itself, not as one tall matrix.
            for weight in (*attention.in_proj_weight.chunk(3), attention.out_proj.weight):
                nn.init.xavier_uniform_(weight)
            self.summary_attention = attention

    def forward(self, cls: Float[Tensor, "C T d"]) -> Iterator[Float[Tensor, "C T x d"]]:
        """The tokens for each frame, from the class tokens of all: local prompts, then summary."""
        if self.class_projection is None:
            return
        num_frames = cls.shape[1]
        projected = self.class_projection(cls)  # (C, T, d)
        if self.local_prompts is not None:  # every frame sees those of all frames
            local = self.local_prompts + projected
            yield local[:, None].expand(-1, num_frames, -1, -1)
        if self.summary_attention is not None:  # every frame sees its own
            normed = self.summary_norm(projected)
            mixed = self.summary_attention(normed, normed, normed, need_weights=False)[0]
            yield (projected + mixed)[:, :, None]


class VitaEncoder(nn.Module):
    """The learned part of the image side; the frozen backbone is passed to each call."""

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_frames: int,
        num_global: int,
        local: bool,
        summary: bool,
    ) -> None:
        """Build it for a backbone; `num_global` 0: no global prompts."""
        super().__init__()
        width, kernel = backbone.width, backbone.clip.visual.conv1.kernel_size
        bound = (6 / (3 * kernel[0] * kernel[1] + width)) ** 0.5
        layers = len(backbone.blocks)
        self.time_embedding = nn.Parameter(torch.empty(num_frames, width).normal_(std=0.02))
        self.global_prompts = (
            uniform(layers, num_global, width, bound=bound) if num_global else None
        )
        self.layers = nn.ModuleList(
            BlockPrompts(
                width, heads=backbone.heads, num_frames=num_frames, bound=bound, local=local,
                summary=summary,
            )
            for _ in range(layers)
        )  # fmt: skip

    def forward(
        self,
        backbone: Backbone,
        clips: UInt8[Tensor, "C T 3 H W"] | Float[Tensor, "C T 3 H W"],
    ) -> Float[Tensor, "C e"]:
        """Clip features: the mean of the frames' class tokens, projected; not normalised.

        The official blocks compute an output for every token they see. Read are those of the class
        token and the patches, and after the last block that of the class token; only these are
        computed here (`block_of_first`).
        """
        num_clips, num_frames = clips.shape[:2]
        patches = backbone.patches(clips.flatten(0, 1))  # (F, N, d)
        tokens = backbone.embed(patches, added=self.time_embedding.repeat(num_clips, 1))
        last = len(self.layers) - 1
        for number in range(last + 1):
            block: Any = backbone.blocks[number]
            seen = self._seen(number, block, tokens, num_frames=num_frames)  # (F, m, d)
            tokens = tokens[:, :1] if number == last else tokens
            tokens = block_of_first(block, tokens, seen)
        cls = backbone.clip.visual.ln_post(tokens[:, 0]).unflatten(0, (num_clips, num_frames))
        return backbone.project(cls.mean(1))  # the projection is linear: after the mean, once

    def _seen(
        self, number: int, block: Any, tokens: Float[Tensor, "F n d"], *, num_frames: int
    ) -> Float[Tensor, "F m d"]:
        """Normed keys and values of a block: a frame's own tokens, then the prompts.

        The official order is another; attention does not know of it. Global prompts are each
        block's own.
        """
        parts = [block.ln_1(tokens)]
        if self.global_prompts is not None:
            shared = block.ln_1(self.global_prompts[number])  # (G, d)
            parts.append(shared.expand(len(tokens), -1, -1))
        cls = tokens[:, 0].unflatten(0, (-1, num_frames))  # (C, T, d)
        parts += [block.ln_1(prompts.flatten(0, 1)) for prompts in self.layers[number](cls)]
        return torch.cat(parts, 1)


def uniform(*shape: int, bound: float) -> nn.Parameter:
    """A parameter drawn from -bound .. bound."""
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
