"""The transformer over the frames of a clip that the video-level methods put on CLIP's features.

Shape letters: see `stclip.methods`.
"""

from functools import partial

import torch
from jaxtyping import Float
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from stclip.methods.layers.quick_gelu import QuickGELU

HEAD_WIDTH = 64


class TemporalTransformer(nn.Module):
    """CLIP's pre-norm blocks over time, after a learned position per frame; then the mean.

    No mask, no norm at the end. The initial values are PyTorch's but for `positions`, which are 0:
    each method has its own.
    """

    def __init__(
        self, width: int, *, layers: int, num_positions: int, residual: bool, eps: float = 1e-5
    ) -> None:
        """Build it.

        Args:
            width: e; its heads are 64 wide, or e if that is less.
            layers: number of blocks.
            num_positions: rows of the position table; at least T.
            residual: add the frames, without positions, to what the blocks give.
            eps: of the LayerNorms.
        """
        super().__init__()
        self.residual = residual
        self.positions = nn.Parameter(torch.zeros(num_positions, width))
        self.blocks = nn.ModuleList(
            ResidualAttentionBlock(
                width,
                heads_of(width),
                act_layer=QuickGELU,
                norm_layer=partial(nn.LayerNorm, eps=eps),
            )
            for _ in range(layers)
        )

    def forward(self, frames: Float[Tensor, "C T e"]) -> Float[Tensor, "C e"]:
        """Mix each clip's frames and average them; frames come in as CLIP gives them."""
        x = frames + self.positions[: frames.shape[1]]
        for block in self.blocks:
            x = block(x)
        if self.residual:
            x = x + frames
        return x.mean(1)


def heads_of(width: int) -> int:
    """Heads of 64 channels; one of all where there are fewer."""
    return max(1, width // HEAD_WIDTH)
