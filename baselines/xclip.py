"""X-CLIP (Ni et al., ECCV 2022, arXiv 2208.02816): frames that exchange messages.

In every block of CLIP's image tower the class tokens of a video's frames turn into messages that
attend to one another; each comes back to its frame as one more token to attend to. A transformer
over the frames makes the video's feature, and the label texts are prompted by its patches. CLIP
itself is frozen here.

Shape letters: see `stclip.methods`. The n tokens of a frame are 1 + N.
"""

from typing import Any

import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor, nn

from baselines.xclip_config import XCLIPConfig
from baselines.xclip_names import OFFICIAL
from stclip.inputs.batch import ClipBatch, pixels_of
from stclip.methods.clip.backbone import AT_ONCE, Backbone, cosine
from stclip.methods.layers.partial_block import block_of_first
from stclip.methods.layers.prompting import PromptingBlock
from stclip.methods.layers.temporal_transformer import TemporalTransformer, heads_of
from stclip.methods.layers.video import VideoMethod


class XCLIP(VideoMethod):
    """Cross-frame communication, multi-frame integration and video-specific prompting."""

    official = OFFICIAL

    Config = XCLIPConfig

    def __init__(self, backbone: Backbone, config: XCLIPConfig) -> None:
        """Build the new modules; a message for each block of the image tower."""
        super().__init__(backbone, config)
        self.config: XCLIPConfig
        width, joint = backbone.width, backbone.embed_dim
        self.messages = nn.ModuleList(Message(width, heads=backbone.heads) for _ in backbone.blocks)
        self.integration = integration_transformer(
            joint, layers=config.mit_layers, num_frames=config.num_frames
        )
        self.prompting = VideoPrompting(
            width, joint, layers=config.prompt_layers, alpha=config.alpha
        )

    def view_logits(self, batch: ClipBatch, text: Float[Tensor, "K e"]) -> Float[Tensor, "C K"]:
        """Cosine times CLIP's own logit scale, a row per view; every video has its own texts."""
        images = pixels_of(batch.pictures)
        numbers = torch.arange(len(images), device=images.device)
        at_once = max(1, AT_ONCE // self.config.num_frames)
        parts = [
            self._similarity(images, rows, text)
            for rows in self.by_view(numbers, batch).split(at_once)
        ]
        return self.backbone.logit_scale * torch.cat(parts)

    def _similarity(
        self,
        images: Shaped[Tensor, "U 3 H W"],
        rows: Integer[Tensor, "C T"],
        text: Float[Tensor, "K e"],
    ) -> Float[Tensor, "C K"]:
        """Cosines of some videos, whose frames are the pictures `rows`, and their own texts."""
        tokens = self.backbone.embed(self.backbone.patches(images[rows.flatten()]))
        tokens = tokens.unflatten(0, rows.shape)  # (C, T, n, d)
        for block, message in zip(self.backbone.blocks, self.messages, strict=True):
            tokens = cross_frame(block, message, tokens)
        cls = self.backbone.clip.visual.ln_post(tokens[:, :, 0])
        video = self.integration(self.backbone.project(cls))  # (C, e)
        prompted = self.prompting(text, tokens[:, :, 1:])  # (C, K, e); its patches skip `ln_post`
        return cosine(video[:, None], prompted, dtype=text.dtype)[:, 0]


class Message(nn.Module):
    """The messages that the frames of a video exchange in a block; PyTorch's initial values."""

    def __init__(self, width: int, *, heads: int) -> None:
        """`heads` must divide `width`."""
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, cls: Float[Tensor, "C T d"]) -> Float[Tensor, "C T d"]:
        """A message to each frame, from the class tokens as they stand; no positions in time."""
        message = self.fc(cls)
        normed = self.norm(message)
        return message + self.attention(normed, normed, normed, need_weights=False)[0]


def cross_frame(
    block: Any, message: nn.Module, tokens: Float[Tensor, "C T n d"]
) -> Float[Tensor, "C T n d"]:
    """A block of the image tower in which each frame's tokens attend to its `Message` too.

    The message is one more token of the block, whose output is dropped. So it is a key and a value
    here, but no query (`block_of_first`).
    """
    told = message(tokens[:, :, 0])  # (C, T, d)
    seen = torch.cat([tokens, told[:, :, None]], 2).flatten(0, 1)  # (C T, n + 1, d)
    frames = block_of_first(block, tokens.flatten(0, 1), block.ln_1(seen))
    return frames.unflatten(0, tokens.shape[:2])


def integration_transformer(width: int, *, layers: int, num_frames: int) -> TemporalTransformer:
    """MIT: blocks over the frames' features, a residual around them, the mean; X-CLIP's init."""
    mit = TemporalTransformer(width, layers=layers, num_positions=num_frames, residual=True)
    nn.init.trunc_normal_(mit.positions, std=0.02)
    for module in mit.modules():
        if isinstance(module, nn.Linear):  # the packed q, k, v are none and stay Xavier uniform
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    return mit


class VideoPrompting(nn.Module):
    """Lets each label's text attend to the patches of the video, and adds the result."""

    def __init__(self, width: int, text_width: int, *, layers: int, alpha: float) -> None:
        """`alpha`: initial value of the learned per-channel weight."""
        super().__init__()
        self.norm_patches = nn.LayerNorm(width)
        self.projection = nn.Parameter(torch.randn(width, text_width))  # a norm follows
        self.norm_visual = nn.LayerNorm(text_width)
        self.layers = nn.ModuleList(
            PromptingBlock(text_width, heads=heads_of(text_width)) for _ in range(layers)
        )
        self.alpha = nn.Parameter(torch.full((text_width,), alpha))

    def forward(
        self, text: Float[Tensor, "K e"], patches: Float[Tensor, "C T N d"]
    ) -> Float[Tensor, "C K e"]:
        """The texts of each video; neither side is normalised here."""
        visual = self.norm_visual(self.context(patches))
        updated = text.expand(len(visual), -1, -1)
        for layer in self.layers:
            assert isinstance(layer, PromptingBlock)
            updated = layer.update(updated, visual)
        return text + self.alpha * updated  # which holds the text once more, by its residuals

    def context(self, patches: Float[Tensor, "C T N d"]) -> Float[Tensor, "C N e"]:
        """The mean over time of W norm(patches), which all frames' patches are projected for.

        Both the projection and the mean are linear, so here the mean comes first, and one frame is
        projected instead of T. It equals the formula: `tests/parity/test_fast_forms.py`,
        `test_mean_before_the_projection`.
        """
        return self.norm_patches(patches).mean(1) @ self.projection
