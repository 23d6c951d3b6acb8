"""ViCLIP's video encoder: CLIP's image tower over the patches of all frames at once.

Shape letters: see `stclip.methods`. The n tokens of a clip are 1 + N * T.
"""

import torch
from jaxtyping import Float, UInt8
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from stclip.methods.clip.backbone import Backbone
from stclip.methods.clip.weights import TEMPORAL_POSITIONS


class VideoEncoder(nn.Module):
    """CLIP's image tower over all frames, with learned positions in time.

    The tower is the backbone's, which is passed to each call; only the positions belong here.
    """

    def __init__(self, backbone: Backbone, *, num_frames: int, drop_path: float) -> None:
        """Un-freeze the backbone's image tower and let its blocks drop paths while they train.

        Args:
            backbone: its own; the positions in time begin with those of its weights, or at 0.
            num_frames: T.
            drop_path: chance that a branch of the last block is left out for a clip; it rises
                linearly from 0 at the first.
        """
        super().__init__()
        self.temporal = nn.Parameter(torch.zeros(num_frames, backbone.width))
        if TEMPORAL_POSITIONS in backbone.extra:
            table = fit_rows(backbone.extra[TEMPORAL_POSITIONS][0], num_frames)
            with torch.no_grad():
                self.temporal.copy_(table)
        backbone.clip.visual.requires_grad_()
        blocks = backbone.blocks
        for number, block in enumerate(blocks if drop_path else ()):
            rate = drop_path * number / max(1, len(blocks) - 1)
            block.ls_1, block.ls_2 = DropPath(rate), DropPath(rate)  # ends of a block's branches

    def forward(
        self,
        backbone: Backbone,
        clips: UInt8[Tensor, "C T 3 H W"] | Float[Tensor, "C T 3 H W"],
    ) -> Float[Tensor, "C n d"]:
        """All tokens after `ln_post`: a class token for the clip, then patch 0 of all frames, ...

        The class token has no position in time.
        """
        visual = backbone.clip.visual
        patches = backbone.patches(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        # A picture is no frame: it stands at the mean of them.
        time = self.temporal if clips.shape[1] > 1 else self.temporal.mean(0, keepdim=True)
        patches = patches + visual.positional_embedding[1:] + time[:, None]  # (C, T, N, d)
        cls = visual.class_embedding + visual.positional_embedding[0]
        tokens = torch.cat(
            [cls.expand(len(clips), 1, -1), patches.transpose(1, 2).flatten(1, 2)], 1
        )
        tokens = visual.ln_pre(tokens)
        for block in backbone.blocks:
            tokens = block(tokens)
        return visual.ln_post(tokens)


def mean_map(
    tokens: Float[Tensor, "C n d"], *, grid: tuple[int, int], num_frames: int
) -> Float[Tensor, "C d gy gx"]:
    """The patches of `VideoEncoder`, averaged over time; the class token is left out."""
    patches = tokens[:, 1:].unflatten(1, (*grid, num_frames))  # (C, gy, gx, T, d)
    return patches.mean(3).permute(0, 3, 1, 2)


def fit_rows(table: Float[Tensor, "rows d"], count: int) -> Float[Tensor, "count d"]:
    """A table of positions in time for `count` frames: its first rows, or interpolated to more."""
    if count <= len(table):
        return table[:count]
    return F.interpolate(table.T[None], count, mode="linear", align_corners=False)[0].T
