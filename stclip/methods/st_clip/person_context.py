"""Person-context interaction (Huang et al. 2025, section 3.2): who is there, in what surroundings.

Shape letters: see `stclip.methods`.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from stclip.methods.layers.quick_gelu import QuickGELU


class PersonAdapter(nn.Module):
    """MLP with residual on the crop's class token (Huang et al. 2025, Eq. 3), or less."""

    def __init__(
        self, width: int, *, kind: Literal["mlp", "linear", "none"], ratio: int = 4
    ) -> None:
        """`kind`: two layers, one, or the token as it is; `ratio`: hidden width over `width`."""
        super().__init__()
        self.norm = nn.LayerNorm(width) if kind != "none" else nn.Identity()
        wide = 4 * width
        if kind == "mlp":
            self.mlp = nn.Sequential(nn.Linear(width, wide), QuickGELU(), nn.Linear(wide, width))
        else:
            self.mlp = nn.Sequential(*([nn.Linear(width, width)] if kind == "linear" else []))

    def forward(self, person: Float[Tensor, "*any d"]) -> Float[Tensor, "*any d"]:
        """Adapt person features to the interaction."""
        return person + self.mlp(self.norm(person)) if len(self.mlp) else person


class TemporalLayer(nn.Module):
    """Residual self-attention of each patch position over the frames of a window; no MLP."""

    def __init__(self, width: int, *, heads: int) -> None:
        """`heads` must divide `width`."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(
        self, x: Float[Tensor, "S N T d"], mask: Bool[Tensor, "S T"]
    ) -> Float[Tensor, "S N T d"]:
        """X + W_o softmax(q k^T / sqrt(d/h)) v over time; q, k, v are projections of norm(x).

        Frames where `mask` is False are not attended to.
        """
        d, normed = x.shape[-1], self.norm(x)
        in_weight, in_bias = self.attention.in_proj_weight, self.attention.in_proj_bias
        value = F.linear(normed, in_weight[2 * d :], in_bias[2 * d :])
        value = value.unflatten(-1, (self.attention.num_heads, -1)).transpose(2, 3)
        out = self._rows(normed, mask) @ value  # (S, N, h, T, d/h)
        return x + self.attention.out_proj(out.transpose(2, 3).flatten(3))

    def mean(
        self, x: Float[Tensor, "S N T d"], mask: Bool[Tensor, "S T"]
    ) -> Float[Tensor, "S N d"]:
        """The mean of `forward(x, mask)` over the frames where `mask` is True, at half its cost.

        Averaging is linear, so the rows of the attention map are averaged first; then values and
        output are projected once instead of T times. It equals the mean of `forward`:
        `tests/parity/test_fast_forms.py`, `test_mean_over_time`.
        """
        d, heads, normed = x.shape[-1], self.attention.num_heads, self.norm(x)
        weight = _frame_weights(mask, x.dtype)  # (S, 1, T, 1)
        rows = (self._rows(normed, mask) * weight[:, :, None]).sum(-2)  # (S, N, h, T): over queries
        mixed = torch.einsum("snht,sntd->snhd", rows, normed)
        value = self.attention.in_proj_weight[2 * d :].unflatten(0, (heads, -1))  # (h, d/h, d)
        out = torch.einsum("snhd,hcd->snhc", mixed, value).flatten(2)
        out = out + self.attention.in_proj_bias[2 * d :]
        return (x * weight).sum(2) + self.attention.out_proj(out)

    def _rows(
        self, normed: Float[Tensor, "S N T d"], mask: Bool[Tensor, "S T"]
    ) -> Float[Tensor, "S N h T T"]:
        d, heads = normed.shape[-1], self.attention.num_heads
        in_weight, in_bias = self.attention.in_proj_weight, self.attention.in_proj_bias
        q, k = F.linear(normed, in_weight[: 2 * d], in_bias[: 2 * d]).chunk(2, -1)
        q, k = (t.unflatten(-1, (heads, -1)).transpose(2, 3) for t in (q, k))
        scores = (q @ k.transpose(-1, -2)) * (d // heads) ** -0.5
        return scores.masked_fill(~mask[:, None, None, None], float("-inf")).softmax(-1)


class TemporalModelling(nn.Module):
    """Residual attention of each patch over the window, then the mean over time (Eq. 2)."""

    def __init__(self, width: int, *, heads: int, num_frames: int, layers: int = 1) -> None:
        """One learned embedding per window slot; with 0 layers the mean of the frames alone."""
        super().__init__()
        if layers:
            self.slots = nn.Embedding(num_frames, width)
        self.layers = nn.ModuleList(TemporalLayer(width, heads=heads) for _ in range(layers))

    def forward(
        self, windows: Float[Tensor, "S T N d"], mask: Bool[Tensor, "S T"]
    ) -> Float[Tensor, "S N d"]:
        """Mix each window to one set of patches; frames where `mask` is False do not count."""
        x = windows.transpose(1, 2)  # (S, N, T, d)
        if not len(self.layers):
            return (x * _frame_weights(mask, x.dtype)).sum(2)
        x = x + self.slots.weight[: windows.shape[1]]
        *before, last = self.layers
        for layer in before:
            x = layer(x, mask)
        assert isinstance(last, TemporalLayer)
        return last.mean(x, mask)


def _frame_weights(mask: Bool[Tensor, "S T"], dtype: torch.dtype) -> Float[Tensor, "S 1 T 1"]:
    """Equal weights of the frames that count; they sum to 1."""
    return mask[:, None, :, None].to(dtype) / mask.sum(1)[:, None, None, None]
