"""Person-context interaction (Huang et al. 2025, section 3.2): who is there, in what surroundings.

Legend: S key frames, T frames of a window, N patches, P persons, d width of the image tower.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), as in CLIP."""

    def forward(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Apply it element by element."""
        return x * torch.sigmoid(1.702 * x)


class PersonAdapter(nn.Module):
    """Bottle-free MLP with residual on the crop's class token (Huang et al. 2025, Eq. 3)."""

    def __init__(self, width: int, *, ratio: int = 4) -> None:
        """`ratio`: hidden width over `width`."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, ratio * width), QuickGELU(), nn.Linear(ratio * width, width)
        )

    def forward(self, person: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """Adapt person features to the interaction."""
        return person + self.mlp(self.norm(person))


class TemporalModelling(nn.Module):
    """Each patch attends to itself over the window, then the mean over time (Eq. 2).

    The residual attention has no MLP behind it. As averaging is linear, the attention rows are
    averaged first; values and output are projected once, not T times: exact at half the cost.
    """

    def __init__(self, width: int, *, heads: int, num_frames: int) -> None:
        """One learned embedding per window slot."""
        super().__init__()
        self.slots = nn.Embedding(num_frames, width)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(
        self, windows: Float[Tensor, "S T N d"], mask: Bool[Tensor, "S T"]
    ) -> Float[Tensor, "S N d"]:
        """Mix each window to one set of patches; frames where `mask` is False do not count."""
        num_frames, heads = windows.shape[1], self.attention.num_heads
        x = windows + self.slots.weight[:num_frames, None]
        x = x.transpose(1, 2)  # (S, N, T, d)
        weight = (
            mask[:, None, :, None].to(x.dtype) / mask.sum(1)[:, None, None, None]
        )  # (S, 1, T, 1)
        in_weight, in_bias = self.attention.in_proj_weight, self.attention.in_proj_bias
        normed = self.norm(x)
        d = x.shape[-1]
        q, k = F.linear(normed, in_weight[: 2 * d], in_bias[: 2 * d]).chunk(2, -1)
        q, k = (t.unflatten(-1, (heads, -1)).transpose(2, 3) for t in (q, k))  # (S, N, h, T, d/h)
        scores = (q @ k.transpose(-1, -2)) * (d // heads) ** -0.5  # (S, N, h, T, T)
        scores = scores.masked_fill(~mask[:, None, None, None], float("-inf"))
        rows = (scores.softmax(-1) * weight[:, :, None]).sum(-2)  # (S, N, h, T): mean over queries
        mixed = torch.einsum("snht,sntd->snhd", rows, normed)
        value = in_weight[2 * d :].unflatten(0, (heads, -1))  # (h, d/h, d)
        out = torch.einsum("snhd,hcd->snhc", mixed, value).flatten(2) + in_bias[2 * d :]
        return (x * weight).sum(2) + self.attention.out_proj(out)
